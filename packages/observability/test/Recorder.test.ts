/** What a report says of pools, on a clock that the test moves. */
import { assert, describe, it } from "@effect/vitest"
import { Recorder, type Report } from "@sluice/observability"
import { Pool, type PoolOptions, Pools } from "@sluice/pool"
import { Clock, Effect, Either, Exit, Fiber, Option, Scope } from "effect"
import { settle, VirtualClock } from "../../pool/test/support/VirtualClock.js"

/** Pools of other tests of this process are none of this test. */
let made = 0

const open = (options: Partial<PoolOptions.PoolOptions<object, any, never>> = {}) =>
  Pool.make<object, any, never>({
    name: `pool-${++made}`,
    maxSize: 2,
    connect: () => Effect.sync(() => ({})),
    ...options
  })

const reportOf = (
  recorder: Recorder.Service,
  pool: Pool.Pool<object>,
  texts = false
): Effect.Effect<Report.PoolReport> =>
  Effect.map(recorder.report({ texts }), ({ databases }) => {
    const found = databases.flatMap(({ pools }) => pools).filter(({ name }) => name === pool.name)
    assert.lengthOf(found, 1)
    return found[0]!
  })

const hold = (pool: Pool.Pool<object>, ms: number) => Effect.fork(Pool.use(pool, () => Effect.sleep(ms)))

/** A test on a clock of its own. Every pool that it has opened has nothing leased, and nobody waits, when it ends. */
const test = (
  name: string,
  body: (pass: (seconds: number) => Effect.Effect<void>, clock: VirtualClock) => Effect.Effect<void, any, Scope.Scope>
) =>
  it.effect(name, () => {
    const clock = new VirtualClock()
    const mine: Array<Pool.Pool<unknown>> = []
    const stop = Pools.unsafeWatch((pool) => {
      mine.push(pool)
      return () => {}
    })
    return Effect.gen(function* () {
      const scope = yield* Scope.make()
      const exit = yield* Effect.exit(
        Scope.extend(
          body((seconds) => clock.pass(seconds * 1_000), clock),
          scope
        )
      )
      stop()
      if (Exit.isSuccess(exit)) {
        for (const pool of mine) assert.deepInclude(Pool.unsafeStats(pool), { using: 0, waiting: 0 }, pool.name)
      }
      // The end of a pool waits for its leases, so the clock must go on.
      const closing = yield* Effect.fork(Scope.close(scope, exit))
      yield* clock.pass(60_000)
      yield* Fiber.join(closing)
      return yield* exit
    }).pipe(Effect.withClock(clock))
  })

