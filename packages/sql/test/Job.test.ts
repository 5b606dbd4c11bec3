/**
 * Background work on the pool of the requests. What a run comes to, by what its effect does:
 *
 * | the effect | outcome | the log says, the first time |
 * | --- | --- | --- |
 * | succeeds | succeeded | nothing; after failures that it works again |
 * | fails | failed | WARN, with the failure |
 * | has a defect | died | ERROR, with the cause |
 * | takes longer than the timeout | timedOut | WARN |
 * | interrupts itself | interrupted | WARN |
 *
 * and none of these ends the schedule.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { CurrentAcquireTimeout } from "@sluice/pool/PoolOptions"
import { CurrentPriority } from "@sluice/pool/Priority"
import { Job, Sql } from "@sluice/sql"
import { DateTime, Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Schedule, Scope, TestClock } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { advance, clean, idle, layer as on, texts, tick } from "./support/sql.js"

interface Line {
  readonly level: string
  readonly text: string
}

interface Rig {
  readonly fake: FakeDriver.Fake
  readonly lines: Array<Line>
}

/** Job and pool are in the context of `body`. The books are checked after it, and again after the Layers have closed. */
const withJob = <A, E, R, RS, A2, E2>(
  options: Omit<Job.Options<RS>, "name"> & { readonly name?: string },
  effect: (rig: Rig) => Effect.Effect<A, E, R>,
  body: (rig: Rig) => Effect.Effect<A2, E2, Job.Jobs | Sql.Sql>,
  pool: Parameters<typeof on>[1] = {}
) =>
  Effect.suspend(() => {
    const rig: Rig = { fake: FakeDriver.make(), lines: [] }
    const jobs = Job.layer({ name: "sync", ...options }, effect(rig))
    return body(rig).pipe(
      Effect.zipLeft(idle),
      Effect.provide(Layer.provideMerge(jobs, on(rig.fake, pool)) as Layer.Layer<Job.Jobs | Sql.Sql, Job.InvalidJob>),
      Effect.zipLeft(Effect.sync(() => clean(rig.fake))),
      Effect.provide(logged(rig.lines))
    )
  })

const logged = (lines: Array<Line>) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ logLevel, message }) => {
      lines.push({ level: logLevel.label, text: String((message as ReadonlyArray<unknown>)[0]) })
    })
  )

const sync = Job.status("sync")

const everySecond = Schedule.spaced("1 second")

/** Milliseconds of the test clock. */
const millisOf = (at: DateTime.Utc | undefined) => at && DateTime.toEpochMillis(at)

