import type { SqlError } from "@effect/sql/SqlError"
import { type Instant, never, type Timers } from "@sluice/pool/Deadline"
import type { Signals } from "@sluice/pool/PoolOptions"
import { TimedOut, timedOut } from "@sluice/sql/driver/Classify"
import type { ConnectionState, Cursor, Mode, Phase } from "@sluice/sql/driver/Driver"
import type { Packable, Packer } from "@sluice/sql/driver/Packing"
import { type Owner, Pipeline } from "@sluice/sql/driver/Pipeline"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect } from "effect"
import * as classify from "../classify.js"
import type { Endpoint } from "../endpoint.js"
import * as Pg from "../wire/pg.js"
import { Plans, temporary } from "../wire/plans.js"
import { CursorQuery, Mark, type Operation, Statement } from "../wire/statement.js"

const CURSOR_ROWS = 128

/**
 * One connection of `pg`, made honest: it settles an operation only when the server is ready for the next one, and knows
 * at any moment, without asking, in which state it is.
 *
 * Each operation ends with a Sync of its own, so that a failure stays its own.
 */
export class PgConnection implements Owner<Operation>, Packable {
  /** What is under way. */
  readonly pipeline: Pipeline<Operation>
  /** The server must be asked for a clean session before the next user. */
  session = false
  private retired = false
  /** The last words of the server. */
  private farewell: unknown = undefined
  readonly plans: Plans
  private portals = 0

  constructor(
    readonly client: Pg.WireClient,
    readonly endpoint: Endpoint,
    private readonly signals: Signals,
    /** What the server says about itself, unasked. */
    private readonly server: { readonly standby: boolean },
    timers: Timers["Type"],
    readonly fork: (effect: Effect.Effect<void>) => void,
    readonly packer: Packer<PgConnection> | undefined
  ) {
    this.pipeline = new Pipeline<Operation>(this, timers)
    const wire = client.connection
    this.plans = new Plans(wire)
    client.on("error", (error: unknown) => this.end(error))
    client.on("end", () => this.end(new Error("Connection terminated unexpectedly")))
    // After the client's own listener, which has read the transaction status by then.
    wire.on("readyForQuery", () => this.pipeline.answered())
    wire.on("notice", (notice: { code?: string; message?: string; severity?: string }) => this.warned(notice))
    wire.on("commandComplete", (message: { text: string }) => this.complete(message.text))
  }

  get wire(): Pg.Wire {
    return this.client.connection
  }

  get socket() {
    return this.wire.stream
  }

  get isDead(): boolean {
    return this.pipeline.fatal !== undefined || this.retired || this.wire.stream.destroyed || !this.wire.stream.writable
  }

  get inTransaction(): boolean {
    const status = this.client.getTransactionStatus()
    return status === "T" || status === "E"
  }

  status(): ConnectionState {
    if (this.isDead) return "dead"
    if (this.pipeline.current !== undefined || this.pipeline.isAborting) return "busy"
    const transaction = this.client.getTransactionStatus()
    if (transaction === "T") return "transaction"
    if (transaction === "E") return "failed"
    switch (this.endpoint.resetOnRelease) {
      case "always":
        return this.pipeline.isUsed ? "session" : "idle"
      case "never":
        return "idle"
      case "auto":
        return this.session ? "session" : "idle"
    }
  }

