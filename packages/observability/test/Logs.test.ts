import { assert, describe, it } from "@effect/vitest"
import { Logs } from "@sluice/observability"
import { Pool } from "@sluice/pool"
import { Sources } from "@sluice/sql"
import { Effect, Exit, Fiber, HashMap, Layer, Logger, Schedule, Scope } from "effect"
import { VirtualClock } from "../../pool/test/support/VirtualClock.js"
import { Episode, LONGEST } from "../src/internal/logs/episode.js"

interface Written {
  readonly level: string
  readonly message: string
  readonly about: Readonly<Record<string, unknown>>
}

interface Fixture {
  /** What was written so far. */
  readonly lines: ReadonlyArray<Written>
  /** Lets seconds pass. */
  readonly pass: (seconds: number) => Effect.Effect<void>
  /** The same, with a caller of the pool every so often. */
  readonly callers: (pool: Pool.Pool<unknown>, seconds: number, everySeconds: number) => Effect.Effect<void>
  /** A pool on a host that the test takes down. */
  readonly fakePool: (
    name: string,
    options?: { readonly maxSize?: number; readonly maxWaiters?: number }
  ) => Effect.Effect<{ readonly pool: Pool.Pool<unknown>; readonly host: { isDown: boolean } }, never, Scope.Scope>
}

/** The body runs with the Layer. At the end the books of all pools are checked, and that nothing goes on. */
const test = <E>(
  name: string,
  body: (fixture: Fixture) => Effect.Effect<void, E, Scope.Scope>,
  options?: Logs.Options | "none"
) =>
  it.live(name, () =>
    Effect.gen(function* () {
      const clock = new VirtualClock()
      const scope = yield* Scope.make()
      const lines: Array<Written> = []
      const pools: Array<Pool.Pool<unknown>> = []
      const collect = Logger.make<unknown, void>(({ annotations, logLevel, message }) => {
        lines.push({
          level: logLevel.label,
          message: String(Array.isArray(message) ? message[0] : message),
          about: Object.fromEntries(HashMap.toEntries(annotations))
        })
      })
      const pass = (seconds: number) => clock.pass(seconds * 1_000)
      const fixture: Fixture = {
        lines,
        pass,
        callers: (pool, seconds, everySeconds) =>
          Effect.forEach(
            Array.from({ length: seconds / everySeconds }),
            () => Effect.zipRight(Effect.forkDaemon(use(pool)), pass(everySeconds)),
            { discard: true }
          ),
        fakePool: (name, options) =>
          Effect.tap(Effect.orDie(fakePool(name, options)), ({ pool }) => Effect.sync(() => pools.push(pool)))
      }
      const within = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
        Scope.extend(effect, scope).pipe(
          Effect.provide(Logger.replace(Logger.defaultLogger, collect)),
          Effect.withClock(clock)
        )
      const logs = options === "none" ? Effect.void : Layer.build(Logs.layer(options))
      const exit = yield* Effect.exit(within(Effect.zipRight(logs, body(fixture))))
      const closing = yield* Effect.forkDaemon(within(Scope.close(scope, Exit.void)))
      yield* pass(300)
      yield* Fiber.join(closing)
      yield* exit
      for (const pool of pools) assertEnded(pool)
      assert.strictEqual(clock.sleeping, 0)
    })
  )

class Refused extends Error {}

const fakePool = (name: string, options: { readonly maxSize?: number; readonly maxWaiters?: number } = {}) => {
  const host = { isDown: false }
  return Effect.map(
    Pool.make<unknown, Refused, Scope.Scope>({
      name,
      minIdle: 0,
      acquireTimeout: "2 seconds",
      backoff: Schedule.spaced("10 seconds"),
      // The pool itself writes of leaks.
      leakThreshold: 0,
      ...options,
      connect: () =>
        Effect.suspend(() =>
          host.isDown
            ? Effect.fail(new Refused("connect ECONNREFUSED 10.0.0.9:5432"))
            : Effect.acquireRelease(Effect.succeed({}), () => Effect.void)
        )
    }),
    (pool) => ({ pool, host })
  )
}

const use = (pool: Pool.Pool<unknown>) => Effect.ignore(Pool.use(pool, () => Effect.void))

