import * as Reactivity from "@effect/experimental/Reactivity"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import type * as SqlPacking from "@sluice/sql/SqlPacking"
import * as SqlRuntime from "@sluice/sql/SqlRuntime"
import type { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect } from "effect"
import type { PgConnection } from "../../src/internal/connection.js"
import { packed } from "../../src/internal/driver.js"
import * as endpoint from "../../src/internal/endpoint.js"

/** Everything harmless counts as short, so that a slow machine changes nothing, and a test may pack what is slow. */
export const anyTime: SqlPacking.Limits = { short: Infinity, ahead: Infinity, late: Infinity }

/** A pool on a driver that packs as `limits` say; `packs` counts the reads that it packs. */
export const poolWithin = (config: PgSql.PgSqlConfig, limits: SqlPacking.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const driver = packed(limits)
    let count = 0
    const counted = {
      ...driver,
      packing: {
        ...driver.packing,
        start: (...args: Parameters<typeof driver.packing.start>) => {
          count++
          driver.packing.start(...args)
        }
      }
    }
    const { sql } = yield* SqlRuntime.make(counted, {
      ...at,
      pool: config.pool,
      duplicates: "allow",
      compiler: makeCompiler(),
      spanAttributes: []
    })
    return { sql, packs: () => count }
  }).pipe(Effect.provide(Reactivity.layer))

/** One connection, and a way to pack on it. */
export const connectionWithin = (config: PgSql.PgSqlConfig, limits: SqlPacking.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const driver = packed(limits)
    const connection: PgConnection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {} })
    let owed = 0
    const read = (sql: string, params: ReadonlyArray<unknown> = []) =>
      Effect.withFiberRuntime<ReadonlyArray<any>, any>((fiber) =>
        Effect.async((callback) => {
          owed++
          const resume: typeof callback = (effect) => {
            owed--
            callback(effect)
          }
          driver.packing.start(connection, { sql, params, mode: "rows", fiber, interruptible: true, resume })
        })
      )
    return { driver, connection, read, owed: () => owed }
  })

export const oneConnection = Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
  connectionWithin({ url: primary.url }, anyTime)
)
