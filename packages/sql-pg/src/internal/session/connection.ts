import { SqlError } from "@effect/sql/SqlError"
import { never, type Timer, type Timers } from "@sluice/pool/Deadline"
import type { Inspection } from "@sluice/pool/PoolOptions"
import { TimedOut, timedOut } from "@sluice/sql/driver/Classify"
import type { ConnectionState, Phase, Signals } from "@sluice/sql/driver/Driver"
import * as Literals from "@sluice/sql/driver/Literals"
import type { Packable, Packer } from "@sluice/sql/driver/Packing"
import { type Owner, Pipeline } from "@sluice/sql/driver/Pipeline"
import * as Unreadable from "@sluice/sql/driver/Unreadable"
import * as Unsendable from "@sluice/sql/driver/Unsendable"
import * as SqlReason from "@sluice/sql/SqlReason"
import type { Effect } from "effect"
import * as classify from "../classify.js"
import type { Endpoint } from "../endpoint.js"
import { CursorQuery } from "../wire/cursor.js"
import { Unsupported } from "../wire/failures.js"
import { Parsers, type Reported } from "../wire/formats.js"
import { CLEAN, Cleaning, Mark, type Operation, Question } from "../wire/operation.js"
import type * as Pg from "../wire/pg.js"
import { Plans } from "../wire/plans.js"
import * as changes from "./changes.js"
import { isSetIn, Limit } from "./limit.js"
import * as warnings from "./warnings.js"

/** Of a session that no statement has given another one. */
const noLimit = new Limit()

/** What tells servers apart: a primary and its standbys have the same system identifier. */
export const START = "pg_postmaster_start_time()"

/** Characters of a text that a diagnosis shows. */
const SHOWN = 80

/** What is known about a failure. */
export interface Failed {
  /** The statement that has failed, so that the message shows nothing of its values. */
  readonly sql?: string
  readonly params?: ReadonlyArray<unknown>
  /** The operation is still under way. */
  readonly goesOn?: boolean
  /** A standby would do for it as well. */
  readonly onlyReads?: boolean
}

/** Milliseconds that an idle session stays as its last user has left it, with `resetOnRelease: "always"`. */
const UNCLEANED = 1_000

const NOT_CLEANED = "Connection terminated: its session could not be cleaned"

/**
 * One connection of `pg`. It tells the caller of an operation only when the server is ready for the next one, and knows at any
 * moment, without asking, in which state it is.
 *
 * Each operation ends with a Sync of its own, so that a failure stays its own.
 */
export class PgConnection implements Owner<Operation>, Packable {
  /** What is under way. */
  readonly pipeline: Pipeline<Operation>
  /** The type parsers for rows. */
  readonly parsers: Pg.Types
  readonly plans: Plans
  /** A statement may have left something in the session: see `changes.ts`. Set by `send` and `complete`, unset by DISCARD ALL. */
  private isChanged = false
  /** The session has the state that the program gives it. Set by `setBaseline`, unset by DISCARD ALL. */
  hasBaseline = false
  /** The program gives each session a state. */
  private wantsBaseline = false
  /**
   * Somebody has used the session, and nobody has cleaned it since then. The next statement does, in its own round trip. If none comes
   * for a while it is done all the same, because the session may hold locks.
   */
  private isCleaningDue = false
  private cleaningTimer: Timer | undefined = undefined
  /** The operation under way that cleans the session, until the session is clean. */
  private cleaning: Operation | undefined = undefined
  /** Something in the session outlives DISCARD ALL. */
  private isBeyondReset = false
  /** An error has said that the connection must not be used again. */
  private retired = false
  /** The warning with which a server that crashes says why. */
  private farewell: unknown = undefined
  private portals = 0
  /** The program has executed LISTEN, and not UNLISTEN after it. */
  private listens = false
  /** When the server was started: no two servers say the same. Set by `askServer`. */
  serverStart: string | undefined = undefined
  /** Set on the connection whose notifications reach the program. */
  hears = false
  /** Set by the first statement that changes the limit. */
  private limit: Limit | undefined = undefined

