import type { SqlClient } from "@effect/sql/SqlClient"
import type { MysqlClient } from "@effect/sql-mysql2/MysqlClient"
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Redacted } from "effect"
import { booksBalance, eventually } from "../../../sql/test/support/checks.js"

export * from "../../../sql/test/support/checks.js"

let names = 0

export const sessions = (user: string) =>
  Effect.gen(function* () {
    const cluster = yield* MariaDbCluster.MariaDbCluster
    const all = yield* Effect.forEach(cluster.nodes, (node) => node.activity)
    return all.flat().filter((session) => session.user === user)
  })

/** The user `name` of this node; nothing else tells the server's sessions of one pool from those of another. */
export const as = (node: MariaDbCluster.MariaDbNode, name: string, password = "sluice") =>
  Redacted.make(`mysql://${name}:${password}@${node.host}:${node.port}/sluice`)

/** A user of its own, with the rights of a program, and what else is granted. */
export const user = (name: string, more = "") =>
  Effect.gen(function* () {
    const { primary } = yield* MariaDbCluster.MariaDbCluster
    yield* primary.query(`create or replace user '${name}'@'%' identified by 'sluice' ${more}`)
    yield* primary.query(`grant all on sluice.* to '${name}'@'%'`)
  })

/**
 * Runs a test body on a pool of its own, then checks the books: nothing leased, nobody waiting, and after the scope has
 * closed not one session of it left on the server.
 */
export const onPool = <A, E>(
  config: MysqlSql.MysqlSqlConfig,
  body: (user: string) => Effect.Effect<A, E, Sql.Sql | SqlClient | MysqlClient | MariaDbCluster.MariaDbCluster>
) =>
  Effect.gen(function* () {
    const cluster = yield* MariaDbCluster.MariaDbCluster
    const name = `test_${process.pid}_${++names}`
    if (config.url === undefined && config.primary === undefined) yield* user(name)
    const result = yield* body(name).pipe(
      Effect.tap(() => booksBalance),
      Effect.provide(MysqlSql.layer({ url: as(cluster.primary, name), duplicates: "allow", ...config }))
    )
    yield* eventually(
      "no session is left on the server",
      Effect.map(sessions(name), (left) => left.length === 0)
    )
    return result
  })

/** The database, by way of a proxy. */
export const urlThrough = (proxy: { readonly port: number }) =>
  Effect.map(MariaDbCluster.MariaDbCluster, ({ primary }) =>
    Redacted.make(Redacted.value(primary.url).replace(`:${primary.port}/`, `:${proxy.port}/`))
  )

export const thread = Effect.map(Sql.query<{ id: number }>("select connection_id() as id"), (rows) => rows[0]!.id)

/** A statement of this user runs that contains `text`: it is no longer only prepared. */
export const running = (user: string, text: string) =>
  eventually(
    `${text} runs`,
    Effect.map(sessions(user), (all) =>
      all.some(({ command, query }) => (command === "Query" || command === "Execute") && query?.includes(text) === true)
    )
  )
