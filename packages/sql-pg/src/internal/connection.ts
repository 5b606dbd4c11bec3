import type { SqlError } from "@effect/sql/SqlError"
import type { Signals } from "@sluice/pool/PoolOptions"
import type { ConnectionState, Cursor, Mode, Phase } from "@sluice/sql/SqlDriver"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect } from "effect"
import * as classify from "./classify.js"
import type { Endpoint } from "./endpoint.js"
import * as Pg from "./pg.js"
import { CursorQuery, isPreparable, type Operation, Statement } from "./statement.js"

/** Prepared statements kept by each connection. More cost memory of the server, fewer cost planning. */
const MAX_PLANS = 100

const CURSOR_ROWS = 128

/**
 * One connection of `pg`, made honest: it settles an operation only when the server is ready for the next one, and knows
 * at any moment, without asking, in which state it is.
 *
 * 1. One operation at a time; `current` is it, from its first byte until ReadyForQuery or the end of the connection.
 * 2. `fatal` is the first thing that went wrong. What follows it, an `end` without a code, says less.
 * 3. A fiber that leaves does not end its operation: the connection stays busy until `abort`.
 */
export class PgConnection {
  current: Operation | undefined = undefined
  fatal: unknown = undefined
  /** The server must be asked for a clean session before the next user. */
  session = false
  /** Something was executed since the last reset. */
  used = false
  /** Set while an abort is under way. */
  aborting: Set<(failure: unknown) => void> | undefined = undefined
  /** Called once each, when `current` has ended. */
  private readonly waiters: Array<() => void> = []
  private retired = false
  /** Text to name, least recently used first. */
  private readonly plans = new Map<string, string>()
  private forget: Array<string> = []
  private names = 0

  constructor(
    readonly client: Pg.WireClient,
    readonly endpoint: Endpoint,
    private readonly signals: Signals,
    /** What the server says about itself, unasked. */
    private readonly server: { readonly standby: boolean }
  ) {
    const wire = client.connection
    client.on("error", (error: unknown) => this.end(error))
    client.on("end", () => this.end(new Error("Connection terminated unexpectedly")))
    // After the client's own listener, which has read the transaction status by then.
    wire.on("readyForQuery", () => this.ready())
    wire.on("commandComplete", (message: { text: string }) => this.complete(message.text))
  }

  get wire(): Pg.Wire {
    return this.client.connection
  }

  get isDead(): boolean {
    return this.fatal !== undefined || this.retired || this.wire.stream.destroyed || !this.wire.stream.writable
  }

  get inTransaction(): boolean {
    const status = this.client.getTransactionStatus()
    return status === "T" || status === "E"
  }

  status(): ConnectionState {
    if (this.isDead) return "dead"
    if (this.current !== undefined || this.aborting !== undefined) return "busy"
    const transaction = this.client.getTransactionStatus()
    if (transaction === "T") return "transaction"
    if (transaction === "E") return "failed"
    switch (this.endpoint.resetOnRelease) {
      case "always":
        return this.used ? "session" : "idle"
      case "never":
        return "idle"
      case "auto":
        return this.session ? "session" : "idle"
    }
  }