describe("a job", () => {
  it.effect("is run when its schedule says so, and tells what it has done and when it is due next", () =>
    withJob(
      { schedule: everySecond },
      () => Sql.query("work"),
      ({ fake, lines }) =>
        Effect.gen(function* () {
          yield* advance(900)
          const before = yield* sync
          assert.deepStrictEqual([texts(fake), before.runs, before.last], [[], 0, undefined])
          assert.deepStrictEqual([before.schedule, millisOf(before.nextAt)], ["active", 1_000])
          yield* advance(3_200)
          assert.deepStrictEqual(texts(fake), ["work", "work", "work", "work"])
          const after = yield* sync
          assert.deepStrictEqual([after.runs, after.failures, after.skipped], [4, 0, 0])
          assert.deepStrictEqual([after.last?.outcome, millisOf(after.last?.at)], ["succeeded", 4_000])
          assert.deepStrictEqual([after.running, millisOf(after.nextAt)], [undefined, 5_000])
          assert.deepStrictEqual(lines, [])
        })
    )
  )

  it.effect(
    "is of class background and waits a second for a connection, unless its options or its effect say otherwise",
    () => {
      const seen: Array<unknown> = []
      const look = Effect.zipWith(CurrentPriority, CurrentAcquireTimeout, (priority, acquireTimeout) =>
        seen.push([priority, acquireTimeout && Duration.toMillis(acquireTimeout)])
      )
      return Effect.gen(function* () {
        yield* withJob(
          { schedule: everySecond },
          () => look,
          () => advance(1_000)
        )
        yield* withJob(
          { schedule: everySecond, priority: "low", acquireTimeout: "7 seconds" },
          () => Effect.zipRight(look, Sql.withPriority("high")(Sql.withAcquireTimeout(5)(look))),
          () => advance(1_000)
        )
        assert.deepStrictEqual(seen, [
          ["background", 1_000],
          ["low", 7_000],
          ["high", 5]
        ])
      })
    }
  )

  it.effect("comes after requests that have asked later, and fails when it gets no connection within a second", () =>
    withJob(
      { schedule: everySecond },
      () => Sql.query("work"),
      ({ fake, lines }) =>
        Effect.gen(function* () {
          const release = yield* Deferred.make<void>()
          const holder = yield* Effect.fork(
            Sql.withConnection(Effect.zipRight(Sql.query("hold"), Deferred.await(release)))
          )
          yield* advance(1_100)
          assert.strictEqual((yield* Sql.stats).write.waiting, 1)
          const request = yield* Effect.fork(Sql.withTransaction(Sql.query("request")))
          yield* tick
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(holder)
          yield* Fiber.join(request)
          yield* advance(100)
          assert.deepStrictEqual(texts(fake), ["hold", "BEGIN", "request", "COMMIT", "work"])

          const again = yield* Effect.fork(Sql.withConnection(Effect.zipRight(Sql.query("hold"), Effect.never)))
          yield* advance(2_000)
          const { last } = yield* sync
          assert.deepStrictEqual([last?.outcome, Math.round(last!.elapsedMs)], ["failed", 1_000])
          assert.match(last!.failure!, /no connection within 1000 ms/)
          assert.match(lines[0]!.text, /^job "sync" has failed: .*no connection within 1000 ms/)
          yield* Fiber.interrupt(again)
        }),
      { pool: { maxSize: 1 } }
    )
  )

  it.effect("is named in the errors of others that wait for the connection it holds", () =>
    withJob(
      { schedule: everySecond },
      () => Sql.withConnection(Effect.zipRight(Sql.query("work"), Effect.sleep("2 seconds"))),
      () =>
        Effect.gen(function* () {
          yield* advance(1_000)
          const request = yield* Effect.fork(Effect.flip(Sql.withAcquireTimeout("500 millis")(Sql.query("request"))))
          yield* advance(600)
          assert.match((yield* Fiber.join(request)).message, /in span "sync"/)
          yield* advance(1_500)
        }),
      { pool: { maxSize: 1 } }
    )
  )
})