  constructor(
    readonly client: Pg.WireClient,
    readonly endpoint: Endpoint,
    private readonly signals: Signals,
    /** What the server says about the session, unasked. */
    readonly reported: Reported,
    timers: Timers["Type"],
    readonly fork: (effect: Effect.Effect<void>) => void,
    readonly packer: Packer<PgConnection> | undefined
  ) {
    this.pipeline = new Pipeline<Operation>(this, timers)
    reported.begin()
    this.parsers = new Parsers(client, reported)
    const wire = client.connection
    const isExamined = (sql: string) => changes.isSeenInText(sql) || isSetIn(sql)
    this.plans = new Plans(wire, endpoint.server.names, isExamined, reported.searchPath)
    client.on("error", (error: unknown) => this.end(error))
    client.on("end", () => this.end(new Error("Connection terminated unexpectedly")))
    // Added after the client's own listener, which reads the transaction status.
    wire.on("readyForQuery", () => {
      // A function may raise such a warning. The session that has one from the server itself is never ready again.
      this.farewell = undefined
      this.pipeline.answered()
      if (this.limit !== undefined && !this.inTransaction) this.limit.transactionEnded()
    })
    wire.on("notice", (notice: { code?: string; message?: string; severity?: string }) => this.warned(notice))
    wire.on("commandComplete", (message: { text: string }) => this.complete(message.text))
    wire.on("parameterStatus", ({ parameterName, parameterValue }: Pg.ParameterStatus) => {
      if (parameterName === "search_path") this.plans.searchIn(parameterValue)
    })
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
    const { isAborting, latest } = this.pipeline
    // Nobody waits for these, and the next statement may be sent behind them. The oldest one says nothing about those behind it.
    const mayFollow = latest === undefined || latest instanceof Cleaning || latest instanceof Question
    if (!mayFollow || isAborting) return "busy"
    const transaction = this.client.getTransactionStatus()
    if (transaction === "T") return "transaction"
    if (transaction === "E") return "failed"
    switch (this.endpoint.resetOnRelease) {
      case "always":
        return this.pipeline.isUsed ? "session" : "idle"
      case "never":
        return "idle"
      case "auto":
        return this.isDirty ? "session" : "idle"
    }
  }

  /** The next user would find what an earlier one has left in the session. */
  get isDirty(): boolean {
    return this.isChanged || this.reported.isChanged
  }

  describe(): string | undefined {
    const { asked, current } = this.pipeline
    if (asked !== undefined) {
      const doing = asked instanceof CursorQuery ? "reading a stream" : "busy"
      return `${doing}: ${Literals.without("postgresql", asked.text, SHOWN)}`
    }
    if (current !== undefined) return "busy"
    return this.inTransaction ? "idle in transaction" : undefined
  }

  /** See `Driver.inspect`. */
  inspect(): Inspection {
    const { answeredAt: since, current } = this.pipeline
    const remoteId = this.endpoint.server.isProxied ? undefined : (this.client.processID ?? undefined)
    const idle = this.inTransaction ? "idleInTransaction" : this.listens ? "listener" : "forgotten"
    return { kind: current === undefined ? idle : "busy", since, remoteId }
  }

  /** Finds out which server the session is on, and waits for nothing. */
  askServer(): void {
    const { server } = this.endpoint
    if (server.isProxied || server.hidesStart) return
    const question = new Question(`select ${START}`, (start) => {
      this.serverStart = start ?? undefined
    })
    this.send(question, (failure) => {
      // A cancel was meant for the statement behind it.
      const isCancelled = failure !== undefined && classify.read(failure).code === "57014"
      if (failure !== undefined && !isCancelled && !this.isDead) server.hidesStart = true
    })
    this.pipeline.renew()
  }

  /** The session is cleaned by the statement that comes next. */
  cleanLater(): void {
    this.isCleaningDue = true
    this.pipeline.renew()
    const { timers } = this.pipeline
    this.cleaningTimer ??= timers.set(timers.now() + UNCLEANED, () => {
      this.cleaningTimer = undefined
      if (this.isCleaningDue && !this.isDead && this.pipeline.current === undefined) this.clean()
    })
  }

  /** Whether the caller, who is about to send a statement, has to clean the session with it. */
  takeCleaning(): boolean {
    if (!this.isCleaningDue) return false
    this.isCleaningDue = false
    this.isChanged = false
    this.plans.clear()
    return true
  }

