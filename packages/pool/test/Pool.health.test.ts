import { assert, describe } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Pool } from "../src/index.js"
import { settle, test } from "./support/Fixture.js"

describe("a check before the hand-out", () => {
  test("is left out within validateAfterIdle of the last use", { maxSize: 1, validateAfterIdle: 500 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      yield* f.pass(500)
      yield* (yield* f.hold()).release
      assert.deepStrictEqual(f.host.checked, [])
      yield* f.pass(501)
      yield* (yield* f.hold()).release
      assert.deepStrictEqual(f.host.checked, [1])
      yield* f.pass(500)
      yield* (yield* f.hold()).release
      assert.deepStrictEqual(f.host.checked, [1])
    })
  )

  test("C22: happens before every hand-out with validateAfterIdle 0", { maxSize: 1, validateAfterIdle: 0 }, (f) =>
    Effect.gen(function* () {
      for (let i = 0; i < 1_000; i++) yield* Pool.use(f.pool, () => Effect.void)
      assert.strictEqual(f.host.checked.length, 1_000)
      // One for each caller, also where several wait.
      yield* Effect.all(
        Array.from({ length: 10 }, () => Pool.use(f.pool, () => Effect.sleep(1))),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.fork)
      yield* f.pass(100)
      assert.strictEqual(f.host.checked.length, 1_010)
    })
  )

  test(
    "C22: happens before every hand-out of a connection that is to be shared, with validateAfterIdle 0",
    { maxSize: 1, validateAfterIdle: 0, concurrency: 4 },
    (f) =>
      Effect.gen(function* () {
        for (let i = 0; i < 1_000; i++) yield* Pool.share(f.pool, () => Effect.void)
        assert.strictEqual(f.host.checked.length, 1_000)
        // Who joins others that use a connection finds it at work.
        yield* Effect.fork(
          Effect.all(
            Array.from({ length: 4 }, () => Pool.share(f.pool, () => Effect.sleep(1))),
            { concurrency: "unbounded", discard: true }
          )
        )
        yield* f.pass(100)
        assert.strictEqual(f.host.checked.length, 1_001)
      })
  )

  test("does not happen if there is no validate", { maxSize: 1, validates: false }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      yield* f.pass(100_000)
      yield* Pool.suspect(f.pool)
      yield* f.hold()
      assert.deepStrictEqual(f.host.checked, [])
    })
  )

  test(
    "that hangs costs one validateTimeout; the caller then gets a new connection",
    { maxSize: 1, validateTimeout: 300 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(1)
        yield* f.pass(600)
        f.host.checks = "hang"
        const caller = yield* f.park()
        yield* f.pass(299)
        assert.strictEqual(f.stats().validating, 1)
        yield* f.pass(1)
        assert.strictEqual((yield* caller.lease).connection.id, 2)
        assert.strictEqual(f.stats().closed.validation, 1)
      })
  )

  test("that throws closes the connection", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      yield* f.pass(600)
      f.host.checks = "die"
      assert.strictEqual((yield* f.hold()).connection.id, 2)
    })
  )

  test("happens for as many connections as callers wait, no more", { maxSize: 5 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(5)
      yield* f.pass(600)
      f.host.checks = { after: 50 }
      const callers = yield* Effect.replicateEffect(f.park(), 2)
      assert.deepStrictEqual([f.stats().validating, f.stats().available], [2, 3])
      yield* f.pass(50)
      for (const caller of callers) yield* caller.lease
      assert.strictEqual(f.host.checked.length, 2)
    })
  )

  test("whose caller has left goes on, and its connection is idle and proven afterwards", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      yield* f.pass(600)
      f.host.checks = { after: 50 }
      const caller = yield* f.park()
      yield* Fiber.interrupt(caller.fiber)
      yield* f.pass(50)
      yield* f.hold()
      assert.deepStrictEqual(f.host.checked, [1])
    })
  )

  test(
    "F2: every idle connection was cut silently: one failed check closes them all",
    { maxSize: 10, idleTimeout: "1 hour" },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(10)
        yield* f.pass(50_000)
        f.host.checked.length = 0
        f.host.checks = "fail"
        const callers = yield* Effect.replicateEffect(f.park(), 3)
        f.host.checks = "ok"
        yield* f.pass(100)
        for (const caller of callers) assert.isAbove((yield* caller.lease).connection.id, 10)
        assert.isAtMost(f.host.checked.length, 3)
        assert.strictEqual(f.stats().closed.validation, 10)
      })
  )

  test("that fails spares the connections that were used since", { maxSize: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(3)
      yield* f.pass(450)
      const used = yield* f.hold()
      yield* used.release
      yield* f.pass(100)
      f.host.checks = "fail"
      const leases = [yield* f.hold(), yield* f.hold()]
      assert.strictEqual(leases[0]!.connection, used.connection)
      assert.strictEqual(leases[1]!.connection.id, 4)
      assert.strictEqual(f.stats().closed.validation, 2)
    })
  )
})

