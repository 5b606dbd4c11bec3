/**
 * F10: an operation is interrupted at every point at which its fiber can be suspended, and nothing may be lost.
 *
 * The fiber yields after every `k` operations; `m` no-ops before the operation move these points through it. It is
 * interrupted after `j` microtasks, for j = 0, 1, 2 … until it ends before the interrupt comes. After each interrupt
 * the pool must be where it was; after each sweep the fixture checks the books.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, type Fiber, FiberId, Schedule, Scope } from "effect"
import { Pool, type PoolError } from "../src/index.js"
import { type Connection, type Fixture, type Options, run, settle } from "./support/Fixture.js"

const budgets = [12, 13, 17, 2_048]
const paddings = [0, 1, 3]
const LIMIT = 400

type Body = (connection: Connection) => Effect.Effect<void>
type Operation = (f: Fixture, body: Body) => Effect.Effect<unknown, PoolError.AcquireError>

const operations: Readonly<Record<string, Operation>> = {
  use: (f, body) => Pool.use(f.pool, body),
  share: (f, body) => Pool.share(f.pool, body),
  // Its work is a fiber of nobody, which ends some time after its caller, as the answer to a statement does.
  shareAsync: (f, body) =>
    Effect.suspend(() => {
      const works = new Set<Fiber.RuntimeFiber<void>>()
      const operation = Pool.shareAsync<Connection, void, never>(f.pool, (connection, resume) => {
        const work = Effect.runFork(Effect.withClock(body(connection), f.clock))
        works.add(work)
        work.addObserver(resume)
      })
      return Effect.onExit(operation, () =>
        Effect.sync(() => {
          for (const work of works) work.unsafeInterruptAsFork(FiberId.none)
        })
      )
    }),
  // The record gives the lease back when the operation is over, whoever ends it: so it does for a lease that was granted
  // when the interrupt struck.
  hold: (f, body) =>
    Effect.suspend(() => {
      const record: Array<() => void> = []
      return Effect.ensuring(
        Effect.flatMap(
          Pool.hold(f.pool, (connection, release) => {
            record.push(release)
            return connection
          }),
          body
        ),
        Effect.sync(() => {
          for (const release of record) release()
        })
      )
    }),
  "hold that throws": (f) =>
    Effect.catchAllDefect(
      Pool.hold(f.pool, () => {
        throw new Error("no")
      }),
      () => Effect.yieldNow()
    ),
  "acquire in a scope": (f, body) => Effect.scoped(Effect.flatMap(Pool.acquire(f.pool), body)),
  "acquire in a scope of somebody else": (f, body) =>
    Effect.acquireUseRelease(
      Scope.make(),
      (scope) => Effect.flatMap(Scope.extend(Pool.acquire(f.pool), scope), body),
      (scope) => Scope.close(scope, Exit.void)
    )
}

interface Scenario {
  readonly name: string
  readonly options?: Options
  /** Before each try; leaves the pool with one connection, or none, as the scenario wants it. */
  readonly prepare: (f: Fixture) => Effect.Effect<unknown, PoolError.AcquireError>
  /** Happens beside the operation. */
  readonly beside?: (f: Fixture) => void
  readonly body?: Body
  /** What a try that is not interrupted ends with. */
  readonly ends: "success" | "failure"
  readonly after?: (f: Fixture) => Effect.Effect<unknown>
}

const emptied = (f: Fixture) =>
  Effect.suspend(() => {
    for (const entry of f.engine.state.entries()) f.engine.evict(entry, "evicted")
    return settle
  })

/** When something happens beside: in microtasks from the interrupt (before, with or after it), or from the start. */
type Moment = { readonly fromInterrupt: number } | { readonly fromStart: number }
const moments: ReadonlyArray<Moment> = [
  { fromStart: 3 },
  ...[-4, -2, -1, 0, 1, 2].map((fromInterrupt) => ({ fromInterrupt }))
]
const momentOf = (moment: Moment, j: number): number =>
  "fromStart" in moment ? moment.fromStart : Math.max(0, j + moment.fromInterrupt)

/** Where the operation cannot end before the interrupt, because what it waits for comes too late. */
const TRIES = 40

const holdAll = (f: Fixture) =>
  Effect.zipRight(
    f.warm(1),
    Effect.sync(() => f.engine.take(undefined))
  )
const releaseAll = (f: Fixture): void => {
  for (const lease of f.engine.state.leases) {
    if (lease.holder === undefined && !lease.shared) f.engine.release(lease)
  }
}

