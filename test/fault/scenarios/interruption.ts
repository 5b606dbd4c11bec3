/** Interrupts at every point, and everything at once. */
import { SqlClient } from "@effect/sql/SqlClient"
import { Sql } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Cause, Effect, Exit, Fiber, FiberId, Random, Scheduler, Stream } from "effect"
import { booksBalance, unique } from "../../../packages/sql/test/support/eventually.js"
import { databases } from "../../contract/databases.js"
import type { Session } from "../clusters.js"
import type { Rig, Scenario } from "../scoreboard/model.js"
import { now, start, statsOf, times, until } from "./support.js"

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

export type Program = Effect.Effect<unknown, unknown, Sql.Sql | SqlClient>

export const surroundings: ReadonlyArray<(program: Program) => Program> = [
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

/** The tables of the programs, and the transactions of which only half was written. */
export const prepare = Effect.gen(function* () {
  const numbers = unique("numbers")
  const pairs = unique("pairs")
  yield* Sql.query(`create table ${numbers} (id int)`)
  yield* Sql.query(`create table ${pairs} (id int)`)
  yield* Sql.query(`insert into ${numbers} values ${Array.from({ length: 17 }, (_, id) => `(${id})`).join(", ")}`)
  yield* Effect.replicateEffect(Sql.query("select 7 as n"), 5)
  const halves = Sql.query(`select id from ${pairs} group by id having count(*) <> 2`)
  return { programs: programs(numbers, pairs), halves }
})

export const isFine = (exit: Exit.Exit<unknown, unknown>) => Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)

/** What interrupts have left behind. */
export interface Left {
  /** How often each program was interrupted before its end. */
  readonly interrupted: ReadonlyMap<string, number>
  /** Ends that are neither a success nor an interrupt, and ends that never came. */
  readonly wrong: ReadonlyArray<string>
  /** Transactions of which half was written. */
  readonly halves: number
}

/** Interrupts each program at a step that chance has chosen, `rounds` times, and looks at the books after each. */
export const everyStep = (rounds: number, chance: number, clean: Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const { halves, programs } = yield* prepare
    let attempt = 0
    const interrupted = new Map(Object.keys(programs).map((what) => [what, 0]))
    const wrong: Array<string> = []
    for (const [what, program] of Object.entries(programs)) {
      const step = (budget: number, at: number, before: boolean) =>
        Effect.gen(function* () {
          const stepping = new Stepping(budget, at, before)
          // A daemon, because one that never ends must not keep the caller from saying so.
          const fiber = yield* Effect.withScheduler(Effect.forkDaemon(program(++attempt)), stepping)
          stepping.fiber = fiber
          const where = `${what}, step ${at}, ${before ? "before" : "after"}, budget ${budget}, seed ${chance}`
          const exit = yield* Effect.timeoutOption(Effect.disconnect(Fiber.await(fiber)), "20 seconds")
          if (exit._tag === "None") {
            wrong.push(`never ends: ${where} of ${stepping.steps}`)
            return stepping.steps
          }
          if (!isFine(exit.value)) wrong.push(`${where}: ${exit.value}`)
          if (Exit.isFailure(exit.value)) interrupted.set(what, (interrupted.get(what) ?? 0) + 1)
          yield* booksBalance
          return stepping.steps
        })
      for (let round = 0; round < rounds; round++) {
        const budget = yield* Random.nextIntBetween(12, 20)
        if (round % 10 === 0) yield* clean
        const steps = yield* step(budget, Infinity, false)
        yield* step(budget, yield* Random.nextIntBetween(1, steps + 1), round % 2 === 0)
      }
    }
    yield* clean
    return { interrupted, wrong, halves: (yield* halves).length } satisfies Left
  }).pipe(Effect.withRandom(Random.make(chance)))

/** The server runs nothing for the client, and no transaction is open. */
export const isQuiet = (all: ReadonlyArray<Session>): boolean =>
  all.every(({ inTransaction, isRunning }) => !isRunning && !inTransaction)

const seed = Effect.sync(() => Date.now() % 2 ** 32)

const interrupts = (rig: Rig) =>
  Effect.gen(function* () {
    const client = yield* rig.open({ max: 2 })
    let unclean = 0
    const clean = Effect.map(
      until(5_000, () => Effect.map(rig.cluster.sessions(rig.name), isQuiet)),
      (isClean) => {
        if (!isClean) unclean++
      }
    )
    const { halves, interrupted, wrong } = yield* Effect.provide(everyStep(8, yield* seed, clean), client.sluice!)
    return {
      wrong: wrong.length,
      unclean,
      halves,
      interrupted: [...interrupted.values()].reduce((a, b) => a + b, 0)
    }
  })

