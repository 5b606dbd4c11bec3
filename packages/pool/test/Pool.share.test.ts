import { assert, describe } from "@effect/vitest"
import { Effect, Either, Exit, Fiber } from "effect"
import { Pool } from "../src/index.js"
import { type Connection, type Fixture, type Lease, settle, test } from "./support/Fixture.js"

const share = (f: Fixture): Effect.Effect<Lease> => Effect.flatMap(f.parkShared(), (parked) => parked.lease)

const sizes = (maxSize: number) => ({ maxSize, concurrency: 8 })

describe("I2: a shared lease", () => {
  test(
    "puts up to `concurrency` holders on one connection before it takes another",
    { maxSize: 2, concurrency: 3 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(2)
        const leases = yield* Effect.replicateEffect(share(f), 6)
        const ids = leases.map((lease) => lease.connection.id)
        assert.strictEqual(new Set(ids.slice(0, 3)).size, 1)
        assert.strictEqual(new Set(ids.slice(3)).size, 1)
        assert.notStrictEqual(ids[0], ids[3])
        const seventh = yield* f.parkShared()
        assert.isTrue(yield* seventh.waits)
        yield* leases[4]!.release
        assert.strictEqual((yield* seventh.lease).connection.id, ids[4])
      })
  )

  test("packs work on the fullest connection, so that others get free", { maxSize: 2, concurrency: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(2)
      const leases = yield* Effect.replicateEffect(share(f), 5)
      yield* leases[0]!.release
      yield* leases[1]!.release
      // One connection has one holder, the other has two: the next one joins the two.
      const next = yield* share(f)
      assert.strictEqual(next.connection.id, leases[3]!.connection.id)
    })
  )

  test("never joins an exclusive one", { maxSize: 1, concurrency: 8 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      const waiter = yield* f.parkShared()
      assert.isTrue(yield* waiter.waits)
      yield* lease.release
      yield* settle
      assert.strictEqual((yield* waiter.lease).connection, lease.connection)
    })
  )

  test(
    "joins only where `admits` agrees",
    { maxSize: 2, concurrency: 8, admits: (connection) => connection.id !== 1 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(2)
        const leases = yield* Effect.replicateEffect(share(f), 4)
        const ids = leases.map((lease) => lease.connection.id)
        assert.strictEqual(ids.filter((id) => id === 1).length <= 1, true)
        assert.strictEqual(ids.filter((id) => id === 2).length >= 3, true)
      })
  )

  test("does not join a connection that is to be closed", { maxSize: 2, concurrency: 8 }, (f) =>
    Effect.gen(function* () {
      const first = yield* share(f)
      first.connection.signals.broken("gone")
      const second = yield* f.parkShared()
      yield* settle
      assert.strictEqual((yield* second.lease).connection.id, 2)
      yield* first.release
      assert.isFalse(first.connection.open)
    })
  )

  test("cleans the connection only after its last holder", { maxSize: 1, concurrency: 2 }, (f) =>
    Effect.gen(function* () {
      const one = yield* share(f)
      const two = yield* share(f)
      one.connection.status = "dirty"
      yield* one.release
      assert.deepStrictEqual(f.host.reset, [])
      yield* two.release
      assert.deepStrictEqual(f.host.reset, [1])
    })
  )

  test("counts each holder towards maxUses", { maxSize: 1, concurrency: 4, maxUses: 3 }, (f) =>
    Effect.gen(function* () {
      const leases = yield* Effect.replicateEffect(share(f), 3)
      yield* Effect.forEach(leases, (lease) => lease.release)
      yield* settle
      assert.strictEqual(f.stats().closed.lifetime, 1)
    })
  )
})

