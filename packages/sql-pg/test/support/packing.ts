import * as Reactivity from "@effect/experimental/Reactivity"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import type * as SqlPacking from "@sluice/sql/SqlPacking"
import * as SqlRuntime from "@sluice/sql/SqlRuntime"
import type { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect } from "effect"
import { anyTime, counted, reader } from "../../../sql/test/support/packed.js"
import type { PgConnection } from "../../src/internal/connection.js"
import { packed } from "../../src/internal/driver.js"
import * as endpoint from "../../src/internal/endpoint.js"

/** A pool on a driver that packs as `limits` say; `packs` counts the reads that it packs. */
export const poolWithin = (config: PgSql.PgSqlConfig, limits: SqlPacking.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const { driver, packs } = counted(packed(limits))
    const { sql } = yield* SqlRuntime.make(driver, {
      ...at,
      pool: config.pool,
      duplicates: "allow",
      compiler: makeCompiler(),
      spanAttributes: []
    })
    return { sql, packs }
  }).pipe(Effect.provide(Reactivity.layer))

/** One connection, and a way to pack on it. */
export const connectionWithin = (config: PgSql.PgSqlConfig, limits: SqlPacking.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const driver = packed(limits)
    const connection: PgConnection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {} })
    return { driver, connection, ...reader(driver.packing, connection) }
  })

export const oneConnection = Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
  connectionWithin({ url: primary.url }, anyTime)
)
