import { assert, describe } from "@effect/vitest"
import { Chunk, Effect, Fiber, Schedule, Stream } from "effect"
import { Pool, type PoolEvent } from "../src/index.js"
import { settle, test } from "./support/Fixture.js"

const tags = (events: Iterable<PoolEvent.PoolEvent>) => Array.from(events, (event) => event._tag)

describe("events", () => {
  test("cost nothing while nobody listens", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      assert.isUndefined(f.engine.host.emit)
      const fiber = yield* Effect.fork(Stream.runDrain(Pool.events(f.pool)))
      yield* settle
      assert.isDefined(f.engine.host.emit)
      yield* Fiber.interrupt(fiber)
      assert.isUndefined(f.engine.host.emit)
    })
  )

  test(
    "tell the life of a connection, and end when the pool is closed",
    { maxSize: 1, maxUses: 2, backoff: Schedule.spaced(50) },
    (f) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(Stream.runCollect(Pool.events(f.pool)))
        yield* settle
        f.host.script.push("unreachable")
        const first = yield* f.park()
        yield* f.pass(50)
        const waiter = yield* f.park()
        yield* f.pass(20)
        yield* (yield* first.lease).release
        yield* (yield* waiter.lease).release
        yield* Pool.drain(f.pool)
        const events = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
        assert.deepStrictEqual(tags(events).slice(0, 11), [
          "Queued",
          "Host",
          "ConnectFailed",
          "Host",
          "Connected",
          "Acquired",
          "Queued",
          "Released",
          "Acquired",
          "Released",
          "Closed"
        ])
        assert.deepStrictEqual(
          events.flatMap((event) => (event._tag === "Queued" ? [[event.waiting, event.priority]] : [])),
          [
            [1, "normal"],
            [1, "normal"]
          ]
        )
        const granted = events.filter((event) => event._tag === "Acquired")
        assert.deepStrictEqual(
          granted.map((event) => event.waitMs),
          [50, 20]
        )
        assert.deepInclude(events.find((event) => event._tag === "ConnectFailed")!, { attempts: 1, retryInMs: 50 })
        assert.deepInclude(events.find((event) => event._tag === "Closed")!, { connection: 1, reason: "lifetime" })
      })
  )

  test("tell of failed acquires and of control", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      yield* f.hold()
      yield* f.park({ acquireTimeout: 10 })
      yield* f.pass(10)
      yield* Pool.suspend(f.pool)
      yield* Pool.resume(f.pool)
      yield* Pool.resize(f.pool, 2)
      yield* Pool.suspect(f.pool, "why")
      yield* Pool.reset(f.pool)
      assert.deepStrictEqual(tags(events).slice(-6), [
        "AcquireFailed",
        "Suspended",
        "Resumed",
        "Resized",
        "Suspected",
        "Reset"
      ])
      assert.deepInclude(events.at(-6)!, { error: "AcquireTimeout", waitMs: 10 })
    })
  )

  test("reach every listener", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const one = yield* f.listen
      const two = yield* f.listen
      yield* Pool.use(f.pool, () => Effect.void)
      assert.deepStrictEqual(tags(one), ["Queued", "Connected", "Acquired", "Released"])
      assert.deepStrictEqual(one, two)
    })
  )
})

describe("the gauge", () => {
  test("is one object that shows the present moment", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const gauge = Pool.gauge(f.pool)
      const shown = () => ({
        size: gauge.size,
        using: gauge.using,
        waiting: gauge.waiting,
        isUp: gauge.isUp,
        phase: gauge.phase
      })
      assert.strictEqual(Pool.gauge(f.pool), gauge)
      assert.deepStrictEqual(shown(), { size: 0, using: 0, waiting: 0, isUp: true, phase: "running" })
      const leases = yield* f.saturate
      yield* f.park()
      assert.deepStrictEqual(shown(), { size: 2, using: 2, waiting: 1, isUp: true, phase: "running" })
      yield* Pool.suspend(f.pool)
      assert.strictEqual(gauge.phase, "suspended")
      f.host.connects = "unreachable"
      for (const lease of leases) {
        lease.connection.status = "dead"
        yield* lease.release
      }
      yield* Pool.resume(f.pool)
      yield* f.pass(10)
      assert.deepStrictEqual(shown(), { size: 0, using: 0, waiting: 1, isUp: false, phase: "running" })
    })
  )

  test("is up while a connection is open, whatever happens to the next one", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.hold()
      f.host.connects = "unreachable"
      yield* f.park()
      assert.deepStrictEqual([f.stats().host, Pool.gauge(f.pool).isUp], ["failing", true])
    })
  )
})

