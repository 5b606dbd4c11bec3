import type { Executed, Mode } from "@sluice/sql/driver/Driver"
import { Unreadable } from "@sluice/sql/driver/Unreadable"
import { Unsupported } from "./failures.js"
import { command, execution } from "./message.js"
import { CLEAN, type Operation } from "./operation.js"
import type { Values } from "./params.js"
import * as Pg from "./pg.js"
import type { Plan } from "./plans.js"

/** A text with its parameters, executed as a whole: by a plan, unprepared, or, if it has no parameters, as simple text. */
export class Statement extends Pg.QueryBase<Operation> implements Operation {
  readonly isEmpty: boolean
  readonly isMark = false
  readonly cleans: boolean
  isUncleaned = false
  /** `pg` reads it: when a Parse is complete, `pg` notes that this name is parsed. */
  name: string | undefined
  readonly callback = undefined
  /** The results of the statements of the text that have ended. */
  readonly results: Array<Pg.WireResult> = []
  private result: Pg.WireResult | undefined = undefined
  /** Statements of `before` that have not been answered yet. */
  private ahead: number
  /** Characters that stand before the text in what was sent. */
  private shift = 0
  private readonly simple: boolean
  /** Bind, Execute and Sync. Made before anything is sent, because it fails for parameters that are too large together. */
  private readonly execution: Buffer | undefined

  constructor(
    readonly text: string,
    params: Values,
    private readonly mode: Mode,
    readonly plan: Plan | undefined,
    /** Names that the server is told to forget in the same round trip. */
    private readonly forget: ReadonlyArray<string>,
    private readonly types: Pg.Types,
    /** Statements that are executed first. If one fails, this statement is not executed and fails with the same error. */
    private readonly before: ReadonlyArray<string> = none
  ) {
    super()
    this.ahead = before.length
    this.name = this.ahead === 0 ? plan?.name : undefined
    this.cleans = before[0] === CLEAN
    this.simple = params.length === 0 && plan === undefined && !this.cleans
    this.isEmpty = text === ""
    this.execution = this.simple ? undefined : execution(plan?.name ?? "", params, plan?.shape === undefined)
  }

  submit(connection: Pg.Wire): Error | null {
    const { stream } = connection
    if (!stream.writable) return null
    const { plan } = this
    const name = plan === undefined ? "" : plan.name
    const prepares = !this.simple && (name === "" || !isKnown(connection, name))
    const several = prepares || this.ahead > 0 || this.forget.length > 0
    if (several) stream.cork()
    for (const old of this.forget) connection.close({ type: "S", name: old })
    if (this.execution === undefined) {
      // The server answers a Close at the next Sync, and a simple query has the effect of a Sync.
      const prefix = this.ahead === 0 ? "" : `${this.before.join("; ")}; `
      this.shift = prefix.length
      connection.query(prefix + this.text)
    } else {
      for (const sql of this.before) stream.write(command(sql))
      if (prepares) {
        this.prepares = true
        connection.parse({ text: this.text, name })
        if (name !== "") connection.submittedNamedStatements[name] = this.text
      }
      stream.write(this.execution)
    }
    if (several) stream.uncork()
    return null
  }

  /** The statements of `before` were executed. */
  get hasBegun(): boolean {
    return this.ahead === 0
  }

  private open(): Pg.WireResult {
    const result = new Pg.Result(this.mode === "values" ? "array" : undefined, this.types)
    this.result = result
    return result
  }

  /** The result of the statement that runs. If the server was not asked for the columns, they are those of the plan. */
  private opened(): Pg.WireResult {
    if (this.result !== undefined) return this.result
    const result = this.open()
    const { plan } = this
    if (plan?.shape !== undefined && plan.shape.length > 0) this.describe(result, plan, plan.shape)
    return result
  }