describe("Recorder", () => {
  test("tells how long acquires have waited and leases were held in the last minute, and forgets what is older", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make({ pod: "pod-7" })
      const pool = yield* open({ maxSize: 1 })
      yield* hold(pool, 1_000)
      yield* settle
      yield* hold(pool, 3_000)
      yield* pass(5)
      const { holds, waits, lastMinute } = yield* reportOf(recorder, pool)
      assert.deepStrictEqual([waits.count, holds.count, lastMinute.acquired], [2, 2, 2])
      assert.strictEqual(waits.maxMs, 1_000)
      assert.strictEqual(holds.meanMs, 2_000)
      assert.approximately(waits.p99Ms, 1_000, 50)
      assert.strictEqual(waits.p50Ms, 0)
      yield* pass(70)
      const later = yield* reportOf(recorder, pool)
      assert.deepStrictEqual([later.waits.count, later.holds.count, later.waits.maxMs, later.usingMax], [0, 0, 0, 0])
      assert.strictEqual(later.acquired, 2)
      assert.deepInclude(yield* recorder.report(), { version: 1, pod: "pod-7", pid: process.pid })
    }))

  test("counts how many acquires have waited no longer than each bound", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const pool = yield* open({ maxSize: 1 })
      yield* hold(pool, 100)
      yield* settle
      yield* hold(pool, 1)
      yield* pass(2)
      const { waitsWithin } = yield* reportOf(recorder, pool)
      const within = Object.fromEntries(waitsWithin.map(({ count, ms }) => [ms, count]))
      assert.deepInclude(within, { 1: 1, 50: 1, 100: 2, 30000: 2 })
    }))

  test("tells spikes that come and go between two looks", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const pool = yield* open({ maxSize: 3 })
      yield* pass(0.2)
      for (let i = 0; i < 8; i++) yield* hold(pool, 50)
      yield* settle
      yield* pass(0.3)
      const { using, usingMax, waiting, waitingMax } = yield* reportOf(recorder, pool)
      assert.deepStrictEqual(
        { using, usingMax, waiting, waitingMax },
        { using: 0, usingMax: 3, waiting: 0, waitingMax: 5 }
      )
    }))

  test("tells failed acquires by their error, and the likely cause of the last timeout for a minute", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const pool = yield* open({ maxSize: 1, acquireTimeout: "1 second", describe: () => "idle in transaction" })
      const holder = yield* hold(pool, 1e9)
      yield* settle
      const failing = yield* Effect.fork(Effect.exit(Pool.use(pool, () => Effect.void)))
      yield* pass(2)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(failing)))
      const report = yield* reportOf(recorder, pool)
      assert.deepStrictEqual(report.acquireFailures, { AcquireTimeout: 1 })
      assert.deepStrictEqual(report.lastMinute.acquireFailures, { AcquireTimeout: 1 })
      assert.include(report.lastTimeout?.message, "End transactions before slow work")
      yield* pass(70)
      const later = yield* reportOf(recorder, pool)
      assert.isUndefined(later.lastTimeout)
      assert.deepStrictEqual([later.acquireFailures, later.lastMinute.acquireFailures], [{ AcquireTimeout: 1 }, {}])
      yield* Fiber.interrupt(holder)
    }))

  test("tells since when connecting fails and with what, and until when it did", (pass) =>
    Effect.gen(function* () {
      let isUp = false
      const recorder = yield* Recorder.make()
      const pool = yield* open({
        backoff: undefined,
        connect: () => (isUp ? Effect.succeed({}) : Effect.fail(new Error("ECONNREFUSED")))
      })
      const began = yield* Clock.currentTimeMillis
      const waiter = yield* hold(pool, 10)
      yield* pass(3)
      const during = yield* reportOf(recorder, pool)
      assert.deepInclude(during.outage, { since: began, until: undefined, message: "ECONNREFUSED" })
      assert.isAbove(during.outage!.attempts, 1)
      assert.strictEqual(during.lastMinute.connectFailures, during.outage!.attempts)
      isUp = true
      yield* pass(30)
      yield* Fiber.await(waiter)
      const after = yield* reportOf(recorder, pool)
      assert.isAbove(after.outage!.until!, began)
      yield* pass(100)
      assert.isUndefined((yield* reportOf(recorder, pool)).outage)
    }))

  test("tells for how long a pool is suspended", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const pool = yield* open()
      yield* Pool.suspend(pool)
      yield* pass(7)
      assert.deepInclude(yield* reportOf(recorder, pool), { phase: "suspended", suspendedMs: 7_000 })
      yield* Pool.resume(pool)
      assert.deepInclude(yield* reportOf(recorder, pool), { phase: "running", suspendedMs: 0 })
    }))

  test("tells what is usual, what is now, and what leases are used for", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      let kind: "busy" | "idleInTransaction" = "busy"
      const pool = yield* open({ maxSize: 4, inspect: () => ({ kind, since: 0 }) })
      const calm = yield* Effect.fork(Effect.forever(Effect.zipRight(hold(pool, 100), Effect.sleep(500))))
      yield* pass(40)
      const before = yield* reportOf(recorder, pool)
      assert.approximately(before.now.arrivalsPerSecond, 2, 0.2)
      assert.approximately(before.usual!.arrivalsPerSecond, 2, 0.2)
      assert.strictEqual(before.usual!.holdMeanMs, 100)
      yield* Fiber.interrupt(calm)
      kind = "idleInTransaction"
      const busy = yield* Effect.fork(Effect.forever(Effect.zipRight(hold(pool, 1_500), Effect.sleep(500))))
      yield* pass(12)
      const after = yield* reportOf(recorder, pool)
      assert.approximately(after.usual!.holdMeanMs, 100, 1)
      assert.approximately(after.now.holdMeanMs, 1_500, 1)
      assert.isAbove(after.doing.idleInTransaction, 1.5)
      assert.strictEqual(after.doing.busy, 0)
      yield* Fiber.interrupt(busy)
      yield* pass(3)
      assert.deepInclude(Pool.unsafeStats(pool), { using: 0, waiting: 0 })
    }))

  test("shows texts and spans only to whoever may see them", () =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const pool = yield* open({ describe: () => "busy: select ?" })
      const holder = yield* Effect.fork(
        Effect.withSpan(
          Pool.use(pool, () => Effect.never),
          "checkout"
        )
      )
      yield* settle
      const [seen] = (yield* reportOf(recorder, pool, true)).holders
      assert.deepInclude(seen, { activity: "busy: select ?", span: "checkout", kind: "unknown" })
      const { databases } = yield* recorder.report()
      assert.notMatch(JSON.stringify(databases), /checkout|select/)
      yield* Fiber.interrupt(holder)
    }))

  test("tells two pools of one name apart by their numbers, and a pool that has ended no more", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const name = `twin-${++made}`
      const scope = yield* Scope.make()
      const first = yield* Scope.extend(open({ name, maxSize: 3 }), scope)
      const second = yield* open({ name, maxSize: 5 })
      yield* Effect.forEach([first, second, second], (pool) => Pool.use(pool, () => Effect.void))
      const twins = Effect.map(recorder.report(), ({ databases }) =>
        databases.flatMap(({ pools }) => pools).filter((pool) => pool.name === name)
      )
      const [one, two] = yield* twins
      assert.deepStrictEqual([one!.max, one!.waits.count, two!.max, two!.waits.count], [3, 1, 5, 2])
      assert.strictEqual<unknown>(Option.getOrUndefined(yield* recorder.pool(two!.id)), second)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* pass(1)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(
        (yield* twins).map(({ id }) => id),
        [two!.id]
      )
      assert.isTrue(Option.isNone(yield* recorder.pool(one!.id)))
    }))

  test("a wall clock that is set back changes no duration, and instants are told by the new time", (pass, clock) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const pool = yield* open({ maxSize: 1, acquireTimeout: "2 seconds" })
      yield* hold(pool, 3_000)
      yield* settle
      yield* Effect.fork(Effect.ignore(Pool.use(pool, () => Effect.void)))
      yield* pass(2)
      clock.stepWall(-3_600_000)
      yield* pass(3)
      const { at } = yield* recorder.report()
      const { holds, lastTimeout, now } = yield* reportOf(recorder, pool)
      assert.strictEqual(holds.maxMs, 3_000)
      assert.strictEqual(at, clock.unsafeCurrentTimeMillis())
      assert.strictEqual(at - lastTimeout!.at, 3_000)
      assert.approximately(now.arrivalsPerSecond, 2 / 5, 0.01)
    }))

  test("is the same before and after JSON", (pass) =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const pool = yield* open({ maxSize: 1 })
      const holder = yield* hold(pool, 1e9)
      const waiter = yield* hold(pool, 1)
      yield* pass(15)
      const report = yield* recorder.report({ texts: true })
      const defined = (value: unknown): unknown =>
        Array.isArray(value)
          ? value.map(defined)
          : typeof value === "object" && value !== null
            ? Object.fromEntries(
                Object.entries(value).flatMap(([key, inner]) => (inner === undefined ? [] : [[key, defined(inner)]]))
              )
            : value
      assert.deepStrictEqual(JSON.parse(JSON.stringify(report)), defined(report))
      yield* Fiber.interruptAll([holder, waiter])
    }))

  it.effect("listens to no pool any more when its scope has closed", () =>
    Effect.gen(function* () {
      const pool = yield* open()
      const recorder = yield* Effect.scoped(Effect.tap(Recorder.make(), () => Pool.use(pool, () => Effect.void)))
      yield* Pool.use(pool, () => Effect.void)
      assert.deepStrictEqual((yield* recorder.report()).databases, [])
    }).pipe(Effect.scoped)
  )

  it.effect("refuses options that do not exist or have no meaning", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.either(Effect.scoped(Recorder.make({ pod: "", name: "x" } as object)))
      assert.deepStrictEqual(Either.getLeft(refused).pipe(Option.getOrThrow).problems.length, 2)
    })
  )
})
