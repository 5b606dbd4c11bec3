/**
 * The hooks of a program.
 *
 * | hook            | succeeds         | fails, throws, gives no effect   | hangs                    | caller interrupted          |
 * | --------------- | ---------------- | -------------------------------- | ------------------------ | --------------------------- |
 * | `onConnect`     | before each user | the connect fails and is closed  | the same, at the bound   | goes on for the next caller |
 * | `beforeAcquire` | before the queue | `HookFailed`, nothing is taken   | the same, at its bound   | nothing is taken            |
 * | `afterAcquire`  | before the work  | WARN once, the caller goes on    | the same, after 1 second | the lease ends              |
 * | `afterRelease`  | after the lease  | WARN once                        | stopped after 1 second   | goes on                     |
 * | `beforeClose`   | before the close | WARN once, closed                | closed after 1 second    | goes on                     |
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, FiberRef, Stream } from "effect"
import { Deadline, Pool, type PoolError, type PoolHooks, type PoolStats } from "../src/index.js"
import { ConnectError, type Connection, type Fixture, logged, type Options, settle, test } from "./support/Fixture.js"

type Hooks = PoolHooks.PoolHooks<Connection, ConnectError>

/** A hook that does not do what it should, and what an error must say of it. */
const failures: Readonly<Record<string, readonly [effect: () => any, says: string]>> = {
  fails: [() => Effect.fail(new Error("not today")), "not today"],
  "fails with what is no error": [() => Effect.fail({ _tag: "Denied", message: "denied" }), "denied"],
  dies: [() => Effect.dieMessage("broken"), "broken"],
  throws: [
    () => {
      throw new TypeError("thrown")
    },
    "thrown"
  ],
  "gives no effect": [() => Promise.resolve(), "must give an effect, but it gave object"]
}

/** Every way to have a lease. `body` is its work. */
const verbs: Readonly<
  Record<string, (f: Fixture, body: Effect.Effect<void>) => Effect.Effect<unknown, PoolError.AcquireError>>
> = {
  use: (f, body) => Pool.use(f.pool, () => body),
  share: (f, body) => Pool.share(f.pool, () => body),
  shareAsync: (f, body) =>
    Pool.shareAsync<Connection, void, never>(f.pool, (_, resume) => {
      Effect.runFork(Effect.withClock(body, f.clock)).addObserver(resume)
    }),
  acquire: (f, body) => Effect.scoped(Effect.zipRight(Pool.acquire(f.pool), body)),
  // The lease is in a record of the caller, who gives it back whatever happens.
  hold: (f, body) =>
    Effect.suspend(() => {
      let giveBack = () => {}
      const held = Pool.hold(f.pool, (_, release) => {
        giveBack = release
      })
      return Effect.ensuring(
        Effect.zipRight(held, body),
        Effect.sync(() => giveBack())
      )
    })
}

/** Hooks that write down what happens. */
const written = (log: Array<string>): Hooks => {
  const write = (text: string) => Effect.sync(() => log.push(text))
  return {
    onConnect: ({ id }) => write(`connect ${id}`),
    beforeAcquire: () => write("before"),
    afterAcquire: (elapsedMs) => write(`after ${elapsedMs}`),
    afterRelease: (heldMs) => write(`released ${heldMs}`),
    beforeClose: (reason, { id, open }) => write(`close ${id}: ${reason}${open ? "" : ", too late"}`)
  }
}

/** `effect` in a fiber of its own while `ms` pass. */
const during = <A, E>(f: Fixture, ms: number, effect: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* f.pass(ms)
    yield* settle
    return fiber
  })

