import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Scope } from "effect"
import { Deadline, Pool, type PoolError, Priority } from "../src/index.js"
import { type Fixture, type Parked, settle, test } from "./support/Fixture.js"

const idOf = (f: Fixture, options?: Pool.AcquireOptions) =>
  Pool.use(f.pool, (connection) => Effect.succeed(connection.id), options)

describe("use", () => {
  test("runs f with a connection and gives it back when f succeeds, fails or is interrupted", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Pool.use(f.pool, (connection) => Effect.succeed(connection.id * 10)), 10)
      assert.strictEqual(yield* Effect.flip(Pool.use(f.pool, () => Effect.fail("no"))), "no")
      const fiber = yield* Effect.fork(f.pool.pipe(Pool.use(() => Effect.never)))
      yield* settle
      assert.strictEqual(f.stats().using, 1)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
    })
  )

  test("lets f be interrupted only where the caller can be", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.uninterruptible(Pool.use(f.pool, () => Effect.sleep(100))))
      yield* settle
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* f.pass(99)
      assert.strictEqual(f.stats().using, 1)
      yield* f.pass(1)
      assert.strictEqual(f.stats().using, 0)
    })
  )

  test("keeps a defect of f as it is", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Pool.use(f.pool, () => Effect.die("bug")))
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
      assert.strictEqual(f.stats().available, 1)
    })
  )
})

describe("acquire", () => {
  test("holds the connection until its scope closes", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Scope.extend(Pool.acquire(f.pool), scope)
      assert.strictEqual(f.stats().using, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(f.stats().available, 1)
    })
  )

  test("gives the connection back at once if its scope is closed already", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Scope.close(scope, Exit.void)
      yield* Scope.extend(Pool.acquire(f.pool), scope)
      assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
    })
  )
})

describe("which connection", () => {
  test("the youngest idle one, so that a small hot set is used and the rest can expire", { maxSize: 3 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(3)
      const last = yield* f.hold()
      yield* last.release
      for (let i = 0; i < 5; i++) assert.strictEqual(yield* idOf(f), last.connection.id)
    })
  )

  test("none is opened while an idle one does", { maxSize: 10 }, (f) =>
    Effect.gen(function* () {
      for (let i = 0; i < 20; i++) {
        yield* idOf(f)
        yield* settle
      }
      assert.strictEqual(f.host.opened, 1)
    })
  )

  test(
    "minIdle are opened at the start, one at a time, without a caller",
    { maxSize: 10, minIdle: 3, setUp: (host) => (host.connects = { after: 10 }) },
    (f) =>
      Effect.gen(function* () {
        assert.strictEqual(f.stats().connecting, 1)
        yield* f.pass(10)
        assert.deepStrictEqual([f.stats().available, f.stats().connecting], [1, 1])
        yield* f.pass(100)
        assert.deepStrictEqual([f.stats().available, f.stats().connecting], [3, 0])
      })
  )
})

describe("I4: a released connection", () => {
  test("goes to the oldest waiter, not to the idle stack", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const [lease] = yield* f.saturate
      const older = yield* f.park()
      const newer = yield* f.park()
      yield* lease!.release
      assert.strictEqual((yield* older.lease).connection, lease!.connection)
      assert.isTrue(yield* newer.waits)
      assert.strictEqual(f.stats().available, 0)
    })
  )

  test("is not overtaken: who comes while others wait stands behind them", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const [lease] = yield* f.saturate
      const order: Array<string> = []
      const caller = (name: string) => Effect.fork(Pool.use(f.pool, () => Effect.sync(() => order.push(name))))
      yield* caller("first")
      yield* settle
      // In one go: the release, and a caller that is faster than the one who waits.
      yield* Effect.zipRight(
        lease!.release,
        Pool.use(f.pool, () => Effect.sync(() => order.push("greedy")))
      )
      yield* settle
      assert.deepStrictEqual(order, ["first", "greedy"])
    })
  )

  test("is passed on when the one it was given to is interrupted before it runs", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const [lease] = yield* f.saturate
      const first = yield* f.park()
      const second = yield* f.park()
      // Granted, but its fiber has not run yet: the interrupt replaces the value it was resumed with.
      yield* Effect.sync(() => {
        f.engine.release(f.engine.state.leases.oldest!)
        first.fiber.unsafeInterruptAsFork(first.fiber.id())
      })
      yield* settle
      assert.strictEqual((yield* second.lease).connection, lease!.connection)
    })
  )
})

