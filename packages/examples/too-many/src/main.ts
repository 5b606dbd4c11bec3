/** `npx pnpm demo:too-many`: see README.md. */
import { NodeRuntime } from "@effect/platform-node"
import { Sql } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Array as Arr, Cause, Console, Effect, Exit, Redacted } from "effect"
import * as Claims from "./Claims.js"
import * as OneEach from "./OneEach.js"
import * as Pooled from "./Pooled.js"

const requests = 40
const maxConnections = 10

/** The statement of each request. It takes the server a fifth of a second, as a small report would. */
const report = "select ? as request, sleep(0.2) as slept"

/** All requests arrive at the same moment. */
const serve = <E extends { readonly cause?: unknown }, R>(query: (request: number) => Effect.Effect<unknown, E, R>) =>
  Effect.forEach(
    Arr.range(0, requests - 1),
    (request) => Effect.match(query(request), { onSuccess: Claims.answered, onFailure: Claims.failed }),
    { concurrency: "unbounded" }
  )

const usage = `Sluice demo: ${requests} requests at once, and a MariaDB that has room for ${maxConnections} connections.

Usage: npx pnpm demo:too-many

  (nothing)   run the requests with a connection each, then on a pool of ${Pooled.maxSize}; exit code 0 if every claim held
  --help      this text

Examples:
  npx pnpm demo:too-many                  watch it
  npx pnpm demo:too-many > too-many.txt   keep what it prints`

const evidence = Effect.gen(function* () {
  yield* Console.log(`a MariaDB with max_connections = ${maxConnections} …`)
  const { primary } = yield* MariaDbCluster.make({ settings: { max_connections: maxConnections } })
  const { url } = primary

  yield* Console.log(`${requests} requests at once, each with mysql2.createConnection() …`)
  const oneEach = yield* serve((request) =>
    Effect.tryPromise(() => OneEach.query(Redacted.value(url), report, [request]))
  )

  yield* Console.log(`${requests} requests at once, through query() on a pool of ${Pooled.maxSize} …`)
  const { pooled, sql } = yield* Effect.all({
    pooled: serve((request) => Pooled.query(report, [request])),
    sql: Sql.Sql
  }).pipe(Effect.provide(Pooled.layer(url)))
  // The Layer's scope has closed by now, and with it every connection of the pool.
  const { closed, connectFailures, connects } = (yield* sql.stats).write

  return {
    oneEach,
    pooled,
    opened: connects,
    failures: connectFailures,
    closed: Object.values(closed).reduce((a, b) => a + b, 0),
    sessions: (yield* primary.activity).length
  } satisfies Claims.Evidence
}).pipe(Effect.scoped)

const main = Effect.gen(function* () {
  const claims = Claims.judge(yield* evidence, requests, Pooled.maxSize)
  yield* Console.log("")
  for (const [index, { claim, held, measured }] of claims.entries()) {
    yield* Console.log(`${held ? "✓" : "✗"} ${index + 1}. ${claim}\n     ${measured}`)
  }
  const failed = claims.filter(({ held }) => !held).length
  yield* Console.log(failed === 0 ? `\nAll ${claims.length} claims held.` : `\n${failed} of ${claims.length} failed.`)
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
  // Without mariadbd the message says what to install.
  Effect.tapError(run, ({ message }) => Console.error(message)),
  {
    disableErrorReporting: true,
    teardown: (exit, end) =>
      end(Exit.isSuccess(exit) ? Number(exit.value) : Cause.isInterruptedOnly(exit.cause) ? 130 : 1)
  }
)
