/**
 * All pools of the process, whoever has made them, and what only somebody asks who looks at a pool from outside.
 *
 * Nothing here costs a pool anything that nobody looks at.
 *
 * @since 0.2.0
 */
import { Duration, Effect } from "effect"
import { openPools } from "./internal/runtime/openPools.js"
import { type Pool, TypeId } from "./Pool.js"
import type { LeakKind, Lease, Queue } from "./PoolStats.js"

/**
 * The pools that are not closed, in the order in which they were made.
 *
 * **When to use:** to show what a program has, in one look.
 *
 * @see `watch` to learn of pools that are made later.
 * @since 0.2.0
 * @category observability
 */
export const all: Effect.Effect<ReadonlyArray<Pool<unknown>>> = Effect.sync(
  () => openPools.all() as ReadonlyArray<Pool<unknown>>
)

/**
 * Calls `attach` for each pool of the process: for those that are open, and for each later one when it is made and before it
 * connects. What `attach` gives is called once: when the pool has closed, after its last event, or when the watch ends. The watch
 * ends when the function that this gives is called.
 *
 * **When to use:** to listen to all pools of a program from one place, such as for metrics.
 *
 * - Two copies of this library in one process see the pools of both, if they are of one version.
 * - Neither function may throw. Both are called in the middle of what a pool does.
 *
 * @example
 * ```ts
 * import { Pool, Pools } from "@sluice/pool"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const stop = Pools.unsafeWatch((pool) => {
 *     console.log(`${pool.name} is open`)
 *     return () => console.log(`${pool.name} is closed`)
 *   })
 *   yield* Effect.scoped(Pool.make({ name: "orders", maxSize: 2, connect: () => Effect.void }))
 *   stop()
 * })
 *
 * Effect.runPromise(program)
 * // orders is open
 * // orders is closed
 * ```
 *
 * @see `Pool.unsafeListen` for the events of one pool.
 * @since 0.2.0
 * @category observability
 */
export const unsafeWatch = (attach: (pool: Pool<unknown>) => () => void): (() => void) =>
  openPools.watch((pool) => attach(pool as Pool<unknown>))

/**
 * The classes in which callers wait, the first one first.
 *
 * - Cost: the same whatever waits.
 *
 * @see `Pool.stats` for all of them together.
 * @since 0.2.0
 * @category observability
 */
export const queues = <A>(pool: Pool<A>): Effect.Effect<ReadonlyArray<Queue>> => Effect.sync(() => unsafeQueues(pool))

/**
 * As `queues`, for code that is no effect.
 *
 * @since 0.2.0
 * @category observability
 */
export const unsafeQueues = <A>(pool: Pool<A>): ReadonlyArray<Queue> => {
  const { engine, now } = pool[TypeId]
  return engine.admission.classes(now())
}

/**
 * The `count` leases that were granted longest ago, the oldest first, with what each is used for.
 *
 * **When to use:** to show who holds the connections while others wait.
 *
 * - Cost: the driver describes each of them, so ask for no more than are shown.
 *
 * @see `PoolError` has the three oldest ones in each error.
 * @since 0.2.0
 * @category observability
 */
export const holders = <A>(pool: Pool<A>, count: number): Effect.Effect<ReadonlyArray<Lease>> =>
  Effect.sync(() => unsafeHolders(pool, count))

/**
 * As `holders`, for code that is no effect.
 *
 * @since 0.2.0
 * @category observability
 */
export const unsafeHolders = <A>(pool: Pool<A>, count: number): ReadonlyArray<Lease> => pool[TypeId].holders(count)

/**
 * How many connections are leased for what. One on which nothing was done for `idleAfter` milliseconds is counted by what is open on it,
 * before that as `busy`.
 *
 * **When to use:** to tell connections that work from those that are only held.
 *
 * - `idleAfter`: default 200. With 0, each pause between two statements counts.
 * - Cost: that of `inspect` for each leased connection.
 *
 * @see `holders` for the leases themselves.
 * @since 0.2.0
 * @category observability
 */
export const uses = <A>(pool: Pool<A>, idleAfter?: number): Effect.Effect<Readonly<Record<LeakKind, number>>> =>
  Effect.sync(() => unsafeUses(pool, idleAfter))

/**
 * As `uses`, for code that is no effect.
 *
 * @since 0.2.0
 * @category observability
 */
export const unsafeUses = <A>(pool: Pool<A>, idleAfter = 200): Readonly<Record<LeakKind, number>> =>
  pool[TypeId].uses(idleAfter)

/**
 * Stops what a leased connection does: a statement that runs fails for its caller. The lease goes on, and so does the connection.
 *
 * **When to use:** when somebody has looked at `holders` and decided that one of them has worked for long enough.
 *
 * - `heldFor`: the lease must be at least as old. The connection may have gone to somebody else since one looked.
 * - Gives false, and does nothing, if there is no such lease, or if the pool has no option `abort`.
 * - Returns at once. The server may take a moment, and nothing happens where nothing runs.
 *
 * @see `Pool.drain` for all of them, at the end of a pool.
 * @since 0.2.0
 * @category control
 */
export const cancel = <A>(
  pool: Pool<A>,
  connection: number,
  heldFor: Duration.DurationInput = 0
): Effect.Effect<boolean> => Effect.sync(() => pool[TypeId].engine.cancel(connection, Duration.toMillis(heldFor)))
