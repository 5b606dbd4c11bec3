/**
 * A pool in the shape in which function platforms attach one, such as `attachDatabasePool` of `@vercel/functions`.
 *
 * Such a platform suspends the process as soon as no request is under way. What is open then dies without notice, and the server
 * keeps a session for nobody until its own timeouts. So the platform lets the process run a little longer after each release, until
 * the pool has closed what nobody uses. With the option `closeWhenIdle` a pool closes all of it in time.
 *
 * You do not need it when the process is never suspended.
 *
 * @since 0.2.0
 */
import { Effect } from "effect"
import * as Pool from "./Pool.js"
import { InvalidOptions } from "./PoolError.js"
import type { PoolEvent } from "./PoolEvent.js"

/**
 * What a platform reads of a pool: that of the class `Pool` of `pg`, and no more.
 *
 * @since 0.2.0
 * @category models
 */
export interface FunctionPool {
  readonly options: {
    /** Milliseconds after the last release within which every connection is closed: the option `closeWhenIdle`. */
    readonly idleTimeoutMillis: number
  }
  /**
   * `release`: a lease has ended, and nobody has another one. The listener is called in the async context of the caller whose lease
   * it was, which tells the platform the request. Never calls a listener for another event. A listener must not throw.
   */
  on(event: "release", listener: () => void): this
}

const missing =
  "closeWhenIdle is missing: without it connections stay open when nobody uses them. Set it to less than a second, for example 500 milliseconds"

/**
 * These pools, seen as one.
 *
 * - Fails with `InvalidOptions` if one of them has no `closeWhenIdle`.
 * - Costs nothing before somebody listens; after that, a microsecond for each acquire.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (...pools: ReadonlyArray<Pool.Pool<any>>): Effect.Effect<FunctionPool, InvalidOptions> =>
  Effect.suspend(() => {
    const timeouts = pools.map((pool) => pool[Pool.TypeId].engine.config.closeWhenIdle)
    const forgotten = timeouts.indexOf(Infinity)
    if (forgotten >= 0) return Effect.fail(new InvalidOptions({ pool: pools[forgotten]!.name, problems: [missing] }))
    const isUsed = () => pools.some((pool) => Pool.gauge(pool).using > 0)
    const self: FunctionPool = {
      options: { idleTimeoutMillis: Math.max(...timeouts) },
      on: (event, listener) => {
        const told = ({ _tag }: PoolEvent) => {
          if (_tag === "Released" && !isUsed()) listener()
        }
        if (event === "release") for (const pool of pools) Pool.unsafeListen(pool, told)
        return self
      }
    }
    return Effect.succeed(self)
  })