describe("priority", () => {
  const park = (f: Fixture, names: ReadonlyArray<Priority.Priority>) =>
    Effect.forEach(names, (priority) => f.park({ priority }))

  const serveOne = (waiters: Array<Parked>) =>
    Effect.gen(function* () {
      for (const waiter of waiters) {
        if (yield* waiter.waits) continue
        waiters.splice(waiters.indexOf(waiter), 1)
        return yield* waiter.lease
      }
      return yield* Effect.dieMessage("nobody was served")
    })

  test("a higher class is served first, and within one the oldest", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      let lease = (yield* f.saturate)[0]!
      const names = ["background", "low", "normal", "high", "critical", "normal", "critical"] as const
      const waiters = yield* park(f, names)
      const order: Array<number> = []
      for (let i = 0; i < names.length; i++) {
        yield* lease.release
        const left = [...waiters]
        for (const waiter of left) {
          const at = waiters.indexOf(waiter)
          if (order.includes(at) || (yield* waiter.waits)) continue
          order.push(at)
          lease = yield* waiter.lease
          break
        }
      }
      assert.deepStrictEqual(order, [4, 6, 3, 2, 5, 1, 0])
    })
  )

  test("the oldest waiter of all is served after it was passed over 8 times", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      let lease = (yield* f.saturate)[0]!
      const background = yield* f.park({ priority: "background" })
      const high = yield* park(
        f,
        Array.from({ length: 20 }, () => "high" as const)
      )
      for (let i = 0; i < 8; i++) {
        yield* lease.release
        lease = yield* serveOne(high)
        assert.isTrue(yield* background.waits)
      }
      yield* lease.release
      lease = yield* background.lease
      assert.strictEqual(high.length, 12)
      yield* lease.release
      yield* serveOne(high)
    })
  )

  test("is inherited by what the caller forks, and an option of the call comes first", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const [lease] = yield* f.saturate
      const order: Array<string> = []
      const caller = (name: string, options?: Pool.AcquireOptions) =>
        Pool.use(f.pool, () => Effect.sync(() => order.push(name)), options)
      yield* Effect.fork(caller("background").pipe(Effect.fork, Priority.withPriority("background")))
      yield* Effect.forkDaemon(caller("background").pipe(Priority.withPriority("background")))
      yield* settle
      yield* Effect.fork(caller("normal"))
      yield* Effect.fork(caller("critical", { priority: "critical" }).pipe(Priority.withPriority("background")))
      yield* settle
      yield* lease!.release
      yield* settle
      assert.deepStrictEqual(order, ["critical", "normal", "background"])
    })
  )
})