/** What the hooks of the scenario with hooks have seen. */
const calls = { connected: 0, before: 0, acquired: 0, released: 0, closing: 0 }
const countIn = (name: keyof typeof calls) => () =>
  Effect.zipRight(
    Effect.sync(() => calls[name]++),
    Effect.yieldNow()
  )
const hooks = {
  onConnect: countIn("connected"),
  beforeAcquire: countIn("before"),
  afterAcquire: countIn("acquired"),
  afterRelease: countIn("released"),
  beforeClose: countIn("closing")
}
const balanced = Effect.zipRight(
  settle,
  Effect.sync(() => {
    assert.strictEqual(calls.released, calls.acquired, "an afterAcquire without its afterRelease")
    assert.isAtLeast(calls.before, calls.acquired)
  })
)

const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "hooks are around it",
    options: { hooks },
    prepare: (f) => f.warm(1),
    ends: "success",
    after: () => balanced
  },
  {
    name: "hooks are around it, and it must connect",
    options: { hooks },
    prepare: emptied,
    ends: "success",
    after: () => balanced
  },
  { name: "a connection is idle", prepare: (f) => f.warm(1), ends: "success" },
  {
    name: "it must wait for a release",
    prepare: holdAll,
    beside: releaseAll,
    ends: "success",
    after: (f) =>
      Effect.zipRight(
        Effect.sync(() => releaseAll(f)),
        settle
      )
  },
  { name: "it must connect", prepare: emptied, ends: "success" },
  {
    name: "connecting fails",
    prepare: (f) =>
      Effect.gen(function* () {
        f.host.connects = "ok"
        while (f.stats().host !== "up") yield* f.pass(1_000)
        yield* emptied(f)
        f.host.connects = "rejected"
      }),
    ends: "failure"
  },
  {
    name: "the connection must be validated",
    prepare: (f) => Effect.zipRight(f.warm(1), Pool.suspect(f.pool)),
    ends: "success"
  },
  {
    name: "the connection fails its validation and a new one is opened",
    prepare: (f) =>
      Effect.gen(function* () {
        f.host.checks = "ok"
        yield* f.warm(1)
        f.host.checks = "fail"
        yield* Pool.suspect(f.pool)
      }),
    ends: "success"
  },
  {
    name: "I10: the new connection is of no use, and the next one comes after a pause",
    options: { validateAfterIdle: 0, backoff: Schedule.spaced(50) },
    prepare: (f) =>
      Effect.gen(function* () {
        f.host.checkScript.length = 0
        yield* f.pass(200)
        yield* emptied(f)
        f.host.checkScript.push("fail")
      }),
    // The pause is over at some moment of the next microtasks.
    beside: (f) => {
      let jumps = 0
      const jump = (): void => {
        f.clock.jumpNow(5)
        if (++jumps < 60) queueMicrotask(jump)
      }
      jump()
    },
    ends: "success",
    after: (f) => f.pass(200)
  },
  {
    name: "the pool is suspended and goes on",
    prepare: (f) => Effect.zipRight(f.warm(1), Pool.suspend(f.pool)),
    beside: (f) => f.engine.resume(),
    ends: "success",
    after: (f) => Effect.zipRight(Pool.resume(f.pool), settle)
  },
  {
    name: "the connection must be reset after it",
    prepare: (f) => f.warm(1),
    body: (connection) =>
      Effect.zipRight(
        Effect.sync(() => (connection.status = "dirty")),
        Effect.yieldNow()
      ),
    ends: "success"
  },
  {
    name: "its work must be stopped after it",
    prepare: (f) => f.warm(1),
    body: (connection) =>
      Effect.zipRight(
        Effect.sync(() => (connection.status = "busy")),
        Effect.yieldNow()
      ),
    ends: "success"
  },
  {
    name: "the connection breaks meanwhile",
    prepare: (f) => f.warm(1),
    beside: (f) => f.host.connections.at(-1)?.signals.fatal("gone"),
    ends: "success"
  }
]

interface Outcome {
  readonly done: boolean
  readonly exit: Exit.Exit<unknown, PoolError.AcquireError>
}

