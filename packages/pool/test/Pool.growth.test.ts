import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Pool } from "../src/index.js"
import { Load } from "../src/internal/load.js"
import { type Fixture, settle, test } from "./support/Fixture.js"

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

describe("growth", () => {
  test(
    "F7: 50 callers with 2 ms of work each are served by five connections, not by 50 connects of 150 ms",
    { maxSize: 50, minIdle: 5 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = { after: 150 }
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
    { maxSize: 50, minIdle: 5 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = { after: 150 }
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
    "opens connections for work that takes longer than a connect, four at a time at most",
    { maxSize: 20, minIdle: 2 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = { after: 10 }
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
    { maxSize: 10, minIdle: 2 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = { after: 20 }
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

  test("goes one connect at a time until it has seen 8 leases end", { maxSize: 20 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 50 }
      yield* callers(f, 10, 10_000, [])
      let most = 0
      for (let i = 0; i < 60; i++) {
        yield* f.pass(10)
        most = Math.max(most, f.stats().connecting)
      }
      assert.strictEqual(most, 1)
      assert.strictEqual(f.host.opened, 10)
    })
  )

  test("waits no longer than a connect takes before it opens one more", { maxSize: 5, minIdle: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 100 }
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

  it("with fewer than 8 samples: one at a time", () => {
    const load = new Load()
    for (let i = 0; i < 7; i++) load.held(2)
    load.connected(150)
    assert.isTrue(load.wantsOneMore(1, 1, 0, 0, 0))
    assert.isFalse(load.wantsOneMore(1_000, 1, 1, 1_000, 1_000))
  })
})