  describe(): string | undefined {
    const { current } = this.pipeline
    if (current !== undefined) {
      // Literals may be secrets; parameters are not in the text.
      const text = current.text
        .replace(/'(?:[^']|'')*'/g, "'…'")
        .replace(/\s+/g, " ")
        .trim()
      return `busy: ${text.length > 80 ? `${text.slice(0, 79)}…` : text}`
    }
    return this.inTransaction ? "idle in transaction" : undefined
  }

  execute(
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode,
    before: ReadonlyArray<string> = nothing,
    until: Instant = never
  ): Effect.Effect<any, SqlError> {
    // Without a canceller: an interrupted statement is not cancelled by its own fiber, which does not wait (3).
    return Effect.async((resume) => this.start(sql, params, mode, before, until, resume, false))
  }

  private start(
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode,
    before: ReadonlyArray<string>,
    until: Instant,
    resume: (effect: Effect.Effect<any, SqlError>) => void,
    again: boolean
  ): void {
    const inside = this.inTransaction
    const commits = mode === "command" && sql === "COMMIT"
    if (this.isDead) {
      resume(Effect.fail(this.error(this.pipeline.fatal ?? new Error("Connection closed"), "unsent")))
      return
    }
    const values = prepare(params)
    if (!Array.isArray(values)) {
      resume(Effect.fail(this.unsendable(values.problem)))
      return
    }
    const named =
      this.endpoint.named &&
      mode !== "unprepared" &&
      mode !== "command" &&
      !((inside || before.length > 0) && isFragile(sql))
    const plan = named ? this.plans.of(sql, params) : undefined
    const kept = plan !== undefined && this.plans.isParsed(plan)
    const statement = new Statement(sql, values, mode, plan, this.plans.takeForgotten(), this.client, before)
    if (plan !== undefined && this.packer !== undefined) {
      const text = this.packer.texts.of(sql)
      statement.profile = text
      if (kept && !inside && before.length === 0 && text.isDue()) this.pipeline.mark()
    }
    const settled = (failure: unknown): void => {
      if (failure === undefined) {
        resume(Effect.succeed(statement.answer()))
        return
      }
      if (plan !== undefined && (isStale(failure) || (kept && isMistyped(failure)))) {
        this.plans.drop(plan)
        // Nothing was executed; and unless a transaction was open already, nothing else is lost either.
        if (kept && !again && !inside && !this.pipeline.isAborting && !this.isDead) {
          const restart = () => this.start(sql, params, mode, before, until, resume, true)
          if (this.inTransaction) this.start("ROLLBACK", [], "command", nothing, until, restart, true)
          else restart()
          return
        }
      }
      const within = inside || (before.length > 0 && statement.hasBegun)
      const phase = commits ? "commit" : within ? "transaction" : "statement"
      // A statement whose deadline has passed is still under way: the next user of the connection aborts it.
      resume(Effect.fail(this.error(failure, phase, this.pipeline.current === statement)))
    }
    // Whoever sends COMMIT says how long its answer is awaited: a statement timeout would make a written transaction unknown.
    this.send(statement, settled, until, !commits)
  }

  /** Opens a cursor: sends the statement and reads the first piece with the first `next`. */
  cursor(sql: string, params: ReadonlyArray<unknown>): Effect.Effect<Cursor, SqlError> {
    return Effect.suspend(() => {
      const values = prepare(params)
      if (!Array.isArray(values)) return Effect.fail(this.unsendable(values.problem))
      const portal = `sluice_${++this.portals}`
      return Effect.succeed(this.inTransaction ? this.joined(sql, values, portal) : this.single(sql, values, portal))
    })
  }

  /** Inside a transaction: each piece is an operation of its own. */
  private joined(sql: string, values: ReadonlyArray<string | Buffer | null>, portal: string): Cursor {
    let opened = false
    let complete = false
    const next = (until: Instant) =>
      Effect.async<ReadonlyArray<any>, SqlError>((resume) => {
        if (complete) return resume(Effect.succeed([]))
        if (this.isDead)
          return resume(Effect.fail(this.error(this.pipeline.fatal ?? new Error("Connection closed"), "transaction")))
        const piece = new CursorQuery(sql, values, portal, CURSOR_ROWS, opened, true)
        opened = true
        const settled = (failure: unknown): void => {
          complete = piece.complete || failure !== undefined
          resume(
            failure === undefined
              ? Effect.succeed(piece.takeRows())
              : Effect.fail(this.error(failure, "transaction", this.pipeline.current === piece))
          )
        }
        this.send(piece, settled, until, true)
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
      // The time that the program takes for the rows is not the server's.
      this.pipeline.unbound(query)
      wake?.()
    }
    const next = (until: Instant) =>
      Effect.async<ReadonlyArray<any>, SqlError>((resume) => {
        wake = () => {
          wake = undefined
          if (failure !== undefined)
            resume(Effect.fail(this.error(failure, "statement", this.pipeline.current === query)))
          else resume(Effect.succeed(query.takeRows()))
        }
        switch (state) {
          case "ended":
            return wake()
          case "new": {
            if (this.isDead)
              return resume(Effect.fail(this.error(this.pipeline.fatal ?? new Error("Connection closed"), "unsent")))
            state = "running"
            const settled = (error: unknown): void => {
              state = "ended"
              failure = error
              wake?.()
            }
            return this.send(query, settled, until, true)
          }
          case "waiting": {
            state = "running"
            this.pipeline.bound(query, until)
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
      this.pipeline.whenReady(() => resume(Effect.void))
      query.abandon(this.wire)
    }).pipe(
      Effect.interruptible,
      Effect.timeoutTo({ duration: 100, onSuccess: () => undefined, onTimeout: () => undefined })
    )
    return { next, close: Effect.suspend(() => (state === "waiting" ? close : Effect.void)) }
  }

  sendMark(): void {
    this.send(new Mark(), () => {})
  }

  /** `until` and, if it `isBounded`, the statement timeout bound the wait for the answer. */
  send(operation: Operation, settled: (failure: unknown) => void, until = never, isBounded = false): void {
    if (isBounded) this.pipeline.sendBounded(operation, settled, until)
    else this.pipeline.send(operation, settled, until)
    if (operation.plan !== undefined) operation.plan.users++
    this.client.query(operation)
  }

  ended({ plan }: Operation): void {
    if (plan !== undefined) plan.users--
  }

  error(cause: unknown, phase: Phase, goesOn = false): SqlError {
    if (cause instanceof TimedOut) return timedOut(cause, phase, "PostgreSQL", this.endpoint.label)
    let reason = classify.classify(cause, phase)
    if (reason._tag === "NotWritable" && this.server.standby) {
      // Not a read-only transaction but a read-only server: whoever wanted to write needs another one.
      reason = { ...reason, connection: "destroy", retry: phase === "transaction" ? "transaction" : "always" }
    }
    if (reason.connection === "destroy" && !goesOn) this.retired = true
    return SqlReason.toError(reason, classify.statementMessage(cause, this.endpoint.label))
  }

  unsendable(problem: unknown): SqlError {
    return SqlReason.toError(
      SqlReason.make("Unclassified", { cause: problem }),
      `PostgreSQL at ${this.endpoint.label}: the statement was not sent, because its parameters cannot be sent: ${classify.read(problem).message}`
    )
  }

  /** A server that crashes has no time for an error: it says why with a warning, and is gone. */
  private warned({ code, message, severity }: { code?: string; message?: string; severity?: string }): void {
    if (code === "57P01" || code === "57P02") this.farewell = Object.assign(new Error(message), { code, severity })
  }

  end(error: unknown): void {
    if (this.pipeline.fatal !== undefined) return
    const operation = this.pipeline.current
    // A FATAL answer comes first, as an ordinary error of the statement that runs; then the socket closes.
    const first = operation?.failure !== undefined ? operation.failure : (this.farewell ?? error)
    this.pipeline.fail(first)
    const { code } = classify.read(first)
    if (code === "57P01" || code === "57P02") this.signals.fatal(first)
    else this.signals.broken(first)
    this.pipeline.ended(first)
  }

  /** The command tag is the only thing that says what a statement has done to the session. */
  private complete(tag: string): void {
    switch (tag.charCodeAt(0)) {
      case 68: // D
        if (tag === "DISCARD ALL") {
          this.session = false
          this.plans.clear()
        } else if (tag.startsWith("DEALLOCATE")) this.plans.clear()
        else if (tag === "DO" || tag.startsWith("DECLARE")) this.session = true
        return
      case 83: // S
        if (tag === "SET" && !local.test(this.pipeline.current?.text ?? "")) this.session = true
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
    return this.pipeline.current?.name === undefined && temporary.test(this.pipeline.current?.text ?? "")
  }
}

/** Settings that end with the transaction leave nothing behind. Only when the text is that one statement. */
const local = /^\s*set\s+(?:local|transaction)\b[^;]*;?\s*$/i

const nothing: ReadonlyArray<string> = []

/**
 * The rows of a kept plan must have the columns that they had when it was made; a table that was altered meanwhile fails
 * the statement, and inside a transaction everything with it. So there what asks for all columns is planned anew.
 */
const isFragile = (sql: string): boolean => (sql.includes("*") && hasStar.test(sql)) || isTable.test(sql)

/** Not the one of `count(*)`. */
const hasStar = /\*(?!\s*\))/
const isTable = /^\s*table\b/i

/**
 * The parameters of a kept plan have the types that the columns had when it was made: a value that fits the column of
 * today may be refused. Whether it was the plan or the value, a plan made now says.
 */
export const isMistyped = (failure: unknown): boolean => {
  switch (classify.read(failure).code) {
    case "22003":
    case "22007":
    case "22P02":
    case "22P03":
    case "42804":
    case "42883":
      return true
    default:
      return false
  }
}

export const isStale = (failure: unknown): boolean => {
  const { code, routine } = classify.read(failure)
  return code === "26000" || (code === "0A000" && routine === "RevalidateCachedQuery")
}

/** The protocol counts them in two bytes. */
const MAX_PARAMS = 65_535

export const prepare = (
  params: ReadonlyArray<unknown>
): Array<string | Buffer | null> | { readonly problem: unknown } => {
  if (params.length > MAX_PARAMS) {
    return { problem: new Error(`it has ${params.length} parameters and may have ${MAX_PARAMS}: send fewer at a time`) }
  }
  try {
    return params.map((value) => Pg.prepareValue(value))
  } catch (problem) {
    return { problem }
  }
}
