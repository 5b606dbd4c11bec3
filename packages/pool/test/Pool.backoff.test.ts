/** The pause after a connect that was of no use, and who decides how long it is. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, Schedule } from "effect"
import { Pool } from "../src/index.js"
import { FakeHost, type Fixture, test } from "./support/Fixture.js"
import { VirtualClock } from "./support/VirtualClock.js"

const gaps = (f: Fixture): ReadonlyArray<number> => f.host.attempts.slice(1).map((at, i) => at - f.host.attempts[i]!)

describe("I10: a connect that ends without a connection that was used", () => {
  it.live("C25: a connection that is dead at its first hand-out does not freeze the process", () =>
    Effect.gen(function* () {
      let connects = 0
      const pool = yield* Pool.make({
        minIdle: 0,
        connect: () => Effect.sync(() => ({ n: connects++ * 0 })),
        status: (resource) => (resource.n++ > 0 ? "dead" : "clean")
      })
      const error = yield* Effect.flip(Pool.use(pool, () => Effect.void, { acquireTimeout: 300 }))
      assert.strictEqual(error._tag, "AcquireTimeout")
      assert.include(error.message, "a new connection was dead before its first use")
      assert.isAtLeast(error.lastConnectFailure?.attempts ?? 0, 2)
      assert.isAtMost(connects, 7)
    }).pipe(Effect.scoped)
  )

  const seen = new WeakMap<object, number>()
  /** Clean when it is looked at `times` times, and then dead. */
  const deadAfter = (times: number) => (connection: object) => {
    const n = (seen.get(connection) ?? 0) + 1
    seen.set(connection, n)
    return n > times ? "dead" : "clean"
  }

  for (const times of [0, 1, 2]) {
    test(
      `is followed by pauses that grow, although the host lets everybody in (dead at look ${times + 1})`,
      { maxSize: 10, status: deadAfter(times), setUp: (host) => Object.assign(host, { connects: { after: 1 } }) },
      (f) =>
        Effect.gen(function* () {
          yield* Effect.replicateEffect(f.park({ acquireTimeout: "1 hour" }), 20)
          yield* f.pass(3_000)
          assert.isAtLeast(f.host.attempts.length, 4)
          assert.isAtMost(f.host.attempts.length, 40)
          yield* f.pass(60_000)
          // At least 25 ms at first, and then up to a second, never again from the beginning.
          assert.isAtLeast(Math.max(...gaps(f)), 500)
          assert.isAtLeast(Math.min(...gaps(f)), 25)
          assert.notStrictEqual(f.stats().host, "up")
        })
    )
  }

  test("has a growing pause also while nobody waits, with minIdle", { maxSize: 2, minIdle: 1, validates: false }, (f) =>
    Effect.gen(function* () {
      const connections = f.host.connections
      const push = connections.push.bind(connections)
      connections.push = (connection) => {
        // The host hangs up as soon as the pool has put the connection on its idle stack.
        queueMicrotask(() => connection.signals.broken("hung up"))
        return push(connection)
      }
      yield* Pool.reset(f.pool)
      yield* f.pass(10_000)
      assert.isAtLeast(f.host.attempts.length, 5)
      assert.isAtMost(f.host.attempts.length, 110)
    })
  )

  test("has it if the first check fails", { maxSize: 1, validateAfterIdle: 0, backoff: Schedule.spaced(400) }, (f) =>
    Effect.gen(function* () {
      f.host.checks = "fail"
      const waiter = yield* f.park({ acquireTimeout: 1_000 })
      yield* f.pass(1_000)
      assert.deepStrictEqual(gaps(f), [400, 400])
      assert.include((yield* waiter.error).message, "a new connection did not pass its first check")
    })
  )

  test(
    "ends one row: what was used or checked once is a success",
    { maxSize: 1, backoff: Schedule.exponential(100) },
    (f) =>
      Effect.gen(function* () {
        const lose = Effect.gen(function* () {
          const lease = yield* f.hold()
          lease.connection.status = "dead"
          yield* lease.release
        })
        yield* lose
        yield* lose
        yield* lose
        // Used, so no failure.
        assert.deepStrictEqual(gaps(f), [0, 0])
        f.host.script.push("unreachable", "unreachable", "ok", "unreachable")
        const waiter = yield* f.park()
        yield* f.pass(300)
        yield* (yield* waiter.lease).release
        yield* Pool.reset(f.pool)
        f.host.attempts.length = 0
        yield* f.park()
        yield* f.pass(100)
        // The row has begun anew: 100 ms again, not 400.
        assert.deepStrictEqual(gaps(f), [100])
      })
  )

  test(
    "of ten connections that nobody has used, and that die at once, is one pause",
    { maxSize: 10, minIdle: 10 },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(100)
        assert.strictEqual(f.stats().available, 10)
        f.host.attempts.length = 0
        const started = f.now()
        for (const connection of [...f.host.connections]) connection.signals.broken("the host restarts")
        yield* f.pass(1_000)
        const pause = f.host.attempts[0]! - started
        assert.isTrue(pause >= 25 && pause <= 50, `after ${pause} ms`)
        assert.strictEqual(f.stats().available, 10)
      })
  )

  for (const end of ["idle", "lifetime", "evicted", "generation", "shrink"] as const) {
    test(
      `does not include a connection that the pool itself closes unused: ${end}`,
      { maxSize: 3, minIdle: 2, idleTimeout: 2_000, maxLifetime: end === "lifetime" ? 3_000 : "1 hour" },
      (f) =>
        Effect.gen(function* () {
          yield* f.pass(1)
          const events = yield* f.listen
          if (end === "evicted") yield* Pool.evict(f.pool, f.host.connections[0]!)
          if (end === "generation") yield* Pool.reset(f.pool)
          if (end === "shrink") yield* Pool.resize(f.pool, 1)
          if (end === "idle") yield* Pool.resize(f.pool, 3)
          yield* f.pass(10_000)
          assert.deepStrictEqual(
            events.filter((event) => event._tag === "Host" || event._tag === "ConnectFailed"),
            []
          )
        })
    )
  }
})