describe("a job that is due while it runs", () => {
  it.effect("is not run twice at once: the run is skipped, counted, and said once", () =>
    withJob(
      { schedule: everySecond },
      () => Effect.sleep("2500 millis"),
      ({ lines }) =>
        Effect.gen(function* () {
          yield* advance(2_100)
          const { running, skipped } = yield* sync
          assert.deepStrictEqual([skipped, millisOf(running?.at), running?.elapsedMs], [1, 1_000, 1_100])
          yield* advance(6_000)
          const after = yield* sync
          // Begun at 1, 4 and 7 seconds; due in vain at 2, 3, 5, 6 and 8.
          assert.deepStrictEqual([after.runs, after.skipped, millisOf(after.running?.at)], [2, 5, 7_000])
          assert.lengthOf(lines, 1)
          assert.strictEqual(lines[0]!.level, "WARN")
          assert.match(lines[0]!.text, /^job "sync" was due while it was still running, since 1000 ms: /)
        })
    )
  )

  it.effect('with overlap "wait" it begins right after, and several that are due meanwhile are one', () =>
    withJob(
      { schedule: everySecond, overlap: "wait" },
      () => Effect.sleep("2500 millis"),
      ({ lines }) =>
        Effect.gen(function* () {
          yield* advance(3_600)
          const { running, runs, skipped } = yield* sync
          assert.deepStrictEqual([runs, skipped, millisOf(running?.at)], [1, 0, 3_500])
          // A run is owed since 4 seconds.
          yield* advance(500)
          yield* Job.pause("sync")
          yield* advance(2_600)
          assert.deepStrictEqual([(yield* sync).runs, (yield* sync).running, lines], [2, undefined, []])
        })
    )
  )

  it.effect("by a schedule without pauses is run again when it has ended, and lets others run meanwhile", () =>
    Effect.gen(function* () {
      yield* withJob(
        { schedule: Schedule.forever },
        () => Effect.sleep("1 second"),
        () =>
          Effect.gen(function* () {
            yield* advance(5_050)
            const { runs, skipped } = yield* sync
            assert.deepStrictEqual([runs, skipped], [5, 0])
          })
      )
      yield* withJob(
        { schedule: Schedule.forever },
        () => Effect.void,
        () =>
          Effect.gen(function* () {
            yield* advance(20, 1)
            assert.isAtMost((yield* sync).runs, 21)
            yield* Job.pause("sync")
            yield* advance(20, 1)
          })
      )
    })
  )

  it.effect("after its timeout it is stopped, and no other run begins before it has really ended", () =>
    withJob(
      { schedule: everySecond, timeout: "1500 millis" },
      () => Effect.uninterruptible(Effect.sleep("3 seconds")),
      ({ lines }) =>
        Effect.gen(function* () {
          yield* advance(3_900)
          assert.deepStrictEqual([(yield* sync).runs, (yield* sync).skipped], [0, 2])
          yield* advance(200)
          const { last, runs, timeouts } = yield* sync
          assert.deepStrictEqual([runs, timeouts, last?.outcome], [1, 1, "timedOut"])
          assert.strictEqual(last?.failure, "not done within 1500 ms")
          assert.match(
            lines[1]!.text,
            /^job "sync" was stopped, because it was not done within its timeout of 1500 ms\./
          )
          yield* Job.pause("sync")
          yield* advance(4_000)
        })
    )
  )
})

describe("a run that does not succeed", () => {
  const answers: ReadonlyArray<Effect.Effect<unknown, Error>> = [
    Effect.void,
    Effect.fail(new Error("out of paper")),
    Effect.fail(new Error("out of ink")),
    Effect.die(new Error("on fire")),
    Effect.void,
    Effect.die(new Error("on fire")),
    Effect.interrupt,
    Effect.void
  ]

  it.effect("does not end the schedule; only changes are said, and everything is counted", () => {
    let next = 0
    return withJob(
      { schedule: everySecond },
      () => Effect.suspend(() => answers[next++]!),
      ({ lines }) =>
        Effect.gen(function* () {
          yield* advance(7_100)
          const { failures, failuresInARow, last, runs } = yield* sync
          assert.deepStrictEqual([runs, failures, failuresInARow], [7, 5, 2])
          assert.deepStrictEqual([last?.outcome, last?.failure], ["interrupted", "it was interrupted"])
          yield* advance(1_000)
          assert.deepStrictEqual([(yield* sync).failuresInARow, (yield* sync).runs], [0, 8])
          assert.deepStrictEqual(
            lines.map(({ level, text }) => `${level} ${text.split(". ")[0]}`),
            [
              'WARN job "sync" has failed: out of paper',
              'INFO job "sync" works again, after 3 runs that failed',
              'ERROR job "sync" has failed with a defect: on fire',
              'INFO job "sync" works again, after 2 runs that failed'
            ]
          )
          yield* Job.pause("sync")
        })
    )
  })

  it.effect("because of its timeout cancels its statement on the server, and gives the connection back", () =>
    withJob(
      { schedule: everySecond, timeout: "500 millis" },
      () => Sql.query("work"),
      ({ fake }) =>
        Effect.gen(function* () {
          fake.answers.set("work", "hang")
          yield* advance(1_700)
          assert.deepStrictEqual([(yield* sync).last?.outcome, fake.aborts], ["timedOut", 1])
          yield* idle
          fake.answers.clear()
          yield* advance(500)
          assert.strictEqual((yield* sync).last?.outcome, "succeeded")
        })
    )
  )

  it.effect("because of its timeout ends its statement also where it cannot be interrupted", () =>
    withJob(
      { schedule: everySecond, timeout: "500 millis" },
      () => Effect.uninterruptible(Sql.query("work")),
      ({ fake }) =>
        Effect.gen(function* () {
          fake.answers.set("work", "hang")
          yield* advance(1_700)
          const { last, timeouts } = yield* sync
          assert.deepStrictEqual([last?.outcome, timeouts], ["timedOut", 1])
          fake.answers.clear()
          yield* advance(3_000)
        })
    )
  )
})

