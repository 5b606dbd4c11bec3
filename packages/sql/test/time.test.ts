/**
 * How long anything waits. Each wait of the table has one bound, and it is the same whatever the wall clock does meanwhile
 * and whether or not its fiber can be interrupted:
 *
 * | wait | bound | ends with |
 * | --- | --- | --- |
 * | for a connection | acquire timeout, or the declared deadline | AcquireTimeout |
 * | for the answer of a statement | declared deadline | StatementTimeout |
 * | for the lock of a pin | declared deadline | StatementTimeout |
 * | for the answer of COMMIT | `commitTimeout` | CommitUnknown |
 * | for the answer of ROLLBACK | abort timeout of the pool | the failure of the body |
 * | for the next run | `timeout` of the policy | the last failure |
 * | for a transaction | its `timeout` | StatementTimeout |
 */
import type { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { Sql, SqlReason, SqlRetry } from "@sluice/sql"
import { Clock, DateTime, Deferred, Duration, Effect, Either, Exit, Fiber, Random, Stream } from "effect"
import * as Control from "../src/internal/routing/control.js"
import * as FakeDriver from "./support/fakeDriver.js"
import { advance, clean, idle, layer, played, reasonOf, texts, tick } from "./support/sql.js"
import { withWallClock } from "./support/stepping.js"

/** Milliseconds from the beginning of the work until its wait must have ended. */
const BOUND = 1_000

const HOUR = 3_600_000

interface Wait {
  /** What hangs. */
  readonly hangs?: string
  readonly poolIsFull?: boolean
  readonly work: (now: number) => Effect.Effect<unknown, unknown, Sql.Sql>
  readonly ends: SqlReason.Tag | "mine"
}

const by = (now: number) => Sql.withDeadline(now + BOUND)

const slowly = Either.getOrThrow(
  SqlRetry.make({ max: 100, backoffBase: 200, backoffExponent: 1, timeout: BOUND + 100 })
)

const unsent = () =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", outcome: "none", retry: "always" }),
    "unsent"
  )

