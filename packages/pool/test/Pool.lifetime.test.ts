import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { test } from "./support/Fixture.js"

const MINUTE = 60_000

describe("idleTimeout", () => {
  test(
    "closes what was unused for so long, down to minIdle, at most a second later",
    { maxSize: 5, minIdle: 2, idleTimeout: 30_000 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(5)
        yield* f.pass(29_999)
        assert.strictEqual(f.stats().size, 5)
        yield* f.pass(1_001)
        assert.deepStrictEqual([f.stats().size, f.stats().closed.idle], [2, 3])
        yield* f.pass(10 * MINUTE)
        assert.strictEqual(f.stats().size, 2)
      })
  )

  test("closes the longest unused first: the hot set stays", { maxSize: 3, minIdle: 1, idleTimeout: 30_000 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(3)
      for (let i = 0; i < 60; i++) {
        yield* f.pass(1_000)
        yield* (yield* f.hold()).release
      }
      assert.strictEqual(f.stats().size, 1)
      assert.strictEqual(f.stats().closed.idle, 2)
    })
  )

  test("with minIdle 0 lets the pool become empty", { maxSize: 3, minIdle: 0, idleTimeout: 5_000 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(3)
      yield* f.pass(7_000)
      assert.strictEqual(f.stats().size, 0)
      assert.strictEqual(f.clock.sleeping, 0, "an empty pool arms no timer")
    })
  )
})

describe("maxLifetime", () => {
  test(
    "replaces a connection between 80 % and 100 % of it, at most a second later",
    { maxSize: 2, minIdle: 1, maxLifetime: 100_000, idleTimeout: "1 hour" },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(79_999)
        assert.strictEqual(f.host.opened, 1)
        yield* f.pass(22_001)
        assert.strictEqual(f.host.opened, 2)
        assert.strictEqual(f.stats().closed.lifetime, 1)
      })
  )

  test(
    "opens the new one before it closes the old one where there is room",
    { maxSize: 2, minIdle: 1, maxLifetime: 100_000, idleTimeout: "1 hour" },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(1_000)
        for (let ms = 0; ms < 110_000; ms += 500) {
          yield* f.pass(500)
          assert.isAtLeast(f.stats().size, 1)
        }
        assert.strictEqual(f.stats().closed.lifetime, 1)
      })
  )

  test(
    "takes a leased connection when it is released",
    { maxSize: 1, minIdle: 0, maxLifetime: 10_000, leakThreshold: 0 },
    (f) =>
      Effect.gen(function* () {
        const lease = yield* f.hold()
        yield* f.pass(60_000)
        assert.isTrue(lease.connection.open)
        yield* lease.release
        assert.isFalse(lease.connection.open)
        assert.strictEqual(f.stats().closed.lifetime, 1)
      })
  )

  test(
    "is jittered: connections opened together do not end together",
    { maxSize: 20, minIdle: 0, maxLifetime: 100_000, idleTimeout: "1 hour" },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(20)
        const ends = new Set<number>()
        for (let e = f.engine.state.idle.head; e !== undefined; e = e.next) {
          const age = e.retireAt - f.now()
          assert.isTrue(age >= 80_000 && age <= 100_000)
          ends.add(Math.round(age))
        }
        assert.isAtLeast(ends.size, 15)
      })
  )

  test(
    "F19: 100 connections made in one second: at most 10 retire in any minute, and one is missing at most",
    { maxSize: 100, minIdle: 100, maxLifetime: 30 * MINUTE, idleTimeout: "10 hours", keepAlive: "20 hours" },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = { after: 10 }
        yield* f.pass(2_000)
        assert.strictEqual(f.stats().size, 100)
        const retired: Array<number> = []
        for (let second = 0; second < 45 * 60; second++) {
          yield* f.pass(1_000)
          retired.push(f.stats().closed.lifetime)
          assert.isAtLeast(f.stats().size, 99)
          const aMinuteAgo = retired[retired.length - 60] ?? 0
          assert.isAtMost(retired.at(-1)! - aMinuteAgo, 10)
        }
        assert.isAtLeast(retired.at(-1)!, 100)
      }),
    30_000
  )
})
