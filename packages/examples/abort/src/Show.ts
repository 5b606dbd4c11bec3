/** Floods the middleware of the report, its fix, and ours, and judges. */
import { bounded, judged } from "@sluice/example-program/work"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Console, Effect } from "effect"
import * as Claims from "./Claims.js"
import * as Fixed from "./Fixed.js"
import * as Flood from "./Flood.js"
import * as Leaking from "./Leaking.js"
import * as OnPg from "./OnPg.js"
import * as Sluice from "./Sluice.js"

/** Aborted requests: for each of the two that are on pg, which are done for after some dozens, and for ours. */
const few = 2_000
const many = 10_000

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
}).pipe(Effect.scoped)

export const main = Effect.flatMap(bounded(evidence, "2 minutes"), (found) => judged(Claims.judge(found, OnPg.maxSize)))
