/**
 * A pool over a fake host, on a clock that the test moves. Every test made by `test` ends by closing the pool and
 * checking the books: opened = closed, nobody waits, nothing is leased, no fiber runs, no timer is armed, and no
 * invariant was broken at any transition.
 */

import { assert, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Logger, Option, Scope, Supervisor } from "effect"
import { Deadline, Pool, type PoolError, type PoolEvent, type PoolOptions, type PoolStats } from "../../src/index.js"
import type { Engine } from "../../src/internal/engine.js"
import { type Watched, watch } from "./invariants.js"
import { settle, VirtualClock } from "./VirtualClock.js"

export { settle }

/** One fake connection; the test may change `status` and call `signals`. */
export interface Connection {
  readonly id: number
  readonly signals: PoolOptions.Signals
  status: PoolOptions.ResourceStatus
  open: boolean
}

/** How the next step of the host goes. A connect fails with the kind that it is told, or cannot be interrupted for 5 s. */
export type Step = "ok" | "fail" | "hang" | "die" | { readonly after: number }
export type ConnectStep = Step | PoolOptions.ConnectFailureKind | "failAfterOpening" | "stubborn"

export class ConnectError {
  readonly _tag = "ConnectError"
  readonly message: string
  constructor(readonly kind: PoolOptions.ConnectFailureKind) {
    this.message = `the fake host is ${kind}`
  }
}

const step = (plan: Step): Effect.Effect<void, Error> => {
  if (plan === "ok") return Effect.void
  if (plan === "hang") return Effect.never
  if (plan === "fail") return Effect.fail(new Error("the fake host says no"))
  if (plan === "die") return Effect.die(new Error("the fake host threw"))
  return Effect.sleep(plan.after)
}

/** The other side. Each field says how the next steps of its kind go. */
export class FakeHost {
  opened = 0
  closed = 0
  connects: ConnectStep = "ok"
  /** What a connection says of itself as soon as it is open. */
  opens: PoolOptions.ResourceStatus = "clean"
  /** Used up, one for each connect, before `connects`. */
  readonly script: Array<ConnectStep> = []
  checks: Step = "ok"
  /** Used up, one for each check, before `checks`. */
  readonly checkScript: Array<Step> = []
  resets: Step = "ok"
  aborts: Step = "ok"
  /** What a connection is after it was stopped. */
  stops: PoolOptions.ResourceStatus = "clean"
  closes: Step = "ok"
  /** When each connect began. */
  readonly attempts: Array<number> = []
  readonly connections: Array<Connection> = []
  readonly checked: Array<number> = []
  readonly reset: Array<number> = []
  /** What each reset was told. */
  readonly left: Array<PoolStats.Holder> = []
  readonly aborted: Array<number> = []

  private readonly hanging: Array<() => void> = []

  constructor(readonly now: () => number) {}

  /** Finalizers cannot be interrupted, so those that hang are let go when the test is over. */
  private readonly hang = Effect.async<void>((resume) => {
    this.hanging.push(() => resume(Effect.void))
  })

  letGo(): void {
    for (const resume of this.hanging.splice(0)) resume()
  }

  readonly connect = (signals: PoolOptions.Signals): Effect.Effect<Connection, ConnectError, Scope.Scope> =>
    Effect.suspend(() => {
      this.attempts.push(this.now())
      const plan = this.script.shift() ?? this.connects
      if (plan === "unreachable" || plan === "overloaded" || plan === "rejected") {
        return Effect.fail(new ConnectError(plan))
      }
      if (plan === "stubborn") return Effect.uninterruptible(Effect.zipRight(Effect.sleep(5_000), this.open(signals)))
      if (plan === "failAfterOpening")
        return Effect.zipRight(this.open(signals), Effect.fail(new ConnectError("unreachable")))
      return Effect.zipRight(
        Effect.mapError(step(plan), () => new ConnectError("unreachable")),
        this.open(signals)
      )
    })

  private open(signals: PoolOptions.Signals): Effect.Effect<Connection, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        const connection: Connection = { id: ++this.opened, signals, status: this.opens, open: true }
        this.connections.push(connection)
        return connection
      }),
      (connection) =>
        Effect.suspend(() => {
          if (!connection.open) return Effect.dieMessage("closed twice")
          connection.open = false
          this.closed++
          return this.closes === "hang" ? this.hang : Effect.orDie(step(this.closes))
        })
    )
  }

  readonly validate = (connection: Connection) =>
    Effect.suspend(() => {
      this.checked.push(connection.id)
      return step(this.checkScript.shift() ?? this.checks)
    })

  readonly clean = (connection: Connection, left: PoolStats.Holder) =>
    Effect.suspend(() => {
      this.reset.push(connection.id)
      this.left.push(left)
      return Effect.zipRight(
        step(this.resets),
        Effect.sync(() => (connection.status = "clean"))
      )
    })

  readonly abort = (connection: Connection) =>
    Effect.suspend(() => {
      this.aborted.push(connection.id)
      return Effect.zipRight(
        step(this.aborts),
        Effect.sync(() => (connection.status = this.stops))
      )
    })
}

