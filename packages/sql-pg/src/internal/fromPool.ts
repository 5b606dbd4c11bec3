import type { SqlError } from "@effect/sql/SqlError"
import { invalidOptionsOf } from "@sluice/sql/driver/Classify"
import { Effect, Redacted } from "effect"
import type * as Pg from "pg"
import type { PgSqlConfig } from "../Config.js"

/** A duration in milliseconds. A pool of `pg` reads 0 as "no limit"; then the option is left out, and our default holds. */
const set = (value: number | undefined, unit: 1 | 1_000): number | undefined =>
  value === undefined || value === 0 ? undefined : value * unit

/** Leaves out the options that are `undefined`: an option that is present and `undefined` would replace a default. */
const said = <A extends object>(options: A): A =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as A

/** The configuration of a client that connects as the pool of `pg` would, with as many connections. */
export const configOf = (pool: Pg.Pool): Effect.Effect<PgSqlConfig, SqlError> =>
  Effect.suspend(() => {
    const options = pool.options as Pg.PoolConfig & {
      readonly stream?: PgSqlConfig["stream"]
      readonly verify?: unknown
      readonly onConnect?: unknown
    }
    for (const name of ["Client", "verify", "onConnect"] as const) {
      if (options[name] !== undefined) return Effect.fail(cannotTake(name))
    }
    const { password } = options
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
          maxLifetime: set(options.maxLifetimeSeconds, 1_000)
        })
      })
    )
  })

const cannotTake = (name: string): SqlError =>
  invalidOptionsOf(
    new Error(
      `PgSql.layerFromPool: the pool has the option ${name}, which belongs to connections that are not opened here. Leave it out`
    )
  )
