import type { Executed, Mode } from "@sluice/sql/driver/Driver"
import { State } from "@sluice/sql/driver/Operation"
import type * as Pipeline from "@sluice/sql/driver/Pipeline"
import { Unreadable } from "@sluice/sql/driver/Unreadable"
import { thrown, Unsendable } from "@sluice/sql/driver/Unsendable"
import { mayEndSession } from "../classify.js"
import * as Commands from "./commands.js"
import * as Mysql from "./mysql.js"
import { type Text, verbOf } from "./texts.js"
import { mismatch, type Style, type Value } from "./values.js"

/** What an operation needs of the connection that it is sent on. */
export interface Connection {
  readonly wire: Mysql.Wire
  readonly pipeline: Pipeline.Pipeline<Operation>
  readonly inTransaction: boolean
  readonly isAutocommit: boolean
  /** The session has to be cleaned before its next user. */
  session: boolean
  readonly style: Style
  /** The server has reported the status of its session. */
  observe(status: number): void
  /** The server has reported changes of its session. */
  changed(changes: NonNullable<Mysql.Header["stateChanges"]>): void
  /** The statements that begin the transaction again, if this operation has committed it. */
  broughtToAnEnd(operation: Operation): ReadonlyArray<string> | undefined
  /** The server has answered all of the operation. */
  hasAnswered(operation: Operation): void
  /** The connection is lost, for this reason. */
  end(error: unknown): void
}

/**
 * One operation on a connection, from its first byte until the server is ready for the next: a statement, with its
 * preparation before it and, when it has failed, a question after it.
 *
 * An error does not tell the status of the session. If the statement may have begun or ended a transaction, or the error may be
 * the last word of the server, a ping asks the server for the status before the failure is told. Else the connection could be
 * released with an open transaction, or closed although it works.
 */
export class Operation extends State<Operation> implements Mysql.Receiver, Pipeline.Operation<Operation> {
  isMark = false
  result: unknown = undefined
  /** Nothing of it was executed, because the driver could not send it. */
  unsent = false
  /** Its rows are read one by one, as fast as the program does. */
  isStream = false
  /** It begins the transaction of `withTransaction`. */
  begins = false
  /** It changes a variable for itself alone. The server reports that as a change of the session, which it is not. */
  leavesNothing = false
  /** The failure of the BEGIN that was sent ahead of it. */
  notBegun: unknown = undefined
  /** It began inside a transaction. */
  inside: boolean
  /** More than its preparation was sent. */
  wasRun = false
  private asked = false
  /** What is still to be sent so that the transaction begins again. */
  private beginning: Array<string> | undefined = undefined
  private running: { discards: boolean } | undefined = undefined

  constructor(
    protected readonly connection: Connection,
    readonly text: Text
  ) {
    super()
    this.inside = connection.inTransaction
  }

  get isEmpty(): boolean {
    return this.text.sql === ""
  }

  /** Sends a text that has its values in it. */
  query(sql: string, rowsAsArray: boolean): void {
    const { infileStreamFactory } = this.connection.wire.config as { readonly infileStreamFactory?: unknown }
    this.run(
      new (this.keepsRows ? Commands.Query : Commands.QueryRows)(this, { sql, rowsAsArray, infileStreamFactory })
    )
  }

  /** Executes the text as a prepared statement, and prepares it first if the server does not have it. */
  executePrepared(values: ReadonlyArray<Value>, rowsAsArray: boolean): void {
    const { wire } = this.connection
    const known = wire._statements.get(this.text.key)
    if (known !== undefined) this.execute(known, values, rowsAsArray)
    else {
      const { sql } = this.text
      this.prepares = true
      this.post(new Commands.Prepare(this, sql, (statement) => this.execute(statement, values, rowsAsArray)))
    }
  }

  /** Only prepares the statement, for others. */
  prepare(): void {
    this.prepares = true
    this.post(new Commands.Prepare(this, this.text.sql, () => this.answered(undefined)))
  }

  execute(statement: Mysql.Prepared, values: ReadonlyArray<Value>, rowsAsArray: boolean): void {
    if (this.condemned) {
      this.finish(cancelled())
      return
    }
    const problem = mismatch(statement.placeholders, values)
    if (problem !== undefined) {
      this.unsendable(problem)
      return
    }
    const { sql } = this.text
    const { style } = this.connection
    // `mysql2` decides by `sql` and `rowsAsArray` how rows are read.
    this.run(
      new (this.keepsRows ? Commands.Execute : Commands.ExecuteRows)(this, {
        sql,
        values,
        statement,
        style,
        rowsAsArray
      })
    )
  }

  protected get keepsRows(): boolean {
    return true
  }

  /** It has a prepared statement of its own. */
  get isOfCursor(): boolean {
    return false
  }