  describe(): string | undefined {
    if (this.current !== undefined) {
      // Literals may be secrets; parameters are not in the text.
      const text = this.current.text
        .replace(/'(?:[^']|'')*'/g, "'…'")
        .replace(/\s+/g, " ")
        .trim()
      return `busy: ${text.length > 80 ? `${text.slice(0, 79)}…` : text}`
    }
    return this.inTransaction ? "idle in transaction" : undefined
  }

  /** Closes without waiting for anything. */
  destroy(): void {
    this.fatal ??= new Error("Connection destroyed")
    this.wire.stream.destroy()
  }

  execute(sql: string, params: ReadonlyArray<unknown>, mode: Mode): Effect.Effect<any, SqlError> {
    // Without a canceller: an interrupted statement is not cancelled by its own fiber, which does not wait (3).
    return Effect.async((resume) => this.start(sql, params, mode, resume, false))
  }

  private start(
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode,
    resume: (effect: Effect.Effect<any, SqlError>) => void,
    again: boolean
  ): void {
    const inside = this.inTransaction
    if (this.isDead) {
      resume(Effect.fail(this.error(this.fatal ?? new Error("Connection closed"), "unsent")))
      return
    }
    const values = prepare(params)
    if (!Array.isArray(values)) {
      resume(Effect.fail(this.unsendable(values.problem)))
      return
    }
    const plan = mode === "unprepared" || mode === "command" ? "" : this.plan(sql, params)
    const kept = plan !== "" && this.wire.parsedStatements[plan] !== undefined
    const statement = new Statement(sql, values, mode, { name: plan, forget: this.takeForgotten() })
    this.send(statement, (failure) => {
      if (failure === undefined) return resume(Effect.succeed(answer(statement, mode)))
      if (plan !== "" && isStale(failure)) {
        this.drop(sql)
        // Nothing was executed; and outside of a transaction nothing else is lost either.
        if (kept && !again && !inside && this.aborting === undefined && !this.isDead) {
          return this.start(sql, params, mode, resume, true)
        }
      }
      const phase = mode === "command" && sql === "COMMIT" ? "commit" : inside ? "transaction" : "statement"
      resume(Effect.fail(this.error(failure, phase)))
    })
  }

  /** Opens a cursor: sends the statement and reads the first piece with the first `next`. */
  cursor(sql: string, params: ReadonlyArray<unknown>): Effect.Effect<Cursor, SqlError> {
    return Effect.suspend(() => {
      const values = prepare(params)
      if (!Array.isArray(values)) return Effect.fail(this.unsendable(values.problem))
      const portal = `sluice_${++this.names}`
      return Effect.succeed(this.inTransaction ? this.joined(sql, values, portal) : this.single(sql, values, portal))
    })
  }

  /** Inside a transaction: each piece is an operation of its own. */
  private joined(sql: string, values: ReadonlyArray<string | Buffer | null>, portal: string): Cursor {
    let opened = false
    let complete = false
    const next = Effect.async<ReadonlyArray<any>, SqlError>((resume) => {
      if (complete) return resume(Effect.succeed([]))
      if (this.isDead)
        return resume(Effect.fail(this.error(this.fatal ?? new Error("Connection closed"), "transaction")))
      const piece = new CursorQuery(sql, values, portal, CURSOR_ROWS, opened, true)
      opened = true
      this.send(piece, (failure) => {
        complete = piece.complete || failure !== undefined
        resume(
          failure === undefined ? Effect.succeed(piece.takeRows()) : Effect.fail(this.error(failure, "transaction"))
        )
      })
    })
    const close = Effect.suspend(() => {
      if (!opened || complete || this.status() !== "transaction") return Effect.void
      complete = true
      // Told with the next operation: the portal costs the server little, a round trip costs everybody.
      return Effect.sync(() => this.wire.close({ type: "P", name: portal }))
    })
    return { next, close }
  }

  /** Outside of a transaction: the whole cursor is one operation. */
  private single(sql: string, values: ReadonlyArray<string | Buffer | null>, portal: string): Cursor {
    const query = new CursorQuery(sql, values, portal, CURSOR_ROWS, false, false)
    let state: "new" | "running" | "waiting" | "ended" = "new"
    let failure: unknown
    let wake: (() => void) | undefined
    query.suspended = () => {
      state = "waiting"
      wake?.()
    }
    const next = Effect.async<ReadonlyArray<any>, SqlError>((resume) => {
      wake = () => {
        wake = undefined
        if (failure !== undefined) resume(Effect.fail(this.error(failure, "statement")))
        else resume(Effect.succeed(query.takeRows()))
      }
      switch (state) {
        case "ended":
          return wake()
        case "new": {
          if (this.isDead)
            return resume(Effect.fail(this.error(this.fatal ?? new Error("Connection closed"), "unsent")))
          state = "running"
          return this.send(query, (error) => {
            state = "ended"
            failure = error
            wake?.()
          })
        }
        case "waiting": {
          state = "running"
          return query.more(this.wire)
        }
        case "running":
          // The fiber that asked for this piece has left; the one that asks now gets it.
          return
      }
    })
    const close = Effect.async<void>((resume) => {
      if (state !== "waiting" || this.isDead) return resume(Effect.void)
      // The server waits for us, so this takes one round trip; if it takes longer the owner of the lease aborts.
      this.waiters.push(() => resume(Effect.void))
      query.abandon(this.wire)
    }).pipe(
      Effect.interruptible,
      Effect.timeoutTo({ duration: 100, onSuccess: () => undefined, onTimeout: () => undefined })
    )
    return { next, close: Effect.suspend(() => (state === "waiting" ? close : Effect.void)) }
  }

  /** Sends an operation. `settled` is called once, when the server is ready again or the connection has ended. */
  send(operation: Operation, settled: (failure: unknown) => void): void {
    if (this.current !== undefined) {
      throw new Error("a statement was sent on a connection that is still busy with another one")
    }
    this.current = operation
    this.used = true
    operation.settled = settled
    this.client.query(operation)
  }

  /** Calls `f` when no operation is under way, or the connection has ended; gives a way to stop waiting. */
  whenReady(f: () => void): () => void {
    if (this.current === undefined) {
      f()
      return () => {}
    }
    this.waiters.push(f)
    return () => {
      const index = this.waiters.indexOf(f)
      if (index >= 0) this.waiters.splice(index, 1)
    }
  }

  error(cause: unknown, phase: Phase): SqlError {
    let reason = classify.classify(cause, phase)
    if (reason._tag === "NotWritable" && this.server.standby) {
      // Not a read-only transaction but a read-only server: whoever wanted to write needs another one.
      reason = { ...reason, connection: "destroy", retry: phase === "transaction" ? "T" : "A" }
    }
    if (reason.connection === "destroy") this.retired = true
    return SqlReason.toError(reason, classify.statementMessage(cause, this.endpoint.label))
  }

  private unsendable(problem: unknown): SqlError {
    return SqlReason.toError(
      SqlReason.make("Unclassified", { cause: problem }),
      `PostgreSQL at ${this.endpoint.label}: the statement was not sent, because a parameter cannot be turned into text: ${classify.read(problem).message}`
    )
  }

  private ready(): void {
    const operation = this.current
    if (operation !== undefined) this.settle(operation, operation.failure)
  }

  private settle(operation: Operation, failure: unknown): void {
    this.current = undefined
    const { settled } = operation
    operation.settled = undefined
    settled?.(failure)
    if (this.current !== undefined) return
    for (const waiter of this.waiters.splice(0)) waiter()
  }

  private end(error: unknown): void {
    if (this.fatal !== undefined) return
    const operation = this.current
    // A FATAL answer comes first, as an ordinary error of the statement that runs; then the socket closes.
    const first = operation?.failure !== undefined ? operation.failure : error
    this.fatal = first
    const { code } = classify.read(first)
    if (code === "57P01" || code === "57P02") this.signals.fatal(first)
    else this.signals.broken(first)
    if (operation !== undefined) this.settle(operation, first)
    else for (const waiter of this.waiters.splice(0)) waiter()
  }

  private plan(sql: string, params: ReadonlyArray<unknown>): string {
    const known = this.plans.get(sql)
    if (known !== undefined) {
      this.plans.delete(sql)
      this.plans.set(sql, known)
      return known
    }
    if (!isPreparable(sql, params) || temporary.test(sql)) return ""
    if (this.plans.size >= MAX_PLANS) {
      for (const oldest of this.plans.keys()) {
        this.drop(oldest)
        break
      }
    }
    const name = `s${++this.names}`
    this.plans.set(sql, name)
    return name
  }

  private drop(sql: string): void {
    const name = this.plans.get(sql)
    if (name === undefined) return
    this.plans.delete(sql)
    delete this.wire.parsedStatements[name]
    delete this.wire.submittedNamedStatements[name]
    this.forget.push(name)
  }

  private takeForgotten(): ReadonlyArray<string> {
    if (this.forget.length === 0) return none
    const names = this.forget
    this.forget = []
    return names
  }

  /** The command tag is the only thing that says what a statement has done to the session. */
  private complete(tag: string): void {
    switch (tag.charCodeAt(0)) {
      case 68: // D
        if (tag === "DISCARD ALL") {
          this.session = false
          this.forgetAll()
        } else if (tag.startsWith("DEALLOCATE")) this.forgetAll()
        else if (tag === "DO" || tag.startsWith("DECLARE")) this.session = true
        return
      case 83: // S
        if (tag === "SET" && !local.test(this.current?.text ?? "")) this.session = true
        else if (tag.startsWith("SELECT") && this.makesTemporary()) this.session = true
        return
      case 67: // C
        if (tag === "CALL" || (tag.startsWith("CREATE") && this.makesTemporary())) this.session = true
        return
      case 76: // L
        if (tag === "LISTEN" || tag === "LOAD") this.session = true
        return
      case 80: // P
        if (tag === "PREPARE") this.session = true
        return
    }
  }

  private makesTemporary(): boolean {
    // Statements with a name were looked at when they got it.
    return this.current?.name === undefined && temporary.test(this.current?.text ?? "")
  }

  private forgetAll(): void {
    for (const name of this.plans.values()) {
      delete this.wire.parsedStatements[name]
      delete this.wire.submittedNamedStatements[name]
    }
    this.plans.clear()
    this.forget = []
  }
}

const none: ReadonlyArray<string> = []

/** Settings that end with the transaction leave nothing behind. Only when the text is that one statement. */
const local = /^\s*set\s+(?:local|transaction)\b[^;]*;?\s*$/i

const temporary = /\b(?:temp|temporary)\b/i

const isStale = (failure: unknown): boolean => {
  const { code, routine } = classify.read(failure)
  return code === "26000" || (code === "0A000" && routine === "RevalidateCachedQuery")
}

const prepare = (params: ReadonlyArray<unknown>): Array<string | Buffer | null> | { readonly problem: unknown } => {
  try {
    return params.map((value) => Pg.prepareValue(value))
  } catch (problem) {
    return { problem }
  }
}

const answer = (statement: Statement, mode: Mode): unknown => {
  const results = statement._results
  if (mode === "raw") return results
  if (mode === "command") return (Array.isArray(results) ? results[results.length - 1] : results)?.command ?? ""
  return Array.isArray(results) ? results.map((result) => result.rows) : results.rows
}
