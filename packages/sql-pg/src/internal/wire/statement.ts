import type { Mode } from "@sluice/sql/driver/Driver"
import { Unreadable } from "@sluice/sql/driver/Unreadable"
import { Unsupported } from "./failures.js"
import { command, execution } from "./message.js"
import type { Operation } from "./operation.js"
import * as Pg from "./pg.js"
import type { Plan } from "./plans.js"

/** A text with its parameters, executed as a whole: by a plan, unprepared, or, if it has no parameters, as simple text. */
export class Statement extends Pg.QueryBase<Operation> implements Operation {
  readonly isEmpty: boolean
  readonly isMark = false
  /** `pg` marks what it is told to parse as parsed under this name. */
  name: string | undefined
  readonly callback = undefined
  /** One for each statement of the text that has ended. */
  readonly results: Array<Pg.WireResult> = []
  private result: Pg.WireResult | undefined = undefined
  /** Statements sent ahead that have not yet been answered. */
  private ahead: number
  /** Characters of the text sent that are not of this statement. */
  private shift = 0
  private readonly simple: boolean

  constructor(
    readonly text: string,
    private readonly params: ReadonlyArray<string | Buffer | null>,
    private readonly mode: Mode,
    readonly plan: Plan | undefined,
    /** Names that the server is told to forget in the same round trip. */
    private readonly forget: ReadonlyArray<string>,
    private readonly types: Pg.Types,
    /** Executed first. If one fails, so does this, and is not executed. */
    private readonly before: ReadonlyArray<string> = none
  ) {
    super()
    this.ahead = before.length
    this.name = this.ahead === 0 ? plan?.name : undefined
    this.simple = params.length === 0 && plan === undefined
    this.isEmpty = text === ""
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
    if (this.simple) {
      // A Close is answered only together with a Sync, and a simple query is one.
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
      stream.write(execution(name, this.params, plan?.shape === undefined))
    }
    if (several) stream.uncork()
    return null
  }

  /** What was sent ahead of it was executed. */
  get hasBegun(): boolean {
    return this.ahead === 0
  }

  private open(): Pg.WireResult {
    const result = new Pg.Result(this.mode === "values" ? "array" : undefined, this.types)
    this.result = result
    return result
  }

  /** The result of what runs: where the server was not asked for its columns, they are those of the last time. */
  private opened(): Pg.WireResult {
    if (this.result !== undefined) return this.result
    const result = this.open()
    const shape = this.plan?.shape
    if (shape !== undefined && shape.length > 0) result.addFields(shape)
    return result
  }

  override handleRowDescription({ fields }: { readonly fields: ReadonlyArray<Pg.Field> }): void {
    if (this.plan !== undefined) this.plan.shape = fields
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
    // It has no columns: nothing was described.
    if (this.plan !== undefined) this.plan.shape ??= none
  }

  handleError(error: unknown, connection: Pg.Wire): void {
    this.failure ??= this.placed(error)
    // The server has skipped the Parse.
    if (this.ahead > 0 && this.plan !== undefined) delete connection.submittedNamedStatements[this.plan.name]
  }

  /** Where in its own text the server has found the fault. */
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
    if (mode === "command") return results[results.length - 1]?.command ?? ""
    if (results.length === 1) return mode === "raw" ? results[0] : results[0]!.rows
    if (results.length === 0) return mode === "raw" ? this.open() : []
    return mode === "raw" ? results : results.map((result) => result.rows)
  }
}

const none: ReadonlyArray<never> = []

/** The server has prepared it, or will have before it reads what is sent now. */
const isKnown = (connection: Pg.Wire, name: string): boolean =>
  connection.parsedStatements[name] !== undefined || connection.submittedNamedStatements[name] !== undefined