/** How long everything happens at once, in milliseconds. */
const CHAOS = 4_000

/** Workers on a pool that is reset and suspended, and whose connections are lost in every way, all the time. */
const chaos = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({ at: path, max: 8, acquireTimeout: 5_000 })
    const sluice = client.sluice!
    const session = `select ${databases[rig.database].words.session} as id`
    const owners = new Set<number>()
    let doubles = 0
    let turns = 0
    const owned = client.pinned((query) =>
      Effect.flatMap(query(session), ([{ id }]: ReadonlyArray<any>) => {
        if (owners.has(id)) doubles++
        owners.add(id)
        return Effect.ensuring(
          Effect.zipRight(Effect.sleep(2), query("select 1 as one")),
          Effect.sync(() => owners.delete(id))
        )
      })
    )
    const works = [client.query("select 1 as one"), owned, client.transaction((query) => query(session))]
    const end = now() + CHAOS
    const worker = Effect.gen(function* () {
      while (now() < end) {
        turns++
        const work = works[yield* Random.nextIntBetween(0, works.length)]!
        const patience = yield* Random.nextIntBetween(1, 60)
        yield* Effect.exit(Effect.timeout(work, patience < 30 ? patience : 10_000))
      }
    })
    const workers = yield* start(times(24, () => worker))
    const strikes = [
      Effect.provide(Sql.reset(), sluice),
      Effect.provide(Effect.zipRight(Sql.suspend(), Effect.zipRight(Effect.sleep(30), Sql.resume)), sluice),
      path.reset,
      path.cut,
      rig.cluster.end(rig.name)
    ]
    let struck = 0
    while (now() < end) {
      yield* strikes[struck++ % strikes.length]!
      yield* Effect.sleep(yield* Random.nextIntBetween(40, 120))
    }
    const { hanging } = yield* workers.within(12_000)
    yield* workers.leave
    const balanced = yield* until(5_000, () =>
      Effect.map(statsOf(client), (stats) => stats?.using === 0 && stats.waiting === 0 && stats.quarantined === 0)
    )
    yield* client.close
    const after = yield* statsOf(client)
    const closed = Object.values(after?.closed ?? {}).reduce((sum, n) => sum + n, 0)
    const gone = yield* until(3_000, () => Effect.map(rig.cluster.sessions(rig.name), (all) => all.length === 0))
    return {
      doubles,
      hanging,
      books: (balanced ? 0 : 1) + Math.abs((after?.connects ?? 0) - closed),
      sessions: gone ? 0 : (yield* rig.cluster.sessions(rig.name)).length,
      struck,
      turns
    }
  })

const PROMISES = "a promise cannot be interrupted"

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F10",
    name: "Programs of every kind are interrupted at a step that chance has chosen: each ends, the books balance after each, no transaction is half written, and nothing of them is left on the server.",
    places: ["postgresql", "mysql"],
    notRun: { peers: PROMISES, "@effect/sql-pg": "it has no books to look at" },
    patience: 120,
    numbers: {
      wrong: { title: "ends that are wrong, or never come", unit: "count", atMost: 0 },
      halves: { title: "transactions of which half was written", unit: "count", atMost: 0 },
      unclean: { title: "looks at the server that found something left", unit: "count", atMost: 0 },
      interrupted: { title: "interrupts before the end", unit: "count" }
    },
    run: interrupts
  },
  {
    id: "F13",
    name: "24 workers for 4 s on a pool of 8 that is reset and suspended, and whose connections are cut, reset and killed: no connection has two owners, nobody hangs, the books balance, and no session is left.",
    places: ["postgresql", "mysql"],
    notRun: { peers: "it can be neither reset nor suspended" },
    patience: 60,
    numbers: {
      doubles: { title: "connections with two owners", unit: "count", atMost: 0 },
      hanging: { title: "workers that hang", unit: "count", atMost: 0 },
      books: { title: "connections that the books miss", unit: "count", atMost: 0 },
      sessions: { title: "sessions left on the server", unit: "count", atMost: 0 },
      struck: { title: "faults", unit: "count" },
      turns: { title: "pieces of work", unit: "count" }
    },
    run: chaos
  }
]
