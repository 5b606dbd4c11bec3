import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Pool } from "../src/index.js"
import { Load } from "../src/internal/load.js"
import { type FakeHost, type Fixture, settle, test } from "./support/Fixture.js"

/** Callers that each work for `ms`; says how long each of them took from the call to the end of the wait. */
const callers = (f: Fixture, n: number, ms: number, waits: Array<number>) =>
  Effect.forEach(
    Array.from({ length: n }),
    () => {
      const since = f.now()
      return Effect.fork(
        Pool.use(f.pool, () =>
          Effect.zipRight(
            Effect.sync(() => waits.push(f.now() - since)),
            Effect.sleep(ms)
          )
        )
      )
    },
    { discard: true }
  )

/** Every connect takes `ms`, from the first one on. */
const slow = (ms: number) => (host: FakeHost) => {
  host.connects = { after: ms }
}

describe("growth", () => {
  test(
    "F7: 50 callers with 2 ms of work each are served by five connections, not by 50 connects of 150 ms",
    { maxSize: 50, minIdle: 5, setUp: slow(150) },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(1_000)
        assert.strictEqual(f.stats().available, 5)
        const waits: Array<number> = []
        yield* callers(f, 50, 2, waits)
        yield* f.pass(25)
        assert.strictEqual(waits.length, 50)
        assert.isAtMost(Math.max(...waits), 25)
        yield* f.pass(1_000)
        assert.isAtMost(f.stats().size, 6)
      })
  )

  test(
    "F7: the same again, when it knows how long work and connects take: none is opened",
    { maxSize: 50, minIdle: 5, setUp: slow(150) },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(1_000)
        yield* callers(f, 20, 2, [])
        yield* f.pass(1_000)
        const before = f.host.opened
        const waits: Array<number> = []
        yield* callers(f, 50, 2, waits)
        yield* f.pass(25)
        assert.strictEqual(waits.length, 50)
        yield* f.pass(1_000)
        assert.strictEqual(f.host.opened, before)
      })
  )

  test(
    "as many callers as connections, that take turns for ever, get them all: a queue that is empty for an instant is a queue",
    { maxSize: 10, minIdle: 7, setUp: slow(150) },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(2_000)
        assert.strictEqual(f.stats().size, 7)
        yield* callers(f, 20, 1, [])
        yield* f.pass(2_000)
        const size = f.stats().size
        assert.isBelow(size, 10)
        const endless = Effect.forever(Pool.use(f.pool, () => Effect.sleep(100)))
        const all = yield* Effect.fork(Effect.replicateEffect(endless, 10, { concurrency: 10 }))
        yield* f.pass(5_000)
        assert.strictEqual(f.stats().size, 10)
        yield* Fiber.interrupt(all)
      })
  )

  test(
    "opens connections for work that takes longer than a connect, four at a time at most",
    { maxSize: 20, minIdle: 2, setUp: slow(10) },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(100)
        yield* callers(f, 20, 1, [])
        yield* f.pass(1_000)
        const waits: Array<number> = []
        yield* callers(f, 20, 500, waits)
        let most = 0
        for (let i = 0; i < 200; i++) {
          yield* f.pass(1)
          most = Math.max(most, f.stats().connecting)
        }
        assert.strictEqual(most, 4)
        assert.strictEqual(waits.length, 20, "all work at the same time, long before the first 500 ms are over")
      })
  )

  test(
    "sees work that hangs although nothing has been released: the age of the leases counts",
    { maxSize: 10, minIdle: 2, setUp: slow(20) },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(100)
        yield* callers(f, 20, 1, [])
        yield* f.pass(500)
        const size = f.stats().size
        yield* callers(f, size, 60_000, [])
        yield* f.pass(100)
        const waits: Array<number> = []
        yield* callers(f, 3, 1, waits)
        yield* f.pass(60)
        assert.strictEqual(waits.length, 3)
        assert.isAbove(f.stats().size, size)
      })
  )

  test("never opens more than callers need", { maxSize: 20 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 50 }
      yield* callers(f, 3, 10_000, [])
      yield* f.pass(1_000)
      assert.strictEqual(f.host.opened, 3)
    })
  )

  for (const ms of [60, 120, 150, 240]) {
    for (const minIdle of [0, 1]) {
      test(
        `ten statements of 1 s behind 60 ms get their connections in 1.2 × the time of ten connects of ${ms} ms at once (minIdle ${minIdle})`,
        { maxSize: 10, minIdle, setUp: slow(ms) },
        (f) =>
          Effect.gen(function* () {
            yield* f.pass(minIdle * 1_000)
            const waits: Array<number> = []
            // The statement, and the way there and back.
            const took = 1_060
            yield* callers(f, 10, took, waits)
            yield* f.pass(took + 3 * ms)
            assert.strictEqual(waits.length, 10)
            assert.strictEqual(f.host.opened, 10)
            assert.isAtMost(Math.max(...waits) + took, 1.2 * (ms + took))
          })
      )
    }

    for (const minIdle of ms < 150 ? [] : [0, 1]) {
      test(
        `a spike of 50 statements of 2 ms opens two connections at most, where a connect takes ${ms} ms (minIdle ${minIdle})`,
        { maxSize: 50, minIdle, setUp: slow(ms) },
        (f) =>
          Effect.gen(function* () {
            yield* f.pass(minIdle * 1_000)
            const before = f.host.opened
            const waits: Array<number> = []
            yield* callers(f, 50, 2, waits)
            yield* f.pass(1_000)
            assert.strictEqual(waits.length, 50)
            assert.isAtMost(f.host.opened - before, 2)
          })
      )
    }
  }

  test(
    "opens no more than 16 at once for slow work of which it knows nothing else",
    { maxSize: 40, setUp: slow(50) },
    (f) =>
      Effect.gen(function* () {
        yield* callers(f, 40, 10_000, [])
        let most = 0
        for (let i = 0; i < 60; i++) {
          yield* f.pass(10)
          most = Math.max(most, f.stats().connecting)
        }
        assert.strictEqual(most, 16)
        assert.strictEqual(f.host.opened, 40)
      })
  )

  test(
    "goes one connect at a time while the leases are young and few have ended",
    { maxSize: 20, setUp: slow(50) },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(0)
        yield* callers(f, 7, 7, [])
        let most = 0
        for (let i = 0; i < 60; i++) {
          yield* f.pass(1)
          most = Math.max(most, f.stats().connecting)
        }
        assert.strictEqual(most, 1)
      })
  )

  test("ramps 1, 2, 4 after an outage, however slow the work is", { maxSize: 20, setUp: slow(50) }, (f) =>
    Effect.gen(function* () {
      f.host.script.push("unreachable")
      yield* callers(f, 20, 10_000, [])
      const seen: Array<number> = []
      for (let i = 0; i < 300; i++) {
        yield* f.pass(5)
        const { connecting, connects } = f.stats()
        if (connecting > 0 && seen.at(-1) !== connecting) seen.push(connecting)
        assert.isAtMost(connecting, 2 ** Math.max(0, connects - 1))
      }
      assert.deepStrictEqual(seen.slice(0, 2), [1, 2])
      assert.strictEqual(f.stats().size, 20)
    })
  )

  test(
    "waits no longer than a connect takes before it opens one more",
    { maxSize: 5, minIdle: 1, setUp: slow(100) },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(200)
        for (let i = 0; i < 10; i++) {
          yield* callers(f, 1, 1, [])
          yield* f.pass(5)
        }
        yield* callers(f, 1, 10_000, [])
        const waits: Array<number> = []
        yield* callers(f, 1, 1, waits)
        yield* settle
        assert.strictEqual(f.stats().connecting, 0)
        yield* f.pass(200)
        assert.strictEqual(waits.length, 1)
        assert.isAtMost(waits[0]!, 200)
      })
  )
})

