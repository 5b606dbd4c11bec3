import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Effect, Fiber, Random } from "effect"
import { eventually } from "../contract/contract.js"
import { booksBalance, type ClientOptions, pooled, proxy, running, Server, type Session, scenarios } from "./rig.js"
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

scenarios("F10: interruption on a connection that has just been opened", ({ it, run, sleep }) => {
  const isLeased = eventually(
    "a connection is leased",
    Effect.map(Sql.stats, ({ write }) => write.using === 1)
  )

  it.effect("the statement is not in the way of the next one, and silence is still found out", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path, pool: { maxSize: 1 } }, ({ name, sessions }) =>
        Effect.gen(function* () {
          // The driver has asked the new session for its server, and has no answer yet.
          yield* path.delay("100 millis")
          for (let n = 0; n < 3; n++) {
            yield* Sql.reset()
            const first = yield* Effect.fork(sleep(30))
            yield* isLeased
            yield* Fiber.interrupt(first)
            const [row] = yield* Sql.query<{ n: number }>("select 7 as n")
            assert.strictEqual(row?.n, 7)
          }
          yield* Sql.reset()
          yield* path.heal
          const second = yield* Effect.fork(Effect.flip(sleep(3)))
          yield* eventually("it runs", running(1, sessions))
          yield* path.blackhole({ new: false, forGood: true })
          assert.strictEqual(SqlReason.of(yield* Fiber.join(second))._tag, "ConnectionLost")
          yield* (yield* Server).end(name)
        })
      )
    }).pipe(Effect.scoped)
  )
})