describe("Job.runNow", () => {
  it.effect("runs the job beside its schedule, and gives how the run has ended", () => {
    let fails = false
    return withJob(
      { schedule: Schedule.spaced("1 minute") },
      () =>
        Effect.suspend((): Effect.Effect<unknown, unknown, Sql.Sql> => (fails ? Effect.fail("no") : Sql.query("work"))),
      ({ fake }) =>
        Effect.gen(function* () {
          const run = yield* Job.runNow("sync")
          assert.deepStrictEqual([run.outcome, run.failure, texts(fake)], ["succeeded", undefined, ["work"]])
          fails = true
          assert.deepStrictEqual((yield* Job.runNow("sync")).failure, "no")
          assert.strictEqual(millisOf((yield* sync).nextAt), 60_000)
        })
    )
  })

  it.effect("awaits the run that is under way instead of beginning another one", () =>
    withJob(
      { schedule: everySecond },
      () => Effect.sleep("500 millis"),
      () =>
        Effect.gen(function* () {
          yield* advance(1_200)
          const callers = yield* Effect.forkAll([Job.runNow("sync"), Job.runNow("sync")])
          yield* advance(400)
          for (const { at } of yield* Fiber.join(callers)) assert.strictEqual(millisOf(at), 1_000)
          assert.strictEqual((yield* sync).runs, 1)
        })
    )
  )

  it.effect("goes on when its caller is interrupted", () =>
    withJob(
      { schedule: Schedule.spaced("1 minute") },
      () => Effect.sleep("500 millis"),
      () =>
        Effect.gen(function* () {
          const caller = yield* Effect.fork(Job.runNow("sync"))
          yield* tick
          yield* Fiber.interrupt(caller)
          yield* advance(600)
          assert.strictEqual((yield* sync).last?.outcome, "succeeded")
        })
    )
  )

  it.effect("takes nothing of its caller along: neither transaction nor deadline nor priority", () => {
    const seen: Array<unknown> = []
    return withJob(
      { schedule: Schedule.spaced("1 minute") },
      () =>
        Effect.zipRight(
          Effect.zipWith(CurrentPriority, Deadline.CurrentDeadline, (...both) => seen.push(both)),
          Sql.query("work")
        ),
      ({ fake }) =>
        Effect.gen(function* () {
          yield* Sql.withTransaction(Effect.zipRight(Sql.query("mine"), Job.runNow("sync"))).pipe(
            Sql.withPriority("high"),
            Deadline.within("3 seconds")
          )
          assert.deepStrictEqual(seen, [["background", Deadline.never]])
          assert.sameMembers(fake.log, ["0: BEGIN", "0: mine", "1: work", "0: COMMIT"])
        })
    )
  })

  it.effect("gives the run that the end of the Layer has interrupted", () =>
    Effect.gen(function* () {
      const fake = FakeDriver.make()
      fake.answers.set("work", "hang")
      const scope = yield* Scope.make()
      const jobs = Job.layer({ name: "sync", schedule: Schedule.spaced("1 minute") }, Sql.query("work"))
      const context = yield* Layer.buildWithScope(Layer.provideMerge(jobs, on(fake)), scope)
      const caller = yield* Effect.fork(Effect.provide(Job.runNow("sync"), context))
      while (texts(fake).length === 0) yield* tick
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(caller)).outcome, "interrupted")
      const gone = yield* Effect.flip(Effect.provide(Job.runNow("sync"), context))
      assert.strictEqual(gone.message, 'there is no job "sync": there is none')
      clean(fake)
    })
  )
})

