/**
 * Why a statement, a transaction or an acquire failed, in words that do not depend on the database.
 *
 * Every `SqlError` that this library raises carries one `SqlReason` under a symbol; `cause` stays the driver's own
 * error, so programs that read `error.cause.code` or `error.cause.constraint` go on working. The message has no value of a
 * statement in it, and neither has the `message` of a server's error as the cause: `Literals.conceal` says what else of it is not printed.
 *
 * @since 0.1.0
 */
import { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"

/**
 * What becomes of the connection: `keep` it, `destroy` it, or there was `none` yet.
 *
 * @since 0.1.0
 * @category models
 */
export type ConnectionFate = "none" | "keep" | "destroy"

/**
 * What happened on the server: nothing (`none`), everything was undone (`rolledBack`), it was done and stays, and only its answer
 * could not be read (`executed`), or it cannot be known (`unknown`). After several runs: what any of them may have left there.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "none" | "rolledBack" | "executed" | "unknown"

/**
 * Which work may be run again.
 *
 * - `always`: nothing was executed.
 * - `transaction`: the whole transaction may be run again, from its beginning.
 * - `idempotent`: only what reads, or what the caller declared idempotent, may be run again.
 * - `never`: it would fail again. Acquire errors are here too, because the pool has tried until their wait ended.
 *
 * @since 0.1.0
 * @category models
 */
export type Retry = "always" | "transaction" | "idempotent" | "never"

/**
 * The fields that every reason has.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fields {
  /** SQLSTATE, errno or the system's error code; `undefined` when the driver's error has none. */
  readonly code: string | undefined
  readonly connection: ConnectionFate
  readonly outcome: Outcome
  readonly retry: Retry
  /** How many runs there were in all; 1 unless something was tried again. */
  readonly attempts: number
  /** The driver's or the pool's own error. */
  readonly cause: unknown
}

/**
 * What became of a transaction whose COMMIT got no answer.
 *
 * - `unknown`: the server cannot be asked, does not remember, or still has the transaction open.
 *
 * @since 0.1.0
 * @category models
 */
export type CommitFate = "committed" | "rolledBack" | "unknown"

/**
 * The fields that only `CommitUnknown` has.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommitFields {
  /**
   * Asks the server, on another connection, what became of the transaction. Never fails.
   *
   * - Knows the answer only after `withTransaction({ verifyCommit: true })`, and where the driver can ask (PostgreSQL);
   *   else `unknown`, at once. Also `unknown` after a crash or a failover of the server: it may have given the number of
   *   the transaction to another one.
   * - Worst case: 5 seconds, while the server does not answer, or still has the transaction open.
   */
  readonly verify: Effect.Effect<CommitFate>
}

/**
 * The names of all reasons.
 *
 * @since 0.1.0
 * @category models
 */
export const tags = [
  /** No connection could be opened: the host does not answer, or another kind of server does. */
  "ConnectFailed",
  /** The server takes no more connections. */
  "TooManyConnections",
  /** Wrong password or user, or a database that does not exist. */
  "AuthenticationFailed",
  /** The connection broke while it was used. */
  "ConnectionLost",
  /** The server ended the connection, because it stops or because an administrator asked for it. */
  "ServerShutdown",
  /** A write reached a server, or a transaction, that only reads. */
  "NotWritable",
  /** A concurrent transaction won; run this one again. */
  "SerializationFailure",
  /** Two transactions waited for each other and this one was chosen to fail. */
  "Deadlock",
  /** A lock was not granted in time, or at once under NOWAIT. */
  "LockTimeout",
  /** The statement or the transaction took longer than its time limit, or than the declared deadline. */
  "StatementTimeout",
  /** The statement was cancelled on the server. */
  "Cancelled",
  /** A prepared statement no longer fits the tables; it is forgotten, run it again. */
  "StalePlan",
  "UniqueViolation",
  "ForeignKeyViolation",
  "CheckViolation",
  "NotNullViolation",
  /**
   * A value is wrong: the server cannot read it, or its column cannot hold it (out of range, too long, no date, no number), or it
   * is none that can be sent. Nothing was written. A web handler can answer it with 400.
   */
  "InvalidData",
  /** The text is wrong: syntax, an unknown table, column, function or type. */
  "SyntaxError",
  "PermissionDenied",
  /** Disk, memory or a configured limit of the server is used up. */
  "ResourceExhausted",
  /** COMMIT was sent and its answer did not come: the transaction is either written or not. Never retried. */
  "CommitUnknown",
  /** A statement inside had failed and its failure was caught, so the server answered COMMIT with a rollback. */
  "TransactionAborted",
  /** No connection within the acquire timeout. `cause` is the pool's error with the pool's state. */
  "AcquireTimeout",
  /**
   * No replica can be read from, and the primary may not answer for it: the program has said so, or as many of such reads as it may
   * have are there already. Nothing was sent.
   */
  "NoReplica",
  /** Too many callers wait already. */
  "PoolSaturated",
  /** The pool is overloaded and has sent the caller away: see the pool's option `shedding`. */
  "PoolShed",
  /** The pool is draining or closed. */
  "PoolClosed",
  /** Every connection is held by a fiber that waits for one more. */
  "NestedAcquire",
  /** Nothing is open and connecting has failed for a while: acquires fail at once. */
  "DatabaseDown",
  /** The program's hook `beforeAcquire` has failed, so no connection was acquired. `cause.cause` is its failure. */
  "HookFailed",
  /**
   * The connection was held too long with nothing done on it, so the pool has taken it away: see the option `reclaim`. What was open
   * on it is rolled back. `cause` is the pool's report.
   */
  "LeaseReclaimed",
  /** The configuration cannot work. `cause.problems` lists everything that is wrong. */
  "InvalidOptions",
  /** The program used a transaction or a connection in a way that has no meaning. The message says what to do. */
  "InvalidUse",
  /** Everything else. */
  "Unclassified"
] as const