  protected run(command: InstanceType<typeof Commands.Query>): void {
    this.running = command
    this.wasRun = true
    this.post(command)
  }

  private post(command: Commands.Ahead): void {
    const { wire } = this.connection
    if (this.isMarked || this.read !== undefined) Commands.sendBehind(wire, command)
    else wire.addCommand(command)
  }

  /** Its fiber has left. The rest of the answer is discarded. */
  abandon(): void {
    if (this.running !== undefined) this.running.discards = true
  }

  flags(status: number): void {
    this.connection.observe(status)
    if ((status & SESSION_CHANGED) !== 0 && this.text.changes.reading) this.connection.session = true
  }

  ok(header: Mysql.Header): void {
    this.connection.observe(header.serverStatus)
    const { stateChanges } = header
    if (stateChanges === undefined) return
    this.connection.changed(this.leavesNothing ? { ...stateChanges, trackStateChange: null } : stateChanges)
  }

  row(_row: unknown): void {}

  answered(result: unknown): void {
    if (!this.asked) this.result = result
    if (this.beginning === undefined) {
      const begun = this.connection.broughtToAnEnd(this)
      this.beginning = begun === undefined ? undefined : [...begun]
    }
    const begin = this.beginning?.shift()
    if (begin === undefined) this.finish(this.failure)
    else {
      this.asked = true
      this.connection.wire.addCommand(new Commands.Query(this, { sql: begin }))
    }
  }

  refused(error: unknown): void {
    if (this.asked) {
      this.finish(this.failure)
      return
    }
    this.failure ??= error
    // A single statement that fails outside of a transaction leaves none open. An operation behind it brings the status as well.
    const isTold = this.next !== undefined || this.isMark
    const isHarmless = this.text.plain && !this.inside && this.connection.isAutocommit && !mayEndSession(error)
    if (isTold || isHarmless) this.finish(error)
    else {
      this.asked = true
      this.connection.wire.addCommand(new Commands.Ping(this))
    }
  }

  unsendable(error: unknown): void {
    this.unsent = true
    this.running = undefined
    // What was thrown may be anything, also nothing.
    this.failure = error instanceof Unsendable ? error : thrown(undefined, error)
    this.connection.pipeline.withdraw(this)
  }

  unread(error: unknown): void {
    this.failure ??= new Unreadable(error)
  }

  lost(error: unknown): void {
    this.connection.end(error)
  }

  /** The answer in the form of `mode`. The operation does not keep the rows. */
  takeAnswer(mode: Mode): unknown {
    const { result } = this
    this.result = undefined
    if (mode === "raw") return result
    if (mode === "command") return verbOf(this.text.sql)
    if (mode === "result" || mode === "unpreparedResult") return executed(result, verbOf(this.text.sql))
    return Array.isArray(result) ? result : []
  }

  private finish(failure: unknown): void {
    // Operation and command refer to each other. An old pair would keep its rows until the next full garbage collection, which
    // costs more than everything else that a short statement does here.
    this.running = undefined
    this.failure = failure
    this.connection.hasAnswered(this)
  }
}

/** The server would report a change of the session if the protocol had a place for it here. */
const SESSION_CHANGED = 0x4000

const none: ReadonlyArray<never> = []

/** What the last statement of a text has given and done. `result` is what `mysql2` has made of all of it. */
const executed = (result: unknown, command: string): Executed => {
  const all = isSeveral(result) ? result : [result]
  const last = all[all.length - 1]
  const { affectedRows, insertId } = Mysql.isHeader(last) ? last : { affectedRows: undefined, insertId: undefined }
  // A procedure ends with a header, behind its rows.
  const given = command === "CALL" && Mysql.isHeader(last) ? all[all.length - 2] : last
  const rows: ReadonlyArray<unknown> = Array.isArray(given) ? given : none
  return {
    rows,
    // With RETURNING there are rows instead of a header.
    affectedRows: affectedRows === undefined ? (writes.test(command) ? rows.length : 0) : Number(affectedRows),
    insertId: insertId === undefined || Number(insertId) === 0 ? undefined : idOf(insertId),
    command
  }
}

const writes = /^(?:INSERT|REPLACE|UPDATE|DELETE)$/

const isSeveral = (result: unknown): result is ReadonlyArray<unknown> =>
  Array.isArray(result) && (Array.isArray(result[0]) || Mysql.isHeader(result[0]))

/** `mysql2` gives a text where a number would not be exact. */
const idOf = (id: number | string): number | bigint => (typeof id === "number" ? id : BigInt(id))

/** The error that the server would have sent. */
const cancelled = () =>
  Object.assign(new Error("The statement was cancelled before it was executed"), {
    code: "ER_QUERY_INTERRUPTED",
    errno: 1317,
    sqlState: "70100"
  })
