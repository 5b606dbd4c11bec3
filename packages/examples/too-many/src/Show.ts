/** The requests with a connection each, and on a pool; then judges. */
import { bounded, judged } from "@sluice/example-program/work"
import { Sql } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Array as Arr, Console, Effect, Redacted } from "effect"
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

// Without mariadbd the message of the failure says what to install.
export const main = Effect.flatMap(bounded(evidence, "2 minutes"), (found) =>
  judged(Claims.judge(found, requests, Pooled.maxSize))
)
