/** `npx pnpm demo:abort`: see README.md. */
import { NodeRuntime } from "@effect/platform-node"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Cause, Console, Effect, Exit, Logger, LogLevel } from "effect"
import * as Claims from "./Claims.js"
import * as Fixed from "./Fixed.js"
import * as Flood from "./Flood.js"
import * as Leaking from "./Leaking.js"
import * as OnPg from "./OnPg.js"
import * as Sluice from "./Sluice.js"

/** Aborted requests: for each of the two that are on pg, which are done for after some dozens, and for ours. */
const few = 2_000
const many = 10_000

const usage = `Sluice demo: clients that leave at once, by curl --max-time 0.001, and a server that gives each request a connection.

Usage: npx pnpm demo:abort

  (nothing)   flood the middleware of the report, its fix, and Sluice, with healthy clients beside; exit code 0 if every claim held
  --help      this text

Examples:
  npx pnpm demo:abort              watch it
  npx pnpm demo:abort > abort.txt  keep what it prints`

const evidence = Effect.gen(function* () {
  yield* Console.log("a PostgreSQL …")
  const { primary } = yield* PgCluster.make()
  const sessionsOf = (name: string) =>
    Effect.map(Effect.orDie(primary.activity), (all) => all.filter(({ applicationName }) => applicationName === name))
  const statementsOf = (name: string) =>
    Effect.map(sessionsOf(name), (all) => all.filter(({ state }) => state === "active").length)
  const progress = (name: string) => (arrived: number) =>
    Console.log(`  ${name}: ${arrived.toLocaleString("en-US")} aborted requests arrived`)

  const onPg = (name: string, middleware: typeof Leaking.middleware) =>
    Effect.flatMap(OnPg.make(primary.url, name, middleware), ({ app, using }) =>
      Flood.run({ app, using: Effect.sync(using), statements: statementsOf(name) }, few, progress(name))
    ).pipe(Effect.scoped)

  yield* Console.log(
    `${few.toLocaleString("en-US")} aborted requests to the middleware of the report, and as many to its fix …`
  )
  const [leaking, fixed] = yield* Effect.all([onPg("report", Leaking.middleware), onPg("fix", Fixed.middleware)], {
    concurrency: "unbounded"
  })

  yield* Console.log(`${many.toLocaleString("en-US")} aborted requests to Sluice …`)
  const name = "Sluice"
  const { ours, sql } = yield* Effect.gen(function* () {
    const sql = yield* Sql.Sql
    const app = yield* Sluice.app
    const using = Effect.map(sql.stats, ({ write }) => write.using + write.waiting + write.quarantined)
    return { sql, ours: yield* Flood.run({ app, using, statements: statementsOf(name) }, many, progress(name)) }
  }).pipe(Effect.scoped, Effect.provide(Sluice.layer(primary.url, name)))
  // The Layer's scope has closed by now, and with it every connection of the pool.
  const { closed, connects } = (yield* sql.stats).write

  return {
    leaking,
    fixed,
    ours,
    opened: connects,
    closed: Object.values(closed).reduce((a, b) => a + b, 0),
    sessions: (yield* sessionsOf(name)).length
  } satisfies Claims.Evidence
}).pipe(
  Effect.scoped,
  // Nothing is logged: the claims say what came of the requests.
  Logger.withMinimumLogLevel(LogLevel.None)
)

const main = Effect.gen(function* () {
  const claims = Claims.judge(yield* evidence, OnPg.maxSize)
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

NodeRuntime.runMain(
  Effect.tapError(run, ({ message }) => Console.error(message)),
  {
    disableErrorReporting: true,
    teardown: (exit, end) =>
      end(Exit.isSuccess(exit) ? Number(exit.value) : Cause.isInterruptedOnly(exit.cause) ? 130 : 1)
  }
)