const waits: Record<string, Wait> = {
  "a connection, by the acquire timeout": {
    poolIsFull: true,
    work: () => Sql.withAcquireTimeout(BOUND)(Sql.query("a")),
    ends: "AcquireTimeout"
  },
  "a connection, by the declared deadline": {
    poolIsFull: true,
    work: (now) => by(now)(Sql.query("a")),
    ends: "AcquireTimeout"
  },
  "a statement": { hangs: "a", work: (now) => by(now)(Sql.query("a")), ends: "StatementTimeout" },
  "a pinned statement": {
    hangs: "a",
    work: (now) => by(now)(Sql.withConnection(Effect.zipRight(Sql.query("b"), Sql.query("a")))),
    ends: "StatementTimeout"
  },
  "the first statement of a transaction": {
    hangs: "a",
    work: (now) => by(now)(Sql.withTransaction(Sql.query("a"))),
    ends: "StatementTimeout"
  },
  "a BEGIN": {
    hangs: "BEGIN",
    work: (now) => by(now)(Sql.withTransaction(Sql.query("a"))),
    ends: "StatementTimeout"
  },
  "a later statement of a transaction": {
    hangs: "a",
    work: (now) => Sql.withTransaction(Effect.zipRight(Sql.query("b"), by(now)(Sql.query("a")))),
    ends: "StatementTimeout"
  },
  "a savepoint": {
    hangs: "SAVEPOINT sluice_1",
    work: (now) => by(now)(Sql.withTransaction(Effect.zipRight(Sql.query("b"), Sql.withTransaction(Sql.query("a"))))),
    ends: "StatementTimeout"
  },
  "the release of a savepoint": {
    hangs: "RELEASE SAVEPOINT sluice_1",
    work: (now) => by(now)(Sql.withTransaction(Effect.zipRight(Sql.query("b"), Sql.withTransaction(Sql.query("a"))))),
    ends: "StatementTimeout"
  },
  "a piece of a stream": {
    hangs: "a",
    work: (now) => by(now)(Effect.flatMap(Sql.Sql, ({ client }) => Stream.runDrain(client`a`.stream))),
    ends: "StatementTimeout"
  },
  "a piece of a stream on a pin": {
    hangs: "a",
    work: (now) =>
      by(now)(Sql.withConnection(Effect.flatMap(Sql.Sql, ({ client }) => Stream.runDrain(client`a`.stream)))),
    ends: "StatementTimeout"
  },
  "a piece of a stream in a transaction": {
    hangs: "a",
    work: (now) =>
      by(now)(Sql.withTransaction(Effect.flatMap(Sql.Sql, ({ client }) => Stream.runDrain(client`a`.stream)))),
    ends: "StatementTimeout"
  },
  "its turn on a pin that another statement uses": {
    hangs: "a",
    work: (now) =>
      Sql.withConnection(
        Effect.gen(function* () {
          const other = yield* Effect.fork(Effect.interruptible(Sql.query("a")))
          yield* tick
          const result = yield* Effect.exit(by(now)(Sql.query("b")))
          yield* Fiber.interruptFork(other)
          return yield* result
        })
      ),
    ends: "StatementTimeout"
  },
  "its turn, as a nested transaction": {
    hangs: "a",
    work: (now) =>
      Sql.withTransaction(
        Effect.gen(function* () {
          const other = yield* Effect.fork(Effect.interruptible(Sql.query("a")))
          yield* tick
          const result = yield* Effect.exit(by(now)(Sql.withTransaction(Sql.query("b"))))
          yield* Fiber.interruptFork(other)
          return yield* result
        })
      ),
    ends: "StatementTimeout"
  },
  "a COMMIT": {
    hangs: "COMMIT",
    work: () => Sql.withTransaction({ commitTimeout: BOUND })(Sql.query("a")),
    ends: "CommitUnknown"
  },
  "a COMMIT, by the declared deadline": {
    hangs: "COMMIT",
    work: (now) => by(now)(Sql.withTransaction(Sql.query("a"))),
    ends: "CommitUnknown"
  },
  "a ROLLBACK": {
    hangs: "ROLLBACK",
    work: () => Sql.withTransaction(Effect.zipRight(Sql.query("a"), Effect.fail("mine"))),
    ends: "mine"
  },
  "another run": {
    work: () => Effect.withRandom(Sql.retry(slowly)(Sql.query("a")), Random.fixed([0.999_999])),
    ends: "ConnectionLost"
  },
  "the end of a transaction in which another fiber is stuck": {
    hangs: "a",
    work: (now) =>
      by(now)(
        Sql.withTransaction(
          Effect.gen(function* () {
            yield* Sql.query("b")
            yield* Effect.forkDaemon(Effect.interruptible(Sql.withDeadline(Infinity)(Sql.query("a"))))
            yield* tick
          })
        )
      ),
    ends: "StatementTimeout"
  },
  "a transaction whose statement does not end": {
    hangs: "a",
    work: () => Sql.withTransaction({ timeout: BOUND })(Sql.query("a")),
    ends: "StatementTimeout"
  }
}

const tagOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return exit
  const error = exit.cause._tag === "Fail" ? exit.cause.error : exit.cause
  return error === "mine" ? error : SqlReason.of(error)._tag
}

describe.each(Object.entries(waits))("the wait for %s", (_name, { ends, hangs, poolIsFull, work }) => {
  const cases = [0, HOUR, -HOUR].flatMap((step) => [true, false].map((interruptible) => [step, interruptible] as const))
  for (const [step, interruptible] of cases) {
    const clock = step === 0 ? "the wall clock" : `a wall clock that is set ${step > 0 ? "forward" : "back"} an hour`
    it.effect(`ends by its bound with ${clock}${interruptible ? "" : ", and cannot be interrupted"}`, () =>
      withWallClock((wall) => {
        const fake = FakeDriver.make()
        if (hangs !== undefined) fake.answers.set(hangs, "hang")
        fake.failures.set("a", ends === "ConnectionLost" ? Array.from({ length: 100 }, unsent) : [])
        return Effect.gen(function* () {
          const isDone = yield* Deferred.make<void>()
          if (poolIsFull === true) {
            const { client } = yield* Sql.Sql
            yield* Effect.fork(Effect.scoped(Effect.zipRight(client.reserve, Deferred.await(isDone))))
            yield* tick
          }
          const waiting = work(yield* Clock.currentTimeMillis)
          const fiber = yield* Effect.fork(interruptible ? waiting : Effect.uninterruptible(waiting))
          for (let i = 0; i < 10; i++) yield* tick
          yield* wall.step(step)
          yield* advance(BOUND - 40)
          assert.isNull(fiber.unsafePoll(), "it waits until its bound")
          yield* advance(80)
          const exit = fiber.unsafePoll()
          assert.isNotNull(exit, "it waits no longer than its bound")
          assert.strictEqual(tagOf(exit!), ends)
          yield* Deferred.succeed(isDone, undefined)
          fake.answers.clear()
          yield* idle
          clean(fake)
        }).pipe(Effect.provide(layer(fake, { pool: { maxSize: poolIsFull === true ? 1 : 2, abortTimeout: BOUND } })))
      })
    )
  }
})