/**
 * The name of a reason.
 *
 * @since 0.1.0
 * @category models
 */
export type Tag = (typeof tags)[number]

/**
 * One of the reasons; `_tag` says which.
 *
 * @since 0.1.0
 * @category models
 */
export type SqlReason = {
  readonly [T in Tag]: Fields & { readonly _tag: T } & (T extends "CommitUnknown" ? CommitFields : unknown)
}[Tag]

/**
 * The key under which a `SqlError` carries its reason.
 *
 * @since 0.1.0
 * @category symbols
 */
export const key: unique symbol = Symbol.for("@sluice/sql/SqlReason")

/**
 * A reason. Fields that are left out say: nothing happened on the server, keep the connection, do not run it again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (tag: Tag, fields: Partial<Fields & CommitFields> = {}): SqlReason =>
  ({
    _tag: tag,
    code: fields.code,
    connection: fields.connection ?? "keep",
    outcome: fields.outcome ?? "none",
    retry: fields.retry ?? "never",
    attempts: fields.attempts ?? 1,
    cause: fields.cause,
    ...(tag === "CommitUnknown" ? { verify: fields.verify ?? cannotTell } : {})
  }) as SqlReason

const cannotTell: Effect.Effect<CommitFate> = Effect.succeed("unknown")

/**
 * A `SqlError` that carries `reason`.
 *
 * **When to use:** in a driver, or in a test of your own error handling.
 *
 * Its `cause` is the reason's cause, or an `Error` with the same message when there
 * is none.
 *
 * @since 0.1.0
 * @category constructors
 */
export const toError = (reason: SqlReason, message: string): SqlError => {
  const error = new SqlError({ cause: reason.cause ?? new Error(message), message })
  // Not enumerable: logs and comparisons see the error that programs know.
  Object.defineProperty(error, key, { value: reason, enumerable: false })
  return error
}

/**
 * The reason that an error carries. An error of another origin is `Unclassified`, with an unknown outcome.
 *
 * **When to use:** to decide by `_tag`, `code`, `retry` or `outcome` what to do about a failure.
 *
 * @example
 * ```ts
 * import { SqlReason } from "@sluice/sql"
 * import { Effect } from "effect"
 *
 * const insertOnce = <A, E, R>(insert: Effect.Effect<A, E, R>) =>
 *   Effect.catchIf(insert, (error) => SqlReason.of(error)._tag === "UniqueViolation", () => Effect.void)
 * ```
 *
 * @see `is` to test for some tags.
 * @since 0.1.0
 * @category getters
 */
export const of = (error: unknown): SqlReason => {
  if (typeof error === "object" && error !== null && key in error) {
    return (error as { readonly [key]: SqlReason })[key]
  }
  return make("Unclassified", { cause: error, outcome: "unknown" })
}

/**
 * Whether an error was raised for one of these reasons.
 *
 * **When to use:** as the predicate of `Effect.catchIf` and `Effect.retry`.
 *
 * @see `of` for the reason with all of its fields.
 * @since 0.1.0
 * @category guards
 */
export const is =
  (...oneOf: ReadonlyArray<Tag>) =>
  (error: unknown): boolean =>
    oneOf.includes(of(error)._tag)
