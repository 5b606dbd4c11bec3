/** The same program on the Layer of `@effect/sql-pg` and on ours, and our own `Sql`. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { Effect, type Layer, Redacted } from "effect"
import { fiberSubject } from "./fibers.js"
import type { PgSettings, Rows, Step } from "./workload.js"

type Both = Sql.Sql | SqlClient.SqlClient

const ours = ({ connections, url }: PgSettings): Layer.Layer<Both, unknown> =>
  PgSql.layer({
    url: Redacted.make(url),
    pool: { maxSize: connections, minIdle: connections, idleTimeout: "1 hour", acquireTimeout: "1 minute" }
  })

const theirs = ({ connections, url }: PgSettings): Layer.Layer<SqlClient.SqlClient, unknown> =>
  PgClient.layer({
    url: Redacted.make(url),
    maxConnections: connections,
    minConnections: connections,
    idleTimeout: "1 hour"
  })

const statement = (step: Step, args: Array<unknown>): Effect.Effect<Rows, unknown, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => step.tagged<Effect.Effect<Rows, unknown>>(sql, args))

const transaction = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(body))

export const sluiceQuery = fiberSubject<Both>((settings) => ({
  layer: ours(settings),
  run: (step, args) => Sql.query<any>(step.text, args),
  pinned: (body) => Sql.withConnection(body),
  transaction: (body) => Sql.withTransaction(body)
}))

export const sluiceClient = fiberSubject<Both>((settings) => ({
  layer: ours(settings),
  run: statement,
  pinned: (body) => Sql.withConnection(body),
  transaction
}))

export const effectClient = fiberSubject<SqlClient.SqlClient>((settings) => ({
  layer: theirs(settings),
  run: statement,
  transaction
}))
