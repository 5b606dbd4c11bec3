/**
 * Functions of the program that always fail, at once and without a moment of waiting.
 *
 * | what | process | pool |
 * | --- | --- | --- |
 * | `connect`, `status`, `validate`, `reset`, `abort` that fail or throw for ever | does not freeze | pauses between two connects; the error says what fails |
 * | `f` of a verb that throws, or gives no effect | goes on | has its connection back, free or after a wait |
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { Pool, type PoolOptions } from "../src/index.js"
import { type Fixture, settle, test } from "./support/Fixture.js"

interface Resource {
  used: number
}

const resource = (): Resource => ({ used: 0 })

const boom = (): never => {
  throw new Error("boom")
}

type Broken = Partial<PoolOptions.PoolOptions<Resource, Error, never>> & { readonly says: RegExp }

const cases: Readonly<Record<string, Broken>> = {
  "connect fails": { connect: () => Effect.fail(new Error("boom")), says: /boom/ },
  "connect dies": { connect: () => Effect.die(new Error("boom")), says: /boom/ },
  "connect throws": { connect: boom, says: /boom/ },
  "connect interrupts itself": { connect: () => Effect.interrupt, says: /[Ii]nterrupted/ },
  "connect gives nothing": { connect: () => undefined as never, says: /connect must give an effect/ },
  "a new connection is dead": { status: () => "dead", says: /dead/ },
  "a new connection is dead when it is handed out": {
    status: (one) => (one.used++ > 0 ? "dead" : "clean"),
    says: /dead before its first use/
  },
  "status throws": { status: boom, says: /dead/ },
  "the first check fails": {
    validateAfterIdle: 0,
    validate: () => Effect.fail(new Error("boom")),
    says: /did not pass its first check/
  },
  "the first check throws": { validateAfterIdle: 0, validate: boom, says: /did not pass its first check/ },
  "a new connection is dirty, and its reset fails": {
    status: () => "dirty",
    reset: () => Effect.fail(new Error("boom")),
    says: /a new connection could not be cleaned/
  },
  "a new connection is dirty, and its reset throws": {
    status: () => "dirty",
    reset: boom,
    says: /could not be cleaned/
  },
  "a new connection is dirty, and stays so": {
    status: () => "dirty",
    reset: () => Effect.void,
    says: /could not be cleaned/
  },
  "a new connection is dirty, and nothing can reset it": { status: () => "dirty", says: /could not be cleaned/ },
  "a new connection is busy, and its abort fails": {
    status: () => "busy",
    abort: () => Effect.fail(new Error("boom")),
    says: /dead before its first use/
  },
  "classify throws": { connect: () => Effect.fail(new Error("boom")), classify: boom, says: /boom/ }
}

describe("C25: what always fails does not freeze the process, and is paused after", () => {
  for (const [what, { says, ...broken }] of Object.entries(cases)) {
    for (const minIdle of [0, 2]) {
      it.live(`${what} (minIdle ${minIdle})`, () =>
        Effect.gen(function* () {
          let connects = 0
          const { connect = () => Effect.sync(resource), ...rest } = broken
          const pool = yield* Pool.make<Resource, Error, never>({
            minIdle,
            maxSize: 4,
            failFastAfter: 0,
            ...rest,
            connect: (signals) => {
              connects++
              return connect(signals)
            }
          })
          let turns = 0
          const turn = () => {
            turns++
            timer = setImmediate(turn)
          }
          let timer = setImmediate(turn)
          yield* Effect.addFinalizer(() => Effect.sync(() => clearImmediate(timer)))
          const [elapsed, callers] = yield* Effect.timed(
            Effect.all(
              Array.from({ length: 3 }, () => Effect.exit(Pool.use(pool, () => Effect.void, { acquireTimeout: 300 }))),
              { concurrency: "unbounded" }
            )
          )
          for (const exit of callers) {
            assert.isTrue(Exit.isFailure(exit), "nobody gets a connection")
            assert.match(Cause.pretty(Exit.isFailure(exit) ? exit.cause : Cause.empty), says)
          }
          yield* Effect.sleep("20 millis")
          // Pauses of 50 ms and more, after a few connects at once.
          assert.isAtMost(connects, 10 + Duration.toMillis(elapsed) / 40)
          assert.isAtLeast(turns, 1)
          assert.strictEqual(Pool.unsafeStats(pool).using, 0)
        }).pipe(Effect.scoped)
      )
    }
  }
})

type Verb = (f: Fixture, work: () => any) => Effect.Effect<unknown, unknown>

const closedScope = Effect.gen(function* () {
  const scope = yield* Scope.make()
  yield* Scope.close(scope, Exit.void)
  return scope
})

/** A scope whose finalizers cannot be added. */
const brokenScope = (work: () => any) =>
  Effect.map(Scope.make(), (scope) => Object.assign(Object.create(scope), { addFinalizer: work }))

const verbs: Readonly<Record<string, Verb>> = {
  use: ({ pool }, work) => Pool.use(pool, work),
  share: ({ pool }, work) => Pool.share(pool, work),
  shareAsync: ({ pool }, work) =>
    Pool.shareAsync(pool, (_, resume) => {
      work()
      resume(Effect.die("work has not thrown"))
    }),
  hold: ({ pool }, work) => Pool.hold(pool, work),
  acquire: ({ pool }, work) =>
    Effect.flatMap(brokenScope(work), (scope) =>
      Effect.mapInputContext(Pool.acquire(pool), (context: Context.Context<never>) =>
        Context.add(context, Scope.Scope, scope)
      )
    )
}

describe("C24: what is given to a verb and throws", () => {
  for (const [name, verb] of Object.entries(verbs)) {
    for (const isFree of [true, false]) {
      test(`gives the connection back: ${name}, ${isFree ? "at once" : "after a wait"}`, { maxSize: 1 }, (f) =>
        Effect.gen(function* () {
          yield* f.warm(1)
          const lease = isFree ? undefined : yield* f.hold()
          const fiber = yield* Effect.fork(Effect.exit(verb(f, boom)))
          yield* settle
          if (lease !== undefined) yield* lease.release
          const exit = yield* Fiber.join(fiber)
          assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
          assert.include(Cause.pretty(Exit.isFailure(exit) ? exit.cause : Cause.empty), "boom")
          assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
        })
      )
    }
  }

  for (const name of ["use", "share"] as const) {
    test(`gives the connection back if it gives no effect: ${name}`, { maxSize: 1 }, (f) =>
      Effect.gen(function* () {
        for (const given of [undefined, null, 5, "text", {}, Promise.resolve(1)]) {
          const exit = yield* Effect.exit(verbs[name]!(f, () => given))
          assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause), String(given))
          assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
        }
      })
    )
  }

  test("is given its connection back by a scope that is closed already", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const scope = yield* closedScope
      yield* Effect.exit(Scope.extend(Pool.acquire(f.pool), scope))
      assert.deepStrictEqual([f.stats().using, f.stats().available], [0, 1])
    })
  )
})
