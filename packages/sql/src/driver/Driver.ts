/**
 * What a database must be able to do so that everything else in this package works on it.
 *
 * A driver owns single connections and nothing more: no pool, no routing, no retry. Every effect it returns may be
 * interrupted at any moment; a statement whose fiber was interrupted goes on, and `status` says `busy` until the server
 * has reported that the connection is ready again.
 *
 * @since 0.1.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { Instant } from "@sluice/pool/Deadline"
import type * as PoolOptions from "@sluice/pool/PoolOptions"
import type { Effect, Fiber, Scope } from "effect"
import type { CommitFate, SqlReason } from "../SqlReason.js"
import type { Counts } from "./Profile.js"

/**
 * What a connection says about itself without I/O.
 *
 * - `idle`: ready, nothing is open, the session is as it was when it was opened.
 * - `session`: ready, but its settings or temporary objects were changed: reset before the next caller.
 * - `transaction`: ready, inside a transaction.
 * - `failed`: ready, inside a transaction that can only be rolled back.
 * - `busy`: the server has not yet reported that it is ready.
 * - `dead`: will never be ready again.
 *
 * @since 0.1.0
 * @category models
 */
export type ConnectionState = "idle" | "session" | "transaction" | "failed" | "busy" | "dead"

/**
 * How the answer of a statement is wanted.
 *
 * - `rows`: objects; the statement may be prepared by name.
 * - `unprepared`: objects, and never prepared by name.
 * - `values`: arrays.
 * - `raw`: what the underlying library returns.
 * - `command`: the command tag, for example `COMMIT`; never prepared by name.
 * - `result`: an `Executed`; the statement may be prepared by name.
 * - `unpreparedResult`: an `Executed`, and never prepared by name.
 *
 * @since 0.1.0
 * @category models
 */
export type Mode = "rows" | "unprepared" | "values" | "raw" | "command" | "result" | "unpreparedResult"

/**
 * Whether a statement with this mode may be prepared by name.
 *
 * @since 0.2.0
 * @category guards
 */
export const isPreparable = (mode: Mode): boolean =>
  mode !== "unprepared" && mode !== "unpreparedResult" && mode !== "command"

/**
 * What a statement has given and done. Of a text with several statements: what the last one has.
 *
 * @since 0.2.0
 * @category models
 */
export interface Executed<out A = any> {
  readonly rows: ReadonlyArray<A>
  /**
   * Rows that were inserted, changed or deleted; 0 for a statement that only reads. MySQL counts the rows that an UPDATE has
   * matched, also if it has not changed them, and 2 for a row that ON DUPLICATE KEY UPDATE has changed.
   */
  readonly affectedRows: number
  /**
   * MySQL: the AUTO_INCREMENT of the first row that was inserted, a `bigint` where a number could not hold it; `undefined` if
   * the statement has made none, and with RETURNING. PostgreSQL: always `undefined`, use RETURNING.
   */
  readonly insertId: number | bigint | undefined
  /**
   * The first word of the command, in capitals: `INSERT`. PostgreSQL says it itself, so it is that of the statement behind a WITH.
   * For MySQL it is the first word of the text.
   */
  readonly command: string
}

/**
 * What was under way when an error came.
 *
 * - `connect`: opening a connection.
 * - `unsent`: the connection was known to be dead, so the statement was never sent.
 * - `statement`: a statement that commits by itself.
 * - `transaction`: a statement inside a transaction.
 * - `commit`: the COMMIT.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase = "connect" | "unsent" | "statement" | "transaction" | "commit"

/**
 * An answer that is read in pieces.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cursor {
  /**
   * The next rows, as objects; none after the last ones. The server is asked for a piece only when this runs. Nobody waits for
   * a piece longer than `until`, or than the statement timeout of the connection and one second more.
   */
  readonly next: (until: Instant) => Effect.Effect<ReadonlyArray<any>, SqlError>
  /**
   * Frees what the server keeps for the cursor. Never waits for a statement that is running: then the connection stays `busy`,
   * and its owner must abort the statement.
   */
  readonly close: Effect.Effect<void>
}

/**
 * How a transaction begins.
 *
 * @since 0.1.0
 * @category models
 */
export interface BeginOptions {
  readonly isolation?: "read uncommitted" | "read committed" | "repeatable read" | "serializable" | undefined
  readonly readOnly?: boolean | undefined
  readonly deferrable?: boolean | undefined
}

/**
 * Where a pool connects to.
 *
 * @since 0.1.0
 * @category models
 */