describe("the hooks around a lease", () => {
  for (const [verb, lease] of Object.entries(verbs)) {
    const log: Array<string> = []
    test(`${verb}: come in order, and tell the time of the acquire and of the lease`, { hooks: written(log) }, (f) =>
      Effect.gen(function* () {
        f.host.connects = { after: 30 }
        const work = Effect.zipRight(
          Effect.sync(() => log.push("work")),
          Effect.sleep(20)
        )
        yield* Fiber.join(yield* during(f, 50, lease(f, work)))
        assert.deepStrictEqual(log, ["before", "connect 1", "after 30", "work", "released 20"])
      })
    )

    const second: Array<string> = []
    test(
      `${verb}: come for each lease, and without a wait the acquire takes no time`,
      { hooks: written(second) },
      (f) =>
        Effect.gen(function* () {
          yield* lease(f, Effect.void)
          second.length = 0
          yield* lease(f, Effect.void)
          yield* lease(f, Effect.void)
          assert.deepStrictEqual(second, ["before", "after 0", "released 0", "before", "after 0", "released 0"])
        })
    )

    for (const [how, [hook, says]] of Object.entries(failures)) {
      test(`${verb}: a beforeAcquire that ${how} refuses the acquire`, { hooks: { beforeAcquire: hook } }, (f) =>
        Effect.gen(function* () {
          const events = yield* f.listen
          let hasRun = false
          const error = yield* Effect.flip(
            lease(
              f,
              Effect.sync(() => {
                hasRun = true
              })
            )
          )
          assert.strictEqual(error._tag, "HookFailed")
          assert.include(error.message, "the hook beforeAcquire of the program has failed: ")
          assert.include(error.message, says)
          assert.isFalse(hasRun)
          assert.deepStrictEqual([f.stats().acquired, events], [
            0,
            [{ _tag: "AcquireFailed", error: "HookFailed", cause: error, waitMs: 0, priority: undefined }]
          ] as any)
        })
      )

      logged(
        `${verb}: an afterAcquire and an afterRelease that ${how} are logged once, and the caller does not notice`,
        { hooks: { afterAcquire: hook, afterRelease: hook } },
        (f, warnings) =>
          Effect.gen(function* () {
            for (let i = 0; i < 3; i++) yield* lease(f, Effect.void)
            yield* settle
            assert.strictEqual(warnings.length, 2, warnings.join("\n"))
            for (const [i, name] of ["afterAcquire", "afterRelease"].entries()) {
              assert.include(warnings[i], `pool "pool": the hook ${name} has failed: `)
              assert.include(warnings[i], says)
            }
          })
      )
    }

    test(
      `${verb}: a beforeAcquire that hangs refuses after 1 second`,
      { hooks: { beforeAcquire: () => Effect.never } },
      (f) =>
        Effect.gen(function* () {
          const caller = yield* during(f, 999, lease(f, Effect.void))
          assert.isNull(caller.unsafePoll())
          yield* f.pass(1)
          const error = yield* Effect.flip(Fiber.join(caller))
          assert.include(error.message, "the hook beforeAcquire had not ended after 1000 ms")
        })
    )

    logged(
      `${verb}: an afterAcquire that hangs holds up the caller for 1 second, and an afterRelease does not`,
      { hooks: { afterAcquire: () => Effect.never, afterRelease: () => Effect.never } },
      (f, warnings) =>
        Effect.gen(function* () {
          const caller = yield* during(f, 999, lease(f, Effect.void))
          assert.isNull(caller.unsafePoll())
          yield* f.pass(1)
          yield* Fiber.join(caller)
          assert.strictEqual(f.stats().using, 0)
          yield* f.pass(1_000)
          assert.deepStrictEqual(
            warnings.map((text) => /the hook (\w+) had not ended after 1000 ms, and was stopped/.exec(text)?.[1]),
            ["afterAcquire", "afterRelease"]
          )
        })
    )

    const left: Array<string> = []
    test(
      `${verb}: a caller that is interrupted in afterAcquire gives the lease back at once, and both hooks come to their end`,
      {
        hooks: {
          afterAcquire: () =>
            Effect.zipRight(
              Effect.sleep(500),
              Effect.sync(() => left.push("counted"))
            ),
          afterRelease: () => Effect.sync(() => left.push("released"))
        }
      },
      (f) =>
        Effect.gen(function* () {
          const caller = yield* during(
            f,
            10,
            lease(
              f,
              Effect.sync(() => left.push("worked"))
            )
          )
          assert.strictEqual(f.stats().using, 1)
          yield* Fiber.interrupt(caller)
          yield* settle
          assert.deepStrictEqual([f.stats().using, left], [0, ["released"]])
          yield* f.pass(500)
          assert.deepStrictEqual(left, ["released", "counted"])
        })
    )

    test(
      `${verb}: a caller that is interrupted in beforeAcquire has taken nothing`,
      { hooks: { beforeAcquire: () => Effect.never } },
      (f) =>
        Effect.gen(function* () {
          const caller = yield* during(f, 10, lease(f, Effect.void))
          yield* Fiber.interrupt(caller)
          const { acquired, size, waiting } = f.stats()
          assert.deepStrictEqual([acquired, size, waiting], [0, 0, 0])
        })
    )

    const drained: Array<string> = []
    test(
      `${verb}: a lease that a drain takes away has its afterRelease when its holder ends`,
      { hooks: { ...written(drained), onConnect: undefined } },
      (f) =>
        Effect.gen(function* () {
          const caller = yield* during(f, 0, lease(f, Effect.sleep(500)))
          const draining = yield* Effect.fork(Pool.drain(f.pool, { within: 100 }))
          yield* f.pass(100)
          yield* Fiber.join(draining)
          assert.deepStrictEqual(drained, ["before", "after 0", "close 1: drain"])
          yield* f.pass(400)
          yield* Fiber.join(caller)
          assert.deepStrictEqual(drained.at(-1), "released 500")
        })
    )
  }

  const twice: Array<string> = []
  test("a lease that is released twice has one afterRelease", { hooks: written(twice) }, (f) =>
    Effect.gen(function* () {
      const release = yield* Pool.hold(f.pool, (_, release) => release)
      release()
      release()
      yield* settle
      assert.deepStrictEqual([twice.slice(-1), f.stats().lateReleases], [["released 0"], 1])
      assert.strictEqual(twice.filter((text) => text.startsWith("released")).length, 1)
    })
  )

  let isStopped = false
  test(
    "an afterRelease that begins when the pool has closed may take no time",
    {
      hooks: {
        afterRelease: () =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              isStopped = true
            })
          )
      }
    },
    (f) =>
      Effect.gen(function* () {
        const lease = yield* f.hold()
        const draining = yield* Effect.fork(Pool.drain(f.pool, { within: 0 }))
        yield* f.pass(0)
        yield* Fiber.join(draining)
        yield* lease.release
        yield* settle
        assert.isTrue(isStopped)
      })
  )

  test(
    "the time of beforeAcquire counts towards the acquire timeout",
    { maxSize: 1, acquireTimeout: 100, hooks: { beforeAcquire: () => Effect.sleep(60) } },
    (f) =>
      Effect.gen(function* () {
        yield* during(
          f,
          60,
          Pool.use(f.pool, () => Effect.never)
        )
        const caller = yield* during(
          f,
          100,
          Pool.use(f.pool, () => Effect.void)
        )
        const error = yield* Effect.flip(Fiber.join(caller))
        assert.strictEqual(error._tag, "AcquireTimeout")
      })
  )

  test(
    "beforeAcquire takes no longer than the acquire timeout or the declared deadline",
    {
      acquireTimeout: 100,
      hooks: { beforeAcquire: () => Effect.never }
    },
    (f) =>
      Effect.gen(function* () {
        const timed = yield* during(
          f,
          100,
          Pool.use(f.pool, () => Effect.void)
        )
        assert.strictEqual((yield* Effect.flip(Fiber.join(timed)))._tag, "HookFailed")
        const declared = Pool.use(f.pool, () => Effect.void).pipe(Deadline.within("50 millis"))
        const caller = yield* during(f, 50, declared)
        assert.strictEqual((yield* Effect.flip(Fiber.join(caller)))._tag, "HookFailed")
      })
  )

  test(
    "an acquire that waits for nothing asks beforeAcquire, and still waits for nothing",
    {
      maxSize: 1,
      hooks: { beforeAcquire: () => Effect.sleep(10) }
    },
    (f) =>
      Effect.gen(function* () {
        const holder = yield* during(
          f,
          10,
          Pool.use(f.pool, () => Effect.never)
        )
        const caller = yield* during(
          f,
          10,
          Pool.use(f.pool, () => Effect.void, { acquireTimeout: 0 })
        )
        assert.strictEqual((yield* Effect.flip(Fiber.join(caller)))._tag, "AcquireTimeout")
        yield* Fiber.interrupt(holder)
        const next = yield* during(
          f,
          10,
          Pool.use(f.pool, () => Effect.void, { acquireTimeout: 0 })
        )
        yield* Fiber.join(next)
      })
  )

  const nested: Array<string> = []
  let inside: Effect.Effect<unknown, unknown> = Effect.void
  test(
    "a lease inside of a hook has no hooks",
    {
      hooks: {
        beforeAcquire: () =>
          Effect.zipRight(
            Effect.sync(() => nested.push("before")),
            inside
          ),
        afterAcquire: () =>
          Effect.zipRight(
            Effect.sync(() => nested.push("after")),
            inside
          ),
        afterRelease: () =>
          Effect.zipRight(
            Effect.sync(() => nested.push("released")),
            inside
          )
      }
    },
    (f) =>
      Effect.gen(function* () {
        inside = Pool.use(f.pool, () => Effect.sync(() => nested.push("inside")))
        yield* f.warm(2)
        nested.length = 0
        yield* Pool.use(f.pool, () => Effect.void)
        yield* settle
        assert.deepStrictEqual(nested, ["before", "inside", "after", "inside", "released", "inside"])
      })
  )

  const seen: Array<unknown> = []
  class Tenant extends Context.Tag("Tenant")<Tenant, string>() {}
  const tenantOf = Effect.map(
    Effect.serviceOption(Tenant),
    (tenant) => void seen.push(tenant._tag === "Some" && tenant.value)
  )
  const request = FiberRef.unsafeMake("none")
  const requestOf = Effect.map(FiberRef.get(request), (id) => void seen.push(id))
  test(
    "run with the services and the references of their caller",
    { hooks: { beforeAcquire: () => tenantOf, afterAcquire: () => requestOf, afterRelease: () => tenantOf } },
    (f) =>
      Effect.gen(function* () {
        yield* Pool.use(f.pool, () => Effect.void).pipe(
          Effect.provideService(Tenant, "acme"),
          Effect.locally(request, "r1")
        )
        assert.deepStrictEqual(seen, ["acme", "r1", "acme"])
      })
  )

  it.live("use the services that the pool was made with", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const ask = Effect.map(Tenant, (tenant) => asked.push(tenant))
      const made = Pool.make({
        connect: () => Effect.succeed({}),
        hooks: { onConnect: () => ask, beforeAcquire: () => ask, afterRelease: () => ask }
      })
      const pool = yield* Effect.provideService(made, Tenant, "shop")
      yield* Pool.use(pool, () => Effect.void)
      assert.deepStrictEqual(asked, ["shop", "shop", "shop"])
    }).pipe(Effect.scoped)
  )

  test("change nothing of what the events say", { hooks: written([]) }, (f) =>
    Effect.gen(function* () {
      const count = yield* Effect.fork(Stream.runCount(Stream.take(Pool.events(f.pool), 3)))
      yield* settle
      yield* Pool.use(f.pool, () => Effect.void)
      assert.strictEqual(yield* Fiber.join(count), 3)
    })
  )
})

