import type { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { Sql, SqlReason, SqlRetry } from "@sluice/sql"
import {
  Cause,
  Clock,
  Context,
  Effect,
  Either,
  Exit,
  Random,
  Schedule,
  ScheduleDecision,
  ScheduleIntervals,
  TestClock
} from "effect"
import * as Budget from "../src/internal/client/budget.js"
import * as Retry from "../src/internal/client/retry.js"
import { Totals } from "../src/internal/routing/totals.js"
import * as Options from "../src/internal/session/options.js"
import * as FakeDriver from "./support/fakeDriver.js"
import { clean, idle, layer, played, reasonOf } from "./support/sql.js"
import { withWallClock } from "./support/stepping.js"

const error = (tag: SqlReason.Tag, fields: Partial<SqlReason.Fields> = {}) =>
  SqlReason.toError(SqlReason.make(tag, fields), `${tag} happened`)

const unsent = () => error("ConnectionLost", { connection: "destroy", outcome: "none", retry: "always" })
const lost = () => error("ConnectionLost", { connection: "destroy", outcome: "unknown", retry: "idempotent" })
const lostInside = () => error("ConnectionLost", { connection: "destroy", outcome: "rolledBack", retry: "transaction" })
const serialization = () =>
  error("SerializationFailure", { outcome: "rolledBack", retry: "transaction", code: "40001" })

interface Given {
  readonly fake: FakeDriver.Fake
  readonly count: (text: string) => number
}

/** A body on a database in memory; afterwards the books must balance and no connection be in a transaction. */
const on = <A, E>(body: (given: Given) => Effect.Effect<A, E, Sql.Sql>) => {
  const fake = FakeDriver.make()
  const count = (text: string) => fake.log.filter((line) => line.endsWith(`: ${text}`)).length
  return Effect.gen(function* () {
    yield* body({ fake, count })
    yield* idle
    clean(fake)
  }).pipe(Effect.provide(layer(fake, { pool: { maxSize: 4 } })))
}

const fail = (fake: FakeDriver.Fake, text: string, times: number, make: () => SqlError) =>
  fake.failures.set(text, Array.from({ length: times }, make))

describe("the schedule", () => {
  /** When each run begins, in milliseconds, if none takes any time; `chance` 1: every pause is the longest possible. */
  const runs = (policy: SqlRetry.Policy, failure: unknown, repeatable?: boolean, chance = 0.999_999) =>
    Effect.gen(function* () {
      const at = [0]
      const schedule = SqlRetry.schedule(policy, { repeatable })
      let state = schedule.initial
      while (true) {
        yield* TestClock.setTime(at[at.length - 1]!)
        const [next, , decision] = yield* schedule.step(at[at.length - 1]!, failure, state)
        if (ScheduleDecision.isDone(decision)) return at
        at.push(ScheduleIntervals.start(decision.intervals))
        state = next
      }
    }).pipe(Effect.withRandom(Random.fixed([chance])))

  it.effect("three runs, with pauses of at most 25 and 50 milliseconds", () =>
    Effect.map(runs(SqlRetry.standard, unsent()), (at) => assert.deepStrictEqual(at, [0, 25, 75]))
  )

  it.effect("conflicts have five more runs, with pauses from 5 to 50 milliseconds", () =>
    Effect.map(runs(SqlRetry.standard, serialization()), (at) => assert.deepStrictEqual(at, [0, 5, 15, 35, 75, 125]))
  )

  it.effect("pauses grow to the cap and no further; the timeout begins no run after it", () =>
    Effect.gen(function* () {
      const capped = Either.getOrThrow(SqlRetry.make({ max: 9 }))
      const at = yield* runs(capped, unsent())
      assert.deepStrictEqual(
        at.map((time, i) => time - (at[i - 1] ?? 0)),
        [0, 25, 50, 100, 200, 400, 800, 1_000, 1_000]
      )
      const timed = Either.getOrThrow(SqlRetry.make({ max: 9, timeout: "300 millis" }))
      assert.lengthOf(yield* runs(timed, unsent()), 4)
    })
  )

  it.effect("pauses are spread from zero on, so that what failed together does not come back together", () =>
    Effect.gen(function* () {
      const pauses = yield* Effect.forEach([0, 0.2, 0.6], (chance) => runs(SqlRetry.standard, unsent(), false, chance))
      assert.deepStrictEqual(pauses, [
        [0, 0, 0],
        [0, 5, 15],
        [0, 15, 45]
      ])
    })
  )

  it.effect("disk and memory that are used up get the long pause at once", () =>
    Effect.map(
      runs(SqlRetry.standard, error("ResourceExhausted", { retry: "idempotent", outcome: "rolledBack" }), true),
      (at) => assert.deepStrictEqual(at, [0, 1_000, 2_000])
    )
  )
})

describe("a policy", () => {
  const policy = (options: SqlRetry.MatchOptions) => Either.getOrThrow(SqlRetry.fromMatch(options))

  it("goes by the class: what was not executed always, what was undone as a whole, what may be repeated only then, the rest never", () => {
    const rows: ReadonlyArray<readonly [SqlError, plain: boolean, repeatable: boolean]> = [
      [unsent(), true, true],
      [lost(), false, true],
      [lostInside(), true, true],
      [serialization(), true, true],
      [error("ResourceExhausted", { retry: "idempotent", outcome: "rolledBack" }), false, true],
      [error("UniqueViolation", { outcome: "rolledBack" }), false, false],
      [error("AcquireTimeout"), false, false],
      [error("CommitUnknown", { retry: "idempotent", outcome: "unknown" }), false, false],
      [error("LockTimeout", { retry: "transaction", outcome: "rolledBack", code: "55P03" }), false, false],
      [error("LockTimeout", { retry: "transaction", outcome: "rolledBack", code: "1205" }), true, true]
    ]
    for (const [failure, plain, repeatable] of rows) {
      assert.strictEqual(SqlRetry.allows(SqlRetry.standard, failure), plain, failure.message)
      assert.strictEqual(SqlRetry.allows(SqlRetry.standard, failure, { repeatable }), repeatable, failure.message)
    }
    assert.isFalse(SqlRetry.allows(SqlRetry.standard, new Error("not of ours"), { repeatable: true }))
  })

  it("matches tags, codes, parts of the message, and expressions; an unknown outcome only if repeatable", () => {
    const timeout = error("LockTimeout", { retry: "transaction", outcome: "rolledBack", code: "55P03" })
    for (const one of ["LockTimeout", "55P03", "happened", /^55/, /timeout/i, /HAPPENED$/gi]) {
      const matching = policy({ match: [one] })
      assert.isTrue(SqlRetry.allows(matching, timeout), String(one))
      assert.isTrue(SqlRetry.allows(matching, timeout), `${one}, a second time`)
      assert.isFalse(SqlRetry.allows(matching, error("Deadlock").cause))
    }
    assert.isFalse(SqlRetry.allows(policy({ match: ["Deadlock"] }), timeout))
    assert.isFalse(SqlRetry.allows(policy({ match: ["ConnectionLost"] }), lost()))
    assert.isTrue(SqlRetry.allows(policy({ match: ["ConnectionLost"] }), lost(), { repeatable: true }))
  })

  it("that cannot work is refused, with every problem", () => {
    const bad = SqlRetry.fromMatch({
      match: ["", 5 as never, "Deadlock"],
      max: 0,
      backoffBase: "nonsense" as never,
      backoffExponent: 0.5,
      timeout: 0
    })
    const problems = Either.isLeft(bad) ? bad.left.problems : []
    assert.lengthOf(problems, 6)
    for (const name of ["match[0]", "match[1]", "max", "backoffBase", "backoffExponent", "timeout"]) {
      assert.isTrue(
        problems.some((problem) => problem.startsWith(name)),
        name
      )
      assert.include(Either.isLeft(bad) ? bad.left.message : "", name)
    }
    assert.isTrue(Either.isLeft(SqlRetry.fromMatch({ match: [] })))
    assert.isTrue(Either.isLeft(SqlRetry.make({ max: 1.5 })))
    assert.isTrue(Either.isLeft(SqlRetry.make({ backoffBase: "2 seconds" })))
    assert.isTrue(Either.isRight(SqlRetry.make({ max: 100, backoffBase: 0, backoffExponent: 10, backoffCap: 0 })))
    assert.isTrue(Either.isRight(SqlRetry.make({ max: 1, backoffExponent: 1, timeout: 1 })))
  })
})

describe("the budget", () => {
  it("has ten retries to begin with, earns one in ten acquires, and saves a hundred", () => {
    let acquired = 0
    const budget = Budget.make(() => acquired, Budget.retries)
    const spend = () => {
      let n = 0
      while (budget.take()) n++
      return n
    }
    assert.strictEqual(spend(), 10)
    acquired += 9
    assert.strictEqual(spend(), 0)
    acquired += 1
    assert.strictEqual(spend(), 1)
    acquired += 1_000_000
    assert.strictEqual(spend(), 100)
  })

  it("that packed reads have which are held up begins with a thousand, and earns one in four acquires", () => {
    let acquired = 0
    const budget = Budget.make(() => acquired, Budget.held)
    for (let n = 0; n < 1_000; n++) assert.isTrue(budget.take())
    assert.isFalse(budget.take())
    acquired += 8
    assert.deepStrictEqual([budget.take(), budget.take(), budget.take()], [true, true, false])
  })

  it("spends one on everything that was lost with one connection", () => {
    const budget = Budget.make(() => 0, Budget.retries)
    const lost = [new Error("one"), new Error("another")]
    for (let n = 0; n < 100; n++) assert.isTrue(budget.take(lost[n % 2]))
    for (let n = 0; n < 8; n++) assert.isTrue(budget.take())
    assert.isFalse(budget.take())
    assert.isFalse(budget.take(new Error("a third")))
    assert.isTrue(budget.take(lost[0]))
  })

  it.effect("when it is used up a failure passes as it is, and says so; conflicts spend nothing", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        const atOnce = Either.getOrThrow(SqlRetry.make({ backoffBase: 0 }))
        for (let i = 0; i < 10; i++) {
          fail(fake, "a", 6, serialization)
          yield* played(Effect.exit(Sql.withTransaction({ retry: atOnce })(Sql.query("a"))))
        }
        assert.strictEqual(count("a"), 60)
        let denied = 0
        for (let i = 0; i < 40; i++) {
          fail(fake, "b", 3, unsent)
          const failure = yield* played(Effect.flip(Sql.query("b")))
          if (failure.message.includes("budget")) denied++
        }
        // Sixty acquires have earned six; what fails is acquired too, and earns a tenth of a retry.
        assert.isAtLeast(count("b"), 40 + 10 + 6)
        assert.isAtMost(count("b"), 40 + 10 + 6 + Math.ceil(count("b") / 10))
        assert.isAtLeast(denied, 20)
      })
    )
  )
})

