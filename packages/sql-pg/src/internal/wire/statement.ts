import type { Timer } from "@sluice/pool/Deadline"
import type { Mode } from "@sluice/sql/driver/Driver"
import type * as Pipeline from "@sluice/sql/driver/Pipeline"
import type { Profile } from "@sluice/sql/driver/Profile"
import { command, execution } from "./message.js"
import * as Pg from "./pg.js"
import type { Plan } from "./plans.js"

/**
 * One operation on a connection, from the first byte sent until the server says that it is ready for the next.
 *
 * `pg` reports an error as soon as it is read, before the server is ready again; whoever released the connection then
 * would hand its next user a session in an unknown state. So an operation only remembers, and `settle` is called at
 * ReadyForQuery, or when the connection is dead.
 */
export interface Operation extends Pg.Sendable, Pipeline.Operation<Operation> {
  readonly plan: Plan | undefined
  /** Its fiber has left: it makes the server end the operation at the next opportunity. */
  abandon(connection: Pg.Wire): void
}

/** More than one statement, as far as can be told without parsing: those go over the simple protocol, all at once. */
const isSeveral = (sql: string): boolean => {
  const at = sql.indexOf(";")
  return at >= 0 && sql.slice(at + 1).trim() !== ""
}

/** What a server plans. Names are kept by the server, so other texts are not worth one. */
const planned = /^\s*(?:select|insert|update|delete|with|values|table|merge)\b/i

export const isPreparable = (sql: string, params: ReadonlyArray<unknown>): boolean =>
  planned.test(sql) && (params.length > 0 || !isSeveral(sql))

export class Statement extends Pg.QueryBase implements Operation {
  failure: unknown = undefined
  settled: ((failure: unknown) => void) | undefined = undefined
  next: Operation | undefined = undefined
  sentAt = 0
  timer: Timer | undefined = undefined
  work = 0
  profile: Profile | undefined = undefined
  readonly isEmpty: boolean
  readonly isMark = false
  prepares = false
  read: Pipeline.Operation<Operation>["read"] = undefined
  condemned = false
  isMarked = false
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
    this.open().addFields(fields)
  }

  override handleDataRow({ fields }: { readonly fields: ReadonlyArray<string | null> }): void {
    if (this.failure !== undefined) return
    const result = this.opened()
    try {
      result.rows.push(result.parseRow(fields))
    } catch (problem) {
      this.failure = problem
    }
  }

  override handleCommandComplete(message: { readonly text: string }): void {
    if (this.ahead > 0) {
      if (--this.ahead === 0) this.name = this.plan?.name
      return
    }
    const result = this.opened()
    result.addCommandComplete(message)
    this.results.push(result)
    this.result = undefined
    // It has no columns: nothing was described.
    if (this.plan !== undefined) this.plan.shape ??= none
  }

  handleError(error: unknown, connection: Pg.Wire): void {
    this.failure ??= this.placed(error)
    // What it was to be prepared by was skipped.
    if (this.ahead > 0 && this.plan !== undefined) delete connection.submittedNamedStatements[this.plan.name]
  }

  /** Where in its own text the server has found the fault. */
  private placed(error: unknown): unknown {
    const { position } = error as { position?: string }
    return this.shift === 0 || position === undefined
      ? error
      : Object.assign(error as object, { position: String(Number(position) - this.shift) })
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

/** Nothing but a Sync, which the server answers at once. */
export class Mark extends Pg.QueryBase implements Operation {
  failure: unknown = undefined
  settled: ((failure: unknown) => void) | undefined = undefined
  next: Operation | undefined = undefined
  sentAt = 0
  timer: Timer | undefined = undefined
  readonly work = 0
  readonly profile = undefined
  readonly plan = undefined
  readonly prepares = false
  readonly read = undefined
  readonly name = undefined
  readonly text = ""
  readonly callback = undefined
  readonly isEmpty = true
  readonly isMark = true
  condemned = false
  isMarked = false

  submit(connection: Pg.Wire): Error | null {
    connection.sync()
    return null
  }

  handleError(error: unknown): void {
    this.failure ??= error
  }

  abandon(): void {}
}

/**
 * A cursor: a portal of the server, read piece by piece.
 *
 * Inside a transaction each piece ends with a Sync, so that other statements can run in between. Outside of one a Sync
 * would end the portal, so the pieces are joined by Flush, and the connection stays busy until the last.
 */
export class CursorQuery extends Pg.Query implements Operation {
  failure: unknown = undefined
  settled: ((failure: unknown) => void) | undefined = undefined
  next: Operation | undefined = undefined
  sentAt = 0
  timer: Timer | undefined = undefined
  readonly work = 0
  readonly profile = undefined
  readonly plan = undefined
  readonly prepares = true
  readonly isEmpty = false
  readonly isMark = false
  readonly read = undefined
  condemned = false
  isMarked = false
  /** Called when the server has sent a piece and waits; only outside of a transaction. */
  suspended: (() => void) | undefined = undefined
  /** The server has sent everything. */
  complete = false
  private synced = false

  constructor(
    sql: string,
    private readonly params: ReadonlyArray<string | Buffer | null>,
    readonly portal: string,
    private readonly size: number,
    /** Whether the portal exists already. */
    private readonly opened: boolean,
    private readonly inTransaction: boolean
  ) {
    super({ text: sql })
    this.name = undefined
    this.callback = undefined
    this._accumulateRows = true
  }

  override submit(connection: Pg.Wire): Error | null {
    connection.stream.cork()
    if (!this.opened) {
      connection.parse({ text: this.text, name: "" })
      connection.bind({ portal: this.portal, statement: "", values: this.params })
    }
    // Rows are parsed by their description, so every piece of a transaction's cursor asks for it again.
    connection.describe({ type: "P", name: this.portal })
    this.ask(connection)
    connection.stream.uncork()
    return null
  }

  private ask(connection: Pg.Wire): void {
    connection.execute({ portal: this.portal, rows: this.size })
    if (this.inTransaction) this.sync(connection)
    else connection.flush()
  }

  private sync(connection: Pg.Wire): void {
    if (this.synced) return
    this.synced = true
    connection.sync()
  }

  /** The next piece, outside of a transaction. */
  more(connection: Pg.Wire): void {
    connection.stream.cork()
    this.ask(connection)
    connection.stream.uncork()
  }

  /** After it the server drops the portal and reports that it is ready; a running piece ends first, or is cancelled. */
  abandon(connection: Pg.Wire): void {
    this.sync(connection)
  }

  takeRows(): ReadonlyArray<any> {
    const result = this._results as Pg.WireResult
    const rows = result.rows
    result.rows = []
    return rows
  }

  override handlePortalSuspended(): void {
    this.suspended?.()
  }

  override handleCommandComplete(_message: { text: string }, connection: Pg.Wire): void {
    this.complete = true
    this.sync(connection)
  }

  override handleEmptyQuery(connection: Pg.Wire): void {
    this.complete = true
    this.sync(connection)
  }

  override handleError(error: unknown, connection: Pg.Wire): void {
    this.failure ??= error
    // After an error the server skips everything up to the next Sync.
    this.sync(connection)
  }

  override handleReadyForQuery(): void {
    if (this._canceledDueToError) this.failure ??= this._canceledDueToError
  }
}
