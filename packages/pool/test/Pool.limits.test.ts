/** `classLimits` and `reserved`: how many connections a class may hold. `watch` checks I11 after each step. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { Pool, type Priority } from "../src/index.js"
import { type Fixture, type Parked, test } from "./support/Fixture.js"

/** So many callers of one class, and how many of them have a connection. */
const ask = (f: Fixture, n: number, priority: Priority.Priority) => Effect.replicateEffect(f.park({ priority }), n)
const served = (callers: ReadonlyArray<Parked>) =>
  Effect.map(
    Effect.filter(callers, ({ waits }) => Effect.map(waits, (still) => !still)),
    (some) => some.length
  )

describe("classLimits", () => {
  test(
    "leave a class its share, rounded down, and the others the rest",
    { maxSize: 5, classLimits: { low: 0.5 } },
    (f) =>
      Effect.gen(function* () {
        const low = yield* ask(f, 5, "low")
        const normal = yield* ask(f, 5, "normal")
        assert.deepStrictEqual([yield* served(low), yield* served(normal)], [2, 3])
      })
  )

  test("open no connection for callers that could not have it", { maxSize: 10, classLimits: { low: 0.2 } }, (f) =>
    Effect.gen(function* () {
      yield* ask(f, 50, "low")
      yield* f.pass(3_000)
      assert.deepInclude(f.stats(), { size: 2, connecting: 0, using: 2, waiting: 48 })
    })
  )

  test("let the next one of the class in when one of it has ended", { maxSize: 4, classLimits: { low: 0.25 } }, (f) =>
    Effect.gen(function* () {
      const [first, ...others] = yield* ask(f, 3, "low")
      yield* f.warm(3)
      yield* (yield* first!.lease).release
      assert.strictEqual(yield* served(others), 1)
    })
  )

  test(
    "let it in on another connection where the first one has to be cleaned",
    { maxSize: 4, classLimits: { low: 0.25 } },
    (f) =>
      Effect.gen(function* () {
        f.host.resets = "hang"
        const [first, second] = yield* ask(f, 2, "low")
        yield* f.warm(3)
        const lease = yield* first!.lease
        lease.connection.status = "dirty"
        yield* lease.release
        assert.strictEqual(yield* served([second!]), 1)
        assert.strictEqual(f.stats().resetting, 1)
      })
  )

  test("do not hold up other classes behind the one at its limit", { maxSize: 3, classLimits: { high: 0.34 } }, (f) =>
    Effect.gen(function* () {
      const high = yield* ask(f, 4, "high")
      const background = yield* ask(f, 2, "background")
      assert.deepStrictEqual([yield* served(high), yield* served(background)], [1, 2])
    })
  )

  test(
    "count a shared lease as its part of a connection",
    { maxSize: 4, concurrency: 4, classLimits: { low: 0.25 } },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(4)
        const shared = yield* Effect.replicateEffect(f.parkShared({ priority: "low" }), 6)
        const alone = yield* ask(f, 1, "low")
        assert.deepStrictEqual([yield* served(shared), yield* served(alone)], [4, 0])
      })
  )

  test("are named by the error of a caller that they have held back", { maxSize: 4, classLimits: { low: 0.5 } }, (f) =>
    Effect.gen(function* () {
      yield* ask(f, 2, "low")
      yield* f.pass(500)
      const caller = yield* f.park({ priority: "low", acquireTimeout: 100 })
      yield* f.pass(100)
      const error = yield* caller.error
      assert.isTrue(error._tag === "AcquireTimeout" && error.heldBack === "classLimit")
      assert.include(error.message, "Class low has as many connections as classLimits lets it have")
    })
  )

  test(
    "are no overload: nobody is shed for them",
    { maxSize: 4, classLimits: { low: 0.25 }, shedding: { mode: "on" } },
    (f) =>
      Effect.gen(function* () {
        yield* ask(f, 20, "low")
        yield* f.pass(3_000)
        assert.deepInclude(f.stats(), { shed: 0, isOverloaded: false, waiting: 19 })
      })
  )

  test("are told by the estimate", { maxSize: 4, classLimits: { low: 0.25 } }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(4)
      for (let i = 0; i < 40; i++) {
        const lease = yield* f.hold()
        yield* f.pass(20)
        yield* lease.release
      }
      yield* ask(f, 1, "low")
      const gauge = Pool.gauge(f.pool)
      assert.deepStrictEqual([gauge.estimate("normal"), Math.round(gauge.estimate("low"))], [0, 20])
    })
  )
})

describe("reserved", () => {
  test("connections go to class critical alone", { maxSize: 5, reserved: 2 }, (f) =>
    Effect.gen(function* () {
      const high = yield* ask(f, 6, "high")
      assert.strictEqual(yield* served(high), 3)
      const critical = yield* ask(f, 3, "critical")
      assert.deepStrictEqual([yield* served(critical), yield* served(high)], [2, 3])
    })
  )

  test(
    "connections are not kept from class critical by what the others have open",
    { maxSize: 3, minIdle: 3, reserved: 1 },
    (f) =>
      Effect.gen(function* () {
        yield* f.pass(10)
        yield* ask(f, 9, "normal")
        const [critical] = yield* ask(f, 1, "critical")
        assert.strictEqual(yield* served([critical!]), 1)
        yield* (yield* critical!.lease).release
        assert.deepInclude(f.stats(), { available: 1, using: 2, waiting: 7 })
      })
  )

  test("are named by the error of a caller that they have held back", { maxSize: 2, minIdle: 2, reserved: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.pass(10)
      yield* ask(f, 1, "normal")
      yield* f.pass(400)
      const caller = yield* f.park({ acquireTimeout: 50 })
      yield* f.pass(50)
      const error = yield* caller.error
      assert.isTrue(error._tag === "AcquireTimeout" && error.heldBack === "reserved")
      assert.include(error.message, "max 2: 1 leased, 1 idle, 0 waiting")
      assert.include(error.message, "Class normal has all the connections that are not reserved for class critical")
    })
  )

  test(
    "shared work of others joins no connection that class critical shares",
    { maxSize: 2, reserved: 1, concurrency: 4 },
    (f) =>
      Effect.gen(function* () {
        yield* ask(f, 1, "normal")
        const critical = yield* f.parkShared({ priority: "critical" })
        const other = yield* f.parkShared({ priority: "normal" })
        assert.deepStrictEqual([yield* served([critical]), yield* served([other])], [1, 0])
      })
  )

  test("leaves one to the others in a pool that was made smaller", { maxSize: 6, reserved: 4 }, (f) =>
    Effect.gen(function* () {
      yield* Effect.orDie(Pool.resize(f.pool, 2))
      const high = yield* ask(f, 2, "high")
      assert.strictEqual(yield* served(high), 1)
    })
  )
})