describe("a statement", () => {
  it.effect("that was not executed is tried again unasked, three runs in all, and its failure says so", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        fail(fake, "a", 2, unsent)
        yield* played(Sql.query("a"))
        assert.strictEqual(count("a"), 3)
        fail(fake, "b", 9, unsent)
        const failure = yield* played(Effect.flip(Sql.query("b")))
        assert.strictEqual(count("b"), 3)
        assert.strictEqual(SqlReason.of(failure).attempts, 3)
        assert.include(failure.message, "after 3 attempts")
      })
    )
  )

  it.effect("whose answer was lost is tried again only where it reads or is idempotent", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        fail(fake, "plain", 1, lost)
        assert.strictEqual((yield* played(reasonOf(Sql.query("plain")))).attempts, 1)
        assert.strictEqual(count("plain"), 1)
        fail(fake, "write", 1, lost)
        yield* played(reasonOf(Sql.read(Sql.write(Sql.query("write")))))
        assert.strictEqual(count("write"), 1)
        fail(fake, "read", 1, lost)
        yield* played(Sql.read(Sql.query("read")))
        fail(fake, "idempotent", 1, lost)
        yield* played(Sql.idempotent(Sql.query("idempotent")))
        assert.deepStrictEqual([count("read"), count("idempotent")], [2, 2])
      })
    )
  )

  it.effect("that an earlier run may have executed is not told to be absent because a later run did nothing", () =>
    on(({ fake }) =>
      Effect.gen(function* () {
        const unreadable = () => error("ConnectionLost", { outcome: "executed", retry: "idempotent" })
        const a = Sql.query("a")
        const tellings = new Set<string>()
        const told = (runs: ReadonlyArray<() => SqlError>) =>
          Effect.gen(function* () {
            for (const around of [
              Sql.idempotent,
              (work: typeof a) => Sql.idempotent(Sql.retry(Either.getOrThrow(SqlRetry.make({ max: 3 })))(work))
            ]) {
              fake.failures.set(
                "a",
                runs.map((make) => make())
              )
              const { attempts, outcome, retry } = yield* played(reasonOf(around(a)))
              assert.strictEqual(attempts, 3)
              tellings.add(`${outcome}, ${retry}`)
            }
            const all = [...tellings]
            tellings.clear()
            return all
          })
        assert.deepStrictEqual(yield* told([lost, unsent, unsent]), ["unknown, idempotent"])
        assert.deepStrictEqual(yield* told([unsent, lost, unsent]), ["unknown, idempotent"])
        assert.deepStrictEqual(yield* told([unreadable, lost, unsent]), ["executed, idempotent"])
        assert.deepStrictEqual(yield* told([lost, unsent, () => error("SyntaxError")]), ["unknown, never"])
        assert.deepStrictEqual(yield* told([unsent, unsent, unsent]), ["none, always"])
      })
    )
  )

  it.effect("that lost a conflict, or that the server refused, is not tried again", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        for (const make of [serialization, () => error("UniqueViolation")]) {
          fail(fake, "a", 1, make)
          yield* played(reasonOf(Sql.idempotent(Sql.query("a"))))
        }
        assert.strictEqual(count("a"), 2)
      })
    )
  )

  it.effect("on a pinned connection, or in a transaction that is under way, is never tried again by itself", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        for (const around of [Sql.withConnection({}), Sql.withTransaction({})]) {
          fake.log.length = 0
          fail(fake, "a", 1, unsent)
          yield* played(reasonOf(around(Effect.zipRight(Sql.query("b"), Sql.read(Sql.idempotent(Sql.query("a")))))))
          assert.strictEqual(count("a"), 1)
        }
        fake.log.length = 0
        fail(fake, "a", 1, serialization)
        yield* played(reasonOf(Sql.withTransaction(Sql.query("a").pipe(Sql.retry()))))
        assert.strictEqual(count("a"), 1)
      })
    )
  )

  it.effect("is not tried again after the caller's deadline, or after the acquire timeout where there is none", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        fail(fake, "a", 9, unsent)
        const tried = Effect.withRandom(Sql.query("a"), Random.fixed([0.999_999]))
        // The pauses are 25 and 50 milliseconds.
        yield* played(reasonOf(Sql.withDeadline(now + 60)(tried)))
        assert.isAtMost(yield* Clock.currentTimeMillis, now + 80)
        assert.strictEqual(count("a"), 2)
        fail(fake, "a", 9, unsent)
        yield* played(reasonOf(Sql.withAcquireTimeout("60 millis")(tried)))
        assert.strictEqual(count("a"), 2 + 2)
      })
    )
  )
})

