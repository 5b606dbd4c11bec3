/**
 * The whole pool, fibers and clock included, under random commands. A model as simple as possible says who waits and who
 * holds what; after every command it must agree with the pool, and `watch` has checked I1 to I12 and the order of service
 * after every transition. Each run ends by closing the pool and checking the books.
 *
 * `POOL_SEED` repeats one run, `POOL_RUNS` asks for more.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import * as fc from "fast-check"
import { Pool, type PoolError, type PoolOptions, type Priority } from "../src/index.js"
import { type Connection, type ConnectStep, type Fixture, type Options, run, type Step } from "./support/Fixture.js"

const runs = Number(process.env["POOL_RUNS"] ?? 250)
/** Milliseconds after which a busy machine begins no other run. */
const LONGEST = 20_000
const seed = process.env["POOL_SEED"] === undefined ? undefined : Number(process.env["POOL_SEED"])

/** A caller as the model sees it. */
interface Caller {
  readonly shared: boolean
  readonly deadline: number
  state: "waiting" | "holding" | "done"
  connection: Connection | undefined
  error: PoolError.AcquireError["_tag"] | undefined
  readonly release: Deferred.Deferred<void>
  readonly fiber: Fiber.RuntimeFiber<void, PoolError.AcquireError>
}

interface Model {
  readonly callers: Array<Caller>
}

const alive = (model: Model, state: Caller["state"]) => model.callers.filter((caller) => caller.state === state)

class World {
  constructor(readonly f: Fixture) {}

  call(model: Model, shared: boolean, priority: Priority.Priority, timeout: number): void {
    const release = Deferred.unsafeMake<void>(this.f.pool[Pool.TypeId].engine as never)
    const verb = shared ? Pool.share : Pool.use
    const caller: { -readonly [K in keyof Caller]: Caller[K] } = {
      shared,
      deadline: this.f.now() + timeout,
      state: "waiting",
      connection: undefined,
      error: undefined,
      release,
      fiber: undefined as never
    }
    const work = verb(
      this.f.pool,
      (connection) =>
        Effect.zipRight(
          Effect.sync(() => {
            caller.state = "holding"
            caller.connection = connection
            assert.isBelow(this.f.now(), caller.deadline, "I5: served after the deadline")
            assert.isTrue(connection.open, "a closed connection was handed out")
          }),
          Deferred.await(release)
        ),
      { priority, acquireTimeout: timeout }
    )
    model.callers.push(caller)
    caller.fiber = Effect.runFork(Effect.withClock(work, this.f.clock))
    caller.fiber.addObserver((exit) => {
      caller.state = "done"
      if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) {
        caller.error = (Cause.squash(exit.cause) as PoolError.AcquireError)._tag
      }
    })
  }

  /** What the model and the pool must agree on whenever nothing moves. */
  agree(model: Model): void {
    const { f } = this
    assert.deepStrictEqual(f.watched.violations, [])
    const holding = alive(model, "holding")
    const stats = f.stats()
    const used = new Set(holding.map((caller) => caller.connection))
    for (const caller of holding) {
      const others = holding.filter((other) => other !== caller && other.connection === caller.connection)
      assert.isTrue(others.length === 0 || (caller.shared && others.every((other) => other.shared)), "I2: two owners")
      assert.isBelow(others.length, f.engine.config.concurrency)
      assert.isTrue(caller.connection!.open, "a connection was closed while it was used")
    }
    assert.strictEqual(stats.using, used.size, "I2: the pool counts other leases than there are")
    assert.strictEqual(
      stats.waiting,
      alive(model, "waiting").length,
      "I3: the pool counts other waiters than there are"
    )
    for (const caller of alive(model, "waiting"))
      assert.isAbove(caller.deadline, f.now(), "I5: waits past its deadline")
    const errors = model.callers.map((caller) => caller.error)
    assert.notInclude(errors, "PoolClosed")
    assert.isAtMost(f.host.opened - f.host.closed, Math.max(stats.max, stats.size + stats.closing), "I1")
  }
}

