/** What happens when more work arrives than the connections finish: shedding, and what a declared deadline leaves. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Deadline, Pool, type PoolEvent, type PoolOptions, type Priority } from "../src/index.js"
import { type Fixture, type Parked, settle, test } from "./support/Fixture.js"

const on: PoolOptions.SheddingConfig = { mode: "on" }

/** One connection is leased, so many wait, and the queue has been too old for an interval. */
const overloaded = (f: Fixture, priorities: ReadonlyArray<Priority.Priority>, options?: Pool.AcquireOptions) =>
  Effect.gen(function* () {
    const lease = yield* f.hold()
    const waiters: Array<Parked> = []
    for (const priority of priorities) waiters.push(yield* f.park({ acquireTimeout: "1 minute", ...options, priority }))
    yield* f.pass(549)
    assert.strictEqual(f.stats().shed, 0)
    yield* f.pass(1)
    return { lease, waiters }
  })

const outcomes = (waiters: ReadonlyArray<Parked>) =>
  Effect.forEach(waiters, ({ fiber }) =>
    Effect.map(Fiber.poll(fiber), (exit) =>
      exit._tag === "None" ? "waits" : exit.value._tag === "Success" ? "served" : "shed"
    )
  )

const eight = ["high", "high", "critical", "normal", "normal", "low", "background", "background"] as const

describe("shedding", () => {
  test("begins when the queue was too old for an interval, with the lowest class", { maxSize: 1, shedding: on }, (f) =>
    Effect.gen(function* () {
      const { waiters } = yield* overloaded(f, eight)
      const said = yield* outcomes(waiters)
      assert.deepStrictEqual(said, ["waits", "waits", "waits", "shed", "waits", "shed", "shed", "shed"])
      assert.deepInclude(f.stats(), { shed: 4, wouldShed: 0, waiting: 4, isOverloaded: true, timeouts: 0 })
      const error = yield* waiters[7]!.error
      assert.strictEqual(error._tag, "PoolShed")
      assert.include(error.message, 'pool "pool": sent away after 550 ms, because the pool is overloaded')
      assert.include(error.message, "(max 1: 1 leased, 0 idle, ")
    })
  )

  test("spares class critical, however many wait", { maxSize: 1, shedding: on }, (f) =>
    Effect.gen(function* () {
      const { waiters } = yield* overloaded(
        f,
        Array.from({ length: 20 }, () => "critical" as const)
      )
      assert.isTrue((yield* outcomes(waiters)).every((word) => word === "waits"))
      assert.deepInclude(f.stats(), { shed: 0, isOverloaded: true })
    })
  )

  test("sheds a lower class before a higher one that is too old, whatever its age", { maxSize: 1, shedding: on }, (f) =>
    Effect.gen(function* () {
      const { waiters } = yield* overloaded(f, eight)
      const later = yield* Effect.replicateEffect(f.park({ acquireTimeout: "1 minute", priority: "low" }), 3)
      yield* f.pass(25)
      assert.deepStrictEqual(yield* outcomes(later), ["shed", "shed", "shed"])
      assert.deepStrictEqual((yield* outcomes(waiters)).filter((word) => word === "waits").length, 4)
    })
  )

  test("ends as soon as the queue is young again", { maxSize: 1, shedding: on }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const { lease, waiters } = yield* overloaded(f, eight)
      for (const { fiber } of waiters) yield* Fiber.interrupt(fiber)
      yield* lease.release
      const next = yield* f.hold()
      const young = yield* f.park()
      yield* f.pass(49)
      assert.isFalse(f.stats().isOverloaded)
      assert.isTrue(yield* young.waits)
      yield* next.release
      const told = events.filter(
        (event): event is PoolEvent.PoolEvent & { _tag: "Overload" } => event._tag === "Overload"
      )
      assert.deepStrictEqual(
        told.map(({ isOverloaded }) => isOverloaded),
        [true, false]
      )
      assert.strictEqual(
        events.filter((event) => event._tag === "AcquireFailed" && event.error === "PoolShed").length,
        4
      )
    })
  )

  test("a burst that is served in time is none", { maxSize: 1, shedding: on }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      const work = () => Pool.use(f.pool, () => Effect.sleep(10), { acquireTimeout: "1 minute" })
      const burst = yield* Effect.forkScoped(Effect.forEach(Array(50).keys(), work, { concurrency: "unbounded" }))
      yield* f.pass(500)
      yield* Fiber.join(burst)
      assert.deepInclude(f.stats(), { shed: 0, isOverloaded: false })
    })
  )

  test(
    "counts a waiter as too old at a quarter of its time",
    { maxSize: 1, shedding: { mode: "on", target: "5 seconds", interval: 100 } },
    (f) =>
      Effect.gen(function* () {
        yield* f.hold()
        const waiters = yield* Effect.replicateEffect(f.park({ acquireTimeout: 1_000 }), 6)
        yield* f.pass(499)
        assert.strictEqual(f.stats().shed, 0)
        yield* f.pass(130)
        assert.deepStrictEqual(yield* outcomes(waiters), ["shed", "shed", "waits", "waits", "waits", "waits"])
      })
  )

  test("is only counted in mode shadow, which is the default", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      for (const priority of eight) {
        const work = Pool.use(f.pool, () => Effect.sleep(1), { priority, acquireTimeout: "1 minute" })
        yield* Effect.forkScoped(work)
      }
      yield* f.pass(550)
      assert.deepInclude(f.stats(), { shed: 0, wouldShed: 0, waiting: 8, isOverloaded: true })
      yield* lease.release
      yield* f.pass(8)
      // The first one is critical, and of those that come last there were no more than 4.
      assert.deepInclude(f.stats(), { shed: 0, wouldShed: 3, waiting: 0, acquired: 9, isOverloaded: false })
    })
  )

  test("does not look at the queue in mode off", { maxSize: 1, shedding: { mode: "off" } }, (f) =>
    Effect.gen(function* () {
      yield* overloaded(f, eight)
      yield* f.pass(10_000)
      assert.deepInclude(f.stats(), { shed: 0, wouldShed: 0, isOverloaded: false, waiting: 8 })
    })
  )

  test("waits for connections that are on their way", { maxSize: 2, shedding: on }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 3_000 }
      const waiters = yield* Effect.replicateEffect(f.park(), 8)
      yield* f.pass(2_999)
      assert.deepStrictEqual(new Set(yield* outcomes(waiters)), new Set(["waits"]))
      assert.isFalse(f.stats().isOverloaded)
    })
  )

  test("sheds nobody while the host does not answer or the pool is suspended", { maxSize: 1, shedding: on }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "unreachable"
      const waiters = yield* Effect.replicateEffect(f.park(), 8)
      yield* f.pass(3_000)
      assert.deepStrictEqual(new Set(yield* outcomes(waiters)), new Set(["waits"]))
      f.host.connects = "ok"
      yield* Pool.suspend(f.pool)
      yield* f.pass(1_000)
      assert.deepInclude(f.stats(), { shed: 0, isOverloaded: false })
    })
  )
})