/** The books of a pool that has ended. */
const assertEnded = (pool: Pool.Pool<unknown>) => {
  const { closed, connects, size, using, waiting } = Pool.unsafeStats(pool)
  const all = Object.values(closed).reduce((sum, n) => sum + n, 0)
  assert.deepStrictEqual([size, using, waiting, all], [0, 0, 0, connects])
}

const messages = (lines: ReadonlyArray<Written>): ReadonlyArray<string> => lines.map(({ message }) => message)

const levels = (lines: ReadonlyArray<Written>): ReadonlyArray<string> => lines.map(({ level }) => level)

describe("the host of a pool", () => {
  test("that is down for an hour, with callers all the time, writes exactly two lines", (f) =>
    Effect.gen(function* () {
      const { host, pool } = yield* f.fakePool("orders")
      yield* f.callers(pool, 60, 10)
      assert.deepStrictEqual(f.lines, [])
      host.isDown = true
      yield* Pool.reset(pool)
      yield* f.callers(pool, 3_600, 60)
      assert.deepStrictEqual(levels(f.lines), ["ERROR"])
      assert.match(f.lines[0]!.message, /^pool "orders": the host is down: connect ECONNREFUSED 10\.0\.0\.9:5432\. /)
      assert.deepStrictEqual(f.lines[0]!.about, { pool: "orders", state: "down" })
      host.isDown = false
      yield* f.callers(pool, 600, 10)
      assert.deepStrictEqual(levels(f.lines), ["ERROR", "INFO"])
      assert.match(
        f.lines[1]!.message,
        /^pool "orders": the host is up again, after (?:59|60) min; \d\d acquires have failed because of it$/
      )
      assert.strictEqual(f.lines[1]!.about["state"], "up")
      yield* f.pass(3_600)
      assert.lengthOf(f.lines, 2)
    }))

  test("is not written of twice where Sql does it: of a replica that others stand in for", (f) =>
    Effect.gen(function* () {
      const primary = yield* f.fakePool("orders")
      const replica = yield* f.fakePool("orders read")
      yield* added(
        fakeSource("pay", [
          { pool: primary.pool, role: "primary", label: "db-1:5432" },
          { pool: replica.pool, role: "replica", label: "db-2:5432" }
        ])
      )
      for (const { host } of [primary, replica]) host.isDown = true
      yield* f.callers(replica.pool, 60, 10)
      assert.deepStrictEqual(f.lines, [])
      yield* f.callers(primary.pool, 60, 10)
      assert.lengthOf(f.lines, 1)
      assert.match(f.lines[0]!.message, /^pool "orders": db-1:5432 is down: /)
      assert.deepInclude(f.lines[0]!.about, { endpoint: "db-1:5432", role: "primary" })
    }))
})

