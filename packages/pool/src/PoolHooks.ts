/**
 * What a program does beside a pool: when a connection is new, before and after each lease, and before a connection closes.
 *
 * @since 0.2.0
 */
import type { Effect } from "effect"
import * as OptionTable from "./OptionTable.js"
import type { CloseReason } from "./PoolStats.js"

/**
 * The hooks of a pool, each an effect that the pool runs at its moment. A pool without hooks does not pay for them.
 *
 * | hook            | when                                                                                    | in a fiber with the context of |
 * | --------------- | --------------------------------------------------------------------------------------- | ------------------------------ |
 * | `onConnect`     | `connect` has succeeded and nobody has the connection yet; again after each `reset` of it | the pool                       |
 * | `beforeAcquire` | an acquire begins; nothing is taken yet                                                 | the caller                     |
 * | `afterAcquire`  | the lease is granted and its work has not begun                                         | the caller                     |
 * | `afterRelease`  | the lease has ended and the connection may have its next user                           | the caller                     |
 * | `beforeClose`   | the connection belongs to nobody any more and is closed next                            | the pool                       |
 *
 * | hook            | bound                                                                | who waits for it                                                  |
 * | --------------- | -------------------------------------------------------------------- | ----------------------------------------------------------------- |
 * | `onConnect`     | `connectTimeout`, `connect` included; `resetTimeout`, `reset` included | callers that wait for this connection                             |
 * | `beforeAcquire` | 1 second, the acquire timeout and the declared deadline if shorter   | the caller; its time counts towards the acquire timeout           |
 * | `afterAcquire`  | 1 second                                                             | the caller, who has the connection meanwhile                      |
 * | `afterRelease`  | 1 second                                                             | nobody                                                            |
 * | `beforeClose`   | 1 second                                                             | nobody; the connection counts as `closing`, and a drain waits for it |
 *
 * | hook            | fails, throws, or takes longer than its bound                                                                   | the caller is interrupted                |
 * | --------------- | --------------------------------------------------------------------------------------------------------------- | ---------------------------------------- |
 * | `onConnect`     | the connect has failed: the connection closes, `classify` is asked, and the pool pauses. After a reset: closed with the reason `reset` | does not stop it, as it stops no connect |
 * | `beforeAcquire` | the acquire fails with `HookFailed`, and nothing was taken                                                      | the hook is stopped, nothing is taken    |
 * | `afterAcquire`  | logged at WARN, the first time for this hook; the caller goes on                                                | the lease ends, the hook goes on         |
 * | `afterRelease`  | logged at WARN, the first time for this hook                                                                    | does not stop it                         |
 * | `beforeClose`   | logged at WARN, the first time for this hook; the connection closes                                             | does not stop it                         |
 *
 * - Each holder of a shared connection has a lease of its own, so the hooks around an acquire run for each.
 * - Each `afterAcquire` is followed by one `afterRelease`. A caller that leaves at the moment of the grant has neither. A lease
 *   that a drain takes away has its `afterRelease` when its holder gives it back.
 * - Checks (`validate`), resets and aborts of the pool are no leases. A connection for which `connect` or `onConnect` has failed
 *   was never one of the pool, and has no `beforeClose`.
 * - Inside of these hooks, leases of the same pool have no hooks. A hook that waits for a connection of its own pool may wait
 *   for its whole bound.
 * - What still runs when the pool has closed is stopped.
 *
 * No hook prepares a connection for one caller: the failure of such a hook would have to reach the caller, and the holders of a
 * shared connection would prepare it against each other. Write a function instead that takes a lease, prepares, and goes on.
 *
 * @example
 * ```ts
 * import { Pool } from "@sluice/pool"
 * import { Console, Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const pool = yield* Pool.make({
 *     minIdle: 0,
 *     connect: () => Effect.succeed({ language: "en" }),
 *     hooks: {
 *       onConnect: (connection) => Effect.sync(() => (connection.language = "de")),
 *       afterAcquire: (elapsedMs) => (elapsedMs > 1_000 ? Effect.logWarning("the pool is slow") : Effect.void),
 *       beforeClose: (reason) => Console.log(`closed: ${reason}`)
 *     }
 *   })
 *   yield* Pool.use(pool, (connection) => Console.log(`speaks ${connection.language}`))
 * }).pipe(Effect.scoped)
 *
 * Effect.runPromise(program)
 * // speaks de
 * // closed: drain
 * ```
 *
 * @since 0.2.0
 * @category models
 */
export interface PoolHooks<in A, out E = never, out R = never> {
  /**
   * Prepares a connection for all of its users. Afterwards `status` must say `clean`. It is run again after each `reset`, so that
   * the next user finds the same.
   */
  readonly onConnect?: ((resource: A) => Effect.Effect<unknown, E, R>) | undefined
  /** May refuse the acquire: it fails with `HookFailed`, whose cause is the failure of the hook. */
  readonly beforeAcquire?: (() => Effect.Effect<unknown, unknown, R>) | undefined
  /** `elapsedMs`: milliseconds, with fractions, that the acquire took without its hooks. */
  readonly afterAcquire?: ((elapsedMs: number) => Effect.Effect<unknown, unknown, R>) | undefined
  /**
   * `heldMs`: milliseconds, with fractions, for which the caller had the connection, `afterAcquire` included. The connection
   * itself is not given, because it may have another user already.
   */
  readonly afterRelease?: ((heldMs: number) => Effect.Effect<unknown, unknown, R>) | undefined
  /** With `error` and `validation` as the reason, the connection may be broken. */
  readonly beforeClose?: ((reason: CloseReason, resource: A) => Effect.Effect<unknown, unknown, R>) | undefined
}

const table: OptionTable.Table<PoolHooks<never>> = {
  onConnect: OptionTable.aFunction,
  beforeAcquire: OptionTable.aFunction,
  afterAcquire: OptionTable.aFunction,
  afterRelease: OptionTable.aFunction,
  beforeClose: OptionTable.aFunction
}

/** How other pools call these hooks: pgx, sqlx, `pg`, knex, Sequelize, HikariCP. */
const elsewhere: OptionTable.Elsewhere = {
  afterConnect: "use onConnect",
  afterCreate: "use onConnect",
  connect: "use onConnect",
  connectionInitSql: "use onConnect",
  prepareConn: "a function of your own that takes a lease and prepares it does that",
  beforePoolAcquire: "use beforeAcquire",
  afterPoolAcquire: "use afterAcquire",
  acquire: "use afterAcquire",
  release: "use afterRelease",
  remove: "use beforeClose"
}

/**
 * Whether a value is an object with hooks.
 *
 * @since 0.2.0
 * @category checks
 */
export const check: OptionTable.Check = OptionTable.nested(table, elsewhere)