describe("a declared deadline", () => {
  const slow = (f: Fixture) =>
    Effect.gen(function* () {
      const first = yield* f.hold()
      yield* f.pass(30)
      yield* first.release
      assert.strictEqual(f.engine.state.load.hold, 30)
      return yield* f.hold()
    })
  const waits = (f: Fixture, ms: number) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Pool.use(f.pool, () => Effect.succeed("served")).pipe(Deadline.within(ms)))
      yield* settle
      return fiber
    })

  test("that leaves less than a lease takes, or 20 ms, fails the caller when its turn comes", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* slow(f)
      const late = yield* waits(f, 100)
      const next = yield* waits(f, 200)
      yield* f.pass(81)
      yield* lease.release
      yield* f.pass(0)
      const error = yield* Effect.flip(Fiber.join(late))
      assert.isTrue(error._tag === "AcquireTimeout" && error.restMs === 19)
      assert.include(error.message, "the deadline of the caller left 19 ms, which is less than leases take")
      assert.strictEqual(yield* Fiber.join(next), "served")
    })
  )

  test("that leaves 20 ms is served", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* slow(f)
      const caller = yield* waits(f, 100)
      yield* f.pass(80)
      yield* lease.release
      yield* f.pass(0)
      assert.strictEqual(yield* Fiber.join(caller), "served")
    })
  )

  test("is not the acquire timeout, which says nothing about the time after", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* slow(f)
      const caller = yield* f.park({ acquireTimeout: 100 })
      yield* f.pass(99)
      yield* lease.release
      yield* caller.lease
    })
  )

  test("that is too short fails nobody where leases are shorter", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const first = yield* f.hold()
      yield* f.pass(2)
      yield* first.release
      const lease = yield* f.hold()
      const caller = yield* waits(f, 10)
      yield* f.pass(7)
      yield* lease.release
      yield* f.pass(0)
      assert.strictEqual(yield* Fiber.join(caller), "served")
      assert.strictEqual(f.stats().lateGrants, 0)
    })
  )
})