  /** Cleans the session now, and waits for nothing. */
  clean(): void {
    if (!this.takeCleaning()) return
    this.send(new Cleaning(), () => {})
    this.pipeline.renew()
  }

  /** The next statement cleans the session, see `takeCleaning`. */
  get mustClean(): boolean {
    return this.isCleaningDue
  }

  /** Nothing that has to be undone at once is known to be in the session, and nothing has to be done after it was cleaned. */
  get mayCleanLater(): boolean {
    return this.endpoint.resetOnRelease === "always" && !this.isDirty && !this.wantsBaseline
  }

  /** A name for a portal, which this connection has not used yet. */
  nextPortal(): string {
    return `sluice_${++this.portals}`
  }

  sendMark(): void {
    this.send(new Mark(), () => {})
  }

  /** `until` and, if it `isBounded`, the statement timeout bound the wait for the answer. */
  send(operation: Operation, onEnd: (failure: unknown) => void, until = never, isBounded = false): void {
    if (isBounded) this.pipeline.sendBounded(operation, onEnd, until)
    else this.pipeline.send(operation, onEnd, until)
    if (operation.cleans) this.cleaning = operation
    // The text of a plan was examined when the plan was made: see `Plans.of`.
    if (operation.plan !== undefined) operation.plan.users++
    // Now and not when it has succeeded, because it may fail, or its rows may not be read to the end.
    else this.noteText(operation)
    this.client.query(operation)
  }

  private noteText({ text }: Operation): void {
    if (!changes.isSeenInText(text)) return
    this.isChanged = true
    if (changes.outlivesReset(text)) this.isBeyondReset = true
  }

  ended(operation: Operation): void {
    const { plan } = operation
    if (plan !== undefined) plan.users--
    if (this.cleaning !== operation) return
    this.cleaning = undefined
    // The answer of a connection that was lost would have said whether the statement was executed.
    if (this.pipeline.fatal !== undefined) return
    operation.isUncleaned = true
    // What was sent behind it is not executed on a session that is not clean.
    this.end(new Error(NOT_CLEANED))
    this.wire.stream.destroy()
  }

  /** The error of a statement that was to clean the session. Nothing of it was executed. */
  uncleaned(): SqlError {
    return this.error(new Error(NOT_CLEANED), "unsent")
  }

  /** The error of an operation that could not be sent, because the connection is dead. */
  unsent(): SqlError {
    return this.error(this.pipeline.fatal ?? new Error("Connection closed"), "unsent")
  }

  error(cause: unknown, phase: Phase, { goesOn, onlyReads, params = [], sql = "" }: Failed = {}): SqlError {
    // The pool has taken the connection away, and says why.
    if (cause instanceof SqlError) return cause
    const { database, label, user } = this.endpoint
    if (cause instanceof TimedOut) return timedOut(cause, phase, "PostgreSQL", label)
    const about: Literals.About = { dialect: "postgresql", sql, params, names: [database, user] }
    if (cause instanceof Unreadable.Unreadable) return Unreadable.toError(cause, phase, "PostgreSQL", label, about)
    if (cause instanceof Unsupported) {
      return SqlReason.toError(SqlReason.make("InvalidUse", { cause }), `PostgreSQL at ${label}: ${cause.message}`)
    }
    // The end of a session, and nothing else, is the end of its connection: see `Pipeline.fatal`.
    let reason = classify.classify(cause, phase, this.pipeline.fatal === undefined && phase !== "unsent")
    if (reason._tag === "Cancelled" && this.hasTimedOut) {
      reason = SqlReason.make("StatementTimeout", { code: reason.code, outcome: reason.outcome, cause })
    }
    const { isStandby } = this.reported
    if (isStandby !== false && classify.isOfStandby(cause)) {
      reason = SqlReason.make("NotWritable", { code: reason.code, outcome: reason.outcome, cause })
    }
    const isRefusedByStandby =
      reason._tag === "NotWritable" && (this.servesReadsAlone || (isStandby ?? classify.isOfStandby(cause)))
    if (isRefusedByStandby) this.signals.role?.(false)
    if (isRefusedByStandby && !onlyReads) {
      // The server is a standby. Its connections are closed, so that the next one can lead to the primary.
      reason = { ...reason, connection: "destroy", retry: phase === "transaction" ? "transaction" : "always" }
    }
    if (reason.connection === "destroy" && !goesOn) this.retired = true
    return SqlReason.toError(reason, classify.statementMessage(cause, label, about))
  }

