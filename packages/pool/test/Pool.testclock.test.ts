/**
 * The pool under Effect's own `TestClock`, as programs that use it will test themselves.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { Pool } from "../src/index.js"
import { settle } from "./support/VirtualClock.js"

const connections = () => {
  const books = { opened: 0, closed: 0 }
  const connect = () =>
    Effect.acquireRelease(
      Effect.sync(() => ({ id: ++books.opened })),
      () => Effect.sync(() => books.closed++)
    )
  return { books, connect }
}

/** In steps of a second, so that each tick of the pool's maintenance has run before the next one is due. */
const pass = (seconds: number) => Effect.repeatN(Effect.zipRight(TestClock.adjust("1 second"), settle), seconds - 1)

describe("under TestClock", () => {
  it.effect("an acquire fails when its timeout has passed, not before", () =>
    Effect.gen(function* () {
      const { books, connect } = connections()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const pool = yield* Pool.make({ maxSize: 1, acquireTimeout: "3 seconds", drainTimeout: 0, connect })
          yield* Pool.acquire(pool)
          const waiter = yield* Effect.fork(Effect.flip(Pool.use(pool, () => Effect.void)))
          yield* pass(2)
          yield* TestClock.adjust("999 millis")
          assert.isNull(waiter.unsafePoll())
          yield* TestClock.adjust("1 millis")
          assert.strictEqual((yield* Fiber.join(waiter))._tag, "AcquireTimeout")
        })
      )
      assert.deepStrictEqual(books, { opened: 1, closed: 1 })
    })
  )

  it.effect("idle connections close when their time has come", () =>
    Effect.gen(function* () {
      const { books, connect } = connections()
      const pool = yield* Pool.make({ maxSize: 3, minIdle: 0, idleTimeout: "10 seconds", connect })
      yield* Effect.scoped(Effect.all([Pool.acquire(pool), Pool.acquire(pool), Pool.acquire(pool)]))
      yield* pass(9)
      assert.strictEqual(Pool.unsafeStats(pool).available, 3)
      yield* pass(2)
      assert.deepStrictEqual(books, { opened: 3, closed: 3 })
    }).pipe(Effect.scoped)
  )
})
