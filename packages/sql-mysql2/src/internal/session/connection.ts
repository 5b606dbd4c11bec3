import { SqlError } from "@effect/sql/SqlError"
import { never, type Timers } from "@sluice/pool/Deadline"
import type { Inspection } from "@sluice/pool/PoolOptions"
import { TimedOut, timedOut } from "@sluice/sql/driver/Classify"
import {
  type ConnectionState,
  type Control,
  isPreparable,
  type Mode,
  type Phase,
  type Signals
} from "@sluice/sql/driver/Driver"
import * as Literals from "@sluice/sql/driver/Literals"
import type { Packable, Packer } from "@sluice/sql/driver/Packing"
import { type Awaited, type Owner, Pipeline } from "@sluice/sql/driver/Pipeline"
import * as Unreadable from "@sluice/sql/driver/Unreadable"
import * as Unsendable from "@sluice/sql/driver/Unsendable"
import * as SqlReason from "@sluice/sql/SqlReason"
import type { Effect } from "effect"
import * as classify from "../classify.js"
import type { Endpoint } from "../endpoint.js"
import * as Commands from "../wire/commands.js"
import * as faults from "../wire/faults.js"
import { onlyReads } from "../wire/functions.js"
import * as Mysql from "../wire/mysql.js"
import { type Connection, Operation } from "../wire/operation.js"
import {
  commitsImplicitly,
  endsTransaction,
  handlesTransaction,
  isSeveral,
  read,
  replacesTransaction,
  type Text,
  Texts
} from "../wire/texts.js"
import * as values from "../wire/values.js"
import * as changes from "./changes.js"
import { type Server, unknown } from "./server.js"

/** Characters of a text that a diagnosis shows. */
const SHOWN = 80

/** What is known about a failure. */
export interface Failed {
  /** The statement that has failed, so that the message shows nothing of its values. */
  readonly sql?: string
  readonly params?: ReadonlyArray<unknown>
  /** The operation is still under way. */
  readonly goesOn?: boolean
}

/**
 * One connection of `mysql2`. It tells the caller of an operation only when the server is ready for the next one, and knows at any
 * moment, without asking, in which state it is.
 *
 * 1. When the server has rolled a transaction back by itself (a deadlock), only ROLLBACK or a new transaction is sent. Any other
 *    statement, which the program believes to be inside the transaction, would commit by itself.
 * 2. When a statement inside `withTransaction` commits implicitly (CREATE TABLE does), another transaction is begun in its place:
 *    what follows is still written together or not at all. But the whole must not be run again.
 */
export class MysqlConnection implements Owner<Operation>, Packable, Connection {
  /** What is under way. */
  readonly pipeline: Pipeline<Operation>
  /** The server must be asked for a clean session before the next user. */
  session = false
  /** The session has the state that the program gives it. Set by `setBaseline`, unset by `renewed`. */
  hasBaseline = false
  /** Operations under way that make the session new. They are ahead of all others. Changed by `cleanAhead`. */
  cleanings = 0
  /** Another database was chosen. */
  moved = false
  /** Set when the server is known to take one statement behind the other. */
  packer: Packer<MysqlConnection> | undefined = undefined
  /** When the first KILL was sent that the server has not answered. */
  askedAt: number | undefined = undefined
  /** The last transaction that was written here, as the server counts them. */
  position: string | undefined = undefined
  server: Server = unknown
  private status_ = Mysql.AUTOCOMMIT
  /** The server has rolled back the transaction, and the program is still inside of it (1). */
  private rolledBack = false
  /** How the transaction of `withTransaction` was begun. */
  private begun: ReadonlyArray<string> | undefined = undefined
  /** The isolation level of the next transaction is set by this text. */
  isolated: string | undefined = undefined
  /** A part of the transaction is written already (2). */
  private partlyWritten = false
  private retired = false
  readonly texts = new Texts()
  private cursors = 0
  private writing: (values.Style & { readonly charset: number }) | undefined = undefined
  /** Prepared statements that are closed with the next operation. */
  readonly orphans: Array<Mysql.Prepared> = []
  /** Packed reads that wait for their statement to be prepared, by its key. */
  private readonly preparing = new Map<string, Array<PreparedRead>>()

