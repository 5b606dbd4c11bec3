/**
 * What an `AcquireTimeout` names as its cause. Each cause is produced, and the error names it and no other.
 */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { Pool, type PoolError, type PoolOptions } from "../src/index.js"
import { type Connection, type Fixture, type Options, test } from "./support/Fixture.js"

type Use = PoolOptions.Inspection["kind"]

const held: Readonly<Record<Use, string>> = {
  busy: "Work on leased connections takes longer than the acquire timeout: find slow statements, or raise maxSize.",
  idleInTransaction: "End transactions before slow work, or raise maxSize.",
  forgotten: "Nothing is done on leased connections: release each as soon as its work is done.",
  listener:
    "A listener holds its connection for as long as it listens: listen on a connection that belongs to no pool.",
  stream: "A stream holds its connection until it was read: read it faster, end it earlier, or raise maxSize."
}

const load = "More work arrives than these connections finish: send less, make it shorter, or raise maxSize."

/** The cause that the error of a caller names which gives up after so many milliseconds. */
const causeOf = (f: Fixture, ms: number, options: Pool.AcquireOptions = {}) =>
  Effect.gen(function* () {
    const waiter = yield* f.park({ ...options, acquireTimeout: ms })
    yield* f.pass(ms)
    const error = (yield* waiter.error) as PoolError.AcquireTimeout
    assert.strictEqual(error._tag, "AcquireTimeout")
    assert.isTrue(error.message.endsWith(` ${error.likelyCause}`))
    return error.likelyCause
  })

/** Two callers use the only connection in turns, each for 10 ms. */
const inTurns = (f: Fixture) => {
  const work = Effect.forever(Pool.use(f.pool, () => Effect.sleep(10), { priority: "high" }))
  return Effect.zipRight(Effect.replicateEffect(Effect.forkScoped(work), 2), f.pass(100))
}

/** What the connections are used for, by their number. Nothing was done on them since the test began, unless they are `working`. */
const used = (...uses: ReadonlyArray<Use>): Options => ({
  maxSize: uses.length,
  inspect: ({ id }: Connection) => ({ kind: uses[id - 1]!, since: 0 })
})

describe("an acquire timeout names as its cause", () => {
  for (const [use, sentence] of Object.entries(held) as Array<[Use, string]>) {
    test(`what holds the only connection: ${use}`, used(use), (f) =>
      Effect.gen(function* () {
        yield* f.saturate
        assert.strictEqual(yield* causeOf(f, 300), sentence)
      })
    )
  }

  test("work that is slow or forgotten, where the pool cannot tell which", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      assert.strictEqual(
        yield* causeOf(f, 300),
        "Leases are held longer than the acquire timeout: find slow or forgotten work, or raise maxSize."
      )
    })
  )

  test("what most of the connections are held for", used("idleInTransaction", "forgotten", "forgotten"), (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      assert.strictEqual(yield* causeOf(f, 300), held.forgotten)
    })
  )

  test(
    "the load where leases are short, whatever the connections are used for at that moment",
    used("idleInTransaction"),
    (f) =>
      Effect.gen(function* () {
        yield* inTurns(f)
        assert.strictEqual(yield* causeOf(f, 65, { priority: "background" }), load)
      })
  )

  test(
    "the load where leases are short, also if the pool only has a text for what they do",
    { maxSize: 1, describe: () => "idle in transaction" },
    (f) =>
      Effect.gen(function* () {
        yield* inTurns(f)
        assert.strictEqual(yield* causeOf(f, 65, { priority: "background" }), load)
      })
  )

  test("a shared connection whose work takes long", { ...used("busy"), concurrency: 2 }, (f) =>
    Effect.gen(function* () {
      for (let i = 0; i < 2; i++) yield* f.parkShared()
      assert.strictEqual(yield* causeOf(f, 300), held.busy)
    })
  )

  test("a database that is down", { ...used("forgotten"), maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "unreachable"
      assert.match(
        yield* causeOf(f, 300),
        /^Connecting fails since 20\S*Z \(\d attempts?\): the fake host is unreachable\. Check that the host is up and accepts connections from here\.$/
      )
    })
  )

  test("a connect that takes longer", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 1_000 }
      assert.strictEqual(
        yield* causeOf(f, 200),
        "Connecting takes longer than the acquire timeout: look at the network and the host."
      )
    })
  )

  test("one more connect, where leases are short", { maxSize: 2, connectTimeout: "1 minute" }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      f.host.connects = "hang"
      yield* inTurns(f)
      assert.strictEqual(
        yield* causeOf(f, 65, { priority: "background" }),
        "One more connection was being opened when the time was over: allow an acquire more time than a connect takes."
      )
    })
  )

  test("idle connections that do not answer", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      yield* f.pass(600)
      f.host.checks = "hang"
      assert.strictEqual(yield* causeOf(f, 200), "Idle connections do not answer: look at the network and the host.")
    })
  )

  test("the connection that is kept for short shared work", { maxSize: 4, concurrency: 8 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(4)
      yield* Effect.replicateEffect(f.hold(), 3)
      yield* f.pass(10)
      yield* Pool.share(f.pool, () => Effect.void)
      assert.strictEqual(
        yield* causeOf(f, 20),
        "The idle connection is kept for short shared work while that comes: make exclusive work shorter, or raise maxSize."
      )
    })
  )

  test("cleaning, where that takes the connections", { maxSize: 1, cleans: true }, (f) =>
    Effect.gen(function* () {
      f.host.resets = "hang"
      const lease = yield* f.hold()
      lease.connection.status = "dirty"
      yield* lease.release
      assert.strictEqual(
        yield* causeOf(f, 200),
        "The time went into cleaning: 1 of the connections were being reset, cancelled or closed."
      )
    })
  )

  test("the process, where it did not run", used("busy"), (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const waiter = yield* f.park({ acquireTimeout: 200 })
      yield* f.clock.jump(1_000)
      const { likelyCause } = (yield* waiter.error) as PoolError.AcquireTimeout
      assert.include(likelyCause, "The process did not run for 800 ms or more: find what blocks the event loop.")
    })
  )
})
