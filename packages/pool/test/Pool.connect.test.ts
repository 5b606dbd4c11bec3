import { assert, describe } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Backoff, Pool } from "../src/index.js"
import { type Fixture, settle, test } from "./support/Fixture.js"

const use = (f: Fixture) => Effect.fork(Pool.use(f.pool, (connection) => Effect.succeed(connection.id)))

describe("I8: a connect belongs to the pool", () => {
  test("a caller that leaves does not stop it; the next waiter gets the connection", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 100 }
      const first = yield* f.park()
      yield* f.pass(50)
      yield* Fiber.interrupt(first.fiber)
      assert.strictEqual(f.stats().connecting, 1)
      const second = yield* f.park()
      yield* f.pass(50)
      assert.strictEqual((yield* second.lease).connection.id, 1)
      assert.strictEqual(f.host.attempts.length, 1)
    })
  )

  test("with nobody left it becomes an idle connection", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 100 }
      const first = yield* f.park()
      yield* Fiber.interrupt(first.fiber)
      yield* f.pass(100)
      assert.strictEqual(f.stats().available, 1)
    })
  )

  test("a connection released meanwhile serves the first waiter, the new one serves the second", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      f.host.connects = { after: 100 }
      const first = yield* f.park()
      const second = yield* f.park()
      yield* lease.release
      yield* settle
      assert.strictEqual((yield* first.lease).connection, lease.connection)
      assert.isTrue(yield* second.waits)
      yield* f.pass(100)
      assert.strictEqual((yield* second.lease).connection.id, 2)
    })
  )
})

describe("I6: a connect that fails", () => {
  test(
    "never occupies a place: after 1,000 of them a pool of one works",
    { maxSize: 1, failFastAfter: 0, backoff: Backoff.jittered({ base: 1, cap: 1 }) },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = "unreachable"
        const caller = yield* f.park({ acquireTimeout: "1 hour" })
        yield* f.pass(1_100)
        assert.isAtLeast(f.stats().connectFailures, 1_000)
        assert.strictEqual(f.stats().size + f.stats().connecting + f.stats().closing, 0)
        f.host.connects = "ok"
        yield* f.pass(5)
        assert.strictEqual((yield* caller.lease).connection.id, 1)
      }),
    20_000
  )

  for (const plan of [
    "unreachable",
    "overloaded",
    "rejected",
    "fail",
    "die",
    "hang",
    "failAfterOpening",
    "stubborn"
  ] as const) {
    test(`leaves its place free, however it fails: ${plan}`, { maxSize: 1, connectTimeout: 500 }, (f) =>
      Effect.gen(function* () {
        f.host.script.push(plan)
        const first = yield* f.park()
        yield* f.pass(3_000)
        assert.strictEqual(f.stats().connectFailures, 1)
        if (plan === "rejected") assert.strictEqual((yield* first.error)._tag, "ConnectFailed")
        else yield* (yield* first.lease).release
        const fiber = yield* use(f)
        yield* settle
        assert.isAtLeast(yield* Fiber.join(fiber), 1)
      })
    )
  }

  test(
    "closes what it had opened, and a close that hangs costs one closeTimeout",
    { maxSize: 1, closeTimeout: 300 },
    (f) =>
      Effect.gen(function* () {
        f.host.closes = "hang"
        f.host.script.push("failAfterOpening")
        const caller = yield* f.park()
        yield* f.pass(299)
        assert.strictEqual(f.stats().connecting, 1)
        yield* f.pass(1)
        assert.strictEqual(f.stats().connectFailures, 1)
        f.host.closes = "ok"
        yield* f.pass(50)
        assert.strictEqual((yield* caller.lease).connection.id, 2)
      })
  )

  test("because it takes longer than connectTimeout is stopped then (F3)", { maxSize: 1, connectTimeout: 400 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "hang"
      const caller = yield* f.park({ acquireTimeout: 1_000 })
      yield* f.pass(399)
      assert.strictEqual(f.stats().connectFailures, 0)
      yield* f.pass(1)
      assert.strictEqual(f.stats().connectFailures, 1)
      yield* f.pass(600)
      const error = yield* caller.error
      assert.isTrue(error._tag === "AcquireTimeout" && error.phase === "connecting")
      assert.include(error.message, "connecting took longer than 400 ms (connectTimeout)")
    })
  )

  test("because the host hung up at once is backed off from", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      lease.connection.signals.broken("gone")
      yield* lease.release
      const connections = f.host.connections
      const push = connections.push.bind(connections)
      connections.push = (connection) => {
        connection.signals.broken("hung up")
        return push(connection)
      }
      yield* f.park()
      yield* f.pass(2_000)
      assert.isAtMost(f.host.attempts.length, 60)
      assert.isAtLeast(f.host.attempts.length, 3)
    })
  )
})

