/** F29: a pool that nobody uses closes everything, for processes that are suspended. */
import { AsyncLocalStorage } from "node:async_hooks"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { FunctionPool, Pool } from "../src/index.js"
import { type Connection, test } from "./support/Fixture.js"

describe("closeWhenIdle", () => {
  const config = { maxSize: 5, minIdle: 2, closeWhenIdle: 500, idleTimeout: "1 hour" } as const

  test("closes all connections so long after the last release, and opens none before a caller comes", config, (f) =>
    Effect.gen(function* () {
      const leases = yield* Effect.replicateEffect(f.hold(), 5)
      yield* Effect.forEach(leases.slice(1), ({ release }) => release)
      yield* f.pass(10_000)
      assert.strictEqual(f.stats().size, 5, "somebody has one")
      yield* leases[0]!.release
      yield* f.pass(499)
      assert.strictEqual(f.stats().size, 5)
      yield* f.pass(1)
      assert.deepStrictEqual([f.stats().size, f.stats().closed.idle], [0, 5])
      yield* f.pass(600_000)
      assert.strictEqual(f.host.opened, 5)
      assert.strictEqual(f.clock.sleeping, 0, "an empty pool arms no timer")
      yield* (yield* f.hold()).release
      yield* f.pass(100)
      assert.strictEqual(f.stats().size, 2, "minIdle holds while the pool is used")
    })
  )

  test("also what the pool has opened by itself at the start", config, (f) =>
    Effect.gen(function* () {
      yield* f.pass(100)
      assert.strictEqual(f.stats().size, 2)
      yield* f.pass(1_000)
      assert.strictEqual(f.stats().size, 0)
    })
  )

  test("and a connection that had to be cleaned first", { ...config, minIdle: 0 }, (f) =>
    Effect.gen(function* () {
      f.host.resets = { after: 900 }
      const { connection, release } = yield* f.hold()
      connection.status = "dirty"
      yield* release
      yield* f.pass(899)
      assert.strictEqual(f.stats().resetting, 1)
      yield* f.pass(1)
      assert.strictEqual(f.stats().size, 0)
    })
  )

  let rested = 0
  test("the maker of the pool is told each time", { ...config, minIdle: 0, rested: () => void rested++ }, (f) =>
    Effect.gen(function* () {
      for (const round of [1, 2]) {
        yield* f.warm(3)
        yield* f.pass(1_000)
        assert.strictEqual(rested, round)
      }
    })
  )

  test("a pool that is used now and then stays open", { ...config, minIdle: 0 }, (f) =>
    Effect.gen(function* () {
      for (let i = 0; i < 100; i++) {
        yield* (yield* f.hold()).release
        yield* f.pass(400)
      }
      assert.strictEqual(f.host.opened, 1)
    })
  )
})

describe("FunctionPool", () => {
  const config = { maxSize: 3, closeWhenIdle: 700, concurrency: 2 } as const

  test("tells of a release when nobody has a lease any more, in the async context of the caller", config, (f) =>
    Effect.gen(function* () {
      const request = new AsyncLocalStorage<string>()
      const released: Array<string | undefined> = []
      const shape = yield* FunctionPool.make(f.pool)
      shape.on("release", () => released.push(request.getStore()))
      assert.strictEqual(shape.options.idleTimeoutMillis, 700)
      const calls: Array<() => void> = []
      // The answer comes in no request at all, as from a socket.
      const callers = ["a", "b"].map((name) =>
        request.run(name, () =>
          Effect.runFork(
            Effect.withClock(
              Pool.shareAsync<Connection, void, never>(
                f.pool,
                (_, resume) => void calls.push(() => resume(Effect.void))
              ),
              f.clock
            )
          )
        )
      )
      yield* f.pass(100)
      assert.lengthOf(calls, 2)
      calls[0]!()
      yield* f.pass(1)
      assert.deepStrictEqual(released, [])
      calls[1]!()
      yield* f.pass(1)
      assert.deepStrictEqual(released, ["b"])
      for (const caller of callers) yield* caller.await
    })
  )

  test("of a pool without closeWhenIdle is refused, with what to do", { maxSize: 3 }, (f) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(FunctionPool.make(f.pool))
      assert.match(error.message, /closeWhenIdle is missing: .* for example 500 milliseconds/)
    })
  )
})
