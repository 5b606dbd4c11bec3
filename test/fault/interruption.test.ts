import { SqlClient } from "@effect/sql/SqlClient"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Cause, Effect, Exit, Fiber, FiberId, Random, Scheduler, Stream } from "effect"
import { eventually, unique } from "../contract/contract.js"
import { booksBalance, type ClientOptions, pooled, type Session, scenarios } from "./rig.js"

/**
 * Yields after every `budget` operations, and interrupts the fiber at its `at`-th step: before the step is made, when what
 * the fiber has waited for is already on its way to it, or after it, when the fiber waits for the next thing.
 */
class Stepping implements Scheduler.Scheduler {
  steps = 0
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined

  constructor(
    private readonly budget: number,
    private readonly at: number,
    private readonly before: boolean
  ) {}

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return fiber.currentOpCount > this.budget ? 0 : false
  }

  scheduleTask(task: Scheduler.Task, priority: number): void {
    const isNow = ++this.steps === this.at
    if (isNow && this.before) this.interrupt()
    Scheduler.defaultScheduler.scheduleTask(() => {
      task()
      if (isNow && !this.before) this.interrupt()
    }, priority)
  }

  private interrupt(): void {
    this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }
}

type Program = Effect.Effect<unknown, unknown, Sql.Sql | SqlClient>

const surroundings: ReadonlyArray<(program: Program) => Program> = [
  (program) => program,
  (program) => Sql.withConnection(program),
  (program) => Sql.withTransaction(program)
]

/** What is interrupted, by name. A transaction writes its number twice, so that half of one would be seen. */
const programs = (numbers: string, pairs: string): Readonly<Record<string, (n: number) => Program>> => {
  const write = (n: number) => Sql.query(`insert into ${pairs} values (${n})`)
  const read = Sql.query("select 7 as n")
  const stream = Effect.flatMap(SqlClient, (sql) =>
    Stream.runDrain(sql.unsafe(`select a.id from ${numbers} a, ${numbers} b`).stream)
  )
  // Not by `concurrency`: see `everywhere` in Runtime.
  const beside = <A, E, R>(one: Effect.Effect<A, E, R>, other: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Effect.fork(one), (fiber) => Effect.zipRight(other, Fiber.join(fiber)))
  const both = (n: number) => Effect.zipRight(write(n), write(n))
  return {
    "a write": () => Sql.query(`update ${numbers} set id = id where id = 1`),
    "a read that is packed": () => read,
    "two on a pin": () => Sql.withConnection(Effect.zipRight(read, read)),
    "two fibers on a pin": () => Sql.withConnection(beside(read, read)),
    "two fibers in a transaction": (n) => Sql.withTransaction(beside(write(n), write(n))),
    "a transaction": (n) => Sql.withTransaction(both(n)),
    "a transaction that is run again if need be": (n) =>
      Sql.withTransaction({ retry: true, timeout: "20 seconds" })(both(n)),
    "a nested transaction": (n) => Sql.withTransaction(Effect.zipRight(write(n), Sql.withTransaction(write(n)))),
    "a transaction on a pin": (n) => Sql.withConnection(Effect.zipRight(read, Sql.withTransaction(both(n)))),
    "a stream": () => stream,
    "a stream in a transaction": (n) => Sql.withTransaction(Effect.zipRight(stream, both(n))),
    "a connection of one's own": () =>
      Effect.scoped(
        Effect.flatMap(SqlClient, (sql) => Effect.flatMap(sql.reserve, (c) => c.executeRaw("select 7", [])))
      ),
    "a first connect": (n) => Effect.zipRight(Sql.reset(), both(n).pipe(Sql.withTransaction))
  }
}

const prepare = Effect.gen(function* () {
  const numbers = unique("numbers")
  const pairs = unique("pairs")
  yield* Sql.query(`create table ${numbers} (id int)`)
  yield* Sql.query(`create table ${pairs} (id int)`)
  yield* Sql.query(`insert into ${numbers} values ${Array.from({ length: 17 }, (_, id) => `(${id})`).join(", ")}`)
  yield* Effect.replicateEffect(Sql.query("select 7 as n"), 5)
  const halves = Sql.query(`select id from ${pairs} group by id having count(*) <> 2`)
  return { programs: programs(numbers, pairs), halves }
})

const clean = (sessions: Effect.Effect<ReadonlyArray<Session>>, most: number) =>
  eventually(
    "the server runs nothing, and no transaction is open",
    Effect.flatMap(sessions, (all) =>
      pooled(all, (n) => n <= most && all.every(({ inTransaction, isRunning }) => !isRunning && !inTransaction))
    )
  )

const isFine = (exit: Exit.Exit<unknown, unknown>) => Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)

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
          const chance = yield* seed
          const { halves, programs } = yield* prepare
          let attempt = 0
          const interrupted = new Map<string, number>()
          yield* Effect.gen(function* () {
            for (const [what, program] of Object.entries(programs)) {
              const step = (budget: number, at: number, before: boolean) =>
                Effect.gen(function* () {
                  const stepping = new Stepping(budget, at, before)
                  // A daemon, because one that never ends must not keep the test from saying so.
                  const fiber = yield* Effect.withScheduler(Effect.forkDaemon(program(++attempt)), stepping)
                  stepping.fiber = fiber
                  const where = `${what}, step ${at}, ${before ? "before" : "after"}, budget ${budget}, seed ${chance}`
                  const exit = yield* Effect.timeoutFail(Effect.disconnect(Fiber.await(fiber)), {
                    duration: "20 seconds",
                    onTimeout: () => new Error(`never ends: ${where} of ${stepping.steps}`)
                  })
                  if (!isFine(exit)) assert.fail(`${where}: ${exit}`)
                  if (Exit.isFailure(exit)) interrupted.set(what, (interrupted.get(what) ?? 0) + 1)
                  yield* booksBalance
                  return stepping.steps
                })
              for (let round = 0; round < 30; round++) {
                const budget = yield* Random.nextIntBetween(12, 20)
                if (round % 10 === 0) yield* clean(sessions, 2)
                const steps = yield* step(budget, Infinity, false)
                yield* step(budget, yield* Random.nextIntBetween(1, steps + 1), round % 2 === 0)
              }
              assert.isAbove(interrupted.get(what) ?? 0, 3, `${what}: interrupts come before its end`)
            }
          }).pipe(Effect.withRandom(Random.make(chance)))
          yield* clean(sessions, 2)
          assert.deepStrictEqual(yield* halves, [])
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