describe("the schedule of the option backoff", () => {
  const options = {
    maxSize: 1,
    setUp: (host: FakeHost) => void Object.assign(host, { connects: "unreachable" })
  } as const

  test("takes one step for each failed connect", { ...options, backoff: Schedule.spaced(300) }, (f) =>
    Effect.gen(function* () {
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(1_000)
      assert.deepStrictEqual(gaps(f), [300, 300, 300])
    })
  )

  test(
    "that ends keeps its last pause",
    { ...options, backoff: Schedule.compose(Schedule.exponential(100), Schedule.recurs(2)) },
    (f) =>
      Effect.gen(function* () {
        yield* f.park({ acquireTimeout: "1 hour" })
        yield* f.pass(1_200)
        assert.deepStrictEqual(gaps(f), [100, 200, 200, 200, 200, 200])
      })
  )

  test("that ends at once leaves 50 ms", { ...options, backoff: Schedule.stop }, (f) =>
    Effect.gen(function* () {
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(100)
      assert.deepStrictEqual(gaps(f), [50, 50])
    })
  )

  test("that wants no pause gets a millisecond", { ...options, backoff: Schedule.forever }, (f) =>
    Effect.gen(function* () {
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(10)
      assert.deepStrictEqual(new Set(gaps(f)), new Set([1]))
    })
  )

  test("is asked for at least a second after a rejected login", { ...options, backoff: Schedule.spaced(10) }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "rejected"
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(5_000)
      assert.isAtLeast(Math.min(...gaps(f).slice(1)), 1_000)
    })
  )

  const failures: Array<unknown> = []
  const watching: Schedule.Schedule<unknown, unknown> = Schedule.spaced(100).pipe(
    Schedule.tapInput((failure: unknown) => Effect.sync(() => failures.push(failure)))
  )
  test("is told what each failure was", { ...options, backoff: watching }, (f) =>
    Effect.gen(function* () {
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(100)
      assert.deepStrictEqual(
        failures.map((failure) => (failure as Error).message),
        ["the fake host is unreachable", "the fake host is unreachable"]
      )
    })
  )

  test("begins anew after a connection that was used", { ...options, backoff: Schedule.exponential(100) }, (f) =>
    Effect.gen(function* () {
      const first = yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(300)
      f.host.connects = "ok"
      yield* f.pass(400)
      const lease = yield* first.lease
      lease.connection.status = "dead"
      f.host.connects = "unreachable"
      f.host.attempts.length = 0
      yield* lease.release
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(300)
      assert.deepStrictEqual(gaps(f), [100, 200])
    })
  )

  const slow = Schedule.spaced(200).pipe(Schedule.tapInput(() => Effect.sleep(50)))
  test("may take its time, and no connect starts meanwhile", { ...options, backoff: slow }, (f) =>
    Effect.gen(function* () {
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(49)
      assert.strictEqual(f.host.attempts.length, 1)
      yield* f.pass(951)
      for (const gap of gaps(f)) assert.isAtLeast(gap, 200)
      assert.isAtLeast(gaps(f).length, 3)
    })
  )

  const hangs = Schedule.spaced(200).pipe(Schedule.tapInput(() => Effect.never))
  test(
    "that hangs is left behind after connectTimeout, as one that throws",
    { ...options, backoff: hangs, connectTimeout: 500 },
    (f) =>
      Effect.gen(function* () {
        yield* f.park({ acquireTimeout: "1 hour" })
        yield* f.pass(1_100)
        assert.deepStrictEqual(gaps(f), [550, 550])
      })
  )

  const throws = Schedule.spaced(200).pipe(Schedule.tapInput(() => Effect.die("bug")))
  test("that dies leaves the pause as it was", { ...options, backoff: throws }, (f) =>
    Effect.gen(function* () {
      yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(100)
      assert.deepStrictEqual(gaps(f), [50, 50])
    })
  )

  it.effect("draws from Effect's Random: the same seed gives the same pauses", () =>
    Effect.gen(function* () {
      const attempts = (seed: string) =>
        Effect.gen(function* () {
          const clock = new VirtualClock(0)
          const host = new FakeHost(() => clock.unsafeCurrentTimeMillis())
          host.connects = "unreachable"
          yield* Effect.gen(function* () {
            const pool = yield* Pool.make({ minIdle: 1, connect: host.connect, drainTimeout: 0 })
            yield* clock.pass(10_000)
            return pool
          }).pipe(Effect.scoped, Effect.withClock(clock), Effect.withRandom(Random.make(seed)))
          return host.attempts
        })
      const one = yield* attempts("one")
      assert.isAbove(one.length, 10)
      assert.deepStrictEqual(yield* attempts("one"), one)
      assert.notDeepEqual(yield* attempts("two"), one)
    })
  )
})

describe("Host", () => {
  test("is told as up, failing and down, each once", { maxSize: 1, failFastAfter: 1_000 }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      f.host.connects = "unreachable"
      const waiter = yield* f.park({ acquireTimeout: "1 hour" })
      assert.strictEqual(f.stats().host, "failing")
      yield* f.pass(5_000)
      assert.strictEqual(f.stats().host, "down")
      f.host.connects = "ok"
      yield* f.pass(2_000)
      yield* waiter.lease
      assert.strictEqual(f.stats().host, "up")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "Host" ? [event.state] : [])),
        ["failing", "down", "up"]
      )
    })
  )

  test(
    "does not flicker while connections open and are dead before they are used",
    {
      maxSize: 1,
      status: (() => {
        const seen = new WeakSet<object>()
        return (c: object) => {
          if (seen.has(c)) return "dead" as const
          seen.add(c)
          return "clean" as const
        }
      })()
    },
    (f) =>
      Effect.gen(function* () {
        const events = yield* f.listen
        yield* f.park({ acquireTimeout: "1 hour" })
        yield* f.pass(3_000)
        assert.deepStrictEqual(
          events.flatMap((event) => (event._tag === "Host" ? [event.state] : [])),
          ["failing"]
        )
      })
  )
})