  constructor(
    readonly wire: Mysql.Wire,
    readonly endpoint: Endpoint,
    readonly signals: Signals,
    /** The way to the server beside this connection. */
    public control: Control<MysqlConnection> | undefined,
    timers: Timers["Type"],
    readonly fork: (effect: Effect.Effect<void>) => void
  ) {
    this.pipeline = new Pipeline<Operation>(this, timers)
    wire.on("error", (error: unknown) => this.end(error))
    const write = wire.writePacket
    wire.writePacket = (packet) => {
      // How long the values are together is known when `mysql2` has written them into the packet. It expects what is thrown here.
      if (Commands.isExecute(packet)) {
        const problem = this.tooLong(packet.buffer.length - 4)
        if (problem !== undefined) throw problem
      }
      write.call(wire, packet)
    }
  }

  get socket() {
    return this.wire.stream
  }

  get isDead(): boolean {
    return this.pipeline.fatal !== undefined || this.retired || this.wire.stream.destroyed || !this.wire.stream.writable
  }

  get inTransaction(): boolean {
    return this.rolledBack || (this.status_ & Mysql.IN_TRANSACTION) !== 0
  }

  get isAutocommit(): boolean {
    return (this.status_ & Mysql.AUTOCOMMIT) !== 0
  }

  status(): ConnectionState {
    if (this.isDead) return "dead"
    if (this.pipeline.depth > this.cleanings || this.pipeline.isAborting) return "busy"
    if (this.rolledBack) return "failed"
    if (this.inTransaction) return "transaction"
    return this.isChanged || this.isolated !== undefined ? "session" : "idle"
  }

  /** The session has to be made new before its next user. */
  get isChanged(): boolean {
    switch (this.endpoint.resetOnRelease) {
      case "always":
        return this.pipeline.isUsed
      case "never":
        return false
      default:
        return this.session || !this.isAutocommit
    }
  }

  describe(): string | undefined {
    const { asked, current } = this.pipeline
    if (asked !== undefined) {
      return `${asked.isStream ? "reading a stream" : "busy"}: ${Literals.without("mysql", asked.text.sql, SHOWN)}`
    }
    if (current !== undefined) return "busy"
    return this.inTransaction ? "idle in transaction" : undefined
  }

  /** See `Driver.inspect`. */
  inspect(): Inspection {
    const { answeredAt: since, current } = this.pipeline
    const kind = current !== undefined ? "busy" : this.inTransaction ? "idleInTransaction" : "forgotten"
    return { kind, since, remoteId: this.wire.threadId }
  }

  /** The statement may leave together with the one that begins its transaction. */
  mayFollow(sql: string): boolean {
    return this.packer !== undefined && this.texts.of(sql).isRead
  }

  prepares(text: Text, params: ReadonlyArray<unknown>, mode: Mode): boolean {
    return (
      this.endpoint.prepares &&
      isPreparable(mode) &&
      !text.unpreparable &&
      (params.length > 0 || (text.planned && !text.several && this.endpoint.resetOnRelease !== "always")) &&
      (this.endpoint.prepared.hasPlace(this.pipeline.timers) || this.wire._statements.get(text.key) !== undefined)
    )
  }

  /**
   * Whether a statement that has failed is executed as text, or is prepared anew, because its preparation was at fault and nothing
   * of it was executed. `isSecond`: it was already. What has failed is remembered, so `prepares` says which.
   */
  isPreparationAtFault(
    text: Text,
    { condemned, isOfCursor, read, wasRun }: Operation,
    failure: unknown,
    isSecond: boolean
  ): boolean {
    const { errno } = classify.read(failure)
    const { isAborting, timers } = this.pipeline
    // Nobody awaits it any more.
    const isLeft = this.isDead || isAborting || condemned
    if (!wasRun && faults.isUnpreparable(errno)) {
      text.unpreparable = true
      return !isLeft
    }
    if (!wasRun && faults.isFull(errno)) {
      const warning = this.endpoint.prepared.isFull(timers, this.endpoint.label)
      if (warning !== undefined) this.fork(warning)
      return !isLeft
    }
    if (!faults.isStale(errno)) return false
    const wasKept = this.wire._statements.delete(text.key)
    // A statement of the program itself has named another prepared statement. Of packed reads, the first one has deleted it.
    if (!wasKept && !isOfCursor && read === undefined) return false
    // Tables change faster than it is prepared.
    if (isSecond) text.unpreparable = true
    return !isLeft
  }