describe("a host that is down", () => {
  const down = { maxSize: 10, acquireTimeout: 30_000 }

  test("F1: keeps those who wait and serves them all when it is back", down, (f) =>
    Effect.gen(function* () {
      const leases = yield* f.saturate
      const waiting = yield* Effect.replicateEffect(f.park(), 100)
      f.host.connects = "unreachable"
      for (const { connection } of leases) connection.signals.fatal("terminated")
      yield* Effect.forEach(leases, (lease) => lease.release)
      f.host.attempts.length = 0
      yield* f.pass(3_000)
      assert.isAtMost(f.host.attempts.length, 30)
      assert.strictEqual(f.stats().waiting, 100)
      f.host.connects = { after: 20 }
      let served = 0
      for (let ms = 0; ms < 2_000 && served < 100; ms += 10) {
        yield* f.pass(10)
        for (const waiter of [...waiting]) {
          if (yield* waiter.waits) continue
          const { release } = yield* waiter.lease
          served++
          yield* release
          waiting.splice(waiting.indexOf(waiter), 1)
        }
      }
      assert.strictEqual(served, 100)
      assert.strictEqual(f.stats().timeouts, 0)
    })
  )

  test(
    "fails arriving callers at once after failFastAfter, and keeps those who wait already",
    { ...down, failFastAfter: 2_000 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = "unreachable"
        const early = yield* f.park()
        yield* f.pass(1_999)
        const late = yield* f.park()
        assert.isTrue(yield* late.waits)
        yield* f.pass(1_001)
        const refused = yield* (yield* f.park()).error
        assert.isTrue(refused._tag === "ConnectUnavailable" && refused.elapsedMs === 0 && refused.attempts >= 3)
        assert.isTrue(yield* early.waits)
        assert.isTrue(yield* late.waits)
        f.host.connects = "ok"
        yield* f.pass(1_000)
        assert.strictEqual((yield* early.lease).connection.id, 1)
        assert.strictEqual(f.stats().host, "up")
        yield* (yield* late.lease).release
        assert.isTrue((yield* Fiber.join(yield* use(f))) > 0)
      })
  )

  test("failFastAfter 0 means that callers always wait", { ...down, failFastAfter: 0 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "unreachable"
      yield* f.park()
      yield* f.pass(25_000)
      assert.isTrue(yield* (yield* f.park()).waits)
    })
  )

  test(
    "is found again although every caller has left, with minIdle 0",
    { maxSize: 2, minIdle: 0, acquireTimeout: 1_000 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = "unreachable"
        const caller = yield* f.park()
        yield* f.pass(1_000)
        assert.strictEqual((yield* caller.error)._tag, "AcquireTimeout")
        yield* f.pass(60_000)
        f.host.connects = "ok"
        yield* f.pass(1_000)
        assert.strictEqual(yield* Fiber.join(yield* use(f)), 1)
      })
  )

  test(
    "does not fail callers at once for a failure of long ago, when something was open",
    { maxSize: 2, minIdle: 0, idleTimeout: 60_000 },
    (f) =>
      Effect.gen(function* () {
        yield* f.hold()
        f.host.script.push("unreachable")
        const second = yield* f.park({ acquireTimeout: 20 })
        yield* f.pass(20)
        assert.strictEqual((yield* second.error)._tag, "AcquireTimeout")
        yield* f.pass(30_000)
        for (const connection of f.host.connections) connection.signals.fatal("terminated")
        for (const lease of f.engine.state.leases) f.engine.release(lease)
        f.host.connects = "unreachable"
        yield* settle
        const caller = yield* f.park()
        assert.isTrue(yield* caller.waits)
        f.host.connects = "ok"
        yield* f.pass(1_000)
        assert.strictEqual((yield* caller.lease).connection.id, 2)
      })
  )

  test(
    "F3: into a black hole, arriving callers fail at once although no connect has failed for failFastAfter",
    { maxSize: 4, connectTimeout: 4_000, failFastAfter: 5_000, acquireTimeout: 20_000 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = "hang"
        yield* f.park()
        yield* f.pass(4_000)
        yield* f.park()
        yield* f.pass(5_500)
        assert.strictEqual((yield* (yield* f.park()).error)._tag, "ConnectUnavailable")
      })
  )
})