describe("a pool that is too small", () => {
  test("writes one line with the diagnosis of the acquire, and one when it has connections again", (f) =>
    Effect.gen(function* () {
      const { pool } = yield* f.fakePool("orders", { maxSize: 1 })
      const holder = yield* Effect.fork(Pool.use(pool, () => Effect.never))
      // Somebody fails every five seconds, for ten minutes.
      yield* f.callers(pool, 600, 5)
      assert.deepStrictEqual(levels(f.lines), ["WARN"])
      assert.match(
        f.lines[0]!.message,
        /^pool "orders": it has no connection for its callers\. no connection within 2000 ms \(max 1: 1 leased, .*Leases are held longer than the acquire timeout/
      )
      assert.deepStrictEqual(f.lines[0]!.about, { pool: "orders", state: "exhausted" })
      yield* Fiber.interrupt(holder)
      yield* f.callers(pool, 5, 1)
      assert.lengthOf(f.lines, 1)
      yield* f.callers(pool, 60, 1)
      assert.deepStrictEqual(levels(f.lines), ["WARN", "INFO"])
      assert.match(
        f.lines[1]!.message,
        /^pool "orders": it has connections for its callers again, after 10 min in which 1\d\d acquires failed \(AcquireTimeout 1\d\d\)$/
      )
      assert.strictEqual(f.lines[1]!.about["state"], "recovered")
    }))

  test("writes nothing when callers only wait, or when the program ends the pool under them", (f) =>
    Effect.gen(function* () {
      const { pool } = yield* f.fakePool("orders", { maxSize: 1 })
      const holder = yield* Effect.fork(Pool.use(pool, () => Effect.sleep("1500 millis")))
      yield* f.callers(pool, 3, 1)
      yield* Fiber.join(holder)
      yield* Effect.forkDaemon(Pool.use(pool, () => Effect.sleep("3 seconds")))
      yield* f.callers(pool, 1, 1)
      const draining = yield* Effect.fork(Pool.drain(pool))
      yield* f.pass(60)
      yield* Fiber.join(draining)
      assert.deepStrictEqual(f.lines, [])
    }))
})

describe("a pool that is suspended", () => {
  test("says so, and when it was resumed", (f) =>
    Effect.gen(function* () {
      const { pool } = yield* f.fakePool("orders")
      yield* Pool.suspend(pool, { atMost: "30 seconds" })
      yield* f.pass(120)
      assert.lengthOf(f.lines, 2)
      assert.strictEqual(f.lines[0]!.message, 'pool "orders": it is suspended: callers wait until it is resumed')
      assert.match(f.lines[1]!.message, /^pool "orders": it was resumed, after (?:29|30) s$/)
    }))
})

interface Fake {
  /** Executions that were not repeated. */
  denied: number
  readonly listeners: () => number
  /** A statement ends. */
  readonly end: (end: Partial<Sources.StatementEnd>) => void
}

type At = { readonly pool: Pool.Pool<unknown>; readonly role: "primary" | "replica"; readonly label: string }

/** A source of which the Layer reads only what is here. */
const fakeSource = (name: string, targets: ReadonlyArray<At> = []): Sources.Source & Fake => {
  const listeners = new Set<(end: Sources.StatementEnd) => void>()
  const source = {
    name,
    targets,
    denied: 0,
    listeners: () => listeners.size,
    end: (end: Partial<Sources.StatementEnd>) => {
      for (const listener of listeners) {
        listener({ text: "select 1", ms: 1, error: undefined, isInterrupted: false, target: undefined, ...end })
      }
    },
    totals: () => ({
      retries: {
        ConnectionLost: { succeeded: 3, failed: 0, denied: source.denied },
        Deadlock: { succeeded: 1, failed: 0, denied: 0 }
      }
    }),
    unsafeListen: (listener: (end: Sources.StatementEnd) => void) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    shown: (text: string) => text.replaceAll(/'[^']*'/g, "?")
  }
  return source as unknown as Sources.Source & Fake
}

const added = (source: Sources.Source & Fake) =>
  Effect.as(
    Effect.acquireRelease(
      Effect.sync(() => Sources.add(source)),
      (remove) => Effect.sync(remove)
    ),
    source
  )

describe("a retry budget that is used up", () => {
  test("writes one line, and one when executions are repeated again", (f) =>
    Effect.gen(function* () {
      const source = yield* added(fakeSource("pay"))
      yield* f.pass(60)
      for (let i = 0; i < 120; i++) {
        source.denied += 5
        yield* f.pass(2)
      }
      yield* f.pass(3_600)
      assert.lengthOf(f.lines, 2)
      assert.match(f.lines[0]!.message, /^database "pay": the retry budget is used up: .* \(ConnectionLost\) /)
      assert.match(
        f.lines[1]!.message,
        /^database "pay": failed executions are repeated again, after 4 min in which 600 were not$/
      )
      assert.deepStrictEqual(f.lines[0]!.about, { database: "pay", state: "retriesDenied" })
    }))
})

describe("slow statements", () => {
  test("are not even looked at unless they are asked for", (f) =>
    Effect.gen(function* () {
      const source = yield* added(fakeSource("pay"))
      assert.strictEqual(source.listeners(), 0)
      source.end({ ms: 60_000 })
      yield* f.pass(60)
      assert.deepStrictEqual(f.lines, [])
    }))

  test(
    "are written with their text, without its literals",
    (f) =>
      Effect.gen(function* () {
        const { pool } = yield* f.fakePool("orders")
        const target = { pool, role: "primary", label: "db-1:5432" } as const
        const source = yield* added(fakeSource("pay", [target]))
        source.end({ ms: 499 })
        source.end({ ms: 1_250, text: "select * from cards where number = '4111'", target: target as never })
        source.end({ ms: 700, error: "Deadlock" })
        source.end({ ms: 701, isInterrupted: true })
        yield* f.pass(1)
        assert.deepStrictEqual(messages(f.lines), [
          'database "pay": a statement took 1.3 s on db-1:5432: select * from cards where number = ?',
          'database "pay": a statement took 700 ms, and failed with Deadlock: select 1',
          'database "pay": a statement took 701 ms, and was interrupted: select 1'
        ])
        assert.deepStrictEqual(f.lines[0]!.about, {
          database: "pay",
          pool: "orders",
          endpoint: "db-1:5432",
          role: "primary",
          ms: 1_250
        })
      }),
    { slowStatement: "500 millis" }
  )

  test(
    "are at most ten lines a minute, and then how many more there were",
    (f) =>
      Effect.gen(function* () {
        const source = yield* added(fakeSource("pay"))
        for (let second = 0; second < 59; second++) {
          for (let i = 0; i < 20; i++) source.end({ ms: 900 })
          yield* f.pass(1)
        }
        assert.lengthOf(f.lines, 10)
        yield* f.pass(120)
        assert.lengthOf(f.lines, 11)
        assert.strictEqual(f.lines[10]!.message, 'database "pay": 1170 more statements were slow in the last minute')
      }),
    { slowStatement: "500 millis" }
  )
})

describe("the Layer", () => {
  test(
    "finds what was made before it, and leaves all of it as it was",
    (f) =>
      Effect.gen(function* () {
        const { host, pool } = yield* f.fakePool("early")
        const source = yield* added(fakeSource("pay"))
        host.isDown = true
        const logs = yield* Scope.make()
        yield* Scope.extend(Layer.build(Logs.layer({ slowStatement: "1 second" })), logs)
        assert.strictEqual(source.listeners(), 1)
        yield* f.callers(pool, 60, 10)
        assert.lengthOf(f.lines, 1)
        yield* Scope.close(logs, Exit.void)
        assert.strictEqual(source.listeners(), 0)
        host.isDown = false
        yield* f.callers(pool, 60, 10)
        assert.lengthOf(f.lines, 1)
      }),
    "none"
  )

  it.effect("refuses options that it does not have, and durations that are none", () =>
    Effect.gen(function* () {
      const refused = (options: object) => Effect.flip(Effect.scoped(Layer.build(Logs.layer(options))))
      assert.include(
        (yield* refused({ slowStatement: 0 })).message,
        "slowStatement must be a duration of 1 millisecond"
      )
      assert.include((yield* refused({ slowstatement: 5 })).message, "slowStatement")
    })
  )
})

describe("a trouble that comes and goes", () => {
  /** Lines of each hour of a day with a look every second. */
  const linesOf = (isBad: (second: number, isOpen: boolean) => boolean): ReadonlyArray<number> => {
    const episode = new Episode(1_000)
    const hours = Array.from({ length: 24 }, () => 0)
    let isOpen = false
    for (let second = 0; second < 86_400; second++) {
      const change = episode.look(isBad(second, isOpen), second * 1_000)
      if (change === undefined) continue
      isOpen = change._tag === "Begun"
      hours[Math.floor(second / 3_600)]!++
    }
    return hours
  }

  it("writes at most 30 lines in its first hour and 12 in each later one, however it comes and goes", () => {
    const rhythms: Record<string, (second: number, isOpen: boolean) => boolean> = {
      // It comes back at the very moment at which its end is believed.
      "at the worst moment": (_, isOpen) => !isOpen
    }
    for (const period of [2, 3, 10, 61, 120, 599, 1_200, 1_201, 2_500]) {
      rhythms[`every ${period} s`] = (second) => second % period < period / 2
    }
    for (const [name, rhythm] of Object.entries(rhythms)) {
      const [first, ...later] = linesOf(rhythm)
      assert.isAtMost(first!, 30, name)
      for (const lines of later) assert.isAtMost(lines, 12, name)
    }
  })

  it("that has been away for long is news at once, as the first one was", () => {
    const episode = new Episode(1_000)
    const at = (second: number, isBad: boolean) => episode.look(isBad, second * 1_000)?._tag
    assert.deepStrictEqual(
      [at(0, true), at(1, false), at(2, true), at(3, false), at(5, false)],
      ["Begun", "Ended", "Begun", undefined, "Ended"]
    )
    const later = 5 + (2 * LONGEST) / 1_000
    assert.deepStrictEqual([at(later, true), at(later + 1, false)], ["Begun", "Ended"])
  })
})