class Command implements fc.AsyncCommand<Model, World> {
  constructor(
    readonly name: string,
    readonly act: (model: Model, world: World) => Effect.Effect<unknown>
  ) {}

  check(): boolean {
    return true
  }

  async run(model: Model, world: World): Promise<void> {
    await Effect.runPromise(Effect.withClock(Effect.zipRight(this.act(model, world), world.f.pass(0)), world.f.clock))
    world.agree(model)
  }

  toString(): string {
    return this.name
  }
}

const sync = (name: string, act: (model: Model, world: World) => unknown) =>
  new Command(name, (model, world) => Effect.sync(() => act(model, world)))

const everyOther = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> => all.filter((_, i) => i % 2 === 0)

const pick = <A>(from: ReadonlyArray<A>, n: number): A | undefined => from[n % Math.max(1, from.length)]

const priority = fc.constantFrom<Array<Priority.Priority>>("critical", "high", "normal", "normal", "low", "background")
const n = fc.nat(100)
const step = fc.constantFrom<Array<Step>>("ok", "ok", "fail", "hang", { after: 20 }, "die")
const connectStep = fc.constantFrom<Array<ConnectStep>>(
  "ok",
  "ok",
  { after: 30 },
  "hang",
  "unreachable",
  "overloaded",
  "rejected",
  "die",
  "failAfterOpening",
  "stubborn"
)
const status = fc.constantFrom<Array<PoolOptions.ResourceStatus>>("clean", "dirty", "busy", "dead")

const release = n.map(
  (i) =>
    new Command(`release ${i}`, (model) => {
      const caller = pick(alive(model, "holding"), i)
      return caller === undefined ? Effect.void : Deferred.succeed(caller.release, undefined)
    })
)
const acquire = fc
  .tuple(fc.boolean(), priority, fc.constantFrom(50, 400, 5_000, 60_000))
  .map(([shared, p, timeout]) =>
    sync(`${shared ? "share" : "use"} ${p} ${timeout}`, (model, world) => world.call(model, shared, p, timeout))
  )
const pass = fc.constantFrom(1, 10, 60, 500, 3_000).map((ms) => new Command(`pass ${ms}`, (_, { f }) => f.pass(ms)))
const interrupt = fc.tuple(fc.constantFrom("waiting" as const, "holding" as const), n).map(
  ([state, i]) =>
    new Command(`interrupt ${state} ${i}`, (model) => {
      const caller = pick(alive(model, state), i)
      return caller === undefined ? Effect.void : Fiber.interrupt(caller.fiber)
    })
)
/** The caller is granted a lease and interrupted before its fiber runs again. */
const interruptGranted = n.map((i) =>
  sync(`release and interrupt ${i}`, (model, { f }) => {
    const first = f.engine.admission.queue.peek()
    const caller = pick(alive(model, "holding"), i)
    if (first === undefined || caller === undefined) return
    Deferred.unsafeDone(caller.release, Exit.void)
    const fiber = first.holder as Fiber.RuntimeFiber<unknown, unknown>
    fiber.unsafeInterruptAsFork(fiber.id())
  })
)
const hostSteps = fc.oneof(
  connectStep.map((to) => sync(`connects ${JSON.stringify(to)}`, (_, { f }) => (f.host.connects = to))),
  step.map((to) => sync(`checks ${JSON.stringify(to)}`, (_, { f }) => (f.host.checks = to))),
  step.map((to) => sync(`resets ${JSON.stringify(to)}`, (_, { f }) => (f.host.resets = to))),
  step.map((to) => sync(`aborts ${JSON.stringify(to)}`, (_, { f }) => (f.host.aborts = to))),
  step.map((to) => sync(`closes ${JSON.stringify(to)}`, (_, { f }) => (f.host.closes = to)))
)
const unclean = fc.tuple(status, n).map(([to, i]) =>
  sync(`${to} ${i}`, (_, { f }) => {
    const connection = pick(f.host.connections, i)
    if (connection !== undefined) connection.status = to
  })
)
const kill = fc
  .tuple(fc.constantFrom("broken" as const, "fatal" as const), n)
  .map(([how, i]) => sync(`${how} ${i}`, (_, { f }) => pick(f.host.connections, i)?.signals[how]("killed")))
