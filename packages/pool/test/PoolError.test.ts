import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Pool, PoolError, type PoolStats } from "../src/index.js"
import { Counters } from "../src/internal/counters.js"
import { type Fixture, settle, test } from "./support/Fixture.js"

const timesOut = (f: Fixture, ms: number) =>
  Effect.gen(function* () {
    const waiter = yield* f.park({ acquireTimeout: ms })
    yield* f.pass(ms)
    return yield* waiter.error
  })

describe("an acquire error", () => {
  test("says what failed, for how long, the pool at that moment, and what to do", { name: "orders", maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      yield* f.park()
      const error = yield* timesOut(f, 300)
      assert.strictEqual(
        error.message,
        'pool "orders": no connection within 300 ms (max 2: 2 leased, 0 idle, 1 waiting). Longest leases: connection 1 for 300 ms; connection 2 for 300 ms. Leases are held longer than the acquire timeout: find slow or forgotten work, or raise maxSize.'
      )
      assert.strictEqual(error.pool, "orders")
      assert.strictEqual(error.elapsedMs, 300)
      assert.deepInclude(error.stats, { size: 2, available: 0, using: 2, waiting: 1 })
    })
  )

  test(
    "names the three oldest leases, what they do, and in which span",
    { maxSize: 5, describe: (c) => (c.id === 1 ? "idle in transaction" : undefined) },
    (f) =>
      Effect.gen(function* () {
        const work = Effect.forkScoped(Pool.use(f.pool, () => Effect.never).pipe(Effect.withSpan("sync")))
        yield* work
        for (let i = 0; i < 4; i++) {
          yield* f.pass(1_000)
          yield* f.hold()
        }
        const error = yield* timesOut(f, 200)
        assert.deepStrictEqual(
          error.holders.map((holder) => holder.connection),
          [1, 2, 3]
        )
        assert.deepInclude(error.holders[0]!, { heldMs: 4_200, activity: "idle in transaction" })
        assert.include(error.message, "connection 1 for 4.2 s, idle in transaction")
        assert.include(error.message, "End transactions before slow work")
        assert.strictEqual(
          (error as PoolError.AcquireTimeout).likelyCause,
          "End transactions before slow work, or raise maxSize."
        )
      })
  )

  test("blames the load only if leases are short", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* Effect.forkScoped(Effect.forever(Pool.use(f.pool, () => Effect.sleep(10), { priority: "high" })))
      yield* Effect.forkScoped(Effect.forever(Pool.use(f.pool, () => Effect.sleep(10), { priority: "high" })))
      yield* f.pass(100)
      const waiter = yield* f.park({ acquireTimeout: 60, priority: "background" })
      yield* f.pass(60)
      assert.include((yield* waiter.error).message, "More work arrives than these connections finish")
    })
  )

  test("shows the connect failure that is in force", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "unreachable"
      const error = yield* timesOut(f, 200)
      assert.match(error.message, /Connecting fails since 20\d\d-.*Z \(\d attempts?\): the fake host is unreachable\./)
      assert.strictEqual(error.lastConnectFailure?.since, f.now() - 200)
      assert.isUndefined((error as { cause?: unknown }).cause)
    })
  )

  test("blames a connect that is merely slow", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 1_000 }
      assert.include((yield* timesOut(f, 200)).message, "Connecting takes longer than the acquire timeout")
    })
  )

  test("blames idle connections that do not answer", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      yield* f.pass(600)
      f.host.checks = "hang"
      assert.include((yield* timesOut(f, 200)).message, "Idle connections do not answer")
    })
  )

  test("names the process itself where it did not run", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const waiter = yield* f.park({ acquireTimeout: 200 })
      yield* f.clock.jump(1_000)
      assert.include((yield* waiter.error).message, "The process did not run for 800 ms or more")
    })
  )

  test("names the connection that is kept for short shared work", { maxSize: 4, concurrency: 8 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(4)
      yield* Effect.replicateEffect(f.hold(), 3)
      yield* f.pass(10)
      yield* Pool.share(f.pool, () => Effect.void)
      const waiter = yield* f.park({ acquireTimeout: 20 })
      yield* f.pass(20)
      const error = yield* waiter.error
      assert.isTrue(error._tag === "AcquireTimeout" && error.reserveKept)
      assert.include(error.message, "3 leased, 1 idle, 0 waiting")
      assert.notInclude(error.message, "More work arrives")
    })
  )

  test("names a caller that did not want to wait", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const waiter = yield* f.park({ acquireTimeout: 0 })
      assert.include((yield* waiter.error).message, "The caller did not want to wait")
    })
  )

  test("names the connect that was under way beside leases", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.hold()
      yield* f.pass(10)
      f.host.connects = "hang"
      const waiter = yield* f.park({ acquireTimeout: 5 })
      yield* f.pass(5)
      const { message } = yield* waiter.error
      assert.include(message, "Leases are held longer than the acquire timeout")
    })
  )

  test("carries a snapshot that does not change afterwards", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      const error = yield* timesOut(f, 200)
      const before = JSON.stringify(error.stats)
      yield* lease.release
      yield* Pool.reset(f.pool)
      yield* settle
      assert.strictEqual(JSON.stringify(error.stats), before)
      assert.strictEqual(error.stats.using, 1)
    })
  )

  test(
    "shows nothing of the connection itself: what it holds may be secret",
    {
      maxSize: 1,
      connect: () =>
        Effect.succeed({
          id: 1,
          signals: undefined as never,
          status: "clean",
          open: true,
          password: "hunter2"
        } as never),
      status: () => "clean"
    },
    (f) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkScoped(Pool.use(f.pool, () => Effect.never))
        yield* settle
        const error = yield* timesOut(f, 200)
        assert.notInclude(error.message + JSON.stringify(error) + String(error.stack), "hunter2")
        yield* Fiber.interrupt(fiber)
      })
  )
})

