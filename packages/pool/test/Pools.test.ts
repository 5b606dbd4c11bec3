import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Deadline, Pool, type PoolEvent, Pools } from "../src/index.js"
import type * as OpenPools from "../src/internal/runtime/openPools.js"
import { settle, test } from "./support/Fixture.js"

const pool = (name: string) => Pool.make({ name, maxSize: 1, minIdle: 1, connect: () => Effect.succeed({}) })

const names = Effect.map(Pools.all, (pools) => pools.map(({ name }) => name))

describe("the pools of the process", () => {
  it.scoped("are those that are not closed", () =>
    Effect.gen(function* () {
      const one = yield* pool("one")
      assert.deepStrictEqual(yield* names, ["one"])
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* pool("two")
          assert.deepStrictEqual(yield* names, ["one", "two"])
        })
      )
      assert.deepStrictEqual(yield* names, ["one"])
      yield* Pool.drain(one)
      assert.deepStrictEqual(yield* names, [])
    })
  )

  it.scoped("are watched from their first event to their last, whenever they are made", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      yield* pool("early")
      const stop = Pools.unsafeWatch((watched) => {
        told.push(`${watched.name} is open`)
        const unlisten = Pool.unsafeListen(watched, ({ _tag }) => told.push(`${watched.name} ${_tag}`))
        return () => {
          unlisten()
          told.push(`${watched.name} is closed`)
        }
      })
      assert.deepStrictEqual(told.splice(0), ["early is open"])
      yield* Effect.scoped(Effect.zipRight(pool("late"), settle))
      assert.deepStrictEqual(told.splice(0), ["late is open", "late Connected", "late Closed", "late is closed"])
      stop()
      stop()
      assert.deepStrictEqual(told.splice(0), ["early is closed"])
      yield* Effect.scoped(pool("later"))
      assert.deepStrictEqual(told, [])
    })
  )

  it.scoped("are those of every copy of the library", () =>
    Effect.gen(function* () {
      const copy = "../src/internal/runtime/openPools.js?copy"
      const other = (yield* Effect.promise(() => import(/* @vite-ignore */ copy))) as typeof OpenPools
      const one = yield* pool("one")
      assert.deepStrictEqual(other.openPools.all(), [one])
    })
  )
})

describe("the queues", () => {
  test(
    "are those classes in which callers wait, the first one first, with the age of the oldest",
    { maxSize: 1 },
    (f) =>
      Effect.gen(function* () {
        yield* f.hold()
        assert.deepStrictEqual(yield* Pools.queues(f.pool), [])
        yield* f.park({ priority: "low" })
        yield* f.pass(30)
        yield* f.park({ priority: "high" })
        yield* f.park({ priority: "low" })
        yield* f.pass(12)
        assert.deepStrictEqual(yield* Pools.queues(f.pool), [
          { priority: "high", depth: 1, oldestMs: 12 },
          { priority: "low", depth: 2, oldestMs: 42 }
        ])
      })
  )
})

describe("the holders", () => {
  test("are the oldest leases, with what they are used for", { maxSize: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.hold()
      yield* f.pass(30)
      yield* f.hold()
      yield* f.hold()
      yield* f.pass(12)
      const holders = yield* Pools.holders(f.pool, 2)
      assert.deepStrictEqual(
        holders.map(({ heldMs, kind }) => [heldMs, kind]),
        [
          [42, "unknown"],
          [12, "unknown"]
        ]
      )
    })
  )

  it.scoped("are told with what `inspect` knows, whether or not leaks are looked for", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.ofContext
      const since = timers.now()
      const watched = yield* Pool.make({
        maxSize: 1,
        leakThreshold: 0,
        connect: () => Effect.succeed({}),
        describe: () => "idle in transaction",
        inspect: () => ({ kind: "idleInTransaction", since: since - 5_000, remoteId: 4711 })
      })
      yield* Effect.withSpan(Pool.acquire(watched), "handler")
      const [holder] = yield* Pools.holders(watched, 10)
      assert.deepInclude(holder, {
        connection: 1,
        activity: "idle in transaction",
        span: "handler",
        kind: "busy",
        idleMs: 0,
        remoteId: 4711
      })
    })
  )
})