  /** How values are written on this connection. */
  get style(): values.Style {
    const { _isMariaDB: isMariaDb, config } = this.wire
    const { charsetNumber, timezone } = config
    // A statement may change the character set.
    if (this.writing?.charset !== charsetNumber) {
      const encoding = Mysql.encodings[charsetNumber] ?? "utf8"
      this.writing = { charset: charsetNumber, encoding, isMariaDb, timezone }
    }
    return this.writing
  }

  /** Parameters as they can be sent, or why they cannot. `isWritten`: they are written into the text. */
  parameters(params: ReadonlyArray<unknown>, isWritten: boolean): ReadonlyArray<values.Value> | SqlError {
    if (params.length === 0) return none
    const sent = values.prepare(params, this.style, isWritten)
    return sent instanceof Unsendable.Unsendable ? this.unsendable(sent) : sent
  }

  /** The text with the values in it. */
  write(sql: string, params: ReadonlyArray<values.Value>): string | SqlError {
    const escapesNothing = (this.status_ & Mysql.NO_BACKSLASH_ESCAPES) !== 0
    if (escapesNothing && !params.every(values.isSafeWithoutEscapes)) {
      return this.unsendable(
        new Unsendable.Unsendable(
          "a value cannot be written into a text while sql_mode has NO_BACKSLASH_ESCAPES: prepare the statement, or take that mode away"
        )
      )
    }
    const quotes = escapesNothing ? "withoutEscapes" : this.server.quotesNames ? "ansi" : "strings"
    try {
      const text = values.written(sql, params, this.style, quotes)
      const problem = text instanceof Unsendable.Unsendable ? text : this.problemOf(text)
      return problem === undefined ? (text as string) : this.unsendable(problem)
    } catch (problem) {
      return this.unsendable(problem)
    }
  }

  /** What keeps a text from being sent, whatever is in it. */
  private problemOf(sql: string): Unsendable.Unsendable | undefined {
    const { longest } = this.server
    // A character is three bytes at most.
    const problem = sql.length * 3 < longest - ROOM ? undefined : this.tooLong(Buffer.byteLength(sql) + 1)
    if (problem !== undefined) return problem
    const malformed = Unsendable.malformed(sql)
    return malformed === undefined ? undefined : new Unsendable.Unsendable(`the text ${malformed}`)
  }

  /** `bytes` are those of a packet. */
  private tooLong(bytes: number): Unsendable.Unsendable | undefined {
    const { longest } = this.server
    return bytes < longest
      ? undefined
      : new Unsendable.Unsendable(
          `it is ${bytes} bytes long, and max_allowed_packet of the server is ${longest}: send less at a time, or raise max_allowed_packet there`,
          { tag: "ResourceExhausted", code: "1153" }
        )
  }

  /** What keeps a statement from being sent. */
  refusal({ charsets, sql }: Text): SqlError | undefined {
    if (this.isDead) return this.error(this.pipeline.fatal ?? closedByServer(), "unsent")
    // While an abort is under way every statement is one of the abort.
    if (this.rolledBack && !this.pipeline.isAborting && !replacesTransaction(sql)) {
      return SqlReason.toError(
        SqlReason.make("TransactionAborted", { outcome: "rolledBack" }),
        `MySQL at ${this.endpoint.label}: the server has ended this transaction because of a failure, and statements are ignored until its own end: let that failure pass`
      )
    }
    const foreign = charsets.length === 0 ? undefined : changes.foreignCharset(charsets, this.endpoint.names)
    const problem = foreign ?? this.problemOf(sql)
    return problem === undefined ? undefined : this.unsendable(problem)
  }

