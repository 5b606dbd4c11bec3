/** `Pool.gauge(pool).estimate`: how long a caller that comes now would wait. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { Pool, type Priority } from "../src/index.js"
import { type Fixture, test } from "./support/Fixture.js"

/** Two connections are open. Gives how long leases have lasted so far, on average. */
const known = (f: Fixture) =>
  Effect.gen(function* () {
    yield* f.warm(2)
    for (let i = 0; i < 8; i++) {
      const lease = yield* f.hold()
      yield* f.pass(20)
      yield* lease.release
    }
    const { hold } = f.engine.state.load
    assert.isAbove(hold, 10)
    return hold
  })

describe("the estimate of a wait", () => {
  test("is 0 while a connection is idle", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* known(f)
      yield* f.hold()
      assert.strictEqual(Pool.gauge(f.pool).estimate("background"), 0)
    })
  )

  test("is the work in front of the newcomer, divided by the connections", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const hold = yield* known(f)
      yield* f.saturate
      const gauge = Pool.gauge(f.pool)
      assert.strictEqual(gauge.estimate("normal"), hold / 2)
      for (let i = 0; i < 5; i++) yield* f.park()
      assert.strictEqual(gauge.estimate("normal"), (6 * hold) / 2)
    })
  )

  test("counts the waiters of the same class and of higher ones", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const hold = yield* known(f)
      yield* f.saturate
      for (const priority of ["high", "high", "normal", "background"] as const) yield* f.park({ priority })
      const all: ReadonlyArray<Priority.Priority> = ["critical", "high", "normal", "low", "background"]
      const gauge = Pool.gauge(f.pool)
      const turns = all.map((priority) => Math.round(gauge.estimate(priority) / (hold / 2)))
      assert.deepStrictEqual(turns, [1, 3, 4, 4, 5])
    })
  )

  test("sees leases that are held longer than they were before", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* known(f)
      yield* f.saturate
      yield* f.pass(400)
      assert.strictEqual(Pool.gauge(f.pool).estimate("normal"), 200)
    })
  )

  test("is no longer than a connect while one may be opened for the newcomer", { maxSize: 10 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 30 }
      yield* f.park()
      yield* f.pass(30)
      yield* f.pass(1_000)
      assert.strictEqual(Pool.gauge(f.pool).estimate("normal"), 30)
    })
  )

  test("is a connect where nothing is open, after the pause of a failed one", { maxSize: 2, backoff: undefined }, (f) =>
    Effect.gen(function* () {
      const gauge = Pool.gauge(f.pool)
      assert.strictEqual(gauge.estimate("normal"), 0)
      f.host.connects = "unreachable"
      yield* f.park()
      const pause = f.engine.state.backoff.notBefore - f.now()
      assert.isAbove(pause, 0)
      assert.strictEqual(gauge.estimate("normal"), pause)
    })
  )

  test("is the rest of a suspension, and Infinity when the pool ends", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* known(f)
      yield* Pool.suspend(f.pool, { atMost: 700 })
      assert.strictEqual(Pool.gauge(f.pool).estimate("normal"), 700)
      yield* Pool.drain(f.pool)
      assert.strictEqual(Pool.gauge(f.pool).estimate("normal"), Infinity)
    })
  )

  test("is NaN for a class that does not exist", { maxSize: 2 }, (f) =>
    Effect.sync(() => assert.isNaN(Pool.gauge(f.pool).estimate("urgent" as Priority.Priority)))
  )
})

describe("the patience of a newcomer", () => {
  const shedding = { mode: "on", target: 50, interval: 500 } as const
  const all: ReadonlyArray<Priority.Priority> = ["critical", "high", "normal", "low", "background"]
  const patience = (f: Fixture, acquireTimeout: number) =>
    all.map((priority) => Pool.gauge(f.pool).patience(priority, acquireTimeout))

  /** The only connection is held, and so many have waited for too long. */
  const late = (f: Fixture, waiters: number) =>
    Effect.gen(function* () {
      yield* f.hold()
      for (let i = 0; i < waiters; i++) yield* f.park({ acquireTimeout: "1 minute", priority: "critical" })
      yield* f.pass(549)
      assert.deepStrictEqual(patience(f, 1_000), [1_000, 1_000, 1_000, 1_000, 1_000])
      yield* f.pass(1)
      assert.isTrue(f.stats().isOverloaded)
    })

  test(
    "is what an overloaded pool leaves it that sheds, but for class critical, which is never shed",
    { maxSize: 1, shedding },
    (f) =>
      Effect.gen(function* () {
        yield* late(f, 4)
        assert.deepStrictEqual(patience(f, 1_000), [1_000, 100, 100, 100, 100])
        // Half of the time that a caller has, and its own time where that is less.
        assert.deepStrictEqual(patience(f, 100), [100, 50, 50, 50, 50])
      })
  )

  test("is its own while fewer wait than are kept in any case", { maxSize: 1, shedding }, (f) =>
    Effect.gen(function* () {
      yield* late(f, 3)
      assert.deepStrictEqual(patience(f, 1_000), [1_000, 1_000, 1_000, 1_000, 1_000])
    })
  )

  test("is its own where the pool only counts whom it would shed", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* late(f, 10)
      assert.deepStrictEqual(patience(f, 1_000), [1_000, 1_000, 1_000, 1_000, 1_000])
    })
  )

  test("is NaN for a class that does not exist", { maxSize: 1 }, (f) =>
    Effect.sync(() => assert.isNaN(Pool.gauge(f.pool).patience("urgent" as Priority.Priority, 1_000)))
  )
})