describe("whether one more connection is worth its connect", () => {
  const known = () => {
    const load = new Load()
    for (let i = 0; i < 8; i++) load.held(2)
    load.connected(150)
    return load
  }

  it("the first one always is", () => assert.isTrue(known().wantsOneMore(1, 0, 0, 0, 0)))

  it("no, if the work ahead takes less than the connect", () => assert.isFalse(known().wantsOneMore(45, 5, 0, 2, 0)))

  it("yes, if the work ahead takes longer", () => assert.isTrue(known().wantsOneMore(400, 5, 0, 2, 0)))

  it("yes, if the present leases are much older than leases used to get", () =>
    assert.isTrue(known().wantsOneMore(2, 5, 0, 1_000, 0)))

  it("yes, if the first caller has waited for as long as a connect takes", () => {
    assert.isFalse(known().wantsOneMore(1, 5, 0, 2, 149))
    assert.isTrue(known().wantsOneMore(1, 5, 0, 2, 150))
  })

  it("with fewer than 8 samples: one at a time, for every caller if the present leases are slow", () => {
    const load = new Load()
    for (let i = 0; i < 7; i++) load.held(2)
    load.connected(960)
    assert.isTrue(load.wantsOneMore(1, 1, 0, 0, 0))
    assert.isFalse(load.wantsOneMore(1_000, 1, 1, 29.9, 1_000))
    assert.isTrue(load.wantsOneMore(2, 1, 1, 30, 0))
  })

  it("nothing is slow before a connect was seen, and nothing below 20 ms is", () => {
    const load = new Load()
    assert.isFalse(load.wantsOneMore(1_000, 1, 1, 1_000, 1_000))
    load.connected(1)
    assert.isFalse(load.wantsOneMore(1_000, 1, 1, 19.9, 0))
    assert.isTrue(load.wantsOneMore(1_000, 1, 1, 20, 0))
  })
})