describe("a fatal event", () => {
  test("makes every connection that is older prove itself once, also those in use", { maxSize: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const held = yield* f.hold()
      yield* Pool.suspect(f.pool, "failover")
      yield* held.release
      const leases = [yield* f.hold(), yield* f.hold()]
      assert.strictEqual(f.host.checked.length, 2)
      yield* Effect.forEach(leases, (lease) => lease.release)
      yield* f.hold()
      assert.strictEqual(f.host.checked.length, 2)
    })
  )

  test("does not touch connections opened after it", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* Pool.suspect(f.pool)
      yield* f.warm(1)
      yield* f.hold()
      assert.deepStrictEqual(f.host.checked, [])
    })
  )

  test("during a check makes the connection prove itself again", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      yield* Pool.suspect(f.pool)
      f.host.checks = { after: 20 }
      const caller = yield* f.park()
      yield* f.pass(10)
      yield* Pool.suspect(f.pool)
      yield* f.pass(10)
      assert.isTrue(yield* caller.waits)
      yield* f.pass(20)
      yield* caller.lease
      assert.deepStrictEqual(f.host.checked, [1, 1])
    })
  )

  test(
    "on one connection: the first failed check closes all idle ones, so that not every caller discovers it",
    { maxSize: 20 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(20)
        f.host.checks = "fail"
        f.host.connections[0]!.signals.fatal(new Error("terminating connection due to administrator command"))
        const caller = yield* f.park()
        assert.isAbove((yield* caller.lease).connection.id, 20)
        assert.strictEqual(f.host.checked.length, 1)
        assert.strictEqual(f.stats().closed.validation + f.stats().closed.error, 20)
      })
  )

  test("of one connection counts once, however often it is reported", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const epoch = f.engine.state.epoch
      for (let i = 0; i < 5; i++) f.host.connections[0]!.signals.fatal("gone")
      assert.strictEqual(f.engine.state.epoch, epoch + 1)
      yield* settle
    })
  )
})

describe("keepalive", () => {
  test(
    "checks each connection that was silent for keepAlive, the longest silent first, one at a time",
    { maxSize: 4, idleTimeout: "1 hour", keepAlive: "60 seconds" },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(4)
        f.host.checks = { after: 10 }
        const bottom: Array<number> = []
        for (let e = f.engine.state.idle.tail; e !== undefined; e = e.prev) bottom.push(e.resource.id)
        yield* f.pass(53_000)
        assert.deepStrictEqual(f.host.checked, [])
        for (let ms = 0; ms < 15_000; ms += 5) {
          yield* f.pass(5)
          assert.isAtMost(f.stats().validating, 1)
        }
        assert.deepStrictEqual(f.host.checked, bottom)
      }),
    20_000
  )

  test("does not keep a connection from idling out", { maxSize: 2, idleTimeout: 150_000, keepAlive: 20_000 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      yield* f.pass(149_000)
      assert.strictEqual(f.stats().size, 2)
      assert.isAtLeast(f.host.checked.length, 10)
      yield* f.pass(3_000)
      assert.strictEqual(f.stats().closed.idle, 2)
    })
  )

  test("that fails closes what was silent for as long", { maxSize: 3, keepAlive: 10_000 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(3)
      f.host.checks = "fail"
      yield* f.pass(12_000)
      assert.strictEqual(f.host.checked.length, 1)
      assert.strictEqual(f.stats().closed.validation, 3)
    })
  )

  test(
    "leaves a caller that comes meanwhile its connection as soon as the check is over",
    { maxSize: 1, keepAlive: 10_000 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(1)
        f.host.checks = { after: 5_000 }
        for (let i = 0; i < 120 && f.stats().validating === 0; i++) yield* f.pass(100)
        assert.strictEqual(f.stats().validating, 1)
        const caller = yield* f.park()
        yield* f.pass(1_000)
        yield* caller.lease
        assert.strictEqual(f.host.checked.length, 1)
      })
  )
})

describe("a process that stood still", () => {
  test(
    "serves those who can be served before it fails those who are late, and trusts no connection",
    { maxSize: 2, acquireTimeout: 5_000 },
    (f) =>
      Effect.gen(function* () {
        const events = yield* f.listen
        const [lease] = yield* f.saturate
        const late = yield* f.park()
        const patient = yield* f.park({ acquireTimeout: 60_000 })
        yield* f.clock.jump(30_000)
        assert.strictEqual((yield* late.error)._tag, "AcquireTimeout")
        const stalls = events.filter((event) => event._tag === "Stall")
        assert.strictEqual(stalls.length, 1)
        assert.isAtLeast(stalls[0]!.lateMs, 28_000)
        yield* lease!.release
        assert.deepStrictEqual(f.host.checked, [lease!.connection.id])
        yield* patient.lease
      })
  )

  test("is not seen where the process ran all the time", { maxSize: 2, idleTimeout: "1 hour" }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      yield* f.warm(2)
      yield* f.pass(100_000)
      assert.deepStrictEqual(
        events.filter((event) => event._tag === "Stall"),
        []
      )
    })
  )
})
