import type { Name } from "./packed.js"

/** The packages that the program needs. */
export const names: ReadonlyArray<Name> = ["pool", "sql", "sql-pg", "sql-mysql2", "testkit"]

/** A program of somebody who has installed the packages: each of them is reached by its name alone. */
export const program = `
import { Pool } from "@sluice/pool"
import { Sql } from "@sluice/sql"
import * as Driver from "@sluice/sql/driver"
import { Pipeline } from "@sluice/sql/driver/Pipeline"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect } from "effect"

const isClosed = (name) => import(name).then(() => false, (error) => error.code === "ERR_PACKAGE_PATH_NOT_EXPORTED")

const program = Effect.gen(function*() {
  const driver = [Driver.Pipeline.Pipeline === Pipeline, yield* Effect.promise(() => isClosed("@sluice/sql/internal/client/client"))]
  const pool = yield* Pool.make({ connect: () => Effect.succeed("a connection") })
  const lent = yield* Pool.use(pool, Effect.succeed)
  const cluster = yield* PgCluster.make()
  const rows = yield* Sql.query("select 6 * 7 as answer").pipe(
    Effect.provide(PgSql.layer({ primary: { url: cluster.primary.url } }))
  )
  const other = yield* MariaDbCluster.make()
  const more = yield* Sql.query("select 6 * 7 as answer").pipe(
    Effect.provide(MysqlSql.layer({ primary: { url: other.primary.url } }))
  )
  return { lent, rows, more, driver }
})
console.log(JSON.stringify(await Effect.runPromise(Effect.scoped(program))))
`
