import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import { Pool } from "../src/index.js"
import { type Fixture, settle, test } from "./support/Fixture.js"

const total = (f: Fixture) => f.stats().size + f.stats().connecting + f.stats().closing

describe("resize", () => {
  test("to less closes idle connections at once and leased ones when they come back", { maxSize: 5 }, (f) =>
    Effect.gen(function* () {
      const leases = yield* f.saturate
      yield* leases[0]!.release
      yield* leases[1]!.release
      yield* Pool.resize(f.pool, 2)
      yield* settle
      assert.deepStrictEqual([f.stats().size, f.stats().max], [3, 2])
      yield* leases[2]!.release
      yield* settle
      assert.deepStrictEqual([f.stats().size, f.stats().available], [2, 0])
      yield* leases[3]!.release
      assert.deepStrictEqual([f.stats().size, f.stats().available], [2, 1])
      assert.strictEqual(f.stats().closed.shrink, 3)
    })
  )

  test("to less counts connects under way, and closes what is then too much", { maxSize: 3 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 100 }
      for (let i = 0; i < 3; i++) yield* f.park()
      yield* f.pass(50)
      yield* Pool.resize(f.pool, 1)
      yield* f.pass(500)
      assert.strictEqual(total(f), 1)
    })
  )

  test("to more serves waiters with new connections", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.hold()
      const waiter = yield* f.park()
      yield* Pool.resize(f.pool, 2)
      yield* settle
      assert.strictEqual((yield* waiter.lease).connection.id, 2)
    })
  )

  test("lowers minIdle to at most the new size", { maxSize: 3, minIdle: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.pass(100)
      assert.strictEqual(f.stats().available, 3)
      yield* Pool.resize(f.pool, 2)
      yield* settle
      assert.deepStrictEqual([f.stats().min, f.stats().size], [2, 2])
    })
  )

  for (const size of [0, 100_001, -1, 1.5, Number.NaN]) {
    test(`refuses ${size} and changes nothing`, { maxSize: 3 }, (f) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Pool.resize(f.pool, size))
        assert.include(error.message, "maxSize must be a whole number from 1 to 100000")
        assert.strictEqual(f.stats().max, 3)
      })
    )
  }
})

describe("suspend", () => {
  test("lets callers wait, keeps the leases, and serves those who waited on resume", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const held = yield* f.hold()
      yield* Pool.suspend(f.pool)
      const waiter = yield* f.park()
      yield* held.release
      yield* f.pass(1_000)
      assert.isTrue(yield* waiter.waits)
      assert.strictEqual(f.stats().phase, "suspended")
      yield* Pool.resume(f.pool)
      yield* settle
      yield* waiter.lease
      assert.strictEqual(f.stats().phase, "running")
    })
  )

  test("ends by itself after atMost", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* Pool.suspend(f.pool, { atMost: "3 seconds" })
      const waiter = yield* f.park()
      yield* f.pass(2_999)
      assert.isTrue(yield* waiter.waits)
      yield* f.pass(1)
      yield* waiter.lease
    })
  )

  test("ends by itself after a minute if nothing else is said", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* Pool.suspend(f.pool)
      yield* f.pass(59_999)
      assert.strictEqual(f.stats().phase, "suspended")
      yield* f.pass(1)
      assert.strictEqual(f.stats().phase, "running")
    })
  )

  test("for no time at all ends at once", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* Pool.suspend(f.pool, { atMost: 0 })
      yield* f.pass(1)
      assert.strictEqual(f.stats().phase, "running")
      yield* f.hold()
    })
  )

  test("does not move deadlines: a waiter still ends at its own, and is told what to do", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* Pool.suspend(f.pool)
      const waiter = yield* f.park({ acquireTimeout: 500 })
      yield* f.pass(500)
      assert.include((yield* waiter.error).message, "The pool is suspended: resume it.")
      yield* Pool.resume(f.pool)
    })
  )
})

describe("reset", () => {
  test("closes idle connections at once and leased ones when they come back", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const lease = yield* f.hold()
      yield* Pool.reset(f.pool)
      yield* settle
      assert.strictEqual(f.stats().closed.generation, 1)
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().closed.generation, 2)
      assert.strictEqual((yield* f.hold()).connection.id, 3)
    })
  )

  test("with a spread replaces them one after the other and keeps the size", { maxSize: 11, minIdle: 10 }, (f) =>
    Effect.gen(function* () {
      yield* f.pass(100)
      yield* Pool.reset(f.pool, { spread: "100 seconds" })
      const replaced: Array<number> = []
      for (let i = 0; i < 12; i++) {
        yield* f.pass(10_000)
        replaced.push(f.stats().closed.generation)
        assert.isAtLeast(f.stats().size, 9)
      }
      assert.strictEqual(replaced.at(-1), 10)
      for (const [i, n] of replaced.entries()) assert.closeTo(n, Math.min(10, i + 1), 1)
    })
  )
})

describe("evict", () => {
  test("closes an idle connection now and a leased one on release; false for a stranger", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const lease = yield* f.hold()
      const idle = f.host.connections.find((connection) => connection !== lease.connection)!
      assert.isTrue(yield* Pool.evict(f.pool, idle))
      assert.isTrue(yield* Pool.evict(f.pool, lease.connection))
      yield* settle
      assert.isFalse(idle.open)
      assert.isTrue(lease.connection.open)
      yield* lease.release
      yield* settle
      assert.isFalse(lease.connection.open)
      assert.isFalse(yield* Pool.evict(f.pool, idle))
      assert.strictEqual(f.stats().closed.evicted, 2)
    })
  )
})

