/** Two pools in each process, one Layer in each, and a flood of background work; then judges. */
import { bounded, judged } from "@sluice/example-program/work"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Array as Arr, Clock, Console, Context, Effect, Layer, Redacted, Ref, Schedule } from "effect"
import * as Claims from "./Claims.js"
import * as Flood from "./Flood.js"
import * as Load from "./Load.js"
import * as OneLayer from "./OneLayer.js"
import * as Rush from "./Rush.js"
import * as TwoPools from "./TwoPools.js"

const limits: Claims.Limits = {
  two: Rush.processes * 2 * TwoPools.max,
  one: Rush.processes * OneLayer.maxSize,
  places: Rush.places,
  statements: Flood.statements
}

const numbers = Arr.range(0, Rush.processes - 1)

const twoPools = (url: Redacted.Redacted<string>) =>
  Effect.gen(function* () {
    const processes = yield* Effect.forEach(numbers, () =>
      Effect.acquireRelease(
        Effect.sync(() => TwoPools.start(Redacted.value(url))),
        ({ end }) => Effect.promise(end)
      )
    )
    const done = yield* Ref.make(0)
    const side: Rush.Side = {
      request: (n) => Effect.tryPromise(() => processes[n]!.query(Rush.request)),
      beginJobs: Effect.forEach(processes, ({ round }) =>
        Effect.promise(() => round(Rush.work, Rush.round)).pipe(
          Effect.flatMap((statements) => Ref.update(done, (sum) => sum + statements)),
          Effect.zipRight(Effect.sleep("250 millis")),
          Effect.forever,
          Effect.forkScoped
        )
      ),
      done: Ref.get(done)
    }
    return side
  })

const oneLayer = (url: Redacted.Redacted<string>) =>
  Effect.gen(function* () {
    const processes = yield* Effect.forEach(numbers, () => Layer.build(OneLayer.layer(url)))
    const done = yield* Ref.make(0)
    const add = Ref.update(done, (sum) => sum + 1)
    const side: Rush.Side = {
      request: (n) => Effect.provide(OneLayer.query(Rush.request), processes[n]!),
      beginJobs: Effect.forEach(processes, (process) =>
        Layer.build(Layer.provide(OneLayer.job(Rush.work, Rush.round, add), Layer.succeedContext(process)))
      ),
      done: Ref.get(done)
    }
    return { side, pools: processes.map((process) => Context.get(process, Sql.Sql)) }
  })

const evidence = Effect.gen(function* () {
  const began = yield* Clock.currentTimeMillis
  yield* Console.log(`a PostgreSQL with max_connections = ${Rush.maxConnections}, of which it keeps 3 for itself …`)
  const { primary } = yield* PgCluster.make({ settings: { max_connections: Rush.maxConnections } })
  // Not the superuser, who may take the last places.
  const user = "app"
  yield* primary.query(`create role ${user} login password '${user}'`)
  const url = Redacted.make(Redacted.value(primary.url).replace(/\/\/[^@]*@/, `//${user}:${user}@`))

  yield* Console.log(
    `\n${Rush.processes} processes, each with a pool of ${TwoPools.max} for its requests and another one for its job: pg`
  )
  const two = yield* Effect.scoped(Effect.flatMap(twoPools(url), (side) => Rush.run(side, primary, user)))

  yield* Console.log(
    `\nthe same ${Rush.processes} processes, each with one Layer of ${OneLayer.maxSize} connections: Sluice`
  )
  const { pools, seen } = yield* Effect.scoped(
    Effect.gen(function* () {
      const { pools, side } = yield* oneLayer(url)
      return { pools, seen: yield* Rush.run(side, primary, user) }
    })
  )
  // Their scopes have closed by now, and with them every connection.
  const stats = yield* Effect.forEach(pools, (sql) => Effect.map(sql.stats, ({ write }) => write))
  const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((a, b) => a + b, 0)
  const one = {
    ...seen,
    opened: sum(stats.map(({ connects }) => connects)),
    refused: sum(stats.map(({ connectFailures }) => connectFailures)),
    closed: sum(stats.flatMap(({ closed }) => Object.values(closed)))
  }

  yield* Console.log(`\none process with one Layer of 10 connections, and a flood of background work`)
  const flood = yield* Flood.run(url)
  const isOver = Effect.map(primary.activity, (all) => all.filter((session) => session.user === user).length)
  const sessions = yield* isOver.pipe(
    // The server may need a moment to see that they have gone.
    Effect.repeat({ until: (left) => left === 0, times: 20, schedule: Schedule.spaced("50 millis") }),
    Effect.zipRight(isOver)
  )
  return { two, one, flood, sessions, elapsedMs: (yield* Clock.currentTimeMillis) - began } satisfies Claims.Evidence
}).pipe(Effect.scoped)

export const main = bounded(evidence, "2 minutes").pipe(
  Effect.mapError(Load.failureOf),
  Effect.flatMap((found) => judged(Claims.judge(found, limits)))
)