describe("messages", () => {
  const stats: PoolStats.PoolStats = {
    size: 2,
    available: 0,
    using: 2,
    waiting: 3,
    connecting: 1,
    closing: 1,
    validating: 1,
    resetting: 1,
    quarantined: 1,
    max: 8,
    min: 1,
    oldestWaitMs: 12_345,
    oldestLeaseMs: 60_000,
    host: "up",
    phase: "running",
    isOverloaded: false,
    ...new Counters().copy(),
    acquired: 1,
    connects: 2
  }
  const snapshot = { pool: "orders", elapsedMs: 5, stats, holders: [], lastConnectFailure: undefined }
  const failure = { since: 0, attempts: 2, cause: new Error("ECONNREFUSED 10.0.0.1:5432") }

  it("each say what to do", () => {
    const errors: {
      readonly [T in PoolError.AcquireError["_tag"]]: readonly [Extract<PoolError.AcquireError, { _tag: T }>, string]
    } = {
      AcquireTimeout: [
        new PoolError.AcquireTimeout({ ...snapshot, timeoutMs: 5_000, phase: "waiting", priority: "normal" }),
        "raise maxSize"
      ],
      PoolSaturated: [new PoolError.PoolSaturated({ ...snapshot, maxWaiters: 3 }), "Send less, or raise maxSize"],
      PoolShed: [new PoolError.PoolShed({ ...snapshot, targetMs: 50 }), "do not try again at once"],
      PoolClosed: [new PoolError.PoolClosed(snapshot), "Acquire before the pool's scope ends"],
      NestedAcquire: [new PoolError.NestedAcquire(snapshot), "Use the connection you hold"],
      ConnectFailed: [
        new PoolError.ConnectFailed({ ...snapshot, cause: failure.cause }),
        "Correct the credentials or the address"
      ],
      ConnectUnavailable: [new PoolError.ConnectUnavailable({ ...snapshot, ...failure }), "until a connect succeeds"],
      Dismissed: [new PoolError.Dismissed(snapshot), "Acquire from the pool that took its place"],
      HookFailed: [
        new PoolError.HookFailed({ ...snapshot, hook: "beforeAcquire", cause: new Error("no tenant") }),
        "the hook beforeAcquire of the program has failed: no tenant"
      ]
    }
    for (const [tag, [error, advice]] of Object.entries(errors)) {
      assert.strictEqual(error._tag, tag)
      assert.include(error.message, 'pool "orders": ')
      assert.include(error.message, advice)
      assert.include(
        error.message,
        "max 8: 2 leased, 0 idle, 1 connecting, 1 validating, 1 being cancelled, 1 being reset, 1 closing, 3 waiting"
      )
      assert.notInclude(error.message, "\n")
    }
  })

  /** The pool at the moment at which an acquire of 100 ms fails, and what the message must say of it. */
  const moments: ReadonlyArray<
    readonly [sentence: string, stats: Partial<PoolStats.PoolStats>, more: object, says: string]
  > = [
    ["full, with short leases", { using: 8 }, {}, "More work arrives than these connections finish"],
    ["full, with long leases", { using: 8, oldestLeaseMs: 100 }, {}, "Leases are held longer than the acquire timeout"],
    ["nothing open yet", { size: 0, using: 0, connecting: 1 }, { phase: "connecting" }, "Connecting takes longer"],
    [
      "one more on its way",
      { using: 2, connecting: 1 },
      { phase: "connecting" },
      "One more connection was being opened"
    ],
    ["being checked", { using: 0, validating: 1 }, { phase: "validating" }, "Idle connections do not answer"],
    ["being cleaned", { using: 0, resetting: 2 }, {}, "The time went into cleaning: 2 of the connections"],
    [
      "kept for shared work",
      { using: 7, available: 1 },
      { reserveKept: true },
      "The idle connection is kept for short"
    ],
    [
      "the class is at its limit",
      { using: 4, available: 4 },
      { heldBack: "classLimit" },
      "Class low has as many connections as classLimits lets it have"
    ],
    [
      "what is idle is reserved",
      { using: 6, available: 2 },
      { heldBack: "reserved" },
      "Class low has all the connections that are not reserved for class critical"
    ],
    [
      "too little time was left",
      { using: 8 },
      { restMs: 7, elapsedMs: 93 },
      "no connection within 93 ms (max 8: 8 leased, 0 idle, 3 waiting). A connection was there, but the deadline of the caller left 7 ms"
    ],
    ["suspended", { using: 0, available: 1, phase: "suspended" }, {}, "The pool is suspended: resume it"],
    ["blocked", { using: 0, available: 1 }, { elapsedMs: 700 }, "The process did not run for 600 ms or more"],
    ["idle, and nothing else is known", { using: 0, available: 1 }, {}, "The pool was not full when the time was over"],
    [
      "a stream has it",
      { using: 1, max: 1, oldestLeaseMs: 9_000 },
      { holders: [{ connection: 1, heldMs: 9_000, activity: "reading a stream: select 1", span: undefined }] },
      "A stream holds its connection"
    ],
    [
      "a text that only speaks of transactions and streams",
      { using: 1, max: 1, oldestLeaseMs: 9_000 },
      {
        holders: [
          { connection: 1, heldMs: 9_000, activity: "busy: select * from transactions, upstreams", span: undefined }
        ]
      },
      "Leases are held longer than the acquire timeout"
    ]
  ]
  const none = { connecting: 0, closing: 0, validating: 0, resetting: 0, quarantined: 0, oldestLeaseMs: 0 }
  for (const [sentence, part, more, says] of moments) {
    it(`name what used the time: ${sentence}`, () => {
      const error = new PoolError.AcquireTimeout({
        ...snapshot,
        elapsedMs: 100,
        stats: { ...stats, ...none, ...part },
        timeoutMs: 100,
        phase: "waiting",
        priority: "low",
        ...more
      })
      assert.include(error.message, says)
      if (!says.startsWith("More work")) assert.notInclude(error.message, "More work arrives")
    })
  }

  it("keep a cause in one line, whatever it is", () => {
    const text = (cause: unknown) => new PoolError.ConnectFailed({ ...snapshot, cause }).message
    assert.include(text(new Error("refused")), "refuses to connect: refused (")
    assert.include(text(new TypeError("")), ": TypeError (")
    assert.include(text({ message: "plain" }), ": plain (")
    assert.include(text("text"), ": text (")
    assert.include(text(undefined), ": undefined (")
    assert.include(
      text(new AggregateError([new Error("::1 refused"), new Error("127.0.0.1 refused")], "")),
      ": ::1 refused ("
    )
  })
})