describe("Sql.retry", () => {
  it.effect("runs all of it again, and what it runs again is not tried again inside", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        fail(fake, "b", 9, unsent)
        const policy = Either.getOrThrow(SqlRetry.make({ max: 4 }))
        const reason = yield* played(reasonOf(Effect.zipRight(Sql.query("a"), Sql.query("b")).pipe(Sql.retry(policy))))
        assert.deepStrictEqual([count("a"), count("b"), reason.attempts], [4, 4, 4])
      })
    )
  )

  it.effect("an unknown outcome only when all of it reads or is idempotent", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        const work = Effect.zipRight(Sql.query("insert"), Sql.withConnection(Sql.read(Sql.query("read"))))
        fail(fake, "read", 1, lost)
        yield* played(reasonOf(work.pipe(Sql.retry())))
        assert.strictEqual(count("insert"), 1)
        fail(fake, "read", 1, lost)
        yield* played(work.pipe(Sql.retry(), Sql.idempotent))
        assert.strictEqual(count("insert"), 3)
      })
    )
  )
})

describe("what the program gives", () => {
  const patient = Either.getOrThrow(
    SqlRetry.make({ max: 100, timeout: "60 seconds", backoffBase: 50, backoffExponent: 1 })
  )

  it.effect("as a policy is obeyed as it stands: neither the acquire timeout nor the budget ends it", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        // Thirty retries are more than the budget has, and their pauses more than the acquire timeout.
        fail(fake, "a", 30, unsent)
        yield* played(Sql.withAcquireTimeout("100 millis")(Sql.retry(patient)(Sql.query("a"))))
        assert.strictEqual(count("a"), 31)
        fail(fake, "b", 30, unsent)
        yield* played(Sql.withAcquireTimeout("100 millis")(Sql.withTransaction({ retry: patient })(Sql.query("b"))))
        assert.strictEqual(count("b"), 31)
      })
    )
  )

  it.effect("spends the budget when it says so", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        const thrifty = Either.getOrThrow(SqlRetry.make({ max: 100, backoffBase: 1, budget: true }))
        fail(fake, "a", 99, unsent)
        const failure = yield* played(Effect.flip(Sql.retry(thrifty)(Sql.query("a"))))
        assert.include(failure.message, "budget")
        assert.isTrue(count("a") >= 11 && count("a") <= 13, `${count("a")} runs`)
      })
    )
  )

  it.effect("as a Schedule decides when and how often", () =>
    on(({ fake }) =>
      Effect.gen(function* () {
        const schedule = Schedule.spaced("300 millis").pipe(Schedule.intersect(Schedule.recurs(4)))
        for (const around of [Sql.retry(schedule), Sql.withTransaction({ retry: schedule })]) {
          const began = yield* Clock.currentTimeMillis
          const at: Array<number> = []
          const work = Effect.zipRight(
            Effect.tap(Clock.currentTimeMillis, (now) => Effect.sync(() => at.push(now - began))),
            Sql.query("a")
          )
          fail(fake, "a", 99, unsent)
          const reason = yield* played(reasonOf(around(work)))
          assert.deepStrictEqual([at.length, reason.attempts], [5, 5])
          for (const [i, ms] of at.entries()) {
            assert.isTrue(ms >= i * 300 && ms < i * 300 + 100, `run ${i + 1} after ${ms} ms`)
          }
        }
      })
    )
  )

  it.effect("as a Schedule does not run again what its reason forbids", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        const often = Schedule.recurs(9)
        const runs = (text: string, make: () => SqlError, around: typeof Sql.idempotent = (effect) => effect) =>
          Effect.gen(function* () {
            fake.log.length = 0
            fail(fake, text, 2, make)
            yield* played(Effect.exit(around(Sql.retry(often)(Sql.withConnection(Sql.query(text))))))
            fake.failures.clear()
            return count(text)
          })
        assert.strictEqual(yield* runs("a", unsent), 3)
        assert.strictEqual(yield* runs("a", serialization), 3)
        assert.strictEqual(yield* runs("a", () => error("UniqueViolation", { outcome: "rolledBack" })), 1)
        assert.strictEqual(yield* runs("a", lost), 1)
        assert.strictEqual(yield* runs("a", lost, Sql.idempotent), 3)
        assert.strictEqual(yield* runs("a", lost, Sql.read), 3)
        let bodies = 0
        const body = Effect.zipRight(
          Effect.sync(() => bodies++),
          Effect.fail("mine")
        )
        assert.deepStrictEqual(yield* Effect.exit(Sql.retry(often)(body)), Exit.fail("mine"))
        assert.strictEqual(bodies, 1)
        // Inside of a transaction nothing is run again.
        fake.log.length = 0
        fail(fake, "b", 1, lostInside)
        yield* played(
          Effect.exit(Sql.withTransaction(Effect.zipRight(Sql.query("a"), Sql.retry(often)(Sql.query("b")))))
        )
        assert.strictEqual(count("b"), 1)
        fail(fake, "COMMIT", 1, lost)
        const reason = yield* played(
          reasonOf(Sql.query("c").pipe(Sql.withTransaction({ retry: often }), Sql.retry(often), Sql.idempotent))
        )
        assert.deepStrictEqual([reason._tag, count("c")], ["CommitUnknown", 1])
      })
    )
  )

  it.effect("ends with a declared deadline, in the middle of a pause too", () =>
    on(({ fake }) =>
      Effect.gen(function* () {
        for (const given of [Schedule.spaced("300 millis"), patient]) {
          fail(fake, "a", 99, unsent)
          const now = yield* Clock.currentTimeMillis
          yield* played(reasonOf(Sql.withDeadline(now + 1_000)(Sql.retry(given)(Sql.query("a")))))
          assert.isAtMost(yield* Clock.currentTimeMillis, now + 1_040)
        }
      })
    )
  )

  it.effect("measures its time on the monotonic clock, whatever the wall clock does", () =>
    withWallClock((wall) =>
      on(({ fake }) =>
        Effect.gen(function* () {
          const timed = Either.getOrThrow(SqlRetry.make({ max: 100, backoffBase: 0, timeout: "1 second" }))
          const given: Record<
            string,
            (effect: Effect.Effect<unknown, SqlError, Sql.Sql>) => Effect.Effect<unknown, SqlError, Sql.Sql>
          > = {
            "a schedule": Sql.retry(Schedule.spaced("200 millis").pipe(Schedule.upTo("1 second"))),
            "a policy": Sql.retry(timed),
            "a policy as a plain schedule": Effect.retry(timed)
          }
          for (const [name, around] of Object.entries(given)) {
            for (const step of [3_600_000, -3_600_000]) {
              fake.failures.set("a", Array.from({ length: 999 }, unsent))
              let elapsed = 0
              let runs = 0
              const work = Effect.gen(function* () {
                // The clock is set once, in the middle.
                if (++runs === 2) yield* wall.step(step)
                yield* Effect.sleep("200 millis")
                elapsed += 200
                return yield* Sql.query("a").pipe(Sql.withConnection)
              })
              yield* played(Effect.exit(around(work)))
              assert.isTrue(runs >= 3 && elapsed <= 1_400, `${name}, ${step}: ${runs} runs in ${elapsed} ms`)
            }
          }
        })
      )
    )
  )

  it.effect("that is neither a policy nor a Schedule fails, typed, before anything is run", () =>
    on(({ fake }) =>
      Effect.gen(function* () {
        for (const given of ["yes", 5, {}, null, [], SqlRetry.make(), () => true] as ReadonlyArray<any>) {
          for (const around of [Sql.retry(given), Sql.withTransaction({ retry: given })] as const) {
            const failure = yield* Effect.flip(around(Sql.query("a")))
            assert.strictEqual(SqlReason.of(failure)._tag, "InvalidUse", String(given))
            if (Either.isEither(given)) assert.include(failure.message, "Either")
          }
        }
        assert.deepStrictEqual(fake.log, [])
        assert.isTrue(Either.isLeft(SqlRetry.make({ budget: "yes" as never })))
      })
    )
  )

  it.effect("as a policy is a Schedule, also for Effect.retry, which looks at the intent around it", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        const policy: SqlRetry.Policy = Either.getOrThrow(SqlRetry.make({ max: 4, backoffBase: 0 }))
        const schedule: Schedule.Schedule<number, unknown> = policy
        assert.isTrue(Schedule.isSchedule(policy))
        assert.deepStrictEqual([policy.max, policy.base, policy.budget], [4, 0, false])
        const runs = (make: () => SqlError, around: typeof Sql.read = (effect) => effect) =>
          Effect.gen(function* () {
            fake.log.length = 0
            fail(fake, "a", 99, make)
            yield* played(Effect.exit(around(Effect.retry(Sql.withConnection(Sql.query("a")), schedule))))
            return count("a")
          })
        assert.strictEqual(yield* runs(unsent), 4)
        assert.strictEqual(yield* runs(lost), 1)
        assert.strictEqual(yield* runs(lost, Sql.read), 4)
        // A schedule that is made of a policy keeps its judgement.
        fail(fake, "a", 99, unsent)
        fake.log.length = 0
        yield* played(Effect.exit(Sql.retry(Schedule.intersect(schedule, Schedule.recurs(1)))(Sql.query("a"))))
        assert.strictEqual(count("a"), 2)
      })
    )
  )
})

