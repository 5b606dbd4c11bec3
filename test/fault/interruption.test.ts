import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Effect, Fiber, Random } from "effect"
import { eventually } from "../contract/contract.js"
import { booksBalance, type ClientOptions, pooled, type Session, scenarios } from "./rig.js"
import { everyStep, isFine, isQuiet, prepare, surroundings } from "./scenarios/interruption.js"

const clean = (sessions: Effect.Effect<ReadonlyArray<Session>>, most: number) =>
  eventually(
    "the server runs nothing, and no transaction is open",
    Effect.flatMap(sessions, (all) => pooled(all, (n) => n <= most && isQuiet(all)))
  )

const seed = Effect.sync(() => Date.now() % 2 ** 32)

scenarios("F10: interruption at every point", ({ it, run, sleep }) => {
  const pools: Readonly<Record<string, ClientOptions["pool"]>> = {
    "connections are trusted": { maxSize: 2 },
    "connections are validated": { maxSize: 2, validateAfterIdle: 0 }
  }

  for (const [name, pool] of Object.entries(pools)) {
    it.effect(`no step of any program leaves anything behind, ${name}`, () =>
      run({ pool }, ({ sessions }) =>
        Effect.gen(function* () {
          const sql = yield* Sql.Sql
          const isClean = Effect.provideService(clean(sessions, 2), Sql.Sql, sql)
          const { halves, interrupted, wrong } = yield* everyStep(30, yield* seed, isClean)
          assert.deepStrictEqual(wrong, [])
          for (const [what, n] of interrupted) assert.isAbove(n, 3, `${what}: interrupts come before its end`)
          assert.strictEqual(halves, 0)
        })
      )
    )
  }

  it.effect("no moment of any program leaves anything behind, while the server is at work", () =>
    run({ pool: { maxSize: 4 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const chance = yield* seed
        const { halves, programs } = yield* prepare
        const all = Object.entries(programs)
        const atWork = sleep(0.002)
        yield* Effect.forEach(
          Array.from({ length: 400 }, (_, n) => n),
          (n) =>
            Effect.gen(function* () {
              const [what, program] = all[n % all.length]!
              const around = surroundings[n % surroundings.length]!
              const fiber = yield* Effect.fork(around(Effect.zipRight(atWork, program(n))))
              yield* Effect.sleep(yield* Random.nextRange(0, 20))
              const exit = yield* Fiber.interrupt(fiber)
              if (!isFine(exit)) assert.fail(`${what}, seed ${chance}: ${exit}`)
            }),
          { concurrency: 8, discard: true }
        ).pipe(Effect.withRandom(Random.make(chance)))
        yield* booksBalance
        yield* clean(sessions, 4)
        assert.deepStrictEqual(yield* halves, [])
      })
    )
  )
})