export interface EndpointInfo {
  /** Equal for two endpoints that are the same database, reached with the same user on the same address. */
  readonly key: string
  /** For names and messages; never has a password in it. */
  readonly label: string
  /** The name or the number under which the server is reached, if it is not a socket. */
  readonly host?: string | undefined
  /** `server.address` of OpenTelemetry: the host, or the path of the socket. Default unknown. */
  readonly address?: string | undefined
  /** `server.port` of OpenTelemetry; `undefined` for a socket. */
  readonly port?: number | undefined
  /** How long its statements take. Without it routers compare the numbers of connections only. */
  readonly times?: {
    /** Milliseconds, a mean of the last second or so; 0 until a statement was answered. Read often, so reading must cost nothing. */
    readonly latency: number
  }
  /** What was done on all connections to it. Without it nobody can be told. */
  readonly counts?: Readonly<Counts> | undefined
}

/**
 * How a driver lets statements of several callers share a connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface Packing<in Conn> {
  /** Statements on one connection at most. */
  readonly depth: number
  /** Whether a statement that commits by itself may share a connection. Asked before there is a connection. */
  readonly packs: (sql: string, mode: Mode, params: ReadonlyArray<unknown>) => boolean
  /** Whether one more statement may join those on this connection. Never throws, never blocks. */
  readonly admits: (connection: Conn) => boolean
  /** Whether what is under way on this connection takes much longer than expected. Never throws, never blocks. */
  readonly stalls: (connection: Conn) => boolean
  /**
   * Sends a statement on a connection that other callers use as well. A statement that fails, or whose fiber is interrupted,
   * does not affect the others. Calls `resume` once, when the statement has ended, whatever becomes of the connection and of
   * the fiber.
   */
  readonly start: (connection: Conn, request: PackedRequest) => void
}

/**
 * One packed read: the statement, the fiber that awaits it, and the callback for its result.
 *
 * @since 0.1.0
 * @category models
 */
export interface PackedRequest {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
  readonly mode: Mode
  /** The fiber that awaits the answer. */
  readonly fiber: Fiber.RuntimeFiber<any, any>
  /** Whether an interrupt of the fiber ends its wait. */
  readonly interruptible: boolean
  /** The instant after which the fiber does not await the answer. */
  readonly until: Instant
  /** The read has ended, with this. Called once. */
  readonly resume: (effect: Effect.Effect<any, SqlError>) => void
  /** Tells the caller before the read has ended on this connection. `resume` is called later all the same. */
  readonly answer: (effect: Effect.Effect<any, SqlError>) => void
  /**
   * Executes the statement once more, on another connection and if possible on another server, in a fiber of its own. `late` is the
   * connection that it is held up on. `sent` is called when it has the other connection; not if the fiber ends before. No fiber: too
   * much was executed again already. `undefined`: it is executed here and nowhere else.
   */
  readonly again:
    | ((request: PackedRequest, sent: () => void, late: object) => Fiber.RuntimeFiber<any, SqlError> | undefined)
    | undefined
}

/**
 * Who watches connections for silence.
 *
 * @since 0.2.0
 * @category models
 */
export interface Observer {
  /** False: the observer is told when something begins. */
  readonly isWatching: boolean
  /** An operation was sent on a connection on which none was under way. Called only while nobody is watching. */
  readonly began: () => void
  /** An operation that is under way since then is overdue. */
  readonly late: (since: Instant) => void
}

/**
 * What a connection awaits of its server. Reading it costs no I/O.
 *
 * @since 0.2.0
 * @category models
 */
export interface Awaiting {
  /** Whether operations are under way, also if nothing is awaited now because the program reads a stream slowly. */
  readonly isBusy: boolean
  /** The oldest operation that the server has to answer. Each operation is another object. `undefined`: nothing is awaited now. */
  readonly operation: object | undefined
  /** The earliest instant at which the server can have begun with it. */
  readonly since: Instant
  /** When the server has last answered an operation; 0 before that. */
  readonly answeredAt: Instant
  /** Bytes that have come from the server. */
  readonly received: number
  /** Milliseconds; 0 until it is known. */
  readonly roundTrip: number
  /** Tells `observer` from now on. */
  readonly observe: (observer: Observer) => void
  /** Sends the packed reads that are under way on other connections as well, once. */
  readonly sendElsewhere: () => void
  /** The connection is lost for this reason: ends everything that is under way on it, and closes it. */
  readonly lose: (cause: Error) => void
}

/**
 * What a server says about a session of its own.
 *
 * - `gone`: it does not know the session.
 * - `waiting`: it has answered everything, or waits for the client to send or to read something.
 * - `working`: it executes a statement, or it does not say.
 *
 * @since 0.2.0
 * @category models
 */
export interface SessionState {
  readonly state: "gone" | "waiting" | "working"
  /** Equal for two answers if the session has done nothing in between, as far as the server tells. */
  readonly mark: string
}