/** A lease that the test holds. */
export interface Lease {
  readonly connection: Connection
  /** Gives it back, and lets everybody do what follows from that. */
  readonly release: Effect.Effect<void>
}

/** A caller that waits for a lease, in its own fiber. */
export interface Parked {
  readonly fiber: Fiber.RuntimeFiber<Lease, PoolError.AcquireError>
  /** The lease; the test fails if it is not there now. */
  readonly lease: Effect.Effect<Lease>
  /** The error; the test fails if there is none now. */
  readonly error: Effect.Effect<PoolError.AcquireError>
  readonly waits: Effect.Effect<boolean>
}

export interface Fixture {
  readonly pool: Pool.Pool<Connection>
  readonly engine: Engine<Connection>
  readonly host: FakeHost
  readonly clock: VirtualClock
  readonly watched: Watched
  /** Lets time pass, event by event. */
  readonly pass: (ms: number) => Effect.Effect<void>
  readonly now: () => number
  readonly stats: () => PoolStats.PoolStats
  /** Acquires now; the test fails if that does not succeed at once. */
  readonly hold: (options?: Pool.AcquireOptions) => Effect.Effect<Lease>
  readonly park: (options?: Pool.AcquireOptions) => Effect.Effect<Parked>
  /** Forks `Pool.share`; the lease ends when it is released. */
  readonly parkShared: (options?: Pool.AcquireOptions) => Effect.Effect<Parked>
  /** `n` connections are open and idle. */
  readonly warm: (n: number) => Effect.Effect<void>
  /** Every connection is leased. */
  readonly saturate: Effect.Effect<ReadonlyArray<Lease>>
  /** Writes down what happens from now on. */
  readonly listen: Effect.Effect<Array<PoolEvent.PoolEvent>>
}

export type Options = PoolOptions.PoolConfig & {
  readonly validates?: boolean
  readonly cleans?: boolean
  readonly aborts?: boolean
  readonly setUp?: (host: FakeHost) => void
} & Partial<
    Pick<
      PoolOptions.PoolOptions<Connection, ConnectError, never>,
      | "admits"
      | "stalls"
      | "classify"
      | "describe"
      | "status"
      | "connect"
      | "validate"
      | "hooks"
      | "inspect"
      | "reclaimed"
      | "rested"
    >
  >

/** How long anything may take to end after the test: every bound of the pool is less. */
const END = 300_000

const exitOf = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.flatMap(
    Fiber.poll(fiber),
    Option.match({
      onNone: () => Effect.dieMessage("the caller still waits"),
      onSome: Effect.succeed
    })
  )

const make = (options: Options, clock: VirtualClock, scope: Scope.Scope): Effect.Effect<Fixture> =>
  Effect.gen(function* () {
    const { aborts = true, cleans = true, setUp, validates = true, ...rest } = options
    const now = Deadline.nowOf(clock)
    const host = new FakeHost(now)
    setUp?.(host)
    const pool = yield* Effect.orDie(
      Scope.extend(
        Pool.make<Connection, ConnectError, never>({
          minIdle: 0,
          connect: host.connect,
          validate: validates ? host.validate : undefined,
          reset: cleans ? host.clean : undefined,
          abort: aborts ? host.abort : undefined,
          status: (connection) => (connection.open ? connection.status : "dead"),
          classify: (error) => error.kind,
          ...rest
        }),
        scope
      )
    )
    const engine = pool[Pool.TypeId].engine
    const watched = watch(engine)

    const parked = (acquire: Effect.Effect<Lease, PoolError.AcquireError>): Effect.Effect<Parked> =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(acquire)
        yield* settle
        return {
          fiber,
          lease: Effect.flatMap(exitOf(fiber), (exit) => Effect.orDie(exit)),
          error: Effect.flatMap(exitOf(fiber), (exit) => Effect.orDie(Effect.flip(exit))),
          waits: Effect.map(Fiber.poll(fiber), Option.isNone)
        }
      })

    const park = (acquireOptions?: Pool.AcquireOptions) =>
      parked(
        Effect.gen(function* () {
          const own = yield* Scope.make()
          const connection = yield* Scope.extend(Pool.acquire(pool, acquireOptions), own)
          yield* Scope.addFinalizer(scope, Scope.close(own, Exit.void))
          return { connection, release: Effect.zipRight(Scope.close(own, Exit.void), settle) }
        })
      )

    const parkShared = (acquireOptions?: Pool.AcquireOptions) =>
      parked(
        Effect.async<Lease, PoolError.AcquireError>((resume) => {
          const fiber = Effect.runFork(
            Effect.withClock(
              Pool.share(
                pool,
                (connection) =>
                  Effect.async<void>((done) => {
                    const release = Effect.zipRight(
                      Effect.sync(() => done(Effect.void)),
                      settle
                    )
                    resume(Effect.succeed({ connection, release }))
                  }),
                acquireOptions
              ),
              clock
            )
          )
          fiber.addObserver((exit) => {
            if (Exit.isFailure(exit)) resume(Effect.failCause(exit.cause))
          })
          return Fiber.interrupt(fiber)
        })
      )

    const hold = (acquireOptions?: Pool.AcquireOptions) =>
      Effect.flatMap(park(acquireOptions), (waiter) => waiter.lease)

    const warm = (n: number) =>
      Effect.gen(function* () {
        const leases = yield* Effect.replicateEffect(hold(), n)
        yield* Effect.forEach(leases, (lease) => lease.release)
        yield* settle
      })

    return {
      pool,
      engine,
      host,
      clock,
      watched,
      pass: (ms) => clock.pass(ms),
      now,
      stats: () => Pool.unsafeStats(pool),
      hold,
      park,
      parkShared,
      warm,
      saturate: Effect.suspend(() => Effect.replicateEffect(hold(), engine.config.maxSize)),
      listen: Effect.sync(() => {
        const events: Array<PoolEvent.PoolEvent> = []
        pool[Pool.TypeId].listen((event) => events.push(event))
        return events
      })
    }
  })

