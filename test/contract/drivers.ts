/**
 * The drivers under contract. Every suite of this folder runs, sentence by sentence, on all of them: on those that exist
 * already and on ours, so that a difference is either a listed fix or a fault of ours.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as PgClient from "@effect/sql-pg/PgClient"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { type Config, type ConfigError, Effect, type Layer, type Scope } from "effect"

/** What the documentation of `@effect/sql-pg` lets a program say. */
export type Options = PgClient.PgClientConfig

/** What a driver's Layer gives. */
export type Client = SqlClient | PgClient.PgClient

export interface Driver {
  readonly name: string
  readonly database: Database
  /** Ours is asked for more: typed failures, balanced books, and the listed fixes. */
  readonly isOurs: boolean
  /** The n-th parameter in the text of a statement, counted from 1. */
  readonly placeholder: (n: number) => string
  /** The client, exactly as configured: nothing is added. */
  readonly layer: (options: Options) => Layer.Layer<Client, SqlError>
  readonly layerConfig: (
    config: Config.Config.Wrap<Pick<Options, "url" | "applicationName">>
  ) => Layer.Layer<Client, SqlError | ConfigError.ConfigError>
  readonly make: (options: Options) => Effect.Effect<PgClient.PgClient, SqlError, Scope.Scope>
}

/** A database, and how the suites reach it. */
export interface Server {
  readonly layer: Layer.Layer<PgCluster.PgCluster, PgCluster.PgClusterError>
  /** What every client is told, unless a test says otherwise. */
  readonly options: Effect.Effect<Options, never, PgCluster.PgCluster>
  /** Number of sessions that the server has for clients of this name. */
  readonly sessions: (applicationName: string) => Effect.Effect<number, PgCluster.PgClusterError, PgCluster.PgCluster>
}

export const servers = {
  postgresql: {
    layer: PgCluster.layer({ settings: { max_connections: 100 } }),
    options: Effect.map(PgCluster.PgCluster, ({ primary }) => ({ url: primary.url })),
    sessions: (applicationName) =>
      Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
        Effect.map(
          primary.query("select 1 from pg_stat_activity where application_name = $1", [applicationName]),
          (rows) => rows.length
        )
      )
  }
} as const satisfies Record<string, Server>

export type Database = keyof typeof servers

/**
 * How each option of `@effect/sql-pg` is said to our Layer. An option that has no line here does not compile, and one that
 * our Layer could not be told would have none.
 */
const said: {
  readonly [Option in keyof Options]-?: (value: NonNullable<Options[Option]>) => PgSql.PgSqlConfig
} = {
  url: (url) => ({ url }),
  host: (host) => ({ host }),
  port: (port) => ({ port }),
  path: (path) => ({ path }),
  ssl: (ssl) => ({ ssl }),
  database: (database) => ({ database }),
  username: (username) => ({ username }),
  password: (password) => ({ password }),
  stream: (stream) => ({ stream }),
  idleTimeout: (idleTimeout) => ({ pool: { idleTimeout } }),
  connectTimeout: (connectTimeout) => ({ pool: { connectTimeout } }),
  maxConnections: (maxSize) => ({ pool: { maxSize } }),
  minConnections: (minIdle) => ({ pool: { minIdle } }),
  connectionTTL: (maxLifetime) => ({ pool: { maxLifetime } }),
  applicationName: (applicationName) => ({ applicationName }),
  spanAttributes: (spanAttributes) => ({ spanAttributes }),
  transformResultNames: (transformResultNames) => ({ transformResultNames }),
  transformQueryNames: (transformQueryNames) => ({ transformQueryNames }),
  transformJson: (transformJson) => ({ transformJson }),
  types: (types) => ({ types })
}

const asOurs = (options: Options): PgSql.PgSqlConfig => {
  // The suites make many pools on one database, on purpose.
  let config: PgSql.PgSqlConfig = { duplicates: "allow" }
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue
    const part = (said as Record<string, (value: unknown) => PgSql.PgSqlConfig>)[option]!(value)
    config = { ...config, ...part, pool: { ...config.pool, ...part.pool } }
  }
  return config
}

const registry = {
  "@effect/sql-pg": {
    database: "postgresql",
    isOurs: false,
    placeholder: (n: number) => `$${n}`,
    layer: PgClient.layer,
    layerConfig: PgClient.layerConfig,
    make: (options: Options) => Effect.provide(PgClient.make(options), Reactivity.layer)
  },
  "@sluice/sql-pg": {
    database: "postgresql",
    isOurs: true,
    placeholder: (n: number) => `$${n}`,
    layer: (options: Options) => PgSql.layer(asOurs(options)),
    layerConfig: (config) => PgSql.layerConfig(config as Config.Config.Wrap<PgSql.PgSqlConfig>),
    make: (options: Options) =>
      Effect.provide(
        Effect.map(PgSql.make(asOurs(options)), ({ client }) => client),
        Reactivity.layer
      )
  }
} as const satisfies Record<string, Omit<Driver, "name">>

/** The driver of this name; a name that nobody knows fails, so that no suite runs on nothing by mistake. */
export const driver = (name: string): Driver => {
  if (!Object.hasOwn(registry, name)) {
    throw new Error(`unknown driver ${JSON.stringify(name)}: known are ${Object.keys(registry).join(", ")}`)
  }
  return { name, ...registry[name as keyof typeof registry] }
}

/** All drivers, or those that the environment variable CONTRACT_DRIVERS names, with commas between them. */
export const selected: ReadonlyArray<Driver> = (
  process.env["CONTRACT_DRIVERS"]?.split(",") ?? Object.keys(registry)
).map((name) => driver(name.trim()))