describe("a transaction", () => {
  it.effect("with retry runs again as a whole, at most five times more after a conflict; without it never", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        let bodies = 0
        const body = Effect.zipRight(
          Effect.sync(() => bodies++),
          Effect.zipRight(Sql.query("a"), Sql.withTransaction({ retry: true })(Sql.query("b")))
        )
        fail(fake, "b", 2, serialization)
        yield* played(Sql.withTransaction({ retry: true })(body))
        assert.deepStrictEqual([bodies, count("BEGIN"), count("a"), count("b"), count("COMMIT")], [3, 3, 3, 3, 1])
        fail(fake, "b", 99, serialization)
        const reason = yield* played(reasonOf(Sql.withTransaction({ retry: true })(body)))
        assert.strictEqual(reason.attempts, 6)
        assert.strictEqual(bodies, 9)
        yield* played(reasonOf(Sql.withTransaction(body)))
        assert.strictEqual(bodies, 10)
        fail(fake, "b", 2, lostInside)
        yield* played(Sql.withTransaction({ retry: true })(body))
        assert.strictEqual(bodies, 13)
      })
    )
  )

  it.effect(
    "whose BEGIN was lost is begun again unasked, under the same body; once a statement was executed, it is not",
    () =>
      on(({ count, fake }) =>
        Effect.gen(function* () {
          let bodies = 0
          const body = Effect.sync(() => bodies++).pipe(
            Effect.zipRight(Sql.query("a")),
            Effect.zipRight(Sql.query("b"))
          )
          fail(fake, "BEGIN", 2, lost)
          yield* played(Sql.withTransaction(body))
          assert.deepStrictEqual([count("BEGIN"), count("a"), bodies], [3, 1, 1])
          fail(fake, "b", 1, unsent)
          yield* played(reasonOf(Sql.withTransaction(body)))
          assert.strictEqual(bodies, 2)
        })
      )
  )

  it.effect("whose COMMIT got no answer is never run again", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        fail(fake, "COMMIT", 1, lost)
        const reason = yield* played(
          reasonOf(Sql.query("a").pipe(Sql.withTransaction({ retry: true }), Sql.retry(), Sql.idempotent))
        )
        assert.strictEqual(reason._tag, "CommitUnknown")
        assert.strictEqual(reason._tag === "CommitUnknown" && (yield* reason.verify), "unknown")
        assert.strictEqual(count("a"), 1)
      })
    )
  )

  it.effect("has a timeout for all of it: runs, pauses and rollback", () =>
    on(({ count, fake }) =>
      Effect.gen(function* () {
        const began = yield* Clock.currentTimeMillis
        const elapsed = Effect.map(Clock.currentTimeMillis, (now) => now - began)
        fake.answers.set("ROLLBACK", "hang")
        const sleeping = yield* played(
          reasonOf(Sql.withTransaction({ timeout: "1 second" })(Effect.zipRight(Sql.query("a"), Effect.never)))
        )
        assert.deepStrictEqual([sleeping._tag, sleeping.outcome], ["StatementTimeout", "rolledBack"])
        assert.isAtMost(yield* elapsed, 1_040)
        fake.answers.clear()
        fake.answers.set("hang", "hang")
        yield* played(reasonOf(Sql.withTransaction({ timeout: "1 second" })(Sql.query("hang"))))
        assert.isAtMost(yield* elapsed, 2_080)
        fake.answers.set("COMMIT", "hang")
        const late = yield* played(reasonOf(Sql.withTransaction({ timeout: "1 second" })(Sql.query("a"))))
        assert.strictEqual(late._tag, "CommitUnknown")
        assert.isAtMost(yield* elapsed, 3_120)
        fake.answers.clear()
        fail(fake, "b", 99, serialization)
        const forever = Either.getOrThrow(SqlRetry.make({ max: 100, backoffBase: 300, backoffExponent: 1 }))
        yield* played(reasonOf(Sql.withTransaction({ timeout: "1 second", retry: forever })(Sql.query("b"))))
        assert.isAtMost(yield* elapsed, 4_160)
        assert.isAbove(count("b"), 2)
        assert.isBelow(count("b"), 30)
        // A statement that finds the pinned connection in the transaction that ran out of time ends that first.
        fake.log.length = 0
        const pinned = Effect.zipRight(
          Effect.ignore(Sql.withTransaction({ timeout: "1 second" })(Effect.zipRight(Sql.query("c"), Effect.never))),
          Sql.query("d")
        )
        yield* played(Sql.withConnection(pinned))
        assert.deepStrictEqual(
          fake.log.map((line) => line.replace(/^\d+: /, "")),
          ["BEGIN", "c", "ROLLBACK", "d"]
        )
      })
    )
  )

  it.effect("that got no connection is begun again; one whose body passes on such a failure of another is not", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      const retrying = Retry.make({ targets: [], totals: new Totals(), acquireTimeout: 1_000, timers } as any)
      const full = error("TooManyConnections", { connection: "none", retry: "always" })
      for (const given of [{}, { timeout: "1 second" }] as const) {
        let runs = 0
        const options = Either.getOrThrow(Options.decode(given))
        const runsOf = (fails: (call: Options.Call) => void) => {
          const call = Options.call(options, Deadline.never, timers.now)
          const once = Effect.suspend(() => {
            runs++
            fails(call)
            return Effect.fail(full)
          })
          return retrying.transaction(Context.empty(), false, call, once)
        }
        yield* played(Effect.exit(runsOf((call) => Options.markNotBegun(full, call))))
        assert.strictEqual(runs, 3)
        runs = 0
        yield* played(Effect.exit(runsOf(() => {})))
        assert.strictEqual(runs, 1)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("the failure of its body is nobody's to retry", () =>
    on(({ count }) =>
      Effect.gen(function* () {
        const exit = yield* played(
          Effect.exit(Sql.withTransaction({ retry: true })(Effect.zipRight(Sql.query("a"), Effect.fail("mine"))))
        )
        assert.deepStrictEqual(exit, Exit.fail("mine"))
        const died = yield* played(Effect.exit(Sql.withTransaction({ retry: true })(Effect.die("bug"))))
        assert.isTrue(Exit.isFailure(died) && Cause.isDie(died.cause))
        assert.strictEqual(count("a"), 1)
      })
    )
  )
})
