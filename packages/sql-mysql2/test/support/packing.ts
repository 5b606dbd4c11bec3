import * as Reactivity from "@effect/experimental/Reactivity"
import { Sql } from "@sluice/sql"
import type * as Packing from "@sluice/sql/driver/Packing"
import * as Runtime from "@sluice/sql/driver/Runtime"
import type { MysqlSql } from "@sluice/sql-mysql2"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect } from "effect"
import { anyTime, counted, reader } from "../../../sql/test/support/packed.js"
import * as compiler from "../../src/internal/compiler.js"
import { driver as bare, packed } from "../../src/internal/driver.js"
import * as endpoint from "../../src/internal/endpoint.js"
import type { MysqlConnection } from "../../src/internal/session/connection.js"
import * as Mysql from "../../src/internal/wire/mysql.js"
import { as, booksBalance, eventually, sessions, user } from "./fixture.js"

/** A pool on a driver that packs as `limits` say; `packs` counts the reads that it packs. */
export const poolWithin = (config: MysqlSql.MysqlSqlConfig, limits: Packing.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const { driver, packs } = counted(packed(config.pipeline === true, limits))
    const { sql } = yield* Runtime.make(driver, {
      ...at,
      pool: config.pool,
      duplicates: "allow",
      compiler: compiler.make(undefined),
      spanAttributes: []
    })
    return { sql, packs }
  }).pipe(Effect.provide(Reactivity.layer))

let names = 0

/** As `onPool`, on a driver that packs every harmless read; `packs` counts them. */
export const onPacked = <A, E, R>(
  config: MysqlSql.MysqlSqlConfig,
  body: (context: { readonly user: string; readonly packs: () => number }) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const { primary } = yield* MariaDbCluster.MariaDbCluster
    const name = `packed_${process.pid}_${++names}`
    yield* user(name)
    const result = yield* Effect.gen(function* () {
      const { packs, sql } = yield* poolWithin({ url: as(primary, name), ...config }, anyTime)
      return yield* body({ user: name, packs }).pipe(
        Effect.tap(() => booksBalance),
        Effect.provideService(Sql.Sql, sql)
      )
    }).pipe(Effect.scoped)
    yield* eventually(
      "no session is left on the server",
      Effect.map(sessions(name), (left) => left.length === 0)
    )
    return result
  })

/** Runs a text until it is known. */
export const learn = (text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.replicateEffect(Sql.query(text, params), 5, { discard: true })

/** One connection, and a way to pack on it. Each KILL has a connection of its own. */
export const connectionWithin = (config: MysqlSql.MysqlSqlConfig, limits: Packing.Limits) =>
  Effect.gen(function* () {
    const at = yield* endpoint.resolve(config)
    const driver = packed(config.pipeline === true, limits)
    const ignored = { broken: () => {}, fatal: () => {}, isEnding: () => false }
    const connection: MysqlConnection = yield* driver.connect(at.primary, ignored, (f) =>
      Effect.scoped(Effect.flatMap(bare.connect(at.primary, ignored), f))
    )
    return { driver, connection, ...reader(driver.packing, connection) }
  })

/** A connection to the server of the file, as the user of `config` if that says one. */
export const oneConnection = (config: MysqlSql.MysqlSqlConfig = {}) =>
  Effect.flatMap(MariaDbCluster.MariaDbCluster, ({ primary }) =>
    connectionWithin({ url: primary.url, ...config }, anyTime)
  )

/** The server forgets a statement, and the driver is not told: as a proxy does that has given us another connection. */
export const forget = ({ wire }: MysqlConnection, text: string) =>
  Effect.sync(() => wire._statements.get(Mysql.keyOf(text))!.close())
