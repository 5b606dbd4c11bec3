import * as Reactivity from "@effect/experimental/Reactivity"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import type * as Packing from "@sluice/sql/driver/Packing"
import * as Runtime from "@sluice/sql/driver/Runtime"
import type { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect } from "effect"
import { anyTime, counted, reader } from "../../../sql/test/support/packed.js"
import { packed } from "../../src/internal/driver.js"
import * as endpoint from "../../src/internal/endpoint.js"
import type { PgConnection } from "../../src/internal/session/connection.js"

/** A pool on a driver that packs as `limits` say; `packs` counts the reads that it packs. */
export const poolWithin = (config: PgSql.PgSqlConfig, limits: Packing.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const { driver, packs } = counted(packed(limits))
    const { sql } = yield* Runtime.make(driver, {
      ...at,
      pool: config.pool,
      duplicates: "allow",
      compiler: makeCompiler(),
      spanAttributes: []
    })
    return { sql, packs }
  }).pipe(Effect.provide(Reactivity.layer))

/** One connection, and a way to pack on it. */
export const connectionWithin = (config: PgSql.PgSqlConfig, limits: Packing.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const driver = packed(limits)
    const connection: PgConnection = yield* driver.connect(at.primary, {
      broken: () => {},
      fatal: () => {},
      isEnding: () => false
    })
    return { driver, connection, ...reader(driver.packing, connection) }
  })

export const oneConnection = Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
  connectionWithin({ url: primary.url }, anyTime)
)
