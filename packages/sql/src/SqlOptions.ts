/**
 * The options of the verbs of `Sql`, which exports the same types.
 *
 * @since 0.2.0
 */
import type { Priority } from "@sluice/pool/Priority"
import type { Duration, Schedule } from "effect"
import type { BeginOptions } from "./driver/Driver.js"

/**
 * The options of `withConnection`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionOptions {
  /**
   * Longest wait for the connection.
   *
   * - Unit: duration. Default: `withAcquireTimeout`, then the pool's `acquireTimeout`. 0: only a connection that is free.
   * - The first statement fails with `AcquireTimeout`.
   */
  readonly acquireTimeout?: Duration.DurationInput | undefined
  /** Who is served first when all connections are in use. Default: `withPriority`, then `normal`. */
  readonly priority?: Priority | undefined
  /** `read`: a replica will do, until the first `Sql.write`. Default: `Sql.read` or `Sql.write` around it, then `write`. */
  readonly intent?: "read" | "write" | undefined
}

/**
 * The options of `withTransaction`. Nested transactions are savepoints: isolation and access mode are those of the
 * outermost one, and asking for others fails with `InvalidUse`.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransactionOptions extends BeginOptions {
  /** The isolation level. Default: the server's. Other words than the four fail with `InvalidUse`. */
  readonly isolation?: BeginOptions["isolation"]
  /** Whether the server refuses writes inside. Default: what the server does by default; inside of `Sql.read`: true. */
  readonly readOnly?: boolean | undefined
  /**
   * With `serializable` and `readOnly`: BEGIN waits for a snapshot with which the transaction cannot fail to serialize. Default
   * false. PostgreSQL only.
   */
  readonly deferrable?: boolean | undefined
  /**
   * Longest wait for the answer to COMMIT, which cannot be interrupted. It alone bounds COMMIT, not the statement timeout; an
   * earlier end of `timeout` or of `Sql.withDeadline` shortens it.
   *
   * - Unit: duration. Default 30 seconds. Fails with `CommitUnknown`.
   */
  readonly commitTimeout?: Duration.DurationInput | undefined
  /**
   * Runs the whole transaction again, body included, when it was rolled back. `true` is `SqlRetry.standard`: after a
   * serialization failure or a deadlock up to 5 times more, with pauses of 5 to 50 milliseconds, and up to 2 times more when
   * the connection was lost before COMMIT. A policy of `SqlRetry`, or any `Schedule`, is obeyed as it stands. Never after
   * `CommitUnknown`. Default false: only a transaction whose body has not begun is tried again. Ignored in a nested
   * transaction, because the outermost decides.
   */
  readonly retry?: boolean | Schedule.Schedule<any, any> | undefined
  /**
   * Longest time for everything: connection, BEGIN, body, COMMIT, rollback and all further runs. The body is interrupted then,
   * and its statements end by then also where they cannot be interrupted. The caller waits for no rollback beyond it. COMMIT
   * is not sent when less than 20 milliseconds are left (or a fifth of the timeout, if that is less): the transaction is rolled
   * back instead, because the answer of COMMIT could not come in time.
   *
   * - Unit: duration. Default none. Fails with `StatementTimeout`, while waiting for a connection with `AcquireTimeout`,
   *   while COMMIT is under way with `CommitUnknown`.
   * - Worst case: longer by the time that the body's own finalizers take.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Asks the server for the identity of the transaction before COMMIT, so that the `verify` of a `CommitUnknown` can find out
   * whether the transaction was written. Costs one round trip for each transaction. Default false. PostgreSQL only.
   */
  readonly verifyCommit?: boolean | undefined
}

/**
 * The options of `query` and `execute`.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueryOptions {
  /** Whether the statement may be prepared by name and kept by the server for the next time. Default true. */
  readonly prepare?: boolean | undefined
}