  /** A name for a cursor, which this connection has not used yet. */
  nextCursor(): string {
    return `sluice_${++this.cursors}`
  }

  /** `until` and, if it `isBounded`, the statement timeout bound the wait for the answer. */
  send(operation: Operation, onEnd: (failure: unknown) => void, until = never, isBounded = false): void {
    if (isBounded) this.pipeline.sendBounded(operation, onEnd, until)
    else this.pipeline.send(operation, onEnd, until)
    if (this.orphans.length > 0) for (const orphan of this.orphans.splice(0)) orphan.close()
    if (operation.begins) return
    const { reported, unreported } = operation.text.changes
    if (unreported || (reported && !this.server.reports)) this.session = true
  }

  /** Notes the status of the session, which each answer brings. */
  observe(status: number): void {
    this.status_ = status
  }

  changed({ gtids, schema, systemVariables, trackStateChange }: NonNullable<Mysql.Header["stateChanges"]>): void {
    if (trackStateChange !== null) this.session = true
    if (schema !== null) {
      this.moved = schema !== this.endpoint.database
      this.session = true
    }
    const gtid = gtids.length > 0 ? gtids.join(",") : systemVariables["last_gtid"]
    if (gtid) this.position = gtid
  }

  /** The texts that begin the transaction again, if the statement has committed it implicitly (2). */
  broughtToAnEnd(operation: Operation): ReadonlyArray<string> | undefined {
    if (this.begun === undefined || !operation.inside || (this.status_ & Mysql.IN_TRANSACTION) !== 0) return undefined
    const { failure, text } = operation
    if (failure === undefined ? handlesTransaction(text.sql) : text.several || !commitsImplicitly(text.sql)) {
      return undefined
    }
    this.partlyWritten = true
    return this.begun
  }

  sendMark(): void {
    const operation = new Operation(this, nothing)
    operation.isMark = true
    this.send(operation, () => {})
    Commands.sendBehind(this.wire, new Commands.Ping(operation))
  }

  /** Begins a transaction of which `operation` is the first statement, and is sent next. */
  beginWith(sql: string, operation: Operation): void {
    const begin = new Operation(this, this.texts.of(sql))
    begin.begins = true
    begin.isMark = true
    operation.inside = true
    this.pipeline.corkForTick()
    this.send(begin, (failure) => {
      if (failure === undefined) return
      operation.notBegun = failure
      operation.inside = false
    })
    begin.query(sql, false)
  }

  /** Prepares the statement of a packed read, once for all that want it, and tells each. */
  prepareFor(read: PreparedRead, text: Text): void {
    const others = this.preparing.get(text.key)
    if (others !== undefined) {
      others.push(read)
      return
    }
    const reads = [read]
    this.preparing.set(text.key, reads)
    const operation = new Operation(this, text)
    operation.read = {
      hasLeft: () => reads.every(({ read }) => read.hasLeft()),
      collect: (all) => {
        for (const { read } of reads) read.collect(all)
      }
    }
    this.send(operation, (failure) => {
      this.preparing.delete(text.key)
      for (const read of reads) read.prepared(operation, failure)
    })
    operation.prepare()
  }

  error(cause: unknown, phase: Phase, { goesOn, params = [], sql = "" }: Failed = {}): SqlError {
    // The pool has taken the connection away, and says why.
    if (cause instanceof SqlError) return cause
    const { database, label, user } = this.endpoint
    if (cause instanceof TimedOut) return timedOut(cause, phase, "MySQL", label)
    const about: Literals.About = { dialect: "mysql", sql, params, names: [database, user] }
    if (cause instanceof Unreadable.Unreadable) return Unreadable.toError(cause, phase, "MySQL", label, about)
    // The end of a session, and nothing else, is the end of its connection: see `Pipeline.fatal`.
    const found = classify.classify(cause, phase, this.pipeline.fatal === undefined && phase !== "unsent")
    const reason: SqlReason.SqlReason =
      this.partlyWritten && (phase === "transaction" || phase === "commit")
        ? { ...found, outcome: "unknown", retry: "never" }
        : found
    if (reason._tag === "NotWritable" && reason.connection === "destroy") this.signals.role?.(false)
    if (reason.connection === "destroy" && !goesOn) this.retired = true
    const message = classify.statementMessage(cause, label, about)
    const isStacked = reason.code === "1064" && !this.endpoint.takesSeveral && isSeveral(sql)
    return SqlReason.toError(reason, isStacked ? `${message}${STACKED}` : message)
  }

