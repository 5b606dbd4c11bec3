import * as Reactivity from "@effect/experimental/Reactivity"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import { Sql } from "@sluice/sql"
import * as SqlRuntime from "@sluice/sql/SqlRuntime"
import type { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect } from "effect"
import type { PgConnection } from "../../src/internal/connection.js"
import { packed } from "../../src/internal/driver.js"
import * as endpoint from "../../src/internal/endpoint.js"
import { backends, booksBalance, eventually } from "./fixture.js"

/** Everything harmless counts as short, so that a slow machine changes nothing, and a test may pack what is slow. */
export const anyTime = { short: Infinity, ahead: Infinity }

let names = 0

/** As `onPool`, on a driver that packs every harmless read; `packs` counts them. */
export const onPacked = <A, E>(
  config: Omit<PgSql.PgSqlConfig, "applicationName">,
  body: (context: {
    readonly applicationName: string
    readonly packs: () => number
  }) => Effect.Effect<A, E, Sql.Sql | PgCluster.PgCluster>,
  limits = anyTime
) =>
  Effect.gen(function* () {
    const cluster = yield* PgCluster.PgCluster
    const applicationName = `packed-${process.pid}-${++names}`
    const at = yield* endpoint.resolve({ url: cluster.primary.url, ...config, applicationName })
    const driver = packed(limits)
    let count = 0
    const counted = {
      ...driver,
      packing: {
        ...driver.packing,
        execute: (...args: Parameters<typeof driver.packing.execute>) => {
          count++
          return driver.packing.execute(...args)
        }
      }
    }
    const result = yield* Effect.gen(function* () {
      const { sql } = yield* SqlRuntime.make(counted, {
        ...at,
        pool: config.pool,
        duplicates: "allow",
        compiler: makeCompiler(),
        spanAttributes: []
      })
      return yield* body({ applicationName, packs: () => count }).pipe(
        Effect.tap(() => booksBalance),
        Effect.provideService(Sql.Sql, sql)
      )
    }).pipe(Effect.scoped, Effect.provide(Reactivity.layer))
    yield* eventually(
      "no session is left on the server",
      Effect.map(backends(applicationName), (left) => left.length === 0)
    )
    return result
  })

/** Runs a text until it is known. */
export const learn = (text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.replicateEffect(Sql.query(text, params), 5, { discard: true })

/** One connection, and a way to pack on it. */
export const connectionWithin = (limits: typeof anyTime) =>
  Effect.gen(function* () {
    const { primary } = yield* PgCluster.PgCluster
    const at = yield* endpoint.resolve({ url: primary.url })
    const driver = packed(limits)
    const connection: PgConnection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {} })
    const read = (sql: string, params: ReadonlyArray<unknown> = []) =>
      Effect.withFiberRuntime<ReadonlyArray<any>, any>((fiber) =>
        driver.packing.execute(connection, sql, params, "rows", fiber, true)
      )
    return { driver, connection, read }
  })

export const oneConnection = connectionWithin(anyTime)
