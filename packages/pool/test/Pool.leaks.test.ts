/** F9: leases that are held too long are told of, and taken away if the pool is asked to. */
import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { Pool, type PoolEvent, type PoolOptions, type PoolStats } from "../src/index.js"
import { type Connection, type Fixture, type Options, logged as test } from "./support/Fixture.js"

const T = 10_000

/** What a connection is used for, as the test says. */
const uses = new WeakMap<Connection, PoolOptions.Inspection>()
const inspect = (connection: Connection): PoolOptions.Inspection =>
  uses.get(connection) ?? { kind: "forgotten", since: 0 }

const config: Options = { maxSize: 2, leakThreshold: T, inspect }

const leaksOf = (events: ReadonlyArray<PoolEvent.PoolEvent>, tag: "Leak" | "Reclaimed" = "Leak") =>
  events.flatMap((event) => (event._tag === tag ? [event as PoolStats.Leak] : []))

describe("leakThreshold", () => {
  test("a lease that is held longer is reported once, within a second, in every way", config, (f, warnings) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const { connection, release } = yield* Effect.withSpan(f.hold(), "sync")
      yield* f.pass(T - 1)
      assert.deepStrictEqual(leaksOf(events), [])
      yield* f.pass(1_001)
      const [leak] = leaksOf(events)
      assert.deepInclude(leak, { connection: connection.id, kind: "forgotten", span: "sync", isReclaimed: false })
      assert.isAtMost(leak!.heldMs, T + 1_000)
      yield* f.pass(10 * T)
      assert.lengthOf(leaksOf(events), 1)
      assert.deepStrictEqual([f.stats().leaks, f.stats().reclaimed, f.stats().using], [1, 0, 1])
      assert.lengthOf(warnings, 1)
      assert.match(
        warnings[0]!,
        /^pool "pool": connection 1 has been leased for 10 s, and nothing was done on it for 10 s: it seems to be forgotten\. It was acquired in span "sync"\. Release it/
      )
      yield* release
    })
  )

  const kinds: { readonly [K in PoolStats.LeakKind]: RegExp } = {
    busy: /and is at work\. Make this work shorter/,
    idleInTransaction: /and has been idle in a transaction for 10 s\. End the transaction/,
    forgotten: /and nothing was done on it for 10 s: it seems to be forgotten\. Release it/,
    listener: /and listens\. Listen on a connection that belongs to no pool/,
    stream: /and is read as a stream\. Read the stream faster/,
    unknown: /and the pool cannot tell what it is used for\. Release it/
  }
  for (const [kind, sentence] of Object.entries(kinds) as Iterable<[PoolStats.LeakKind, RegExp]>) {
    const options = kind === "unknown" ? { ...config, inspect: undefined } : config
    test(`says what a connection is used for, and what helps: ${kind}`, options as Options, (f, warnings) =>
      Effect.gen(function* () {
        const events = yield* f.listen
        const { connection, release } = yield* f.hold()
        if (kind !== "unknown") uses.set(connection, { kind, since: 0 })
        yield* f.pass(T + 1_000)
        assert.deepStrictEqual(
          leaksOf(events).map((leak) => leak.kind),
          [kind]
        )
        assert.match(warnings.join("\n"), sentence)
        yield* release
      })
    )
  }

  test("a connection between two statements of a long piece of work is busy, not forgotten", config, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const { connection, release } = yield* f.hold()
      uses.set(connection, { kind: "idleInTransaction", since: f.now() + T - 200 })
      yield* f.pass(T + 1_000)
      assert.deepInclude(leaksOf(events)[0], { kind: "busy", idleMs: 0 })
      yield* release
    })
  )

  test("names the span of the acquire, although the fiber goes on in another one", config, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const scope = yield* Scope.make()
      yield* Effect.withSpan(Scope.extend(Pool.acquire(f.pool), scope), "load")
      yield* Effect.withSpan(f.pass(T + 1_000), "serve")
      assert.strictEqual(leaksOf(events)[0]!.span, "load")
      yield* Scope.close(scope, Exit.void)
    })
  )

  test("0 looks at nothing", { ...config, leakThreshold: 0, reclaim: true }, (f) =>
    Effect.gen(function* () {
      const { release } = yield* f.hold()
      yield* f.pass(1_000_000)
      assert.deepStrictEqual([f.stats().leaks, f.stats().using], [0, 1])
      yield* release
    })
  )

  test("each holder of a shared connection is reported, as one line in the log", { ...config, concurrency: 3 }, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const holders = yield* Effect.replicateEffect(
        Effect.flatMap(f.parkShared(), (parked) => parked.lease),
        3
      )
      yield* f.pass(T + 1_000)
      assert.lengthOf(leaksOf(events), 3)
      yield* Effect.forEach(holders, ({ release }) => release)
    })
  )

  test("time in which the process did not run does not count", config, (f) =>
    Effect.gen(function* () {
      const { release } = yield* f.hold()
      yield* f.pass(1_000)
      yield* f.clock.jump(20 * T)
      yield* f.pass(1_000)
      assert.strictEqual(f.stats().leaks, 0)
      yield* release
    })
  )

  test("a lease that a drain waits for is no leak", config, (f) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const { release } = yield* f.hold()
      yield* Effect.forkScoped(Pool.drain(f.pool, { within: 3 * T }))
      yield* f.pass(2 * T)
      assert.deepStrictEqual(leaksOf(events), [])
      yield* release
    })
  )
})