describe("a deadline", () => {
  const on = <A, E>(body: (fake: FakeDriver.Fake) => Effect.Effect<A, E, Sql.Sql>) => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      yield* body(fake)
      fake.answers.clear()
      yield* idle
      clean(fake)
    }).pipe(Effect.provide(layer(fake, { pool: { maxSize: 1 } })))
  }

  it.effect("is never extended by one inside of it", () =>
    on((fake) =>
      Effect.gen(function* () {
        fake.answers.set("a", "hang")
        const now = yield* Clock.currentTimeMillis
        const nested = Sql.withDeadline(now + 100)(Sql.withDeadline(now + HOUR)(Sql.query("a")))
        assert.strictEqual((yield* played(reasonOf(nested)))._tag, "StatementTimeout")
        assert.isAtMost(yield* Clock.currentTimeMillis, now + 140)
      })
    )
  )

  it.effect("that is no moment fails, typed, before anything is run", () =>
    on((fake) =>
      Effect.gen(function* () {
        for (const instant of [new Date("x"), Number.NaN, undefined, "soon", null, {}]) {
          const reason = yield* reasonOf(Sql.withDeadline(instant as any)(Sql.query("a")))
          assert.strictEqual(reason._tag, "InvalidUse", String(instant))
        }
        assert.deepStrictEqual(texts(fake), [])
        const now = yield* Clock.currentTimeMillis
        for (const instant of [new Date(now + HOUR), now + HOUR, DateTime.unsafeMake(now + HOUR), Infinity]) {
          yield* Sql.withDeadline(instant)(Sql.query("a"))
        }
      })
    )
  )

  it.effect("that has passed ends waits at once, and sends no statement", () =>
    on((fake) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const exit = yield* played(Effect.exit(Sql.withDeadline(now - 1)(Sql.withTransaction(Sql.query("a")))))
        assert.include(["AcquireTimeout", "StatementTimeout"], tagOf(exit))
        assert.notInclude(texts(fake), "COMMIT")
      })
    )
  )

  it.effect("leaves a transaction whose clean-up it has cut short to the next statement", () =>
    on((fake) =>
      Effect.gen(function* () {
        yield* Sql.withConnection(
          Effect.gen(function* () {
            fake.answers.set("a", "hang")
            yield* Sql.withTransaction(Effect.zipRight(Sql.query("b"), Effect.timeoutOption(Sql.query("a"), 10))).pipe(
              Effect.exit,
              played
            )
            fake.answers.clear()
            assert.strictEqual((yield* Sql.query<{ connection: number }>("c"))[0]!.connection, 0)
          })
        )
        assert.deepStrictEqual(texts(fake), ["BEGIN", "b", "a", "ROLLBACK", "c"])
      })
    )
  )

  it.effect("is given to a packed read, and to every statement of a transaction", () => {
    const fake = FakeDriver.make()
    const untils: Array<readonly [string, number | undefined]> = []
    const driver: FakeDriver.Fake["driver"] = {
      ...fake.driver,
      execute: (connection, sql, params, mode, before, until) => {
        untils.push([sql, until])
        return fake.driver.execute(connection, sql, params, mode, before, until)
      },
      packing: {
        depth: 8,
        packs: (sql) => sql === "packed",
        admits: () => true,
        stalls: () => false,
        start: (_, { resume, sql, until }) => {
          untils.push([sql, until])
          resume(Effect.succeed([]))
        }
      }
    }
    return Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const { client } = yield* Sql.Sql
      yield* Sql.withDeadline(now + HOUR)(
        Effect.gen(function* () {
          yield* Sql.query("packed")
          yield* Sql.query("plain")
          yield* Sql.withTransaction({ commitTimeout: 5_000 })(
            Effect.zipRight(Sql.query("first"), Sql.withTransaction(Sql.query("second")))
          )
          yield* Effect.scoped(Effect.flatMap(client.reserve, (own) => own.executeRaw("reserved", [])))
        })
      )
      assert.deepStrictEqual(untils, [
        ["packed", HOUR],
        ["plain", HOUR],
        ["first", HOUR],
        ["SAVEPOINT sluice_1", HOUR],
        ["second", HOUR],
        ["RELEASE SAVEPOINT sluice_1", HOUR],
        ["COMMIT", 5_000],
        ["reserved", HOUR]
      ])
      yield* idle
    }).pipe(Effect.provide(layer({ driver })))
  })
})

