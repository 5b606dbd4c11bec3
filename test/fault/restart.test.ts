import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Clock, Effect, Either, Fiber, Schedule } from "effect"
import { eventually } from "../contract/contract.js"
import { attemptsIn, running, Server, scenarios, times, tolerated } from "./rig.js"

/** How long the server stays away. */
const DOWN = 3_000

/** Ten seconds, and what a server may take to stop and to start where the machine does other things too. */
const PATIENCE = "25 seconds"

scenarios("F1: a database restarts", ({ it, run, sleep }) => {
  for (const side of ["write", "read"] as const) {
    const contract =
      side === "write"
        ? "at most the 10 statements in flight fail, 100 waiters and 20 newcomers are served, at most 10 connects a second meanwhile, full throughput within 2 s"
        : "the same on the pool of a replica, where not even those in flight fail"
    it.effect(
      contract,
      () =>
        run({ withReplica: true, pool: { maxSize: 10, acquireTimeout: PATIENCE } }, ({ sessions }) =>
          Effect.gen(function* () {
            const cluster = yield* Server
            const node = side === "write" ? cluster.primary : cluster.replica
            const routed = side === "write" ? Sql.write : Sql.read
            const stats = Effect.map(Sql.stats, ({ read, write }) => (side === "write" ? write : read[0]!))
            // Before the replica is missed no read looks for another way.
            const inFlight = yield* Effect.fork(times(10, Effect.either(routed(sleep(side === "write" ? 30 : 1)))))
            yield* eventually(
              "ten statements run",
              Effect.map(stats, ({ using }) => using === 10)
            )
            const waiting = yield* Effect.fork(times(100, Effect.either(routed(Sql.query("select 7 as n")))))
            yield* eventually(
              "a hundred callers wait",
              Effect.map(stats, (stats) => stats.waiting === 100)
            )

            yield* node.stop
            const { connectFailures } = yield* stats
            const downAt = yield* Clock.currentTimeMillis
            const newcomers = yield* Effect.fork(times(20, Effect.either(routed(Sql.query("select 8 as n")))))
            yield* Effect.sleep(DOWN)
            const attempts = (yield* stats).connectFailures - connectFailures
            const seconds = ((yield* Clock.currentTimeMillis) - downAt) / 1_000
            assert.isAtMost(attempts, attemptsIn(seconds), "connect attempts while the server was down")
            assert.isAtLeast(attempts, 1)

            yield* node.start
            // A server that was away for longer than five seconds is known to be down, and callers are told so at once.
            const client = Effect.retry(Effect.forever(routed(sleep(0.2))), {
              while: (error) => SqlReason.of(error)._tag === "DatabaseDown",
              schedule: Schedule.spaced("20 millis")
            })
            const load = yield* Effect.fork(
              Effect.all(
                Array.from({ length: 30 }, () => client),
                { concurrency: "unbounded", discard: true }
              )
            )
            // Also other sessions may run meanwhile: the reads of the replica found their way to the primary.
            yield* eventually(
              "ten statements run again",
              Effect.map(stats, ({ size, using }) => size === 10 && using === 10),
              tolerated(2_000)
            )
            // A statement that fails ends the load, and is the failure of the test.
            if (side === "write") {
              yield* Effect.raceFirst(eventually("the server runs them", running(10, sessions)), Fiber.join(load))
            }
            yield* Fiber.interrupt(load)

            const lost = (yield* Fiber.join(inFlight)).flatMap((one) => (Either.isLeft(one) ? [one.left] : []))
            assert.strictEqual(lost.length, side === "write" ? 10 : 0)
            for (const error of lost) {
              assert.include(["ConnectionLost", "ServerShutdown"], SqlReason.of(error)._tag, error.message)
            }
            for (const group of [waiting, newcomers]) {
              const failed = (yield* Fiber.join(group)).filter(Either.isLeft)
              assert.deepStrictEqual(failed, [], "those that waited")
            }
          })
        ),
      60_000
    )
  }
})