describe("drain", () => {
  test("F18: five leases end in time, five are cancelled at 80 % and taken away at 100 %", { maxSize: 10 }, (f) =>
    Effect.gen(function* () {
      f.host.aborts = "hang"
      const leases = yield* f.saturate
      const waiter = yield* f.park()
      const draining = yield* Effect.fork(Pool.drain(f.pool, { within: "5 seconds" }))
      yield* settle
      assert.strictEqual((yield* waiter.error)._tag, "PoolClosed")
      const refused = yield* (yield* f.park()).error
      assert.isTrue(refused._tag === "PoolClosed" && refused.elapsedMs === 0)
      yield* f.pass(2_000)
      yield* Effect.forEach(leases.slice(0, 5), (lease) => lease.release)
      yield* f.pass(1_999)
      assert.deepStrictEqual(f.host.aborted, [])
      yield* f.pass(1)
      assert.sameMembers(
        f.host.aborted,
        leases.slice(5).map((lease) => lease.connection.id)
      )
      yield* f.pass(999)
      assert.strictEqual(f.stats().using, 5)
      assert.isTrue(Option.isNone(yield* Fiber.poll(draining)))
      yield* f.pass(1)
      assert.deepStrictEqual(yield* Fiber.join(draining), { released: 5, cancelled: 5, aborted: 5, elapsedMs: 5_000 })
      yield* Effect.forEach(leases.slice(5), (lease) => lease.release)
      assert.strictEqual(f.stats().lateReleases, 5)
      assert.strictEqual(f.stats().phase, "closed")
    })
  )

  test("ends as soon as the last lease has ended", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const leases = yield* f.saturate
      const draining = yield* Effect.fork(Pool.drain(f.pool))
      yield* f.pass(100)
      yield* Effect.forEach(leases, (lease) => lease.release)
      yield* settle
      assert.deepStrictEqual(yield* Fiber.join(draining), { released: 2, cancelled: 0, aborted: 0, elapsedMs: 100 })
    })
  )

  test("within 0 takes everything away at once", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const draining = yield* Effect.fork(Pool.drain(f.pool, { within: 0 }))
      yield* settle
      assert.deepStrictEqual(yield* Fiber.join(draining), { released: 0, cancelled: 0, aborted: 2, elapsedMs: 0 })
    })
  )

  test("a second drain joins the first, may shorten it, and cancels nothing twice", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      f.host.aborts = "hang"
      yield* f.saturate
      const first = yield* Effect.fork(Pool.drain(f.pool, { within: "10 seconds" }))
      yield* f.pass(8_500)
      const longer = yield* Effect.fork(Pool.drain(f.pool, { within: "1 hour" }))
      const shorter = yield* Effect.fork(Pool.drain(f.pool, { within: "1 second" }))
      yield* f.pass(1_000)
      const counts = { released: 0, cancelled: 2, aborted: 2 }
      assert.deepStrictEqual(yield* Fiber.join(first), { ...counts, elapsedMs: 9_500 })
      assert.deepStrictEqual(yield* Fiber.join(longer), { ...counts, elapsedMs: 1_000 })
      assert.deepStrictEqual(yield* Fiber.join(shorter), { ...counts, elapsedMs: 1_000 })
    })
  )

  test("stops connects that are under way", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "hang"
      const waiter = yield* f.park()
      const draining = yield* Effect.fork(Pool.drain(f.pool))
      yield* settle
      assert.strictEqual((yield* waiter.error)._tag, "PoolClosed")
      assert.strictEqual((yield* Fiber.join(draining)).elapsedMs, 0)
    })
  )

  test("does not wait for a connect that cannot be stopped, and closes what comes of it later", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "stubborn"
      yield* f.park()
      const draining = yield* Effect.fork(Pool.drain(f.pool))
      yield* settle
      assert.strictEqual((yield* Fiber.join(draining)).elapsedMs, 0)
      yield* f.pass(5_000)
      assert.deepStrictEqual([f.host.opened, f.host.closed], [1, 1])
    })
  )

  test(
    "waits for what is being cleaned, each by its bound",
    { maxSize: 3, resetTimeout: 400, abortTimeout: 600 },
    (f) =>
      Effect.gen(function* () {
        f.host.resets = "hang"
        f.host.aborts = "hang"
        const leases = yield* f.saturate
        leases[0]!.connection.status = "dirty"
        leases[1]!.connection.status = "busy"
        yield* Effect.forEach(leases, (lease) => lease.release)
        const draining = yield* Effect.fork(Pool.drain(f.pool))
        yield* f.pass(600)
        assert.strictEqual((yield* Fiber.join(draining)).elapsedMs, 600)
      })
  )

  test(
    "happens when the scope closes, within drainTimeout, to a lease that is never released",
    { maxSize: 1, drainTimeout: 2_000 },
    (f) =>
      Effect.gen(function* () {
        yield* f.hold()
        yield* f.pass(10_000)
      })
  )

  test(
    "leaves no fiber behind when what it cancels is deaf",
    { maxSize: 2, drainTimeout: 1_000, abortTimeout: 5_000, setUp: (host) => Object.assign(host, { aborts: "hang" }) },
    (f) => Effect.asVoid(f.saturate)
  )

  test("interrupts nobody: the caller whose connection was taken away goes on", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Pool.use(f.pool, () => Effect.as(Effect.sleep(5_000), "done")))
      yield* settle
      const draining = yield* Effect.fork(Pool.drain(f.pool, { within: 1_000 }))
      yield* f.pass(1_000)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(draining)))
      yield* f.pass(4_000)
      assert.strictEqual(yield* Fiber.join(fiber), "done")
    })
  )
})