describe("a COMMIT", () => {
  const run = (millis: number, options: Sql.TransactionOptions) => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      const exit = yield* Effect.fork(
        Effect.exit(Sql.withTransaction(options)(Effect.zipRight(Sql.query("a"), Effect.sleep(millis))))
      ).pipe(
        Effect.tap(() => advance(150, 5)),
        Effect.flatMap(Fiber.join)
      )
      yield* idle
      return { tag: Exit.isSuccess(exit) ? "written" : tagOf(exit), sent: texts(fake) }
    }).pipe(Effect.provide(layer(fake)))
  }

  it.effect("is not sent when its answer could not come in time: the transaction is rolled back", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* run(85, { timeout: 100 }), {
        tag: "StatementTimeout",
        sent: ["BEGIN", "a", "ROLLBACK"]
      })
      assert.deepStrictEqual(yield* run(75, { timeout: 100 }), { tag: "written", sent: ["BEGIN", "a", "COMMIT"] })
    })
  )

  it.effect("of a transaction that has very little time keeps a fifth of it", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* run(5, { timeout: 10 })).tag, "written")
      assert.strictEqual((yield* run(9, { timeout: 10 })).tag, "StatementTimeout")
    })
  )

  it.effect("is bounded by its own timeout however short that is", () =>
    Effect.map(run(0, { commitTimeout: 5 }), ({ tag }) => assert.strictEqual(tag, "written"))
  )

  it.effect("under a declared deadline is not sent either, when too little is left", () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const work = Sql.withTransaction(Effect.zipRight(Sql.query("a"), Effect.sleep(190)))
      const reason = yield* played(reasonOf(Sql.withDeadline(now + 200)(work)))
      assert.strictEqual(reason._tag, "StatementTimeout")
      assert.notInclude(texts(fake), "COMMIT")
      yield* idle
    }).pipe(Effect.provide(layer(fake)))
  })
})

describe("durations that are none", () => {
  it.effect("fail, typed, before anything is run", () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      const work = Sql.query("a")
      for (const value of [Number.NaN, -1, "soon", "-1 second", {}, null, [1, Number.NaN]] as ReadonlyArray<any>) {
        const around: Record<string, Effect.Effect<unknown, SqlError, Sql.Sql>> = {
          withAcquireTimeout: Sql.withAcquireTimeout(value)(work),
          withConnection: Sql.withConnection({ acquireTimeout: value })(work) as any,
          timeout: Sql.withTransaction({ timeout: value })(work) as any,
          commitTimeout: Sql.withTransaction({ commitTimeout: value })(work) as any
        }
        for (const [name, effect] of Object.entries(around)) {
          assert.strictEqual((yield* reasonOf(effect))._tag, "InvalidUse", `${name}: ${String(value)}`)
        }
      }
      for (const isolation of ["serializable; drop table x", "SERIALIZABLE", 1] as ReadonlyArray<any>) {
        const reason = yield* reasonOf(Sql.withTransaction({ isolation })(work))
        assert.strictEqual(reason._tag, "InvalidUse", String(isolation))
      }
      for (const given of [undefined, null, 5, {}] as ReadonlyArray<any>) {
        assert.strictEqual((yield* reasonOf(Sql.query(given)))._tag, "InvalidUse")
      }
      assert.deepStrictEqual(texts(fake), [])
      yield* idle
    }).pipe(Effect.provide(layer(fake)))
  })
})

