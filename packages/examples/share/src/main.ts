/** `npx pnpm demo:share`: see README.md. */
import { NodeRuntime } from "@effect/platform-node"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import {
  Array as Arr,
  Cause,
  Clock,
  Console,
  Context,
  Data,
  Effect,
  Exit,
  Layer,
  Logger,
  LogLevel,
  Redacted,
  Ref,
  Schedule
} from "effect"
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

const usage = `Sluice demo: a background job with a pool of its own, and what becomes of the requests; then both on one pool.

Usage: npx pnpm demo:share

  (nothing)   run both, then a flood of background work, and judge; exit code 0 if every claim held
  --help      this text

Examples:
  npx pnpm demo:share              watch it
  npx pnpm demo:share > share.txt  keep what it prints`

class TooSlow extends Data.TaggedError("TooSlow")<{}> {
  override get message() {
    return "sluice demo: it did not end within two minutes. On a busy machine, run it again."
  }
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
}).pipe(
  Effect.scoped,
  // What the jobs log belongs to their programs: the table shows what came of it.
  Logger.withMinimumLogLevel(LogLevel.None)
)

const main = Effect.gen(function* () {
  const found = yield* Effect.timeoutFail(evidence, { duration: "2 minutes", onTimeout: () => new TooSlow() })
  const claims = Claims.judge(found, limits)
  yield* Console.log("")
  for (const [index, { claim, held, measured }] of claims.entries()) {
    yield* Console.log(`${held ? "✓" : "✗"} ${index + 1}. ${claim}\n     ${measured}`)
  }
  const failed = claims.filter(({ held }) => !held).length
  yield* Console.log(
    failed === 0 ? `\nAll ${claims.length} claims held.` : `\n${failed} of ${claims.length} claims failed.`
  )
  return failed === 0 ? 0 : 1
})

const run = Effect.suspend(() => {
  // Some versions of npm and pnpm pass the separator on to the program.
  const given = process.argv.slice(2).filter((arg) => arg !== "--")
  const unknown = given.filter((arg) => arg !== "--help" && arg !== "-h")
  if (unknown.length > 0) {
    const problem = `sluice demo: unknown argument ${unknown.join(" ")}. Known is --help.`
    return Effect.as(Console.error(`${problem}\n\n${usage}`), 2)
  }
  return given.length > 0 ? Effect.as(Console.log(usage), 0) : main
})

/** The reader of the output has gone, as `head` does in a pipe. Ends the demo as that signal would. */
const readerGone = Effect.async<number>((resume) => {
  process.stdout.on("error", () => resume(Effect.succeed(128 + 13)))
})

NodeRuntime.runMain(
  Effect.tapError(Effect.raceFirst(run, readerGone), (error) => Console.error(Load.failureOf(error).message)),
  {
    disableErrorReporting: true,
    teardown: (exit, end) =>
      end(Exit.isSuccess(exit) ? Number(exit.value) : Cause.isInterruptedOnly(exit.cause) ? 130 : 1)
  }
)