describe("onConnect", () => {
  const filled: Array<string> = []
  test("prepares connections that nobody has asked for, too", { minIdle: 2, hooks: written(filled) }, (f) =>
    Effect.gen(function* () {
      yield* f.pass(100)
      assert.deepStrictEqual([filled, f.stats().available], [["connect 1", "connect 2"], 2])
    })
  )

  test("is waited for before the first user", { hooks: { onConnect: () => Effect.sleep(40) } }, (f) =>
    Effect.gen(function* () {
      const waiter = yield* f.park()
      yield* f.pass(39)
      assert.isTrue(yield* waiter.waits)
      yield* f.pass(1)
      yield* (yield* waiter.lease).release
    })
  )

  test(
    "that fails makes the connect fail, with what `classify` says of its failure, and the connection is closed",
    { hooks: { onConnect: () => Effect.fail(new ConnectError("rejected")) } },
    (f) =>
      Effect.gen(function* () {
        const waiter = yield* f.park()
        const error = yield* waiter.error
        assert.strictEqual(error._tag, "ConnectFailed")
        assert.include(error.message, "the fake host is rejected")
        assert.deepStrictEqual([f.host.opened, f.host.closed, f.stats().connectFailures], [1, 1, 1])
      })
  )

  for (const how of ["dies", "throws", "gives no effect"]) {
    const [hook, says] = failures[how]!
    test(`that ${how} is a mistake in the program: callers learn it at once`, { hooks: { onConnect: hook } }, (f) =>
      Effect.gen(function* () {
        const waiter = yield* f.park()
        const error = yield* waiter.error
        assert.strictEqual(error._tag, "ConnectFailed")
        assert.include(error.message, "no connection can be opened: the hook onConnect has thrown: ")
        assert.include(error.message, says)
        assert.strictEqual(f.host.closed, 1)
      })
    )
  }

  let isSlow = true
  test(
    "that hangs is stopped by the connect timeout, which says so, and the next attempt may succeed",
    {
      connectTimeout: 100,
      acquireTimeout: 1_000,
      hooks: { onConnect: () => (isSlow ? Effect.never : Effect.void) }
    },
    (f) =>
      Effect.gen(function* () {
        const events = yield* f.listen
        const waiter = yield* f.park()
        yield* f.pass(100)
        assert.strictEqual(f.host.closed, 1)
        isSlow = false
        yield* f.pass(500)
        yield* (yield* waiter.lease).release
        const causes = events.flatMap((event) => (event._tag === "ConnectFailed" ? [String(event.cause)] : []))
        assert.match(causes[0]!, /connecting together with the hook onConnect took longer than 100 ms/)
      })
  )

  test(
    "goes on for the next caller when the first one has left",
    { hooks: { onConnect: () => Effect.sleep(40) } },
    (f) =>
      Effect.gen(function* () {
        const first = yield* f.park()
        yield* f.pass(20)
        yield* Fiber.interrupt(first.fiber)
        const second = yield* f.park()
        yield* f.pass(20)
        yield* (yield* second.lease).release
        assert.strictEqual(f.host.opened, 1)
      })
  )

  test("that hangs is stopped by a drain", { minIdle: 1, hooks: { onConnect: () => Effect.never } }, (f) =>
    Effect.gen(function* () {
      yield* settle
      assert.strictEqual(f.stats().connecting, 1)
      const draining = yield* Effect.fork(Pool.drain(f.pool))
      yield* settle
      yield* Fiber.join(draining)
      assert.deepStrictEqual([f.host.opened, f.host.closed], [1, 1])
    })
  )

  const again: Array<string> = []
  test(
    "prepares a connection again after its reset, before the next user",
    { maxSize: 1, hooks: written(again) },
    (f) =>
      Effect.gen(function* () {
        const lease = yield* f.hold()
        lease.connection.status = "dirty"
        f.host.resets = { after: 10 }
        const waiter = yield* f.park()
        again.length = 0
        yield* lease.release
        yield* f.pass(9)
        assert.deepStrictEqual(again, ["released 0"])
        yield* f.pass(1)
        yield* (yield* waiter.lease).release
        assert.deepStrictEqual(again.slice(1, 3), ["connect 1", "after 10"])
      })
  )

  for (const [how, hook] of [
    ["fails", Effect.fail(new ConnectError("unreachable"))],
    ["dies", Effect.dieMessage("broken")],
    ["hangs", Effect.never]
  ] as const) {
    let isNew = true
    test(
      `that ${how} after a reset closes the connection: nobody gets it half prepared`,
      { maxSize: 1, resetTimeout: 100, hooks: { onConnect: () => (isNew ? Effect.void : hook) } },
      (f) =>
        Effect.gen(function* () {
          const lease = yield* f.hold()
          isNew = false
          lease.connection.status = "dirty"
          yield* lease.release
          yield* f.pass(how === "hangs" ? 99 : 0)
          if (how === "hangs") assert.strictEqual(f.stats().resetting, 1)
          yield* f.pass(1)
          assert.strictEqual(f.stats().closed.reset, 1)
          isNew = true
          yield* (yield* f.hold()).release
        })
    )
  }
})