describe("leakStack", () => {
  const traced: Options = { ...config, leakStack: true }
  const stackOf = (f: Fixture, acquire: Effect.Effect<unknown, unknown, Scope.Scope>) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const scope = yield* Scope.make()
      yield* Effect.forkDaemon(Scope.extend(acquire, scope))
      yield* f.pass(T + 1_000)
      yield* Scope.close(scope, Exit.void)
      return leaksOf(events)[0]!.stack
    })

  const verbs: Readonly<Record<string, (f: Fixture) => Effect.Effect<unknown, unknown, Scope.Scope>>> = {
    use: (f) => Pool.use(f.pool, () => Effect.sleep(2 * T)),
    share: (f) => Pool.share(f.pool, () => Effect.sleep(2 * T)),
    acquire: (f) => Pool.acquire(f.pool),
    hold: (f) =>
      Effect.flatMap(
        Pool.hold(f.pool, (_, release) => release),
        (release) => Effect.addFinalizer(() => Effect.sync(release))
      )
  }
  for (const [verb, acquire] of Object.entries(verbs)) {
    test(`shows where the program has called ${verb}`, traced, (f) =>
      Effect.gen(function* () {
        const stack = yield* stackOf(f, acquire(f))
        assert.match(stack!.split("\n")[0]!, /Pool\.leaks\.test\.ts/)
        yield* f.pass(2 * T)
      })
    )
  }

  test("is not noted unless the pool is asked to", config, (f) =>
    Effect.gen(function* () {
      assert.isUndefined(yield* stackOf(f, Pool.acquire(f.pool)))
    })
  )
})

describe("reclaim", () => {
  const taking: Options = { ...config, maxSize: 1, reclaim: true }

  test("the place is free again, and the release of the late holder changes nothing", taking, (f, warnings) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const { connection, release } = yield* f.hold()
      const next = yield* f.park({ acquireTimeout: "1 hour" })
      yield* f.pass(T + 1_000)
      const lease = yield* next.lease
      assert.notStrictEqual(lease.connection, connection)
      assert.isFalse(connection.open)
      assert.deepInclude(leaksOf(events, "Reclaimed")[0], { connection: connection.id, isReclaimed: true })
      const before = f.stats()
      assert.deepStrictEqual([before.leaks, before.reclaimed, before.closed.reclaimed, before.using], [1, 1, 1, 1])
      yield* release
      assert.deepStrictEqual(f.stats(), { ...before, lateReleases: 1 })
      assert.lengthOf(warnings, 1)
      assert.include(warnings[0]!, "The pool has taken it away and closes it.")
      yield* lease.release
      const counts = (tag: string) => events.filter(({ _tag }) => _tag === tag).length
      assert.strictEqual(counts("Acquired"), counts("Released"))
    })
  )

  for (const kind of ["busy", "stream", "listener"] as const) {
    test(`nothing is taken from a holder whose connection is ${kind}`, taking, (f) =>
      Effect.gen(function* () {
        const { connection, release } = yield* f.hold()
        uses.set(connection, { kind, since: 0 })
        yield* f.pass(20 * T)
        assert.deepStrictEqual([f.stats().leaks, f.stats().reclaimed, connection.open], [1, 0, true])
        yield* release
        assert.strictEqual(f.stats().lateReleases, 0)
      })
    )
  }

  test("a lease that was reported at work is taken when it is idle for as long", taking, (f, warnings) =>
    Effect.gen(function* () {
      const events = yield* f.listen
      const { connection, release } = yield* f.hold()
      uses.set(connection, { kind: "busy", since: 0 })
      yield* f.pass(2 * T)
      uses.set(connection, { kind: "idleInTransaction", since: f.now() })
      yield* f.pass(0.9 * T - 1)
      assert.isTrue(connection.open)
      yield* f.pass(1_001)
      assert.isFalse(connection.open)
      assert.deepStrictEqual([leaksOf(events).length, leaksOf(events, "Reclaimed").length], [1, 1])
      assert.lengthOf(warnings, 2)
      yield* release
    })
  )

  const told: Array<PoolStats.Leak> = []
  test(
    "the maker of the pool is told before the connection is closed",
    {
      ...taking,
      reclaimed: (connection, leak) => {
        assert.isTrue(connection.open)
        told.push(leak)
      }
    },
    (f) =>
      Effect.gen(function* () {
        const { release } = yield* f.hold()
        yield* f.pass(T + 1_000)
        assert.deepStrictEqual(
          told.map(({ kind }) => kind),
          ["forgotten"]
        )
        yield* release
      })
  )

  test("of a shared connection, which closes when nobody has it any more", { ...taking, concurrency: 2 }, (f) =>
    Effect.gen(function* () {
      const first = yield* Effect.flatMap(f.parkShared(), (parked) => parked.lease)
      yield* f.pass(T / 2)
      const second = yield* Effect.flatMap(f.parkShared(), (parked) => parked.lease)
      yield* f.pass(T / 2 + 1_000)
      assert.deepStrictEqual([f.stats().reclaimed, first.connection.open], [1, true])
      yield* second.release
      assert.isFalse(first.connection.open)
      yield* first.release
      assert.strictEqual(f.stats().lateReleases, 1)
    })
  )

  test(
    "without inspect nobody can tell, so every lease that is held for so long is taken",
    { ...taking, inspect: undefined } as Options,
    (f) =>
      Effect.gen(function* () {
        const { release } = yield* f.hold()
        yield* f.pass(T + 1_000)
        assert.strictEqual(f.stats().reclaimed, 1)
        yield* release
      })
  )
})