  /** The error of a statement that is not sent. `problem` is `Unsendable`, or what was thrown when it was to be sent. */
  unsendable(problem: unknown): SqlError {
    const known = problem instanceof Unsendable.Unsendable ? problem : Unsendable.thrown(undefined, problem)
    return Unsendable.toError(known, "MySQL", this.endpoint.label)
  }

  /** The server has answered all of it. */
  hasAnswered(operation: Operation): void {
    if (this.pipeline.current === operation) this.pipeline.answered()
  }

  ended(operation: Operation, failure: unknown): void {
    const { sql } = operation.text
    const isInside = (this.status_ & Mysql.IN_TRANSACTION) !== 0
    if (isInside || (this.rolledBack && failure === undefined)) this.rolledBack = false
    else if (failure !== undefined && operation.inside && !endsTransaction(sql)) this.rolledBack = true
    // The isolation level may be set already, and would be that of the next transaction. With an error no change is reported.
    if (failure !== undefined && (operation.begins || mayHaveChanged(operation.text))) this.session = true
    if (operation.begins && isInside) {
      this.begun = this.isolated === undefined ? [sql] : [this.isolated, sql]
      this.partlyWritten = false
    } else if (!isInside && !this.rolledBack) this.begun = undefined
    // It holds for one transaction, and a statement that commits by itself is one.
    if (!operation.isEmpty) this.isolated = operation.begins && !isInside && failure === undefined ? sql : undefined
  }

  end(error: unknown): void {
    if (this.pipeline.fatal !== undefined) return
    const operation = this.pipeline.current
    // The server sends its error first, and closes the socket then.
    const failed = operation?.failure
    const first = failed !== undefined && !(failed instanceof Unreadable.Unreadable) ? failed : error
    this.pipeline.fail(first)
    const { errno } = classify.read(first)
    if (errno === 1053 || errno === 1077 || errno === 1079) this.signals.fatal(first)
    else this.signals.broken(first)
    if (operation !== undefined) operation.failure = first
    this.pipeline.ended(first)
  }

  /** See `Driver.baseline`. What was chosen as the database is no part of it, because no reset brings that back. */
  setBaseline(): string | undefined {
    this.hasBaseline = true
    this.session = false
    this.pipeline.renew()
    // The first statement of each user would begin a transaction, and nobody would commit it.
    return this.isAutocommit ? undefined : "it has left the session without autocommit: leave that on"
  }

  /** After a COM_RESET_CONNECTION and the settings that follow it. */
  renewed(): void {
    this.hasBaseline = false
    this.session = false
    this.moved = false
    this.rolledBack = false
    this.isolated = undefined
    this.pipeline.renew()
    this.orphans.length = 0
  }
}

const STACKED =
  ". The text has several statements, of which the server takes one: send them one by one, or set multipleStatements to true"

/** Bytes of a packet that are not its text. */
const ROOM = 16

const none: ReadonlyArray<never> = []

/** A statement of this text may have changed the session before it failed. */
const mayHaveChanged = ({ changes: { reading, reported }, sql }: Text): boolean =>
  reported || (reading && !onlyReads(sql))

/** The text of an operation without a statement. */
const nothing = read("")

/** A read that waits for its statement to be prepared. */
export interface PreparedRead {
  readonly read: Awaited
  readonly prepared: (operation: Operation, failure: unknown) => void
}

const closedByServer = () =>
  Object.assign(new Error("Connection lost: the server closed the connection"), { code: "PROTOCOL_CONNECTION_LOST" })