describe("an exclusive caller behind shared ones", () => {
  test("is not starved: shared callers that come later wait behind it", { maxSize: 1, concurrency: 4 }, (f) =>
    Effect.gen(function* () {
      const one = yield* share(f)
      const two = yield* share(f)
      const exclusive = yield* f.park()
      const late = yield* f.parkShared()
      assert.isTrue(yield* late.waits)
      yield* one.release
      assert.isTrue(yield* exclusive.waits)
      assert.isTrue(yield* late.waits)
      yield* two.release
      const lease = yield* exclusive.lease
      assert.isTrue(yield* late.waits)
      yield* lease.release
      yield* settle
      yield* late.lease
    })
  )

  test("I4: lets those behind it join again as soon as it has left", { maxSize: 1, concurrency: 4 }, (f) =>
    Effect.gen(function* () {
      yield* share(f)
      const exclusive = yield* f.park()
      const late = yield* f.parkShared()
      assert.isTrue(yield* late.waits)
      yield* Fiber.interrupt(exclusive.fiber)
      yield* settle
      assert.strictEqual((yield* late.lease).connection.id, 1)
    })
  )

  test("I4: lets those behind it join again as soon as its time is over", { maxSize: 1, concurrency: 4 }, (f) =>
    Effect.gen(function* () {
      yield* share(f)
      const exclusive = yield* f.park({ acquireTimeout: 200 })
      const late = yield* f.parkShared()
      yield* f.pass(200)
      assert.strictEqual((yield* exclusive.error)._tag, "AcquireTimeout")
      assert.strictEqual((yield* late.lease).connection.id, 1)
    })
  )

  test("is passed by a shared caller of a higher class, which joins at once", { maxSize: 1, concurrency: 4 }, (f) =>
    Effect.gen(function* () {
      yield* share(f)
      const exclusive = yield* f.park()
      const high = yield* f.parkShared({ priority: "high" })
      assert.strictEqual((yield* high.lease).connection.id, 1)
      assert.isTrue(yield* exclusive.waits)
    })
  )

  test("is passed at most 8 times by shared callers of a higher class", { maxSize: 1, concurrency: 100 }, (f) =>
    Effect.gen(function* () {
      const first = yield* share(f)
      const exclusive = yield* f.park()
      const high: Array<Lease> = []
      for (let i = 0; i < 8; i++) high.push(yield* Effect.flatMap(f.parkShared({ priority: "high" }), (p) => p.lease))
      const ninth = yield* f.parkShared({ priority: "high" })
      assert.isTrue(yield* ninth.waits)
      yield* Effect.forEach([first, ...high], (lease) => lease.release)
      yield* exclusive.lease
      assert.isTrue(yield* ninth.waits)
    })
  )
})

describe("a shared connection whose work has come to a standstill", () => {
  const stalling = (maxSize: number) => {
    const stalled = new Set<number>()
    const stalls = ({ id }: Connection) => stalled.has(id)
    return { stalled, options: { maxSize, concurrency: 8, stalls, admits: (one: Connection) => !stalls(one) } }
  }

  const growing = stalling(2)
  test("is not waited for: another one is opened at once", growing.options, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 100 }
      const first = yield* f.park()
      yield* f.pass(100)
      yield* (yield* first.lease).release
      for (let i = 0; i < 10; i++) yield* (yield* f.hold()).release
      const late = yield* share(f)
      growing.stalled.add(late.connection.id)
      const exclusive = yield* f.park()
      const shared = yield* f.parkShared()
      assert.strictEqual(f.stats().connecting, 1)
      yield* f.pass(100)
      yield* (yield* exclusive.lease).release
      yield* settle
      yield* (yield* shared.lease).release
      yield* late.release
      assert.strictEqual(f.host.opened, 2)
    })
  )

  const full = stalling(4)
  test("is not the one that is kept for shared callers", full.options, (f) =>
    Effect.gen(function* () {
      yield* f.warm(4)
      const late = yield* share(f)
      full.stalled.add(late.connection.id)
      const alone = [yield* f.hold(), yield* f.hold()]
      const exclusive = yield* f.park()
      // The last idle one is for those that share.
      assert.isTrue(yield* exclusive.waits)
      const shared = yield* share(f)
      yield* alone[0]!.release
      yield* exclusive.lease
      assert.notStrictEqual(shared.connection.id, late.connection.id)
    })
  )
})