  /** Does what `addFields` of the result does. That makes an empty row each time, which takes longer than reading a short row. */
  private describe(result: Pg.WireResult, plan: Plan, shape: ReadonlyArray<Pg.Field>): void {
    if (plan.emptyRow === undefined) {
      result.addFields(shape)
      plan.emptyRow = result._prebuiltEmptyResultObject
      return
    }
    const parsers = new Array<(text: string) => unknown>(shape.length)
    // Asked for each time, because a program may set another parser at any time.
    for (let i = 0; i < shape.length; i++) parsers[i] = this.types.getTypeParser(shape[i]!.dataTypeID, "text")
    result.fields = shape
    result._parsers = parsers
    result._prebuiltEmptyResultObject = plan.emptyRow
  }

  override handleRowDescription({ fields }: { readonly fields: ReadonlyArray<Pg.Field> }): void {
    if (this.plan !== undefined) {
      this.plan.shape = fields
      this.plan.emptyRow = undefined
    }
    if (this.failure !== undefined) return
    try {
      this.open().addFields(fields)
    } catch (problem) {
      this.failure = new Unreadable(problem)
    }
  }

  override handleDataRow({ fields }: { readonly fields: ReadonlyArray<string | null> }): void {
    if (this.failure !== undefined) return
    try {
      const result = this.opened()
      result.rows.push(result.parseRow(fields))
    } catch (problem) {
      this.failure = new Unreadable(problem)
    }
  }

  override handleCommandComplete(message: { readonly text: string }): void {
    if (this.ahead > 0) {
      if (--this.ahead === 0) this.name = this.plan?.name
      return
    }
    if (this.failure === undefined) {
      const result = this.result ?? this.opened()
      result.addCommandComplete(message)
      this.results.push(result)
    }
    this.result = undefined
    // The server has described nothing, so the result has no columns.
    if (this.plan !== undefined) this.plan.shape ??= none
  }

  handleError(error: unknown, connection: Pg.Wire): void {
    this.failure ??= this.placed(error)
    // The server has skipped the Parse.
    if (this.ahead > 0 && this.plan !== undefined) delete connection.submittedNamedStatements[this.plan.name]
  }

  /** The error, with its position counted in the text of the program. */
  private placed(error: unknown): unknown {
    const { position } = error as { position?: string }
    return this.shift === 0 || position === undefined
      ? error
      : Object.assign(error as object, { position: String(Number(position) - this.shift) })
  }

  override handleCopyData(): void {
    this.failure ??= new Unsupported("COPY TO STDOUT is not supported: select the rows, or use a tool that copies")
  }

  override handleCopyInResponse(connection: Pg.Wire): void {
    connection.sendCopyFail("COPY FROM STDIN is not supported")
  }

  abandon(): void {}

  /** What the caller wants of the answer. */
  answer(): unknown {
    const { mode, results } = this
    if (mode === "result" || mode === "unpreparedResult") return executed(results[results.length - 1])
    if (mode === "command") return results[results.length - 1]?.command ?? ""
    if (results.length === 1) return mode === "raw" ? results[0] : results[0]!.rows
    if (results.length === 0) return mode === "raw" ? this.open() : []
    return mode === "raw" ? results : results.map((result) => result.rows)
  }
}

const none: ReadonlyArray<never> = []

/** What the last statement of a text has given and done. */
const executed = (result: Pg.WireResult | undefined): Executed => {
  const { command, rowCount, rows = none } = result ?? {}
  return {
    rows,
    affectedRows: affected(command, rowCount ?? 0, rows.length),
    insertId: undefined,
    command: command ?? ""
  }
}

/** The rows that a statement has written, of those that it counts. */
const affected = (command: string | null | undefined, counted: number, given: number): number => {
  switch (command) {
    case "INSERT":
    case "UPDATE":
    case "DELETE":
    case "MERGE":
    case "COPY":
      return counted
    case "SELECT":
      // What it has counted and not given it has written into a new table: CREATE TABLE AS, SELECT INTO.
      return counted - given
    default:
      return 0
  }
}

/** The server has prepared a statement of this name, or will have done so before it reads the messages that are sent now. */
const isKnown = (connection: Pg.Wire, name: string): boolean =>
  connection.parsedStatements[name] !== undefined || connection.submittedNamedStatements[name] !== undefined