describe("the schedule of a job", () => {
  it.effect("begins no run while it is paused; the run under way goes on, and nothing is made up for later", () =>
    withJob(
      { schedule: everySecond },
      () => Effect.sleep("500 millis"),
      () =>
        Effect.gen(function* () {
          yield* advance(1_100)
          yield* Job.pause("sync")
          yield* advance(5_000)
          const paused = yield* sync
          assert.deepStrictEqual([paused.schedule, paused.runs, paused.skipped], ["paused", 1, 0])
          assert.deepStrictEqual([paused.nextAt, paused.last?.outcome], [undefined, "succeeded"])
          assert.strictEqual(
            (yield* Effect.fork(Job.runNow("sync")).pipe(Effect.zipLeft(advance(600)), Effect.flatMap(Fiber.join)))
              .outcome,
            "succeeded"
          )
          yield* Job.resume("sync")
          yield* advance(1_000)
          assert.deepStrictEqual([(yield* sync).schedule, (yield* sync).runs], ["active", 3])
          yield* advance(1_000)
          assert.strictEqual((yield* sync).runs, 4)
        })
    )
  )

  it.effect("that ends says so, in the status and in the log, and the job can still be run", () =>
    withJob(
      { schedule: Schedule.intersect(everySecond, Schedule.recurs(2)) },
      () => Effect.void,
      ({ lines }) =>
        Effect.gen(function* () {
          yield* advance(5_000)
          const { nextAt, runs, schedule } = yield* sync
          assert.deepStrictEqual([schedule, runs, nextAt], ["ended", 2, undefined])
          assert.deepStrictEqual(lines, [{ level: "INFO", text: 'the schedule of job "sync" has ended, after 2 runs' }])
          assert.strictEqual((yield* Job.runNow("sync")).outcome, "succeeded")
        })
    )
  )

  it.effect("that has a defect ends, which is logged as an error", () =>
    withJob(
      { schedule: Schedule.tapOutput(everySecond, () => Effect.die(new Error("no calendar"))) },
      () => Effect.void,
      ({ lines }) =>
        Effect.gen(function* () {
          yield* advance(2_000)
          assert.strictEqual((yield* sync).schedule, "ended")
          assert.deepStrictEqual(
            lines.map(({ level, text }) => [level, text.split(".")[0]]),
            [["ERROR", 'the schedule of job "sync" has failed: no calendar']]
          )
        })
    )
  )

  it.effect("may be a calendar, and the jitter begins each run a little later than it says", () => {
    const begun: Array<number> = []
    return withJob(
      { schedule: Schedule.cron("* * * * *"), jitter: "20 seconds" },
      () => Effect.clockWith((clock) => Effect.sync(() => begun.push(clock.unsafeCurrentTimeMillis()))),
      () =>
        Effect.gen(function* () {
          yield* advance(390_000, 1_000)
          const late = begun.map((at) => at % 60_000)
          assert.deepStrictEqual(
            begun.map((at) => Math.floor(at / 60_000)),
            [1, 2, 3, 4, 5, 6]
          )
          assert.isAtMost(Math.max(...late), 20_000)
          assert.isAbove(new Set(late).size, 1)
        })
    )
  })
})