describe("times", () => {
  test("are whole milliseconds where people read them, and exact in events", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      let fraction = 0.25
      const nanos = f.clock.unsafeCurrentTimeNanos.bind(f.clock)
      f.clock.unsafeCurrentTimeNanos = () => {
        fraction += 0.137
        return nanos() + BigInt(Math.round(fraction * 1e6))
      }
      const events = yield* f.listen
      const lease = yield* f.hold()
      const waiter = yield* f.park({ acquireTimeout: 33.3 })
      yield* f.pass(20)
      const stats = f.stats()
      yield* f.pass(50)
      const error = yield* waiter.error
      yield* lease.release
      const numbers = [stats.oldestLeaseMs, stats.oldestWaitMs, error.elapsedMs, ...error.holders.map((h) => h.heldMs)]
      assert.isAtLeast(numbers.length, 4)
      assert.deepStrictEqual(numbers, numbers.map(Math.round))
      const told = events.flatMap((event) =>
        Object.entries(event).flatMap(([key, value]) => (key.endsWith("Ms") && value !== 0 ? [Number(value)] : []))
      )
      assert.isAtLeast(told.length, 3)
      for (const ms of told) assert.notStrictEqual(ms, Math.round(ms))
    })
  )
})

describe("stats", () => {
  test("say size, available, using and waiting, as users know them", { maxSize: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const { available, size, using, waiting } = yield* Pool.stats(f.pool)
      assert.deepStrictEqual({ size, available, using, waiting }, { size: 2, available: 2, using: 0, waiting: 0 })
      yield* f.saturate
      yield* f.park()
      yield* f.pass(30)
      yield* f.park()
      yield* f.pass(12)
      assert.deepInclude(f.stats(), {
        size: 3,
        available: 0,
        using: 3,
        waiting: 2,
        max: 3,
        min: 0,
        oldestWaitMs: 42,
        oldestLeaseMs: 42,
        phase: "running"
      })
    })
  )

  test("count what has happened, by reason", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      f.host.script.push("unreachable")
      const lease = yield* f.park()
      yield* f.pass(100)
      const { connection, release } = yield* lease.lease
      yield* Pool.evict(f.pool, connection)
      yield* release
      yield* f.saturate
      yield* f.park({ acquireTimeout: 5 })
      yield* f.pass(5)
      const { closed, ...rest } = f.stats()
      assert.deepInclude(rest, {
        acquired: 3,
        timeouts: 1,
        saturated: 0,
        connects: 3,
        connectFailures: 1,
        lateReleases: 0
      })
      assert.strictEqual(closed.evicted, 1)
      assert.strictEqual(
        Object.values(closed).reduce((a, b) => a + b, 0),
        1
      )
    })
  )

  test("size is the sum of its parts in every state", { maxSize: 6 }, (f) =>
    Effect.gen(function* () {
      f.host.resets = "hang"
      f.host.aborts = "hang"
      const leases = yield* f.saturate
      leases[0]!.connection.status = "dirty"
      leases[1]!.connection.status = "busy"
      leases[2]!.connection.status = "dead"
      f.host.closes = "hang"
      yield* Effect.forEach(leases.slice(0, 4), (lease) => lease.release)
      const s = f.stats()
      assert.deepInclude(s, { size: 5, available: 1, using: 2, resetting: 1, quarantined: 1, closing: 1 })
      assert.strictEqual(s.size, s.available + s.using + s.validating + s.resetting + s.quarantined)
      f.host.letGo()
    })
  )
})