describe("the deadline of an acquire", () => {
  const phaseOf = (error: PoolError.AcquireError) => (error._tag === "AcquireTimeout" ? error.phase : error._tag)

  test(
    "I5: covers waiting for others, and is not given a connection a moment later",
    { maxSize: 1, acquireTimeout: 300 },
    (f) =>
      Effect.gen(function* () {
        const [lease] = yield* f.saturate
        const waiter = yield* f.park()
        yield* f.pass(299)
        assert.isTrue(yield* waiter.waits)
        yield* f.pass(1)
        const error = yield* waiter.error
        assert.strictEqual(phaseOf(error), "waiting")
        assert.strictEqual(error.elapsedMs, 300)
        yield* lease!.release
        assert.deepStrictEqual([f.stats().available, f.stats().using, f.stats().timeouts], [1, 0, 1])
      })
  )

  test(
    "I5: holds even if the timer is late: a release after the deadline finds nobody",
    { maxSize: 1, acquireTimeout: 300 },
    (f) =>
      Effect.gen(function* () {
        const [lease] = yield* f.saturate
        const late = yield* f.park()
        const patient = yield* f.park({ acquireTimeout: 1_000 })
        // The clock moves on, but no timer fires: the release comes first.
        const now = f.clock.unsafeCurrentTimeNanos() + 400_000_000n
        f.clock.unsafeCurrentTimeNanos = () => now
        yield* lease!.release
        yield* settle
        assert.strictEqual((yield* late.error)._tag, "AcquireTimeout")
        yield* patient.lease
        delete (f.clock as any).unsafeCurrentTimeNanos
      })
  )

  test("covers connecting", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = { after: 10_000 }
      const waiter = yield* f.park({ acquireTimeout: 300 })
      yield* f.pass(300)
      assert.strictEqual(phaseOf(yield* waiter.error), "connecting")
    })
  )

  test("covers validating", { maxSize: 1, validateTimeout: 1_000 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      f.host.checks = "hang"
      yield* f.pass(600)
      const waiter = yield* f.park({ acquireTimeout: 300 })
      yield* f.pass(300)
      assert.strictEqual(phaseOf(yield* waiter.error), "validating")
    })
  )

  test("is set once: a failed check and a connect do not begin it again", { maxSize: 1, validateTimeout: 200 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      f.host.checks = "hang"
      f.host.connects = "hang"
      yield* f.pass(600)
      const waiter = yield* f.park({ acquireTimeout: 500 })
      yield* f.pass(499)
      assert.isTrue(yield* waiter.waits)
      yield* f.pass(1)
      assert.strictEqual(phaseOf(yield* waiter.error), "connecting")
    })
  )

  test("comes from the call, else from the fiber, else from the pool", { maxSize: 1, acquireTimeout: 900 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const inFiber = Effect.provideService(Pool.CurrentAcquireTimeout, "500 millis" as const)
      const failures: Array<string> = []
      const caller = (name: string, options?: Pool.AcquireOptions) =>
        Effect.ignore(
          Effect.tapError(idOf(f, options), () => Effect.sync(() => failures.push(`${name} ${f.now() - start}`)))
        )
      const start = f.now()
      yield* Effect.fork(caller("pool"))
      yield* Effect.fork(inFiber(caller("fiber")))
      yield* Effect.fork(inFiber(caller("call", { acquireTimeout: 200 })))
      yield* f.pass(1_000)
      assert.deepStrictEqual(failures, ["call 200", "fiber 500", "pool 900"])
    })
  )

  test("is shortened by CurrentDeadline, never lengthened", { maxSize: 1, acquireTimeout: 900 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const start = f.now()
      const failures: Array<[string, number]> = []
      const caller = (name: string, deadline: number) =>
        Effect.fork(
          Effect.ignore(Effect.tapError(idOf(f), () => Effect.sync(() => failures.push([name, f.now() - start])))).pipe(
            Effect.provideService(Deadline.CurrentDeadline, deadline)
          )
        )
      yield* caller("short", start + 57)
      yield* caller("rounded", start + 457)
      yield* caller("long", start + 60_000)
      yield* f.pass(1_000)
      assert.deepStrictEqual(failures, [
        ["short", 57],
        ["rounded", 450],
        ["long", 900]
      ])
    })
  )

  test("that has passed already fails at once, in words that make sense", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const error = yield* Effect.flip(idOf(f).pipe(Effect.provideService(Deadline.CurrentDeadline, f.now() - 5_000)))
      assert.strictEqual(phaseOf(error as PoolError.AcquireError), "waiting")
      assert.include(error.message, "no connection within 0 ms")
    })
  )

  test("of 0 takes what is idle and waits for nothing", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      yield* f.warm(1)
      assert.strictEqual(yield* idOf(f, { acquireTimeout: 0 }), 1)
      yield* f.saturate
      assert.strictEqual(
        ((yield* Effect.flip(idOf(f, { acquireTimeout: 0 }))) as PoolError.AcquireError)._tag,
        "AcquireTimeout"
      )
    })
  )

  test("of infinity waits until it is served", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const [lease] = yield* f.saturate
      const waiter = yield* f.park({ acquireTimeout: Number.POSITIVE_INFINITY })
      yield* f.pass(100_000)
      assert.isTrue(yield* waiter.waits)
      yield* lease!.release
      assert.strictEqual((yield* waiter.lease).connection, lease!.connection)
    })
  )
})