describe("the jobs of a program", () => {
  const hourly = Schedule.spaced("1 hour")

  it.effect(
    "are found by their names, wherever their Layers stand; a wrong name is told, with the one that was meant",
    () => {
      const jobs = Layer.merge(
        Job.layer({ name: "sync", schedule: hourly }, Effect.void),
        Layer.merge(Job.layer({ name: "sweep", schedule: hourly }, Effect.void), Layer.empty)
      )
      return Effect.gen(function* () {
        assert.sameMembers(
          (yield* Job.list).map(({ name }) => name),
          ["sync", "sweep"]
        )
        for (const verb of [Job.status, Job.runNow, Job.pause, Job.resume]) {
          const error = yield* Effect.flip(verb("snyc") as Effect.Effect<unknown, Job.UnknownJob, Job.Jobs>)
          assert.strictEqual(error._tag, "UnknownJob")
          assert.strictEqual(error.message, 'there is no job "snyc": did you mean "sync"?')
        }
        assert.match(
          (yield* Effect.flip(Job.status("mail"))).message,
          /^there is no job "mail": there are "sync", "sweep"$/
        )
      }).pipe(Effect.provide(jobs))
    }
  )

  it.effect("have names that no two of them share", () =>
    Effect.gen(function* () {
      let runs = 0
      const work = Effect.sync(() => runs++)
      const twice = Layer.merge(
        Job.layer({ name: "sync", schedule: Schedule.forever }, work),
        Job.layer({ name: "sync", schedule: Schedule.forever }, work)
      )
      const error = yield* Effect.flip(Effect.scoped(Layer.build(twice)))
      assert.strictEqual(error._tag, "InvalidJob")
      assert.strictEqual(error.message, 'Job.layer: job "sync" is invalid: name is that of another job of this program')
      // Another program may have a job of this name, and so may the same one after the first has ended.
      const one = Job.layer({ name: "sync", schedule: hourly }, work)
      yield* Effect.scoped(Layer.build(one))
      yield* Effect.scoped(Layer.build(one))
    })
  )

  it.effect("are refused with every problem when their options cannot work, and nothing is run", () => {
    const cases: ReadonlyArray<readonly [unknown, ReadonlyArray<RegExp>]> = [
      [{}, [/^name is missing$/, /^schedule is missing$/]],
      [undefined, [/^the options must be an object, and is undefined$/]],
      [
        {
          name: " ",
          schedule: "5 seconds",
          timeout: 0,
          priority: "urgent",
          acquireTimeout: -1,
          overlap: "queue",
          jitter: Number.NaN
        },
        [
          /^name must be a text of 1 to 200 characters/,
          /^schedule must be a Schedule, such as Schedule.spaced or Schedule.cron, and is "5 seconds"$/,
          /^timeout must be a duration from 1 millisecond to 7 days, and is 0$/,
          /^priority must be one of "critical", "high", "normal", "low", "background", and is "urgent"$/,
          /^acquireTimeout must be a duration from 0 to 1 hour, and is -1$/,
          /^overlap must be one of "skip", "wait", and is "queue"$/,
          /^jitter must be a duration from 0 to 1 day, and is NaN$/
        ]
      ],
      [
        { name: "x".repeat(201), schedule: hourly, timeout: "8 days", acquireTimeout: "2 hours", jitter: "25 hours" },
        [/^name must be/, /^timeout must be/, /^acquireTimeout must be/, /^jitter must be/]
      ],
      [
        { name: "sync", schedule: hourly, cron: "* * * * *", retries: 3, timeOut: "1 second" },
        [
          /^cron is no option here: use schedule: Schedule.cron$/,
          /^retries is no option here: use Sql.retry inside of the effect$/,
          /^timeOut is no option here: did you mean timeout\?$/
        ]
      ]
    ]
    return Effect.gen(function* () {
      for (const [options, expected] of cases) {
        const layer = Job.layer(options as Job.Options, Effect.die("it was run"))
        const { problems } = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.strictEqual(problems.length, expected.length, problems.join("\n"))
        for (const [i, problem] of problems.entries()) assert.match(problem, expected[i]!)
      }
      const noEffect = Job.layer(
        { name: "sync", schedule: hourly },
        (() => Effect.void) as unknown as Effect.Effect<void>
      )
      assert.deepStrictEqual((yield* Effect.flip(Effect.scoped(Layer.build(noEffect)))).problems, [
        "the second argument must be the effect of the job, and is a function"
      ])
    })
  })

  it.effect("take both ends of each range", () =>
    Effect.forEach(
      [
        { timeout: 1, acquireTimeout: 0, jitter: 0 },
        { timeout: "7 days", acquireTimeout: "1 hour", jitter: "1 day" }
      ] as const,
      (ends) => Effect.scoped(Layer.build(Job.layer({ name: "x", schedule: hourly, ...ends }, Effect.void)))
    )
  )
})