describe("a host that rejects the login", () => {
  test(
    "F14: callers fail at once with ConnectFailed, and it is asked at most once a second",
    { maxSize: 4, acquireTimeout: 30_000 },
    (f) =>
      Effect.gen(function* () {
        f.host.connects = "rejected"
        const caller = yield* f.park()
        const error = yield* caller.error
        assert.isTrue(error._tag === "ConnectFailed" && error.elapsedMs === 0)
        assert.strictEqual((yield* (yield* f.park()).error)._tag, "ConnectFailed")
        yield* f.pass(20_000)
        const gaps = f.host.attempts.slice(1).map((at, i) => at - f.host.attempts[i]!)
        assert.isAtLeast(gaps.length, 5)
        assert.isAtLeast(Math.min(...gaps), 1_000)
        f.host.connects = "ok"
        yield* f.pass(3_000)
        assert.strictEqual(yield* Fiber.join(yield* use(f)), 1)
      })
  )

  test("old connections go on", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      f.host.connects = "rejected"
      const held = yield* f.hold()
      const waiter = yield* f.park()
      yield* f.pass(100)
      assert.isTrue(yield* waiter.waits)
      yield* held.release
      yield* settle
      assert.strictEqual((yield* waiter.lease).connection, held.connection)
    })
  )
})

describe("F15: a host that takes no more connections", () => {
  test(
    "callers are served by those that work, and it is asked one connect at a time",
    { maxSize: 20, acquireTimeout: 30_000 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(3)
        f.host.connects = "overloaded"
        f.host.attempts.length = 0
        const waiters = yield* Effect.replicateEffect(f.park(), 30)
        assert.strictEqual(f.stats().host, "up")
        let most = 0
        for (let i = 0; i < 300; i++) {
          yield* f.pass(10)
          most = Math.max(most, f.stats().connecting)
          for (const waiter of waiters) {
            if (yield* waiter.waits) continue
            waiters.splice(waiters.indexOf(waiter), 1)
            yield* (yield* waiter.lease).release
            break
          }
        }
        assert.deepStrictEqual(waiters, [])
        assert.strictEqual(f.stats().saturated + f.stats().timeouts, 0)
        assert.isAtMost(most, 1)
        assert.isAtMost(f.host.attempts.length, 12)
      })
  )
})

describe("a connection that opens and never gets clean", () => {
  for (const opens of ["dirty", "busy"] as const) {
    test(`is no connect that succeeded: the next one waits, ever longer (${opens})`, { maxSize: 4 }, (f) =>
      Effect.gen(function* () {
        f.host.opens = opens
        f.host.resets = "fail"
        f.host.aborts = "fail"
        const waiters = [yield* f.park(), yield* f.park(), yield* f.park()]
        yield* f.pass(3_000)
        // 50 ms to 1 s between two, as when nobody answers.
        assert.isAtMost(f.host.attempts.length, 60)
        assert.isAbove(f.host.attempts.length, 2)
        assert.notStrictEqual(f.stats().host, "up")
        f.host.opens = "clean"
        yield* f.pass(1_100)
        for (const waiter of waiters) yield* (yield* waiter.lease).release
        assert.strictEqual(f.stats().host, "up")
      })
    )
  }

  test("but one that is cleaned is as good as any", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.opens = "dirty"
      const waiter = yield* f.park()
      yield* f.pass(100)
      yield* (yield* waiter.lease).release
      assert.strictEqual(f.stats().host, "up")
      assert.strictEqual(f.host.attempts.length, 1)
      // Nobody has left it so.
      assert.deepStrictEqual(f.host.left, [{ connection: 1, heldMs: 0, activity: undefined, span: undefined }])
    })
  )
})