describe("an acquire that is asked for something impossible", () => {
  const wrong: ReadonlyArray<readonly [name: string, options: object, problem: string]> = [
    ["NaN", { acquireTimeout: Number.NaN }, "acquireTimeout must be a duration of 0 or more, not NaN"],
    ["a negative timeout", { acquireTimeout: -1 }, "acquireTimeout must be a duration of 0 or more, not -1"],
    [
      "a negative text",
      { acquireTimeout: "-1 second" },
      "acquireTimeout must be a duration of 0 or more, not -1 second"
    ],
    ["no duration", { acquireTimeout: "soon" }, "acquireTimeout must be a duration of 0 or more, not soon"],
    ["null", { acquireTimeout: {} }, "acquireTimeout must be a duration of 0 or more, not [object Object]"],
    [
      "no priority",
      { priority: "urgent" },
      "priority must be one of critical, high, normal, low, background, not urgent"
    ],
    ["a priority of Object", { priority: "toString" }, "priority must be one of"]
  ]
  const verbs: Readonly<Record<string, (f: Fixture, options: object | undefined) => Effect.Effect<unknown, unknown>>> =
    {
      use: (f, options) => Pool.use(f.pool, () => Effect.void, options),
      share: (f, options) => Pool.share(f.pool, () => Effect.void, options),
      shareAsync: (f, options) => Pool.shareAsync(f.pool, (_, resume) => resume(Effect.void), options),
      acquire: (f, options) => Effect.scoped(Pool.acquire(f.pool, options)),
      hold: (f, options) => Pool.hold(f.pool, (_, release) => release(), options)
    }
  const message = (exit: Exit.Exit<unknown, unknown>): string =>
    Exit.isFailure(exit) && Cause.isDie(exit.cause) ? (Cause.squash(exit.cause) as Error).message : String(exit)

  for (const [verb, run] of Object.entries(verbs)) {
    for (const [name, options, problem] of wrong) {
      test(`${verb}: ${name} is a defect that says so, whether a connection is idle or not`, { maxSize: 1 }, (f) =>
        Effect.gen(function* () {
          yield* f.warm(1)
          assert.include(message(yield* Effect.exit(run(f, options))), problem)
          yield* f.saturate
          assert.include(message(yield* Effect.exit(run(f, options))), problem)
          assert.deepStrictEqual([f.stats().waiting, f.stats().using], [0, 1])
        })
      )
    }

    test(`${verb}: what the fiber says is looked at when the caller would wait`, { maxSize: 1 }, (f) =>
      Effect.gen(function* () {
        yield* f.saturate
        const exits = [
          yield* Effect.exit(Effect.provideService(run(f, undefined), Pool.CurrentAcquireTimeout, Number.NaN)),
          yield* Effect.exit(Effect.provideService(run(f, undefined), Priority.CurrentPriority, "urgent" as never)),
          yield* Effect.exit(Effect.provideService(run(f, undefined), Deadline.CurrentDeadline, Number.NaN))
        ]
        for (const [i, text] of ["acquireTimeout", "priority", "CurrentDeadline"].entries()) {
          assert.include(message(exits[i]!), `${text} must be`)
        }
        assert.strictEqual(f.stats().waiting, 0)
      })
    )
  }
})

describe("more callers than maxWaiters", () => {
  test("the newcomer fails if nobody of a lower class waits", { maxSize: 1, maxWaiters: 2 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const first = yield* f.park()
      const second = yield* f.park({ priority: "high" })
      const error = yield* (yield* f.park()).error
      assert.isTrue(error._tag === "PoolSaturated" && error.elapsedMs === 0 && error.maxWaiters === 2)
      assert.isTrue((yield* first.waits) && (yield* second.waits))
      assert.strictEqual(f.stats().saturated, 1)
    })
  )

  test("else the youngest of the lowest class pays", { maxSize: 1, maxWaiters: 4 }, (f) =>
    Effect.gen(function* () {
      yield* f.saturate
      const low = yield* f.park({ priority: "low" })
      const older = yield* f.park({ priority: "background" })
      const younger = yield* f.park({ priority: "background" })
      const high = yield* f.park({ priority: "high" })
      const newcomer = yield* f.park()
      assert.strictEqual((yield* younger.error)._tag, "PoolSaturated")
      for (const waiter of [low, older, high, newcomer]) assert.isTrue(yield* waiter.waits)
    })
  )

  test(
    "a caller for whom an idle connection is being checked is not one too many",
    { maxSize: 1, maxWaiters: 1 },
    (f) =>
      Effect.gen(function* () {
        yield* f.warm(1)
        yield* f.pass(600)
        assert.strictEqual(yield* idOf(f), 1)
        assert.deepStrictEqual(f.host.checked, [1])
      })
  )
})

