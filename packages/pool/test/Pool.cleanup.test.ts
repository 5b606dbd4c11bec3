import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { Pool } from "../src/index.js"
import { settle, test } from "./support/Fixture.js"

describe("a connection that comes back", () => {
  test("goes to the next caller without being touched if it is clean", { maxSize: 1 }, ({ hold, host, pool }) =>
    Effect.gen(function* () {
      const first = yield* hold()
      yield* first.release
      const id = yield* Pool.use(pool, (connection) => Effect.succeed(connection.id))
      assert.strictEqual(id, first.connection.id)
      assert.deepStrictEqual([host.reset, host.aborted, host.checked], [[], [], []])
    })
  )

  test("is reset if it is dirty, and the next caller waits for that", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.resets = { after: 30 }
      const lease = yield* f.hold()
      lease.connection.status = "dirty"
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().resetting, 1)
      const waiter = yield* f.park()
      yield* f.pass(29)
      assert.isTrue(yield* waiter.waits)
      yield* f.pass(1)
      assert.strictEqual((yield* waiter.lease).connection, lease.connection)
      assert.deepStrictEqual(f.host.reset, [1])
    })
  )

  test(
    "its reset is told which lease left it so: how long it was held, in which span, and what it was doing",
    { maxSize: 1, describe: ({ status }) => `is ${status}` },
    (f) =>
      Effect.gen(function* () {
        const leave = (status: "dirty" | "busy", ms: number) =>
          Pool.use(f.pool, (connection) =>
            Effect.zipRight(
              Effect.sleep(ms),
              Effect.sync(() => {
                connection.status = status
              })
            )
          )
        const run = (effect: Effect.Effect<unknown, unknown>, ms: number) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(effect)
            yield* f.pass(ms)
            yield* Fiber.join(fiber)
            yield* settle
          })
        yield* run(Effect.withSpan(leave("dirty", 20), "handler"), 20)
        // Stopped first, which takes a while: told is what was when the lease ended.
        f.host.aborts = { after: 30 }
        f.host.stops = "dirty"
        yield* run(Effect.withSpan(leave("busy", 10), "other"), 10)
        yield* f.pass(30)
        // Nothing is left over from the one before.
        yield* run(leave("dirty", 5), 5)
        assert.deepStrictEqual(f.host.left, [
          { connection: 1, heldMs: 20, activity: "is dirty", span: "handler" },
          { connection: 1, heldMs: 10, activity: "is busy", span: "other" },
          { connection: 1, heldMs: 5, activity: "is dirty", span: undefined }
        ])
      })
  )

  test("nobody is remembered by it when it is clean", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      for (const status of ["clean", "dirty"] as const) {
        const lease = yield* f.hold()
        const own = f.engine.state.leases.oldest!
        const { entry } = own
        assert.isDefined(own.holder)
        lease.connection.status = status
        yield* lease.release
        yield* settle
        assert.isUndefined(entry.leftBy)
        assert.isUndefined(entry.left)
        assert.isUndefined(f.engine.state.leases.oldest)
      }
    })
  )

  test("is closed if it is dirty and nothing can reset it", { maxSize: 1, cleans: false }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      lease.connection.status = "dirty"
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().closed.reset, 1)
      assert.isFalse(lease.connection.open)
    })
  )

  test("is closed if its reset fails", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.resets = "fail"
      const lease = yield* f.hold()
      lease.connection.status = "dirty"
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().closed.reset, 1)
    })
  )

  test("is closed if its reset throws", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.resets = "die"
      const lease = yield* f.hold()
      lease.connection.status = "dirty"
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().closed.reset, 1)
    })
  )

  test("is closed if it is not clean after its reset", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      Object.defineProperty(lease.connection, "status", { get: () => "dirty", set: () => undefined })
      yield* lease.release
      yield* settle
      assert.deepStrictEqual(f.host.reset, [1])
      assert.strictEqual(f.stats().closed.reset, 1)
    })
  )

  test("costs a hanging reset one resetTimeout, and then the connection", { maxSize: 1, resetTimeout: 700 }, (f) =>
    Effect.gen(function* () {
      f.host.resets = "hang"
      const lease = yield* f.hold()
      lease.connection.status = "dirty"
      yield* lease.release
      const waiter = yield* f.park()
      yield* f.pass(699)
      assert.isTrue(yield* waiter.waits)
      assert.strictEqual(f.stats().resetting, 1)
      yield* f.pass(1)
      assert.strictEqual((yield* waiter.lease).connection.id, 2)
      assert.strictEqual(f.stats().closed.reset, 1)
    })
  )

  test("is stopped if it is busy, then reset if that left it dirty", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.aborts = { after: 10 }
      const lease = yield* f.hold()
      lease.connection.status = "busy"
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().quarantined, 1)
      yield* f.pass(10)
      assert.deepStrictEqual(f.host.aborted, [1])
      assert.strictEqual(f.stats().available, 1)
    })
  )

  test("is closed if it is busy and nothing can stop it", { maxSize: 1, aborts: false }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      lease.connection.status = "busy"
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().closed.error, 1)
    })
  )

  test("is closed if it is still busy after it was stopped", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      Object.defineProperty(lease.connection, "status", { get: () => "busy", set: () => undefined })
      yield* lease.release
      yield* settle
      assert.deepStrictEqual(f.host.aborted, [1])
      assert.strictEqual(f.stats().closed.error, 1)
    })
  )

  test("costs a hanging abort one abortTimeout, and then the connection", { maxSize: 1, abortTimeout: 300 }, (f) =>
    Effect.gen(function* () {
      f.host.aborts = "hang"
      const lease = yield* f.hold()
      lease.connection.status = "busy"
      yield* lease.release
      yield* f.pass(299)
      assert.strictEqual(f.stats().quarantined, 1)
      yield* f.pass(1)
      assert.strictEqual(f.stats().closed.error, 1)
    })
  )

  test("is closed at once if it is dead, and a waiter gets a new one", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      const waiter = yield* f.park()
      lease.connection.status = "dead"
      yield* lease.release
      yield* settle
      assert.strictEqual((yield* waiter.lease).connection.id, 2)
      assert.strictEqual(f.stats().closed.error, 1)
    })
  )

  test(
    "I1: counts until it is really closed, and a hanging close costs one closeTimeout",
    { maxSize: 1, closeTimeout: 400 },
    (f) =>
      Effect.gen(function* () {
        f.host.closes = "hang"
        const lease = yield* f.hold()
        const waiter = yield* f.park()
        lease.connection.status = "dead"
        yield* lease.release
        yield* f.pass(399)
        assert.strictEqual(f.stats().closing, 1)
        assert.strictEqual(f.host.opened, 1)
        yield* f.pass(1)
        assert.strictEqual((yield* waiter.lease).connection.id, 2)
      })
  )

  test("frees its place even if closing it throws", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.closes = "die"
      const lease = yield* f.hold()
      const waiter = yield* f.park()
      lease.connection.status = "dead"
      yield* lease.release
      yield* settle
      assert.strictEqual((yield* waiter.lease).connection.id, 2)
    })
  )

  test("dies when idle and is not handed out: its status is asked before", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      for (const connection of f.host.connections) connection.status = "dead"
      assert.strictEqual((yield* f.hold()).connection.id, 3)
      assert.strictEqual(f.stats().closed.error, 2)
    })
  )

  test("says itself that it broke: idle ones close now, leased ones on release", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const lease = yield* f.hold()
      for (const connection of f.host.connections) connection.signals.broken(new Error("reset by peer"))
      yield* settle
      assert.strictEqual(f.stats().closed.error, 1)
      assert.isTrue(lease.connection.open)
      yield* lease.release
      yield* settle
      assert.strictEqual(f.stats().closed.error, 2)
      assert.isFalse(lease.connection.open)
    })
  )

  test("that breaks while it is reset is not used again", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.resets = { after: 10 }
      const lease = yield* f.hold()
      lease.connection.status = "dirty"
      yield* lease.release
      yield* settle
      lease.connection.signals.broken("gone")
      yield* f.pass(10)
      assert.strictEqual(f.stats().closed.error, 1)
    })
  )

  test("is closed after maxUses leases", { maxSize: 1, maxUses: 3 }, (f) =>
    Effect.gen(function* () {
      const ids: Array<number> = []
      for (let i = 0; i < 7; i++) {
        ids.push(yield* Pool.use(f.pool, (connection) => Effect.succeed(connection.id)))
        yield* settle
      }
      assert.deepStrictEqual(ids, [1, 1, 1, 2, 2, 2, 3])
      assert.strictEqual(f.stats().closed.lifetime, 2)
    })
  )

  test("I7: is harmless when it comes back a second time, even to another holder", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      const stale = f.engine.take(undefined)!
      f.engine.release(stale)
      const owner = yield* f.hold()
      f.engine.release(stale)
      assert.strictEqual(f.stats().using, 1)
      assert.strictEqual(f.stats().lateReleases, 1)
      yield* owner.release
    })
  )
})

