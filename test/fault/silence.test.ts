import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Duration, Effect, Either, Fiber } from "effect"
import { eventually } from "../contract/contract.js"
import { elapsed, proxy, running, Server, scenarios, times, tolerated } from "./rig.js"

const one = Sql.query("select 7 as n")

scenarios("F2: idle connections are cut silently", ({ it, run, sleep }) => {
  // Five minutes of silence in short: idle for longer than a connection is trusted.
  const pool = { maxSize: 10, validateAfterIdle: "100 millis", validateTimeout: "400 millis" } as const

  it.effect("no caller fails, and one failed check closes them all", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path, pool }, ({ name }) =>
        Effect.gen(function* () {
          for (const callers of [1, 20]) {
            yield* eventually(
              "ten connections are open",
              Effect.zipRight(
                times(10, sleep(0.3)),
                Effect.map(Sql.stats, ({ write }) => write.available === 10)
              )
            )
            const before = (yield* Sql.stats).write.closed
            yield* Effect.sleep("150 millis")
            yield* path.blackhole({ new: false, forGood: true })
            const took = yield* elapsed(times(callers, one))
            // Ten checks one after the other would take ten times as long as one.
            assert.isBelow(took, 5 * Duration.toMillis(pool.validateTimeout))
            const { closed } = (yield* Sql.stats).write
            yield* eventually(
              "the ten are closed",
              Effect.map(Sql.stats, ({ write }) => write.closed.validation - before.validation === 10)
            )
            assert.strictEqual(closed.error, before.error)
          }
          yield* (yield* Server).end(name)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("with a FIN that nobody awaits it is the same, and costs no time", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path, pool: { ...pool, validateTimeout: "4 seconds" } }, () =>
        Effect.gen(function* () {
          yield* times(10, sleep(0.3))
          yield* Effect.sleep("150 millis")
          yield* path.cut
          assert.isBelow(yield* elapsed(times(20, one)), 2_000, "half of one validateTimeout")
        })
      )
    }).pipe(Effect.scoped)
  )
})

scenarios("F3: a black hole", ({ it, run, sleep }) => {
  it.effect(
    "an acquire ends by its deadline, the place of a statement that nobody awaits is free 2 s later, places are constant",
    () =>
      Effect.gen(function* () {
        const path = yield* proxy
        yield* run({ via: path, pool: { maxSize: 10, acquireTimeout: "1 second" } }, ({ name, sessions }) =>
          Effect.gen(function* () {
            let most = 0
            yield* Effect.map(Sql.stats, ({ write: { closing, connecting, size } }) => {
              most = Math.max(most, size + connecting + closing)
            }).pipe(Effect.zipRight(Effect.sleep("5 millis")), Effect.forever, Effect.forkScoped)
            const busy = yield* Effect.fork(times(10, Effect.either(sleep(30))))
            yield* eventually("ten statements run", running(10, sessions))
            yield* path.blackhole({ forGood: true })

            const acquires = times(20, elapsed(Effect.flip(one)))
            for (const took of yield* acquires) assert.isAtMost(took, tolerated(1_000))

            yield* Fiber.interrupt(busy)
            const freed = yield* elapsed(
              eventually(
                "the places are free",
                Effect.map(
                  Sql.stats,
                  ({ write: { closing, quarantined, size } }) => size + quarantined + closing === 0
                ),
                "10 seconds"
              )
            )
            assert.isAtMost(freed, tolerated(2_000))
            const [refused] = yield* times(1, Effect.either(one))
            assert.isTrue(Either.isLeft(refused!))
            if (Either.isLeft(refused!)) {
              assert.include(["AcquireTimeout", "DatabaseDown"], SqlReason.of(refused.left)._tag)
            }

            yield* path.heal
            yield* eventually("it is found again", Effect.map(Effect.either(one), Either.isRight))
            // What the black hole has swallowed is still at work on the server.
            yield* (yield* Server).end(name)
            const again = yield* Effect.fork(times(20, sleep(0.3)))
            yield* eventually("ten statements run again", running(10, sessions))
            yield* Fiber.join(again)
            assert.isAtMost(most, 10)
          })
        )
      }).pipe(Effect.scoped),
    30_000
  )
})