describe("the end of a program", () => {
  it.effect("interrupts the run under way: its transaction is rolled back and its connection comes back", () =>
    Effect.gen(function* () {
      const fake = FakeDriver.make()
      fake.answers.set("work", "hang")
      const lines: Array<Line> = []
      yield* Effect.gen(function* () {
        const sql = yield* Sql.Sql
        const scope = yield* Scope.make()
        const jobs = Job.layer({ name: "sync", schedule: everySecond }, Sql.withTransaction(Sql.query("work")))
        yield* Layer.buildWithScope(jobs, scope)
        yield* advance(1_100)
        assert.strictEqual((yield* sql.stats).write.using, 1)
        yield* Scope.close(scope, Exit.void)
        yield* idle
        assert.strictEqual(fake.aborts, 1)
        assert.deepStrictEqual(lines, [])
        yield* advance(5_000)
        assert.lengthOf(
          texts(fake).filter((text) => text === "work"),
          1
        )
      }).pipe(Effect.provide(on(fake)), Effect.provide(logged(lines)))
      clean(fake)
    })
  )

  it.effect(
    "waits neither for the next time of the schedule nor for the run, also where the Layer was built uninterruptibly",
    () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const job = Job.layer({ name: "sync", schedule: everySecond }, Effect.never)
        yield* Effect.uninterruptible(Layer.buildWithScope(job, scope))
        yield* advance(1_100)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        for (let i = 0; i < 10; i++) yield* tick
        assert.isNotNull(closing.unsafePoll())
      })
  )

  it.effect("begins no run any more, not even one that is owed", () =>
    Effect.gen(function* () {
      let begun = 0
      const scope = yield* Scope.make()
      const work = Effect.zipRight(
        Effect.sync(() => begun++),
        Effect.never
      )
      yield* Layer.buildWithScope(Job.layer({ name: "sync", schedule: everySecond, overlap: "wait" }, work), scope)
      yield* advance(2_100)
      yield* Scope.close(scope, Exit.void)
      yield* advance(3_000)
      assert.strictEqual(begun, 1)
    })
  )

  it.effect("waits five seconds for a run that cannot be interrupted, says so, and goes on", () =>
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const scope = yield* Scope.make()
      const stuck = Job.layer({ name: "sync", schedule: everySecond }, Effect.uninterruptible(Effect.sleep("1 minute")))
      yield* Effect.gen(function* () {
        yield* Layer.buildWithScope(stuck, scope)
        yield* advance(1_100)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* advance(4_900)
        assert.isNull(closing.unsafePoll())
        yield* advance(200)
        assert.isNotNull(closing.unsafePoll())
        yield* TestClock.adjust("1 minute")
      }).pipe(Effect.provide(logged(lines)))
      assert.match(lines[0]!.text, /^job "sync" was still running 5000 ms after it was interrupted\./)
    })
  )
})
