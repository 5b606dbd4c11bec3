/** One record for each holder: what is told of leases is true for each of them, also where many share a connection. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { Pool, type PoolEvent } from "../src/index.js"
import { Load } from "../src/internal/load.js"
import { type Fixture, type Lease, settle, test } from "./support/Fixture.js"

const share = (f: Fixture): Effect.Effect<Lease> => Effect.flatMap(f.parkShared(), (parked) => parked.lease)

const eventsOf = <T extends PoolEvent.PoolEvent["_tag"]>(events: ReadonlyArray<PoolEvent.PoolEvent>, tag: T) =>
  events.filter((event): event is Extract<PoolEvent.PoolEvent, { readonly _tag: T }> => event._tag === tag)

describe("each holder of a shared connection", () => {
  test("is one Acquired and one Released, with its own time", { maxSize: 1, concurrency: 8 }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const first = yield* share(f)
      yield* f.pass(100)
      const second = yield* share(f)
      yield* f.pass(30)
      yield* second.release
      yield* f.pass(5)
      const third = yield* share(f)
      yield* f.pass(7)
      yield* first.release
      yield* third.release
      assert.strictEqual(eventsOf(events, "Acquired").length, 3)
      assert.deepStrictEqual(
        eventsOf(events, "Released").map((event) => event.heldMs),
        [30, 142, 7]
      )
      assert.strictEqual(f.stats().acquired, 3)
    })
  )

  test("C23: 400 packed reads of 5 ms are told as 400 leases of 5 ms", { maxSize: 4, concurrency: 16 }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const reader = Effect.repeatN(
        Pool.share(f.pool, () => Effect.sleep(5)),
        19
      )
      const readers = yield* Effect.replicateEffect(Effect.fork(reader), 20)
      yield* f.pass(1_000)
      for (const fiber of readers) yield* Fiber.join(fiber)
      assert.strictEqual(eventsOf(events, "Acquired").length, 400)
      assert.deepStrictEqual(
        eventsOf(events, "Released").map((event) => event.heldMs),
        Array.from({ length: 400 }, () => 5)
      )
    })
  )

  test("has its own age in an error, not the age of the oldest", { maxSize: 1, concurrency: 2 }, (f) =>
    Effect.gen(function* () {
      let last = yield* share(f)
      // The connection is shared for a second without a gap, and nobody has it for longer than 20 ms.
      for (let i = 0; i < 100; i++) {
        yield* f.pass(10)
        const next = yield* share(f)
        yield* last.release
        last = next
      }
      yield* f.pass(10)
      yield* share(f)
      const waiter = yield* f.park({ acquireTimeout: 5 })
      assert.strictEqual(f.stats().oldestLeaseMs, 10)
      yield* f.pass(5)
      const error = yield* waiter.error
      assert.deepStrictEqual(
        error.holders.map(({ connection, heldMs }) => [connection, heldMs]),
        [
          [1, 15],
          [1, 5]
        ]
      )
    })
  )

  test("ends once: a second release changes nothing for the others", { maxSize: 1, concurrency: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      const [one, two] = [f.engine.takeShared("one")!, f.engine.takeShared("two")!]
      f.engine.release(one)
      f.engine.release(one)
      assert.deepStrictEqual([f.stats().using, f.stats().lateReleases], [1, 1])
      f.engine.release(two)
      assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
    })
  )

  test("counts for growth with its share of the connection", { maxSize: 4, concurrency: 4 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      const leases = [
        f.engine.takeShared(1)!,
        f.engine.takeShared(2)!,
        f.engine.takeShared(3)!,
        f.engine.takeShared(4)!
      ]
      yield* f.pass(80)
      assert.strictEqual(f.engine.state.leases.meanShare(f.now()), 20)
      for (const lease of leases) f.engine.release(lease)
    })
  )

  test("of a drain is cancelled, aborted and released by its own count", { maxSize: 1, concurrency: 3 }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      f.host.aborts = "hang"
      const leases = [yield* share(f), yield* share(f), yield* share(f)]
      const draining = yield* Effect.fork(Pool.drain(f.pool, { within: 1_000 }))
      yield* f.pass(500)
      yield* leases[0]!.release
      yield* f.pass(500)
      const report = yield* Fiber.join(draining)
      assert.deepStrictEqual(report, { released: 1, cancelled: 2, aborted: 2, elapsedMs: 1_000 })
      assert.strictEqual(eventsOf(events, "Released").length, 3)
      yield* leases[1]!.release
      yield* leases[2]!.release
      assert.strictEqual(f.stats().lateReleases, 2)
    })
  )
})

describe("the average of the hold times", () => {
  it("is that of the samples, the newest with a tenth", () => {
    const load = new Load()
    load.held(10)
    load.held(20)
    assert.strictEqual(load.hold, 11)
  })
})

describe("D37: the span that a report names", () => {
  const ownSpans = ["sql.transaction", "sql.execute"]
  const spanOf = (f: Fixture, wrap: (work: Effect.Effect<void>) => Effect.Effect<void>) =>
    Effect.gen(function* () {
      yield* Effect.forkScoped(wrap(Effect.orDie(Pool.use(f.pool, () => Effect.never))))
      yield* settle
      const waiter = yield* f.park({ acquireTimeout: 10 })
      yield* f.pass(10)
      return (yield* waiter.error).holders[0]!.span
    })

  test("is the user's, around those of whoever made the pool", { maxSize: 1, ownSpans }, (f) =>
    Effect.gen(function* () {
      const span = yield* spanOf(f, (work) =>
        work.pipe(Effect.withSpan("sql.execute"), Effect.withSpan("sql.transaction"), Effect.withSpan("sync"))
      )
      assert.strictEqual(span, "sync")
    })
  )

  test("is the innermost one of the user", { maxSize: 1, ownSpans }, (f) =>
    Effect.gen(function* () {
      const span = yield* spanOf(f, (work) =>
        work.pipe(Effect.withSpan("inner"), Effect.withSpan("sql.transaction"), Effect.withSpan("outer"))
      )
      assert.strictEqual(span, "inner")
    })
  )

  test("is none where the user has none", { maxSize: 1, ownSpans }, (f) =>
    Effect.gen(function* () {
      assert.isUndefined(yield* spanOf(f, Effect.withSpan("sql.transaction")))
    })
  )

  test("is any span where nothing is said", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const wrap = (work: Effect.Effect<void>) => work.pipe(Effect.withSpan("sql.transaction"), Effect.withSpan("sync"))
      assert.strictEqual(yield* spanOf(f, wrap), "sql.transaction")
    })
  )
})

describe("C24: a `keep` that throws", () => {
  const keep = () => {
    throw new Error("no room")
  }

  test("gives the connection back, and is a defect", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      const exit = yield* Effect.exit(Pool.hold(f.pool, keep))
      assert.deepStrictEqual(exit, Exit.die(new Error("no room")))
      assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
    })
  )

  test("does so after a wait as well", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      const fiber = yield* Effect.fork(Effect.exit(Pool.hold(f.pool, keep)))
      yield* settle
      yield* lease.release
      const exit = yield* Fiber.join(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
      assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
    })
  )
})
