/** Ours, as every other client is seen by the scenarios. */
import type { SqlClient } from "@effect/sql/SqlClient"
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import type { Database } from "../../contract/databases.js"
import type { Address, Client, OpenOptions, Query, Subject } from "./model.js"

/** Without what else is known of it, which is no option. */
const addressOf = ({ host, port }: Address): Address => ({ host, port })

const configOf = (options: OpenOptions) => {
  const { acquireTimeout, at, max = 10, name, others = [], password, pool, replicas = [], sluice, user } = options
  return {
    ...sluice,
    applicationName: name,
    duplicates: "allow" as const,
    username: user,
    password:
      typeof password === "function" ? Effect.sync(() => Redacted.make(password())) : Redacted.make(password ?? user),
    database: "sluice",
    primary: addressOf(at),
    replicas: [...others, ...replicas].map(addressOf),
    pool: {
      maxSize: max,
      // A run that has ended waits for nobody.
      drainTimeout: "500 millis",
      ...(acquireTimeout === undefined ? {} : { acquireTimeout }),
      ...pool
    }
  } as const
}

/** Our driver for each database. */
const layers: {
  readonly [D in Database]: (options: ReturnType<typeof configOf>) => Layer.Layer<Sql.Sql | SqlClient, unknown>
} = {
  postgresql: PgSql.layer,
  mysql: MysqlSql.layer
}

export const sluice: Subject = {
  name: "sluice",
  isOurs: true,
  databases: ["postgresql", "mysql", "virtual"],
  packages: [],
  open: (options) =>
    Effect.map(Layer.build(layers[options.database](configOf(options))), (context): Client => {
      const on = <A, E>(effect: Effect.Effect<A, E, Sql.Sql>) => Effect.provide(effect, context)
      const query: Query = (text) => on(Sql.query(text))
      return {
        query,
        read: (text) => on(Sql.read(Sql.query(text))),
        idempotent: (text) => on(Sql.idempotent(Sql.query(text))),
        transaction: (body) => on(Sql.withTransaction(body(query))),
        pinned: (body) => on(Sql.withConnection(body(query))),
        close: on(Sql.drain()),
        sluice: context
      }
    })
}