describe("the uses", () => {
  it.scoped("count each leased connection once, an idle one by what is open on it, after as long as is asked for", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.ofContext
      const kinds = ["idleInTransaction", "forgotten", "busy"] as const
      let opened = 0
      const watched = yield* Pool.make({
        maxSize: 4,
        concurrency: 2,
        connect: () => Effect.sync(() => opened++),
        inspect: (n) => ({ kind: kinds[n] ?? "busy", since: timers.now() })
      })
      yield* Effect.forEach(kinds, () => Pool.acquire(watched))
      const shared = yield* Effect.forkScoped(
        Effect.forEach([1, 2], () => Pool.share(watched, () => Effect.never), { concurrency: 2 })
      )
      yield* Effect.repeat(Effect.yieldNow(), { until: () => Pool.unsafeStats(watched).using === 4 })
      const none = { busy: 0, idleInTransaction: 0, forgotten: 0, listener: 0, stream: 0, unknown: 0 }
      assert.deepStrictEqual(yield* Pools.uses(watched), { ...none, busy: 4 })
      assert.deepStrictEqual(yield* Pools.uses(watched, 0), { ...none, busy: 2, idleInTransaction: 1, forgotten: 1 })
      yield* Fiber.interrupt(shared)
    })
  )
})

describe("acquires that fail", () => {
  test(
    "are counted by the tag of their error, and those whose caller has left apart",
    { maxSize: 1, maxWaiters: 2 },
    (f) =>
      Effect.gen(function* () {
        const events: Array<PoolEvent.PoolEvent> = yield* f.listen
        yield* f.hold()
        yield* f.park({ acquireTimeout: 5 })
        const left = yield* Effect.fork(Pool.use(f.pool, () => Effect.void, { priority: "high" }))
        yield* settle
        yield* Effect.ignore(Pool.use(f.pool, () => Effect.void))
        yield* f.pass(5)
        yield* Fiber.interrupt(left)
        const { failed, interrupted, saturated, timeouts } = f.stats()
        assert.deepInclude(failed, { AcquireTimeout: 1, PoolSaturated: 1, PoolClosed: 0 })
        assert.deepStrictEqual([timeouts, saturated, interrupted], [1, 1, 1])
        assert.deepStrictEqual(
          events
            .filter(({ _tag }) => _tag.startsWith("Acquire") && _tag !== "Acquired")
            .map((event) =>
              event._tag === "AcquireFailed" ? { ...event, cause: event.cause.message.split(" (")[0] } : event
            ),
          [
            {
              _tag: "AcquireFailed",
              error: "PoolSaturated",
              cause: `pool "pool": 2 callers wait already and maxWaiters is 2`,
              waitMs: 0,
              priority: "normal"
            },
            {
              _tag: "AcquireFailed",
              error: "AcquireTimeout",
              cause: `pool "pool": no connection within 5 ms`,
              waitMs: 5,
              priority: "normal"
            },
            { _tag: "AcquireInterrupted", waitMs: 5, priority: "high" }
          ] as any
        )
      })
  )
})

describe("cancelling what a leased connection does", () => {
  test("stops the work and keeps the lease; a younger lease of the same connection is not meant", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      yield* f.pass(1_000)
      assert.isTrue(yield* Pools.cancel(f.pool, lease.connection.id, "1 second"))
      yield* settle
      assert.deepStrictEqual(f.host.aborted, [lease.connection.id])
      assert.strictEqual((yield* Pool.stats(f.pool)).using, 1)
      assert.isFalse(yield* Pools.cancel(f.pool, lease.connection.id, "2 seconds"))
      assert.isFalse(yield* Pools.cancel(f.pool, lease.connection.id + 1))
      yield* lease.release
      assert.isFalse(yield* Pools.cancel(f.pool, lease.connection.id))
      yield* settle
      assert.deepStrictEqual(f.host.aborted, [lease.connection.id])
    })
  )

  test("does nothing where a pool cannot stop work", { maxSize: 1, aborts: false }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      assert.isFalse(yield* Pools.cancel(f.pool, lease.connection.id))
      yield* lease.release
    })
  )
})
