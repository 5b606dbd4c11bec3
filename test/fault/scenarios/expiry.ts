/**
 * What it costs that callers give up who wait for a connection: all that a program pays, fibers and garbage included. The engine alone takes
 * three times as long for one of 100,000 as for one of 100, because so many records lie outside of the caches of the processor. That was
 * seen to be 0.5 against 0.15 microseconds, a hundredth of the whole.
 */
import * as Pool from "@sluice/pool/Pool"
import { Effect, Fiber } from "effect"
import { VirtualClock } from "../../../packages/pool/test/support/VirtualClock.js"

const CONNECTIONS = 10

/** How many give up in all: many at once, or crowds of a few, one after the other. */
const MANY = 100_000
const CROWDS = 200
const FEW = 100

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** The pool, and as many fibers that wait for one of its connections as are wanted. */
const crowded = Effect.gen(function* () {
  const pool = yield* Effect.orDie(
    Pool.make({
      maxSize: CONNECTIONS,
      maxWaiters: 1_000_000,
      leakThreshold: 0,
      acquireTimeout: "1 second",
      connect: () => Effect.succeed({})
    })
  )
  const holders = yield* Effect.replicateEffect(
    Effect.forkScoped(Pool.use(pool, () => Effect.never, { acquireTimeout: "1 hour" })),
    CONNECTIONS
  )
  while (Pool.gauge(pool).using < CONNECTIONS) yield* turn
  return { pool, end: Fiber.interruptAll(holders) }
})

/**
 * Microseconds of the processor for each caller whose time is over, when so many wait at once: until its fiber has got its error and has
 * ended, and until the garbage of that is collected.
 */
const costOf = (waiting: number, crowds: number): Effect.Effect<number> => {
  const clock = new VirtualClock()
  return Effect.gen(function* () {
    const { end, pool } = yield* crowded
    let spent = 0
    for (let i = 0; i < crowds; i++) {
      let over = 0
      const one = Effect.catchAll(
        Pool.use(pool, () => Effect.void),
        () => Effect.sync(() => void over++)
      )
      for (let i = 0; i < waiting; i++) yield* Effect.forkDaemon(one)
      while (Pool.gauge(pool).waiting < waiting) yield* turn
      const before = process.cpuUsage()
      clock.jumpNow(1_000)
      while (over < waiting) yield* turn
      const { system, user } = process.cpuUsage(before)
      spent += user + system
    }
    yield* end
    return spent / (crowds * waiting)
  }).pipe(Effect.scoped, Effect.withClock(clock))
}

/** The least of two, by turns, because other programs only make it more. */
export const costs = Effect.gen(function* () {
  let few = Infinity
  let many = Infinity
  for (let i = 0; i < 2; i++) {
    few = Math.min(few, yield* costOf(FEW, CROWDS))
    many = Math.min(many, yield* costOf(MANY, 1))
  }
  return { few, many, ratio: many / few }
})