const evict = n.map(
  (i) =>
    new Command(`evict ${i}`, (_, { f }) => {
      const connection = pick(f.host.connections, i)
      return connection === undefined ? Effect.void : Pool.evict(f.pool, connection)
    })
)
const control = fc.oneof(
  fc.constant(new Command("suspect", (_, { f }) => Pool.suspect(f.pool))),
  fc
    .integer({ min: 1, max: 6 })
    .map((to) => new Command(`resize ${to}`, (_, { f }) => Effect.orDie(Pool.resize(f.pool, to)))),
  fc
    .constantFrom(0, 5_000)
    .map((spread) => new Command(`reset ${spread}`, (_, { f }) => Pool.reset(f.pool, { spread }))),
  fc
    .constantFrom(0, 200, 5_000)
    .map((atMost) => new Command(`suspend ${atMost}`, (_, { f }) => Pool.suspend(f.pool, { atMost }))),
  fc.constant(new Command("resume", (_, { f }) => Pool.resume(f.pool)))
)

const commands = fc.commands(
  [
    acquire,
    acquire,
    acquire,
    release,
    release,
    pass,
    pass,
    interrupt,
    interruptGranted,
    hostSteps,
    unclean,
    kill,
    evict,
    control
  ],
  { maxCommands: 60, size: "max" }
)

const options: fc.Arbitrary<Options> = fc
  .record({
    maxSize: fc.integer({ min: 1, max: 4 }),
    minIdle: fc.integer({ min: 0, max: 1 }),
    concurrency: fc.integer({ min: 1, max: 3 }),
    maxWaiters: fc.constantFrom(3, 1_000),
    reserved: fc.constantFrom(0, 0, 1),
    classLimits: fc.boolean(),
    shedding: fc.record({
      mode: fc.constantFrom("shadow" as const, "on" as const),
      target: fc.constantFrom(5, 50),
      interval: fc.constantFrom(10, 500)
    }),
    connectTimeout: fc.constant(1_000),
    failFastAfter: fc.constantFrom(0, 2_000),
    idleTimeout: fc.constantFrom(2_000, 300_000),
    maxLifetime: fc.constantFrom(6_000, 1_800_000),
    keepAlive: fc.constantFrom(1_500, 60_000),
    drainTimeout: fc.constantFrom(0, 2_000),
    validates: fc.boolean(),
    cleans: fc.boolean(),
    aborts: fc.boolean()
  })
  .map((all) => ({
    ...all,
    reserved: Math.min(all.reserved, all.maxSize - 1),
    classLimits: all.classLimits ? { normal: Math.max(0.5, 1 / all.maxSize), background: 1 / all.maxSize } : undefined
  }))

describe("the pool", () => {
  it("I1–I12 hold after every one of any commands, it agrees with its model, and the books balance", async () => {
    await fc.assert(
      fc.asyncProperty(options, commands, (own, script) => {
        const model: Model = { callers: [] }
        const played = run(own, (f) =>
          Effect.zipRight(
            Effect.promise(() => fc.asyncModelRun(() => ({ model, real: new World(f) }), script)),
            // Half of those who are left are interrupted, the others are met by the drain.
            Effect.suspend(() => Fiber.interruptAll(everyOther(model.callers).map((caller) => caller.fiber)))
          )
        )
        const late = Effect.suspend(() => Fiber.interruptAll(model.callers.map((caller) => caller.fiber)))
        return Effect.runPromise(Effect.ensuring(played, late))
      }),
      { numRuns: runs, interruptAfterTimeLimit: LONGEST, ...(seed === undefined ? {} : { seed }) }
    )
  }, 60_000)
})
