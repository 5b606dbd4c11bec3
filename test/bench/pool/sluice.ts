import { Pool, type PoolOptions } from "@sluice/pool"
import { Effect, Exit, Scope } from "effect"
import type { Start } from "../harness/subject.js"
import { runtime } from "./effect3.js"
import { fiberSubjects } from "./fibers.js"
import { expectUses, type PoolSettings, Resource } from "./settings.js"

type Options = Partial<PoolOptions.PoolOptions<Resource, never, never>>

const open = async (size: number, options: Options) => {
  const scope = await Effect.runPromise(Scope.make())
  const pool = await Effect.runPromise(
    Scope.extend(
      Pool.make({
        maxSize: size,
        minIdle: size,
        // As in the peers: deep queues must not be refused, and a round that is slow must not time out.
        maxWaiters: 1_000_000,
        acquireTimeout: "1 minute",
        connect: () => Effect.sync(() => new Resource()),
        ...options
      }),
      scope
    )
  )
  while (Pool.unsafeStats(pool).available < size) await new Promise((resolve) => setImmediate(resolve))
  return { pool, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

type Bracket = (pool: Pool.Pool<Resource>, body: () => any) => any

const subjects = (bracket: Bracket, options: Options = {}) =>
  fiberSubjects(runtime, async (size) => {
    const { close, pool } = await open(size, options)
    return {
      use: (body) => bracket(pool, body),
      waiting: () => Pool.unsafeStats(pool).waiting,
      close
    }
  })

export const use = subjects((pool, body) => Pool.use(pool, body))

/** As the SQL drivers use it: the resource is asked for its state at each hand-out and at each release. */
export const checkedUse = subjects((pool, body) => Pool.use(pool, body), {
  status: (resource) => (resource.uses < 0 ? "dead" : "clean"),
  validate: () => Effect.void
})

export const share = subjects((pool, body) => Pool.share(pool, body), { concurrency: 16 })

/** The callback comes at once: what is measured is the lease alone. */
export const shareAsync = subjects((pool, body) => Pool.shareAsync(pool, (_, resume) => resume(body())), {
  concurrency: 16
})

export const acquire = subjects((pool, body) => Effect.scoped(Effect.flatMap(Pool.acquire(pool), body)))

/** The state machine without Effect around it. */
export const engine: Start<PoolSettings> = async ({ size }) => {
  const { close, pool } = await open(size, {})
  const { engine } = pool[Pool.TypeId]
  return {
    run: (calls) => {
      let uses = 0
      for (let i = 0; i < calls; i++) {
        const lease = engine.take(undefined)!
        uses++
        engine.release(lease)
      }
      expectUses(uses, calls)
    },
    close
  }
}