describe("F12: a fiber that holds a connection and asks for another one", () => {
  test("fails at once if every connection is held by such a fiber", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const nested = Pool.use(f.pool, () => Effect.zipRight(Effect.yieldNow(), idOf(f)))
      const one = yield* Effect.fork(nested)
      const two = yield* Effect.fork(nested)
      yield* settle
      const exits = [yield* Fiber.await(one), yield* Fiber.await(two)]
      const failed = exits.filter(Exit.isFailure)
      assert.strictEqual(failed.length, 1)
      const error = Cause.squash(failed[0]!.cause) as PoolError.AcquireError
      assert.isTrue(error._tag === "NestedAcquire" && error.elapsedMs === 0)
      // Its failure gave its connection back, which served the other one.
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
    })
  )

  test("waits while a holder is at work, for it will release", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const lease = yield* f.hold()
      const nested = yield* Effect.fork(Pool.use(f.pool, () => idOf(f)))
      yield* f.pass(100)
      assert.strictEqual(f.stats().waiting, 1)
      yield* lease.release
      assert.strictEqual(yield* Fiber.join(nested), lease.connection.id)
    })
  )

  test("waits while its own connection is at work for somebody else, who will release it", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const connection = yield* Scope.extend(Pool.acquire(f.pool), scope)
      connection.status = "busy"
      // Begins when this fiber waits.
      const other = yield* Effect.fork(
        Effect.zipRight(
          Effect.sync(() => {
            connection.status = "clean"
          }),
          Scope.close(scope, Exit.void)
        )
      )
      assert.strictEqual(yield* idOf(f), connection.id)
      yield* Fiber.join(other)
    })
  )

  test("waits while the pool can grow", { maxSize: 2 }, (f) =>
    Effect.gen(function* () {
      const nested = yield* Effect.fork(Pool.use(f.pool, () => idOf(f)))
      yield* f.pass(100)
      assert.strictEqual(yield* Fiber.join(nested), 2)
    })
  )

  test("is no longer counted once its wait is over: the next one is judged afresh", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const tag = yield* Pool.use(f.pool, () =>
        Effect.gen(function* () {
          return (yield* Effect.flip(idOf(f)))._tag
        })
      )
      assert.strictEqual(tag, "NestedAcquire")
      assert.strictEqual(yield* idOf(f), 1)
    })
  )
})

describe("hold", () => {
  const record = () => {
    const leases: Array<{ readonly id: number; readonly release: () => void }> = []
    const keep = (connection: { readonly id: number }, release: () => void) => {
      leases.push({ id: connection.id, release })
      return connection.id
    }
    return { keep, leases }
  }

  test("puts the lease into the record of its owner, who gives it back once", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const { keep, leases } = record()
      assert.strictEqual(yield* Pool.hold(f.pool, keep), 1)
      const waiter = yield* f.park()
      assert.isTrue(yield* waiter.waits)
      leases[0]!.release()
      yield* settle
      const next = yield* waiter.lease
      assert.strictEqual(next.connection.id, 1)
      leases[0]!.release()
      assert.strictEqual(f.stats().using, 1)
    })
  )

  test("an interrupt that strikes when the lease was granted leaves it in the record", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const { keep, leases } = record()
      const lease = yield* f.hold()
      const fiber = yield* Effect.fork(Pool.hold(f.pool, keep))
      yield* settle
      yield* lease.release
      yield* Fiber.interrupt(fiber)
      // Either it was granted, and the record knows, or the connection is back.
      assert.strictEqual(leases.length, f.stats().using)
      for (const { release } of leases) release()
    })
  )

  test("fails as acquire does, and keeps nothing", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const { keep, leases } = record()
      yield* f.hold()
      const fiber = yield* Effect.fork(Effect.flip(Pool.hold(f.pool, keep, { acquireTimeout: 10 })))
      yield* f.pass(10)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "AcquireTimeout")
      assert.lengthOf(leases, 0)
    })
  )
})
