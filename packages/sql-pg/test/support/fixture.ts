import type { SqlClient } from "@effect/sql/SqlClient"
import type { PgClient } from "@effect/sql-pg/PgClient"
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Redacted } from "effect"
import { booksBalance, eventually } from "../../../sql/test/support/checks.js"

export * from "../../../sql/test/support/checks.js"

let names = 0

export const backends = (applicationName: string) =>
  Effect.gen(function* () {
    const cluster = yield* PgCluster.PgCluster
    const all = yield* Effect.forEach(cluster.nodes, (node) => node.activity)
    return all.flat().filter((session) => session.applicationName === applicationName)
  })

/**
 * Runs a test body on a pool of its own, then checks the books: nothing leased, nobody waiting, and after the scope has
 * closed not one session of it left on the server.
 */
export const onPool = <A, E>(
  config: Omit<PgSql.PgSqlConfig, "applicationName">,
  body: (applicationName: string) => Effect.Effect<A, E, Sql.Sql | SqlClient | PgClient | PgCluster.PgCluster>
) =>
  Effect.gen(function* () {
    const cluster = yield* PgCluster.PgCluster
    const applicationName = `test-${process.pid}-${++names}`
    const result = yield* body(applicationName).pipe(
      Effect.tap(() => booksBalance),
      Effect.provide(PgSql.layer({ url: cluster.primary.url, duplicates: "allow", ...config, applicationName }))
    )
    yield* eventually(
      "no session is left on the server",
      Effect.map(backends(applicationName), (left) => left.length === 0)
    )
    return result
  })

/** The database, by way of a proxy. */
export const urlThrough = (proxy: { readonly port: number }) =>
  Effect.map(PgCluster.PgCluster, ({ primary }) =>
    Redacted.make(Redacted.value(primary.url).replace(`:${primary.port}/`, `:${proxy.port}/`))
  )

export const pid = Effect.map(Sql.query<{ pid: number }>("select pg_backend_pid() as pid"), (rows) => rows[0]!.pid)

/** A statement of this client runs that contains `text`. */
export const active = (name: string, text: string) =>
  eventually(
    `${text} runs`,
    Effect.map(backends(name), (all) => all.some((one) => one.state === "active" && one.query.includes(text)))
  )
