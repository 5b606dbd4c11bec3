/** Jobs on real servers: their statements share the pool with requests, and none of them outlives its run. */
import { assert } from "@effect/vitest"
import { Job, Sql } from "@sluice/sql"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Schedule, Scope } from "effect"
import { unique } from "./contract.js"
import { atOnce, booksBalance, eventually, executing, nothingRuns, ours, rowsOf, table } from "./ours.js"

const never = Schedule.spaced("1 hour")

/** What the log says is told by the tests of the package. */
const quiet = Logger.replace(Logger.defaultLogger, Logger.none)

ours("jobs", ({ end, insert, it, onPool, sleep }) => {
  it.effect("a run waits behind requests that have come later, on the one pool of the program", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const name = unique("jobs")
        const order: Array<string> = []
        const note = (who: string) => Effect.sync(() => order.push(who))
        yield* table(name, "id integer")
        yield* Effect.gen(function* () {
          const [held, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const holder = yield* Effect.fork(
            Sql.withTransaction(
              insert(name, 0).pipe(
                Effect.zipRight(Deferred.succeed(held, undefined)),
                Effect.zipRight(Deferred.await(release))
              )
            )
          )
          yield* Deferred.await(held)
          const waiting = (n: number) =>
            eventually(
              `${n} wait`,
              Effect.map(Sql.stats, ({ write }) => write.waiting === n)
            )
          const run = yield* Effect.fork(Job.runNow("sync"))
          yield* waiting(1)
          const requests = yield* Effect.forkAll(
            [2, 3, 4].map((id) => Effect.zipRight(Sql.withTransaction(insert(name, id)), note(`request ${id}`)))
          )
          yield* waiting(4)
          yield* Deferred.succeed(release, undefined)
          yield* Fiber.join(holder)
          yield* Fiber.join(requests)
          assert.strictEqual((yield* Fiber.join(run)).outcome, "succeeded")
          assert.deepStrictEqual(order, ["request 2", "request 3", "request 4", "job"])
          assert.deepStrictEqual(yield* rowsOf(name), [0, 1, 2, 3, 4])
          yield* booksBalance
        }).pipe(
          Effect.provide(
            Job.layer(
              { name: "sync", schedule: never, acquireTimeout: "1 minute" },
              Effect.zipRight(insert(name, 1), note("job"))
            )
          )
        )
      })
    )
  )

  it.effect("a run that is stopped by its timeout is cancelled on the server, and the schedule goes on", () =>
    onPool({ pool: { maxSize: 2 } }, (client) => {
      let isSlow = true
      const work = Effect.suspend(() => (isSlow ? sleep(20) : sleep(0)))
      return Effect.gen(function* () {
        yield* eventually(
          "a run was stopped",
          Effect.map(Job.status("sync"), ({ timeouts }) => timeouts > 0)
        )
        isSlow = false
        yield* eventually(
          "a run has succeeded",
          Effect.map(Job.status("sync"), ({ last }) => last?.outcome === "succeeded")
        )
        yield* Job.pause("sync")
        yield* nothingRuns(client)
        yield* booksBalance
      }).pipe(
        Effect.provide(
          Job.layer({ name: "sync", schedule: Schedule.spaced("50 millis"), timeout: "400 millis" }, work)
        ),
        Effect.provide(quiet)
      )
    })
  )

  it.effect("the end of the program ends a run at once: nothing of its transaction is written, nothing runs on", () =>
    onPool({ pool: { maxSize: 2 } }, (client) =>
      Effect.gen(function* () {
        const name = unique("jobs")
        yield* table(name, "id integer")
        const scope = yield* Scope.make()
        const work = Sql.withTransaction(Effect.zipRight(insert(name, 1), sleep(20)))
        yield* Layer.buildWithScope(Job.layer({ name: "sync", schedule: Schedule.once }, work), scope)
        yield* executing(client, "sleep")
        yield* atOnce(Scope.close(scope, Exit.void))
        yield* nothingRuns(client)
        yield* booksBalance
        assert.deepStrictEqual(yield* rowsOf(name), [])
      })
    )
  )

  it.effect("a run whose session is taken away fails, and the next one gets another session", () =>
    onPool({ pool: { maxSize: 2 } }, (client) => {
      let isFirst = true
      const work = Effect.suspend(() => {
        const seconds = isFirst ? 20 : 0
        isFirst = false
        return sleep(seconds)
      })
      return Effect.gen(function* () {
        yield* executing(client, "sleep")
        yield* end(client)
        yield* eventually(
          "a run has succeeded",
          Effect.map(Job.status("sync"), ({ last }) => last?.outcome === "succeeded")
        )
        assert.isAtLeast((yield* Job.status("sync")).failures, 1)
        yield* Job.pause("sync")
        yield* booksBalance
      }).pipe(
        Effect.provide(Job.layer({ name: "sync", schedule: Schedule.spaced("50 millis") }, work)),
        Effect.provide(quiet)
      )
    })
  )
})