describe("user code that throws", () => {
  test("in f gives the connection back", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Pool.use(f.pool, (): Effect.Effect<void> => {
          throw new Error("f threw")
        })
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(f.stats().available, 1)
    })
  )

  test(
    "in status costs the connection, never a place, and is backed off from",
    {
      maxSize: 1,
      status: () => {
        throw new Error("status threw")
      }
    },
    (f) =>
      Effect.gen(function* () {
        const waiting = yield* f.park({ acquireTimeout: 100 })
        yield* f.pass(100)
        assert.strictEqual((yield* waiting.error)._tag, "AcquireTimeout")
        assert.strictEqual(f.stats().using, 0)
        assert.isAtLeast(f.stats().connectFailures, 1)
        assert.isAtMost(f.host.attempts.length, 4)
      })
  )

  test(
    "in admits means no",
    {
      maxSize: 2,
      concurrency: 8,
      admits: () => {
        throw new Error("admits threw")
      }
    },
    (f) =>
      Effect.gen(function* () {
        const one = yield* Effect.flatMap(f.parkShared(), (p) => p.lease)
        const two = yield* Effect.flatMap(f.parkShared(), (p) => p.lease)
        assert.notStrictEqual(one.connection, two.connection)
        yield* one.release
        yield* two.release
      })
  )

  test(
    "in describe leaves the error readable",
    {
      maxSize: 1,
      describe: () => {
        throw new Error("describe threw")
      }
    },
    (f) =>
      Effect.gen(function* () {
        yield* f.hold()
        const waiter = yield* f.park({ acquireTimeout: 100 })
        yield* f.pass(100)
        assert.include((yield* waiter.error).message, "connection 1 for 100 ms")
      })
  )

  test(
    "in classify means unreachable, and the attempt does not keep its place (I6)",
    {
      maxSize: 1,
      setUp: (host) => host.script.push("unreachable"),
      classify: () => {
        throw new Error("classify threw")
      }
    },
    (f) =>
      Effect.gen(function* () {
        const waiter = yield* f.park()
        yield* f.pass(1_000)
        assert.strictEqual((yield* waiter.lease).connection.id, 1)
      })
  )

  test(
    "in connect is a failed attempt",
    {
      maxSize: 1,
      connect: () => {
        throw new Error("connect threw")
      }
    },
    (f) =>
      Effect.gen(function* () {
        const waiter = yield* f.park({ acquireTimeout: 100 })
        yield* f.pass(100)
        const error = yield* waiter.error
        assert.include(error.message, "connect threw")
        assert.strictEqual(f.stats().connecting, 0)
      })
  )
})
