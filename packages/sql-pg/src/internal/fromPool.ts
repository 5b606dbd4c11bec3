import type { SqlError } from "@effect/sql/SqlError"
import * as OptionTable from "@sluice/pool/OptionTable"
import { invalidOptions } from "@sluice/sql/driver/Classify"
import { Effect, Redacted } from "effect"
import type * as Pg from "pg"
import type { PgSqlConfig } from "../Config.js"

/** A duration in milliseconds. A pool of `pg` reads 0 as "no limit"; then the option is left out, and our default holds. */
const set = (value: number | undefined, unit: 1 | 1_000): number | undefined =>
  value === undefined || value === 0 ? undefined : value * unit

/** Leaves out the options that are `undefined`: an option that is present and `undefined` would replace a default. */
const said = <A extends object>(options: A): A =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as A

const { anything } = OptionTable

/** The options of a pool of `pg` that are taken, and those that make no difference here. */
const table: OptionTable.Table = {
  connectionString: anything,
  host: anything,
  port: anything,
  database: anything,
  user: anything,
  password: anything,
  ssl: anything,
  application_name: anything,
  types: anything,
  stream: anything,
  statement_timeout: anything,
  max: anything,
  min: anything,
  maxUses: anything,
  idleTimeoutMillis: anything,
  connectionTimeoutMillis: anything,
  maxLifetimeSeconds: anything,
  allowExitOnIdle: anything,
  keepAlive: anything,
  keepAliveInitialDelayMillis: anything,
  pipeline: anything,
  poolSize: anything,
  Promise: anything,
  client_encoding: OptionTable.oneOf("utf8", "UTF8", "utf-8", "UTF-8")
}

const ofConnections = "leave it out, it belongs to connections that are not opened here"
const onRole = "set it on the role, or write it into connectionString: ?options=-c%20"

const elsewhere: OptionTable.Elsewhere = {
  Client: ofConnections,
  verify: ofConnections,
  onConnect: ofConnections,
  log: "leave it out, use Sql.events",
  options: "write it into connectionString: ?options=…",
  query_timeout: "use statementTimeout of layerFromPool",
  lock_timeout: `${onRole}lock_timeout=…`,
  idle_in_transaction_session_timeout: `${onRole}idle_in_transaction_session_timeout=…`,
  fallback_application_name: "use applicationName of layerFromPool",
  sslnegotiation: "write it into connectionString",
  enableChannelBinding: "write it into connectionString: ?channel_binding=prefer",
  binary: "leave it out, the driver chooses the format of each value"
}

/** The configuration of a client that connects as the pool of `pg` would, with as many connections. */
export const configOf = (pool: Pg.Pool): Effect.Effect<PgSqlConfig, SqlError> =>
  Effect.suspend(() => {
    const options = pool.options as Pg.PoolConfig & {
      readonly stream?: PgSqlConfig["stream"]
      readonly verify?: unknown
      readonly onConnect?: unknown
    }
    // `false` and `null` are what `pg` writes for options that were left out.
    const given = Object.entries(options).filter(
      ([, value]) => value !== undefined && value !== null && value !== false
    )
    const problems = OptionTable.problems(Object.fromEntries(given), table, { path: "pool.options", elsewhere })
    if (problems.length > 0) return Effect.fail(invalidOptions("PgSql.layerFromPool", problems))
    const { maxUses, password } = options
    return Effect.succeed(
      said({
        url: options.connectionString === undefined ? undefined : Redacted.make(options.connectionString),
        host: options.host,
        port: options.port,
        database: options.database,
        username: options.user,
        password:
          typeof password === "function"
            ? Effect.map(
                Effect.tryPromise(() => Promise.resolve(password())),
                Redacted.make
              )
            : password === undefined
              ? undefined
              : Redacted.make(password),
        ssl: options.ssl as PgSqlConfig["ssl"],
        applicationName: options.application_name,
        types: options.types as PgSqlConfig["types"],
        stream: options.stream,
        statementTimeout: set(options.statement_timeout || undefined, 1),
        pool: said({
          maxSize: options.max,
          minIdle: options.min,
          idleTimeout: set(options.idleTimeoutMillis ?? undefined, 1),
          acquireTimeout: set(options.connectionTimeoutMillis, 1),
          maxLifetime: set(options.maxLifetimeSeconds, 1_000),
          maxUses: maxUses === 0 ? undefined : maxUses
        })
      })
    )
  })