describe("a connection that always has some holder", () => {
  /** Shared leases that overlap, so that the connection is never released by all of them at once. */
  const overlap = (f: Fixture, ms: number, ids: Array<number>) =>
    Effect.gen(function* () {
      let last = yield* share(f)
      for (let passed = 0; passed < ms; passed += 100) {
        const next = yield* f.parkShared()
        yield* f.pass(100)
        yield* last.release
        last = yield* next.lease
        ids.push(last.connection.id)
      }
      yield* last.release
    })

  const options = { maxSize: 2, concurrency: 4, idleTimeout: "1 hour" } as const

  test("is replaced all the same after a reset", options, (f) =>
    Effect.gen(function* () {
      const ids: Array<number> = []
      yield* overlap(f, 1_000, ids)
      const holder = yield* share(f)
      yield* Pool.reset(f.pool)
      yield* f.pass(1_000)
      yield* overlap(f, 1_000, ids)
      yield* holder.release
      assert.deepStrictEqual([...new Set(ids)], [1, 2])
      assert.strictEqual(f.stats().closed.generation, 1)
    })
  )

  test("is replaced all the same when it is too old", { ...options, maxLifetime: 10_000 }, (f) =>
    Effect.gen(function* () {
      const ids: Array<number> = []
      yield* overlap(f, 13_000, ids)
      assert.strictEqual(ids.at(-1), 2)
      assert.strictEqual(f.stats().closed.lifetime, 1)
    })
  )

  test("is replaced all the same, a second after maxUses at most", { ...options, maxUses: 20 }, (f) =>
    Effect.gen(function* () {
      const ids: Array<number> = []
      yield* overlap(f, 4_000, ids)
      assert.isAtMost(ids.filter((id) => id === 1).length, 20 + 11)
      assert.isAtLeast(f.stats().closed.lifetime, 1)
    })
  )

  test("goes all the same when the pool is made smaller, and only as many as must", options, (f) =>
    Effect.gen(function* () {
      const leases = yield* Effect.replicateEffect(share(f), 5)
      assert.strictEqual(f.stats().size, 2)
      yield* Pool.resize(f.pool, 1)
      yield* f.pass(1_000)
      // Both have room now, but one of them takes no more.
      yield* leases[0]!.release
      yield* leases[1]!.release
      const ids: Array<number> = []
      yield* overlap(f, 1_000, ids)
      assert.strictEqual(new Set(ids).size, 1)
      yield* Effect.forEach(leases.slice(2), (lease) => lease.release)
      assert.deepStrictEqual([f.stats().size, f.stats().closed.shrink], [1, 1])
    })
  )
})

describe("of four connections or more, the last one", () => {
  /** A pool that is full: three leased alone, and one that was shared a moment ago. */
  const three = (f: Fixture) =>
    Effect.gen(function* () {
      yield* f.warm(4)
      const alone = yield* Effect.replicateEffect(f.hold(), 3)
      const shared = yield* share(f)
      return { alone, shared }
    })

  test("stays with those who share while they come, and they pass who waits for one alone", sizes(4), (f) =>
    Effect.gen(function* () {
      const { alone, shared } = yield* three(f)
      const waiter = yield* f.park()
      assert.strictEqual((yield* share(f)).connection, shared.connection)
      yield* f.pass(99)
      assert.strictEqual((yield* share(f)).connection, shared.connection)
      assert.isTrue(yield* waiter.waits)
      yield* alone[0]!.release
      assert.strictEqual((yield* waiter.lease).connection, alone[0]!.connection)
    })
  )

  test("is kept for them when it is idle, until they have stayed away for 100 ms", sizes(4), (f) =>
    Effect.gen(function* () {
      const { shared } = yield* three(f)
      yield* shared.release
      const waiter = yield* f.park()
      assert.isTrue(yield* waiter.waits)
      const again = yield* share(f)
      assert.strictEqual(again.connection, shared.connection)
      yield* again.release
      yield* f.pass(99)
      assert.isTrue(yield* waiter.waits)
      yield* f.pass(1)
      assert.strictEqual((yield* waiter.lease).connection, shared.connection)
    })
  )

  test("is nobody's once they have stayed away: then those who share wait in line like everybody", sizes(4), (f) =>
    Effect.gen(function* () {
      const { shared } = yield* three(f)
      yield* shared.release
      yield* f.pass(100)
      const slow = yield* f.hold()
      yield* f.park()
      const reader = yield* f.parkShared()
      assert.isTrue(yield* reader.waits)
      yield* slow.release
      assert.isTrue(yield* reader.waits)
    })
  )

  test("is given to whoever is first, if there are only three", sizes(3), (f) =>
    Effect.gen(function* () {
      yield* f.warm(3)
      yield* Effect.replicateEffect(f.hold(), 2)
      const shared = yield* share(f)
      const waiter = yield* f.park()
      const reader = yield* f.parkShared()
      assert.isTrue(yield* reader.waits)
      yield* shared.release
      assert.strictEqual((yield* waiter.lease).connection, shared.connection)
      assert.isTrue(yield* reader.waits)
    })
  )

  test("is kept back from nobody while the pool can grow", { maxSize: 5, concurrency: 8 }, (f) =>
    Effect.gen(function* () {
      const { shared } = yield* three(f)
      yield* shared.release
      assert.strictEqual((yield* f.hold()).connection, shared.connection)
    })
  )
})