describe("beforeClose", () => {
  const config = { minIdle: 0, maxSize: 1, validateAfterIdle: "1 day" } as const
  /** What makes a connection close for each reason. */
  const reasons: Readonly<Record<PoolStats.CloseReason, readonly [Options, (f: Fixture) => Effect.Effect<unknown>]>> = {
    idle: [{ idleTimeout: 5_000 }, (f) => f.pass(7_000)],
    lifetime: [{ maxLifetime: 5_000 }, (f) => f.pass(7_000)],
    generation: [{}, (f) => Pool.reset(f.pool)],
    drain: [{}, (f) => Effect.zipRight(Effect.fork(Pool.drain(f.pool)), settle)],
    reclaimed: [
      { reclaim: true, leakThreshold: 2_000 },
      (f) =>
        Effect.gen(function* () {
          const { release } = yield* f.hold()
          yield* f.pass(3_000)
          yield* release
        })
    ],
    evicted: [{}, (f) => Pool.evict(f.pool, f.host.connections[0]!)],
    error: [{}, (f) => Effect.sync(() => f.host.connections[0]!.signals.broken("gone"))],
    shrink: [{ maxSize: 2 }, (f) => Effect.zipRight(f.warm(2), Effect.orDie(Pool.resize(f.pool, 1)))],
    validation: [
      { keepAlive: 1_000 },
      (f) =>
        Effect.suspend(() => {
          f.host.checks = "fail"
          return f.pass(3_000)
        })
    ],
    reset: [
      {},
      (f) =>
        Effect.gen(function* () {
          f.host.resets = "fail"
          yield* Effect.orDie(Pool.use(f.pool, (connection) => Effect.sync(() => (connection.status = "dirty"))))
        })
    ]
  }
  for (const [reason, [options, act]] of Object.entries(reasons)) {
    const log: Array<string> = []
    test(
      `is told the reason ${reason}, once, before the connection is closed`,
      { ...config, ...options, hooks: written(log) },
      (f) =>
        Effect.gen(function* () {
          yield* f.warm(1)
          yield* act(f)
          yield* settle
          const closes = log.filter((text) => text.startsWith("close"))
          assert.deepStrictEqual(
            closes.map((text) => text.slice(text.indexOf(":") + 2)),
            [reason]
          )
          assert.strictEqual(f.host.closed, 1)
        })
    )
  }

  const used: Array<string> = []
  test("is told lifetime after maxUses", { ...config, maxUses: 1, hooks: written(used) }, (f) =>
    Effect.gen(function* () {
      yield* Pool.use(f.pool, () => Effect.void)
      yield* settle
      assert.include(used, "close 1: lifetime")
    })
  )

  const dead: Array<string> = []
  test("is told error for a connection that is dead when it comes back", { ...config, hooks: written(dead) }, (f) =>
    Effect.gen(function* () {
      yield* Pool.use(f.pool, (connection) => Effect.sync(() => (connection.status = "dead")))
      yield* settle
      assert.include(dead, "close 1: error")
    })
  )

  for (const [how, [hook, says]] of Object.entries(failures)) {
    logged(`that ${how} is logged once, and the connections close`, { hooks: { beforeClose: hook } }, (f, warnings) =>
      Effect.gen(function* () {
        yield* f.warm(3)
        yield* Pool.reset(f.pool)
        yield* settle
        assert.strictEqual(f.host.closed, 3)
        assert.strictEqual(warnings.length, 1)
        assert.include(warnings[0], "the hook beforeClose has failed: ")
        assert.include(warnings[0], says)
      })
    )
  }

  logged(
    "that hangs keeps the place of its connection for 1 second, and a drain waits as long",
    { maxSize: 1, hooks: { beforeClose: () => Effect.never } },
    (f, warnings) =>
      Effect.gen(function* () {
        yield* f.warm(1)
        yield* Pool.reset(f.pool)
        const waiter = yield* f.park()
        yield* f.pass(999)
        assert.deepStrictEqual([f.stats().closing, f.host.closed], [1, 0])
        yield* f.pass(1)
        assert.strictEqual(f.host.closed, 1)
        yield* (yield* waiter.lease).release
        const draining = yield* during(f, 999, Pool.drain(f.pool))
        assert.isNull(draining.unsafePoll())
        yield* f.pass(1)
        yield* Fiber.join(draining)
        assert.strictEqual(warnings.length, 1)
      })
  )

  const never: Array<string> = []
  test(
    "does not come for a connection whose onConnect has failed",
    { hooks: { ...written(never), onConnect: () => Effect.fail(new ConnectError("rejected")) } },
    (f) =>
      Effect.gen(function* () {
        yield* (yield* f.park()).error
        assert.deepStrictEqual(never, ["before"])
      })
  )
})