/**
 * How a driver finds out about a statement without an answer.
 *
 * @since 0.2.0
 * @category models
 */
export interface Silence<in Conn> {
  /** Called once for each connection. */
  readonly awaiting: (connection: Conn) => Awaiting
  /**
   * The server that the connection is on. Equal for two connections to one server that was not started again in between.
   * `undefined`: not known, or the number of the session is not its own, because of a proxy. Then nobody asks for the session.
   */
  readonly server: (connection: Conn) => string | undefined
  /** Asks for the sessions of `suspects` on another connection, in one round trip. Their order is that of the answer. */
  readonly ask: (
    control: Conn,
    suspects: ReadonlyArray<Conn>
  ) => Effect.Effect<{ readonly server: string | undefined; readonly sessions: ReadonlyArray<SessionState> }, SqlError>
}

/**
 * Runs `f` on the control connection of an endpoint: a connection that no pool counts, opened when it is first needed and used
 * by one caller at a time. For work that cannot wait for a connection of the pool, such as cancelling a statement of one. The
 * bound is the abort timeout of the pool, also where the caller cannot be interrupted.
 *
 * @since 0.1.0
 * @category models
 */
export type Control<out Conn> = <A>(f: (connection: Conn) => Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>

/**
 * What a connection reports while it is open, without being asked.
 *
 * @since 0.2.0
 * @category models
 */
export interface Signals extends PoolOptions.Signals {
  /** The session has just seen that its server takes writes, or that it takes none. Called at changes and at refusals. */
  readonly role?: ((isWritable: boolean) => void) | undefined
}

/**
 * What a server says about itself and its place among the others.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServerState {
  /** It takes writes: it is no standby, does not replicate from another server, and is not set to read-only. */
  readonly isWritable: boolean
  /** It replicates from another server. */
  readonly isReplica: boolean
  /**
   * Rises when a standby is promoted: the timeline of PostgreSQL. Of two servers that take writes the one with the higher
   * generation is right. `undefined`: the database counts none, or a standby, whose generation is that of its primary.
   */
  readonly generation: number | undefined
  /** Equal for a primary and its replicas, and different for any other server. `undefined`: it cannot be told. */
  readonly history: string | undefined
  /** Equal for every address of one and the same server, and different for any other. `undefined`: it cannot be told. */
  readonly instance: string | undefined
  /** Others may take writes at the same time, because the server is one of a group that agrees about each write. */
  readonly sharesWrites: boolean
  /** How far its history goes: what a primary has written, or what a replica has replayed. `undefined`: it cannot be told. */
  readonly position: string | undefined
  /** Milliseconds that a replica is behind, as the server itself says. `undefined`: it does not say. */
  readonly lag: number | undefined
}

/**
 * What a server counts of the connections to it, whoever has opened them.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServerLoad {
  readonly connections: number
  readonly maxConnections: number
  /** Connections of the user of this pool that run a statement, without the one that asks. */
  readonly active: number
  /** Connections of this user that are idle in a transaction. `undefined`: the user may not know. */
  readonly idleInTransaction: number | undefined
}

/**
 * The driver seam.
 *
 * @since 0.1.0
 * @category models
 */