describe("an acquire timeout of 0", () => {
  it.effect("takes only a connection that is free", () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      const now = Sql.withAcquireTimeout(0)(Sql.query("a"))
      yield* Sql.query("b")
      yield* now
      const { client } = yield* Sql.Sql
      const began = yield* Clock.currentTimeMillis
      const reason = yield* Effect.scoped(Effect.zipRight(client.reserve, played(reasonOf(now))))
      assert.strictEqual(reason._tag, "AcquireTimeout")
      assert.isAtMost((yield* Clock.currentTimeMillis) - began, 20)
      yield* now
      yield* idle
    }).pipe(Effect.provide(layer(fake, { pool: { maxSize: 1 } })))
  })
})

describe("a read", () => {
  it.effect(
    "that its replica does not serve gets the other half of its time on the primary, deadline or timeout",
    () => {
      const fake = FakeDriver.make()
      return Effect.gen(function* () {
        fake.answers.set("slow", "hang")
        const busy = yield* Effect.fork(Sql.read(Sql.query("slow")))
        for (let i = 0; i < 10; i++) yield* tick
        const read = Sql.read(Sql.query<{ host: string }>("a"))
        for (const around of [Sql.withAcquireTimeout("1 second"), Sql.withAcquireTimeout("1 minute")]) {
          const now = yield* Clock.currentTimeMillis
          const rows = yield* played(Sql.withDeadline(now + 1_000)(around(read)))
          assert.strictEqual(rows[0]!.host, "primary")
          const elapsed = (yield* Clock.currentTimeMillis) - now
          assert.isTrue(elapsed >= 500 && elapsed <= 540, `${elapsed} ms`)
        }
        const began = yield* Clock.currentTimeMillis
        yield* played(Sql.withAcquireTimeout(Duration.seconds(2))(read))
        assert.isAtLeast((yield* Clock.currentTimeMillis) - began, 1_000)
        yield* Fiber.interrupt(busy)
        fake.answers.clear()
        yield* idle
      }).pipe(Effect.provide(layer(fake, { replicas: ["replica"], pool: { maxSize: 1 } })))
    }
  )
})

describe("the control connection", () => {
  for (const step of [0, HOUR, -HOUR]) {
    it.scoped(`is bounded also where its caller cannot be interrupted, with a clock that steps ${step} ms`, () =>
      withWallClock((wall) =>
        Effect.gen(function* () {
          const fake = FakeDriver.make()
          const control = yield* Control.make(fake.driver, "host", BOUND, yield* Deadline.make)
          const run = (sql: string) => control.run((connection) => fake.driver.execute(connection, sql, [], "command"))
          fake.answers.set("STUCK", "hang")
          const stuck = yield* Effect.fork(Effect.uninterruptible(Effect.flip(run("STUCK"))))
          const connecting = yield* Effect.suspend(() => {
            fake.silent.add("silent")
            return Effect.flatMap(Deadline.make, (timers) => Control.make(fake.driver, "silent", BOUND, timers))
          })
          const silent = yield* Effect.fork(Effect.uninterruptible(Effect.flip(connecting.run(() => Effect.void))))
          yield* tick
          yield* wall.step(step)
          yield* advance(BOUND - 20)
          assert.deepStrictEqual([stuck.unsafePoll(), silent.unsafePoll()], [null, null])
          yield* advance(40)
          assert.include((yield* Fiber.join(stuck)).message, "no answer within 1000 ms")
          assert.include((yield* Fiber.join(silent)).message, "no answer within 1000 ms")
          yield* run("KILL")
          yield* wall.step(step)
          yield* advance(9_000)
          assert.strictEqual(control.stats().open, 1)
          yield* advance(2_000)
          assert.strictEqual(control.stats().open, 0)
        })
      )
    )
  }
})