  /** The server itself, and not the program, lets transactions only read unless they say otherwise. */
  get servesReadsAlone(): boolean {
    return this.reported.onlyReads && !this.isChanged
  }

  /** The statement that has ended last has run as long as the server lets it run. */
  private get hasTimedOut(): boolean {
    const beginning = this.endpoint.server.statementTimeout ?? this.endpoint.statementTimeout
    return (this.limit ?? noLimit).isReached(this.pipeline.took, beginning)
  }

  /** The error of a statement that is not sent. `problem` is `Unsendable`, or what was thrown when its messages were made. */
  unsendable(problem: unknown): SqlError {
    const known = problem instanceof Unsendable.Unsendable ? problem : Unsendable.thrown(undefined, problem)
    return Unsendable.toError(known, "PostgreSQL", this.endpoint.label)
  }

  /** The server session had no such prepared statement (26000), or already had one (42P05), and this connection has not caused it. */
  planSurprised(code: string): void {
    const { label, server } = this.endpoint
    if (code === "42P05") server.names.areShared = true
    if (server.isNew("proxy")) this.fork(warnings.plansLost(label, code))
  }

  /** A server that crashes sends a warning with the reason, and no error. */
  private warned({ code, message, severity }: { code?: string; message?: string; severity?: string }): void {
    if (code === "57P01" || code === "57P02") this.farewell = Object.assign(new Error(message), { code, severity })
  }

  end(error: unknown): void {
    if (this.pipeline.fatal !== undefined) return
    const operation = this.pipeline.current
    // A FATAL answer comes first, as an ordinary error of the statement that runs; then the socket closes.
    const failed = operation?.failure
    const first = failed !== undefined && !(failed instanceof Unreadable.Unreadable) ? failed : (this.farewell ?? error)
    this.pipeline.fail(first)
    const { code } = classify.read(first)
    if (code === "57P01" || code === "57P02") this.signals.fatal(first)
    else this.signals.broken(first)
    this.pipeline.ended(first)
  }

  /** Why `DISCARD ALL` does not clean the session, if so. */
  get uncleanable(): SqlError | undefined {
    return this.isBeyondReset
      ? SqlReason.toError(
          SqlReason.make("InvalidUse", { connection: "destroy" }),
          `PostgreSQL at ${this.endpoint.label}: the session has called dblink_connect, which no reset undoes, so its connection is closed`
        )
      : undefined
  }

  /** See `Driver.baseline`. */
  setBaseline(): undefined {
    this.hasBaseline = true
    this.wantsBaseline = true
    this.reported.begin()
    this.isChanged = false
    this.pipeline.renew()
    return undefined
  }

  private unheard(): void {
    const { label, server } = this.endpoint
    if (server.isNew("listen")) this.fork(warnings.unheard(label))
  }

  /** Called with the command tag of each statement that has succeeded. */
  private complete(tag: string): void {
    const { current } = this.pipeline
    if (this.cleaning !== undefined && this.cleaning === current) {
      this.cleaning = undefined
      this.listens = false
      this.limit?.renew()
      return
    }
    if (tag === CLEAN || tag === "DEALLOCATE ALL") {
      this.plans.clear()
      if (tag === CLEAN) {
        this.hasBaseline = false
        this.listens = false
        this.limit?.renew()
      }
      this.isChanged = this.wantsBaseline || (tag !== CLEAN && this.isChanged)
      return
    }
    if (this.wantsBaseline && changes.takesAway(tag)) this.isChanged = true
    if (current === undefined) return
    if (tag === "UNLISTEN") this.listens = false
    if (tag === "LISTEN" && !this.hears) {
      this.listens = true
      this.unheard()
    }
    // The text of a plan was examined when the plan was made: see `Plans.of`.
    if (current.plan === undefined && isSetIn(current.text)) {
      this.limit ??= new Limit()
      this.limit.read(current.text)
    }
    if (changes.isSeenInTag(tag, current.text)) this.isChanged = true
    // A text may begin with DISCARD ALL.
    else if (current.plan === undefined) this.noteText(current)
  }
}