export interface Driver<Endpoint, Conn> {
  /** For messages, for example `PostgreSQL`. */
  readonly name: string
  readonly endpoint: (endpoint: Endpoint) => EndpointInfo
  /**
   * Opens a connection; the scope closes it, with a bound. `signals` report what happens to the connection while no statement
   * runs. `control` is a second way to the same server; the control connection itself is opened without it. The context has
   * the `Timers` of this `Sql`: take them with `Deadline.ofContext`.
   */
  readonly connect: (
    endpoint: Endpoint,
    signals: Signals,
    control?: Control<Conn>
  ) => Effect.Effect<Conn, SqlError, Scope.Scope>
  /** One round trip that changes nothing. */
  readonly ping: (connection: Conn) => Effect.Effect<void, SqlError>
  /** Ends an open transaction and undoes what the program has changed in the session. */
  readonly reset: (connection: Conn) => Effect.Effect<void, SqlError>
  /**
   * The state that the program gives each new session, and that counts as clean from then on. Neither does I/O.
   *
   * - `isMissing`: it was not given yet, or something has taken it away. True for a new connection, and after a `reset` that has
   *   made the session new; not after one that has only ended a transaction.
   * - `set`: the session is as it shall be. From now on `status` says `session` when its state may be another, also when a statement
   *   has brought back the state from before. Gives what is wrong with this state, if no connection may have it.
   */
  readonly baseline: {
    readonly isMissing: (connection: Conn) => boolean
    readonly set: (connection: Conn) => string | undefined
  }
  /**
   * Cancels the statement that runs at the moment of the call, over another connection, and waits until the server has
   * confirmed it, so that the cancel cannot hit the next statement. If that statement has ended before the effect is run, the
   * effect does nothing, because the connection may have another user by then. A second abort of the same statement joins the
   * first.
   */
  readonly abort: (connection: Conn) => Effect.Effect<void, SqlError>
  /** Never throws, never blocks. */
  readonly status: (connection: Conn) => ConnectionState
  /**
   * What a leased connection is used for, for the report of a lease that is held too long. A cursor that is read needs not be told
   * apart from a statement. Never throws, never blocks.
   */
  readonly inspect: (connection: Conn) => PoolOptions.Inspection
  /**
   * The connection must not be used any more: `status` says `dead` from now on, and what is executed on it fails with `error`. Closes
   * nothing.
   */
  readonly takeAway: (connection: Conn, error: SqlError) => void
  /** What the connection is doing, for diagnosis; never with parameters or literals. */
  readonly describe: (connection: Conn) => string | undefined
  /**
   * Succeeds or fails only when the connection is ready for the next statement (or dead). The call itself never throws.
   *
   * `before` are statements without parameters whose answers nobody reads, such as BEGIN. They are executed first, in the same
   * round trip where the protocol allows it. If one fails, nothing after it is executed that could leave anything behind, and
   * its failure is the failure of all.
   *
   * `until` is the instant after which nobody awaits the answer. Then the effect fails with `StatementTimeout`, or, if the
   * statement is COMMIT, with `CommitUnknown`; the connection stays `busy` until the server has answered. This holds where the
   * fiber cannot be interrupted, too. COMMIT is bounded by `until` alone, every other statement also by the statement timeout
   * of the connection and one second more. Default: never.
   */
  readonly execute: (
    connection: Conn,
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode,
    before?: ReadonlyArray<string>,
    until?: Instant
  ) => Effect.Effect<any, SqlError>
  /** Without it every statement has a connection for itself. */
  readonly packing?: Packing<Conn> | undefined
  /** Without it a connection whose socket is silent keeps its place until somebody stops waiting. */
  readonly silence?: Silence<Conn> | undefined
  /** Opens a cursor. Inside a transaction other statements may run between two `next`. */
  readonly stream: (connection: Conn, sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<Cursor, SqlError>
  /** The statements that open a transaction. */
  readonly begin: (options: BeginOptions) => ReadonlyArray<string>
  /**
   * Asks the server for the identity of the transaction that is open on the connection. The function in the result asks on
   * another connection what became of that transaction; `open` means that it is not finished. A driver without it cannot tell.
   */
  readonly transactionId?: (
    connection: Conn
  ) => Effect.Effect<(other: Conn) => Effect.Effect<CommitFate | "open", SqlError>, SqlError>
  /**
   * Asks the server which server, database and user the connection has reached. Equal for two connections to the same, over whatever
   * addresses, and different for a primary and its replica. `undefined`, or a failure: it cannot be told. Asked on the first
   * connection of a pool, and on the first one after a connection was lost. A driver without it cannot tell.
   */
  readonly identity?: ((connection: Conn) => Effect.Effect<string | undefined, SqlError>) | undefined
  /** As `ping`, and asks whether the server takes writes now. */
  readonly takesWrites: (connection: Conn) => Effect.Effect<boolean, SqlError>
  /** Asks the server what it is. Called on the control connection only. */
  readonly probe: (connection: Conn) => Effect.Effect<ServerState, SqlError>
  /**
   * Asks the server how many connections it has. Called on the control connection only, and only while somebody looks. A driver without
   * it cannot tell.
   */
  readonly load?: ((connection: Conn) => Effect.Effect<ServerLoad, SqlError>) | undefined
  /**
   * The position, in the history of the server, of the last transaction that was written on this connection. Only for servers
   * that report it with their answers.
   */
  readonly position?: ((connection: Conn) => string | undefined) | undefined
  /**
   * Asks the server how far its history goes, as in `ServerState`. Called on the control connection only, and often, so it asks
   * for nothing else. A `primary` says a position that no transaction it has answered is behind. `undefined`: the server has another
   * role by now, or cannot tell.
   */
  readonly askPosition: (connection: Conn, role: "primary" | "replica") => Effect.Effect<string | undefined, SqlError>
  /**
   * Whether a server whose history goes to `position` has everything up to `wanted`. `undefined`: it cannot be told, because one of
   * them is no position of this database, or because a failover lies between them. Never throws.
   */
  readonly reached: (position: string, wanted: string) => boolean | undefined
  readonly classify: (cause: unknown, phase: Phase) => SqlReason
}