/** Closes the pool and says what is left of it. */
const balance = (
  fixture: Fixture,
  scope: Scope.CloseableScope,
  fibers: Supervisor.Supervisor<Array<Fiber.RuntimeFiber<any, any>>>
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { clock, engine, host, watched } = fixture
    const closing = yield* Effect.forkDaemon(Scope.close(scope, Exit.void))
    yield* clock.pass(END)
    const exit = yield* Fiber.poll(closing)
    assert.isTrue(Option.isSome(exit), `the pool does not close: ${JSON.stringify(fixture.stats())}`)
    assert.isTrue(Exit.isSuccess(Option.getOrThrow(exit)), "closing the pool failed")
    assert.deepStrictEqual(watched.violations, [], "an invariant was broken")
    const { connecting, phase, using, waiting } = fixture.stats()
    assert.deepStrictEqual(
      { phase, using, waiting, connecting },
      { phase: "closed", using: 0, waiting: 0, connecting: 0 }
    )
    assert.strictEqual(host.closed, host.opened, "I9: opened and closed differ")
    assert.strictEqual(engine.state.total, 0)
    host.letGo()
    yield* settle
    assert.strictEqual(clock.sleeping, 0, "I9: a timer is left")
    const running = (yield* fibers.value).filter(
      (fiber) => fiber !== (closing as unknown) && fiber.unsafePoll() === null
    )
    assert.deepStrictEqual(
      running.map((fiber) => fiber.id()),
      [],
      "I9: a fiber is left"
    )
  })

/** Runs `body` with a pool and checks the books, whatever `body` does. */
export const run = <E>(options: Options, body: (fixture: Fixture) => Effect.Effect<void, E, Scope.Scope>) =>
  Effect.suspend(() => {
    const clock = new VirtualClock()
    return Effect.withClock(
      Effect.gen(function* () {
        const fibers = yield* Supervisor.track
        const scope = yield* Scope.make()
        const fixture = yield* Effect.supervised(make(options, clock, scope), fibers)
        // In a fiber of its own: what it leaves running is interrupted when it ends.
        const test = yield* Effect.fork(Effect.scoped(body(fixture)))
        const exit = yield* Fiber.await(test)
        // What the test found comes first: what is left of a failed test says little.
        if (Exit.isFailure(exit)) {
          yield* Effect.exit(balance(fixture, scope, fibers))
          const broken = fixture.watched.violations
          if (broken.length > 0)
            return yield* Effect.die(new Error(broken.join("\n"), { cause: Cause.squash(exit.cause) }))
          return yield* exit
        }
        yield* balance(fixture, scope, fibers)
      }),
      clock
    )
  })

/** A test of one sentence with a pool of its own. */
export const test = <E>(
  sentence: string,
  options: Options,
  body: (fixture: Fixture) => Effect.Effect<void, E, Scope.Scope>,
  timeout?: number
): void => it.live(sentence, () => run(options, body), timeout)

/** A test that reads what is logged at WARN. */
export const logged = <E>(
  sentence: string,
  options: Options,
  body: (fixture: Fixture, warnings: ReadonlyArray<string>) => Effect.Effect<void, E, Scope.Scope>
): void => {
  it.live(sentence, () => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel._tag === "Warning") warnings.push(String(message))
    })
    return Effect.provide(
      run(options, (f) => body(f, warnings)),
      Logger.replace(Logger.defaultLogger, logger)
    )
  })
}