/** Starts the operation, waits `j` microtasks, interrupts it, and lets everything settle. */
const attempt = (
  f: Fixture,
  operation: Effect.Effect<unknown, PoolError.AcquireError>,
  settings: { readonly k: number; readonly m: number; readonly j: number },
  beside?: { readonly act: () => void; readonly at: number }
): Effect.Effect<Outcome> =>
  Effect.promise(async () => {
    const padding = Array.from({ length: settings.m }, () => Effect.void)
    const padded = padding.reduceRight<typeof operation>((rest, pad) => Effect.zipRight(pad, rest), operation)
    const fiber = Effect.runFork(padded.pipe(Effect.withMaxOpsBeforeYield(settings.k), Effect.withClock(f.clock)))
    let exit: Outcome["exit"] | undefined
    fiber.addObserver((end) => (exit = end))
    const last = Math.max(settings.j, beside?.at ?? 0)
    let done = false
    for (let i = 0; i <= last; i++) {
      if (i === beside?.at) beside.act()
      if (i === settings.j) {
        done = exit !== undefined
        fiber.unsafeInterruptAsFork(FiberId.none)
      }
      await Promise.resolve()
    }
    await Effect.runPromise(settle)
    assert.isDefined(exit, "the operation does not end although it was interrupted")
    return { done, exit: exit! }
  })

const defaultBody: Body = () => Effect.zipRight(Effect.void, Effect.yieldNow())

const sweep = (scenario: Scenario, operation: Operation, k: number, m: number, moment: Moment | undefined) =>
  run({ maxSize: 1, minIdle: 0, maxLifetime: "1 day", ...scenario.options }, (f) =>
    Effect.gen(function* () {
      let interrupted = 0
      const bounded = moment !== undefined && "fromInterrupt" in moment
      for (let j = 0; j < (bounded ? TRIES : LIMIT); j++) {
        yield* scenario.prepare(f)
        const body = scenario.body ?? defaultBody
        const { beside } = scenario
        const { done, exit } = yield* attempt(
          f,
          operation(f, body),
          { k, m, j },
          beside === undefined || moment === undefined ? undefined : { act: () => beside(f), at: momentOf(moment, j) }
        )
        yield* scenario.after?.(f) ?? Effect.void
        const where = `k=${k} m=${m} j=${j} ${JSON.stringify(moment)}: ${JSON.stringify(f.stats())}`
        assert.deepStrictEqual(f.watched.violations, [], where)
        const { connecting, quarantined, resetting, using, validating, waiting } = f.stats()
        assert.deepStrictEqual(
          [using, waiting, connecting, validating, resetting, quarantined],
          [0, 0, 0, 0, 0, 0],
          where
        )
        if (done) {
          assert.strictEqual(Exit.isSuccess(exit) ? "success" : "failure", scenario.ends, where)
          assert.isAbove(interrupted, 0, "nothing was interrupted")
          return
        }
        if (Exit.isInterrupted(exit)) interrupted++
      }
      assert.isTrue(bounded, "the operation was never over before the interrupt")
      assert.isAbove(interrupted, 10)
    })
  )

describe("F10: nothing is lost by an interrupt, wherever it strikes", () => {
  for (const scenario of scenarios) {
    for (const [name, operation] of Object.entries(operations)) {
      it.live(
        `${name}, ${scenario.name}`,
        () =>
          Effect.forEach(
            budgets.flatMap((k) =>
              paddings.flatMap((m) =>
                (scenario.beside === undefined ? [undefined] : moments).map((moment) => ({ k, m, moment }))
              )
            ),
            ({ k, m, moment }) => sweep(scenario, operation, k, m, moment),
            { discard: true }
          ),
        120_000
      )
    }
  }

  for (const [name, operation] of Object.entries(operations)) {
    it.live(
      `${name}, while the pool drains`,
      () =>
        Effect.gen(function* () {
          const exits = new Set<string>()
          for (const k of [12, 17, 2_048]) {
            for (const from of [-4, -1, 0, 1]) {
              for (let j = 0; j < 40; j++) {
                yield* run({ maxSize: 1, drainTimeout: 100 }, (f) =>
                  Effect.gen(function* () {
                    if (j % 2 === 0) yield* f.warm(1)
                    const act = () => f.engine.drain(100)
                    const { exit } = yield* attempt(
                      f,
                      operation(f, defaultBody),
                      { k, m: j % 5, j },
                      { act, at: Math.max(0, j + from) }
                    )
                    exits.add(Exit.isSuccess(exit) ? "success" : Exit.isInterrupted(exit) ? "interrupted" : "closed")
                  })
                )
              }
            }
          }
          assert.sameMembers([...exits], ["success", "interrupted", "closed"])
        }),
      120_000
    )
  }
})