/** Work that ends when the test says so. */
const works = () => {
  const ends: Array<(effect: Effect.Effect<number, string>) => void> = []
  return {
    ends,
    begin: (_: unknown, resume: (effect: Effect.Effect<number, string>) => void) => void ends.push(resume)
  }
}

describe("a shared lease that ends by a callback", () => {
  test("gives what the callback is given, and shares its connection", { maxSize: 1, concurrency: 3 }, (f) =>
    Effect.gen(function* () {
      const { begin, ends } = works()
      const fibers = yield* Effect.replicateEffect(Effect.fork(Pool.shareAsync(f.pool, begin)), 3)
      yield* settle
      assert.lengthOf(ends, 3)
      ends[1]!(Effect.succeed(1))
      ends[0]!(Effect.fail("no"))
      ends[2]!(Effect.succeed(2))
      const exits = yield* Effect.forEach(fibers, (fiber) => Effect.either(Fiber.join(fiber)))
      assert.deepStrictEqual(exits, [Either.left("no"), Either.right(1), Either.right(2)])
      assert.strictEqual(f.stats().using, 0)
    })
  )

  test("lasts until the work has ended, although its caller has left", { maxSize: 1, concurrency: 2 }, (f) =>
    Effect.gen(function* () {
      const { begin, ends } = works()
      const leaving = yield* Effect.fork(Pool.shareAsync(f.pool, begin))
      yield* settle
      yield* Fiber.interrupt(leaving)
      assert.strictEqual(f.stats().using, 1)
      const alone = yield* f.park()
      assert.isTrue(yield* alone.waits)
      ends[0]!(Effect.succeed(1))
      yield* settle
      yield* (yield* alone.lease).release
    })
  )

  test("is given back once, however often the callback is called", { maxSize: 1, concurrency: 2 }, (f) =>
    Effect.gen(function* () {
      const { begin, ends } = works()
      const fibers = yield* Effect.replicateEffect(Effect.fork(Pool.shareAsync(f.pool, begin)), 2)
      yield* settle
      ends[0]!(Effect.succeed(1))
      ends[0]!(Effect.succeed(2))
      assert.strictEqual(yield* Fiber.join(fibers[0]!), 1)
      assert.strictEqual(f.stats().using, 1)
      ends[1]!(Effect.succeed(3))
      assert.strictEqual(yield* Fiber.join(fibers[1]!), 3)
    })
  )

  test("waits in line like any other, and begins when it is its turn", { maxSize: 1, concurrency: 2 }, (f) =>
    Effect.gen(function* () {
      const { begin, ends } = works()
      const lease = yield* f.hold()
      const [stays, leaves] = yield* Effect.replicateEffect(Effect.fork(Pool.shareAsync(f.pool, begin)), 2)
      const late = yield* Effect.fork(Pool.shareAsync(f.pool, begin, { acquireTimeout: 50 }))
      yield* settle
      assert.strictEqual(f.stats().waiting, 3)
      yield* Fiber.interrupt(leaves!)
      assert.strictEqual(f.stats().waiting, 2)
      yield* f.pass(50)
      const error = yield* Effect.flip(Fiber.join(late))
      assert.strictEqual(typeof error === "string" ? error : error._tag, "AcquireTimeout")
      yield* lease.release
      yield* settle
      assert.lengthOf(ends, 1)
      ends[0]!(Effect.succeed(1))
      assert.strictEqual(yield* Fiber.join(stays!), 1)
    })
  )

  test("a callback that is called at once, and work that throws, at once and after a wait", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const now = Pool.shareAsync<Connection, number, never>(f.pool, (_, resume) => resume(Effect.succeed(1)))
      const thrown = Pool.shareAsync<Connection, number, never>(f.pool, () => {
        throw new Error("bug")
      })
      const lease = yield* f.hold()
      const waiting = yield* Effect.forEach([now, thrown], (effect) => Effect.fork(Effect.exit(effect)))
      yield* settle
      yield* lease.release
      const exits = [
        ...(yield* Effect.forEach(waiting, Fiber.join)),
        yield* Effect.exit(now),
        yield* Effect.exit(thrown)
      ]
      const bug = Exit.die(new Error("bug"))
      assert.deepStrictEqual(exits, [Exit.succeed(1), bug, Exit.succeed(1), bug])
    })
  )
})
