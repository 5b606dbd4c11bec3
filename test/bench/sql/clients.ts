/** The same program on a Layer of `@effect/sql` and on ours, and our own `Sql`. */
import { SqlClient } from "@effect/sql"
import { Sql } from "@sluice/sql"
import { Effect, type Layer } from "effect"
import { fiberSubject } from "./fibers.js"
import type { Rows, SqlSettings, Step } from "./workload.js"

type Both = Sql.Sql | SqlClient.SqlClient

/** Of our pools; the others of a benchmark are told the same. */
export const poolOf = ({ connections }: SqlSettings) =>
  ({ maxSize: connections, minIdle: connections, idleTimeout: "1 hour", acquireTimeout: "1 minute" }) as const

const statement = (step: Step, args: Array<unknown>): Effect.Effect<Rows, unknown, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => step.tagged<Effect.Effect<Rows, unknown>>(sql, args))

const transaction = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(body))

export const sluiceQuery = (layer: (settings: SqlSettings) => Layer.Layer<Both, unknown>) =>
  fiberSubject<Both>((settings) => ({
    layer: layer(settings),
    run: (step, args) => Sql.query<any>(step.text, args),
    pinned: (body) => Sql.withConnection(body),
    transaction: (body) => Sql.withTransaction(body)
  }))

export const sluiceClient = (layer: (settings: SqlSettings) => Layer.Layer<Both, unknown>) =>
  fiberSubject<Both>((settings) => ({
    layer: layer(settings),
    run: statement,
    pinned: (body) => Sql.withConnection(body),
    transaction
  }))

export const effectClient = (layer: (settings: SqlSettings) => Layer.Layer<SqlClient.SqlClient, unknown>) =>
  fiberSubject<SqlClient.SqlClient>((settings) => ({
    layer: layer(settings),
    run: statement,
    transaction
  }))
