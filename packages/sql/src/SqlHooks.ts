/**
 * What a program does beside its pools: when a connection is new, before and after each lease, and before a connection closes.
 *
 * @since 0.2.0
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { CloseReason } from "@sluice/pool/PoolStats"
import type { Effect } from "effect"

/**
 * Which pool a hook is about.
 *
 * @since 0.2.0
 * @category models
 */
export interface Where {
  /** Address and database, as in `Sql.stats`. Never has a password in it. */
  readonly endpoint: string
  readonly role: "primary" | "replica"
}

/**
 * A new connection, of which no statement of the program knows yet.
 *
 * @since 0.2.0
 * @category models
 */
export interface Connection extends Where {
  /** The client of this database. Inside of `onConnect` its statements, streams and transactions run on the new connection. */
  readonly sql: SqlClient
}

/**
 * The hooks of a client. When each runs, in which fiber, its bound, and what a failure or an interrupt leads to, stands in the
 * tables of `PoolHooks` in `@sluice/pool`. For SQL:
 *
 * | hook            | what for                                                  | fails, throws, or is too slow                                                |
 * | --------------- | --------------------------------------------------------- | ---------------------------------------------------------------------------- |
 * | `onConnect`     | SET ROLE, search_path, time zone, lock_timeout …          | the connect has failed, see below. After a reset: the connection closes      |
 * | `beforeAcquire` | to refuse work                                            | the statement fails with `HookFailed`; nothing was sent                      |
 * | `afterAcquire`  | how long callers wait                                     | logged at WARN, the first time                                               |
 * | `afterRelease`  | how long connections are held                             | logged at WARN, the first time                                               |
 * | `beforeClose`   | why connections close                                     | logged at WARN, the first time                                               |
 *
 * What `onConnect` sets is the clean state of the session:
 *
 * - It is bounded by `pool.connectTimeout`, together with the connect. A statement that hangs is cancelled.
 * - A session that a statement has changed is reset before its next user, as `resetOnRelease` says, and `onConnect` is run again
 *   then, within `pool.resetTimeout`. So is a session whose state of `onConnect` was taken away by RESET or DISCARD. With
 *   `resetOnRelease: "never"` nobody brings it back.
 * - If it fails with a `SqlError` that is worth another attempt, the pool tries again with pauses, and callers wait. After any other
 *   failure, such as a role that does not exist, callers fail at once with `ConnectFailed` while nothing is open, and the pool
 *   tries again once a second. An eager Layer fails with it.
 * - It must leave the session without a transaction, without a statement that runs, and with autocommit. Else the connect fails.
 * - It is run for the connections of the pools: they run all statements of the program. The control connection and the one that
 *   listens run none, and have no `onConnect`.
 *
 * The hooks around an acquire run for each statement outside of transactions and `Sql.withConnection`, packed ones too, and once for
 * each of these. Statements inside of these hooks fail with `InvalidUse`: they would need another connection of the same pool.
 *
 * What belongs to one caller, such as a tenant, is no matter of a hook. Write a function around the work instead: the session is
 * reset after it.
 *
 * @example
 * ```ts
 * import { Sql, SqlClient } from "@sluice/sql-pg"
 * import { Effect } from "effect"
 *
 * const asTenant =
 *   (tenant: string) =>
 *   <A, E, R>(work: Effect.Effect<A, E, R>) =>
 *     Effect.flatMap(SqlClient.SqlClient, (sql) =>
 *       Sql.withConnection(Effect.zipRight(sql`select set_config('app.tenant', ${tenant}, false)`, work))
 *     )
 * ```
 *
 * @since 0.2.0
 * @category models
 */
export interface SqlHooks {
  /** Gives each new session its state. */
  readonly onConnect?: ((connection: Connection) => Effect.Effect<unknown, unknown>) | undefined
  /** Runs when an acquire begins, in a fiber with the context of the caller. */
  readonly beforeAcquire?: ((where: Where) => Effect.Effect<unknown, unknown>) | undefined
  /** `elapsedMs`: milliseconds, with fractions, that the acquire took without its hooks. */
  readonly afterAcquire?: ((elapsedMs: number, where: Where) => Effect.Effect<unknown, unknown>) | undefined
  /** `heldMs`: milliseconds, with fractions, for which the caller had the connection. */
  readonly afterRelease?: ((heldMs: number, where: Where) => Effect.Effect<unknown, unknown>) | undefined
  readonly beforeClose?: ((reason: CloseReason, where: Where) => Effect.Effect<unknown, unknown>) | undefined
}
