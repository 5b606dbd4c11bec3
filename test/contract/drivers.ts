/**
 * The drivers under contract. Every suite of this folder runs, sentence by sentence, on all of them: on those that exist
 * already and on ours, so that a difference is either a listed fix or a fault of ours.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { Configured } from "@sluice/sql/driver"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { type Config, type ConfigError, Effect, type Layer, type Scope } from "effect"
import { type Common, type Database, databases, type Kinds, type Words } from "./databases.js"

/** What a driver's documentation lets a program say: of one database, or of any. */
export type Options<D extends Database = Database> = [Database] extends [D] ? Common : Kinds[D]["options"]

/** What a driver's `make` gives. */
export type Made<D extends Database = Database> = [Database] extends [D] ? SqlClient : Kinds[D]["client"]

/** What a driver's Layer gives. */
export type Client<D extends Database = Database> = SqlClient | Made<D>

type Configurable = "url" | "applicationName"

/** A driver of this database; without one, a driver of any, of which less is known. */
export interface Driver<D extends Database = Database> {
  readonly name: string
  readonly database: D
  readonly words: Words
  /** Ours is asked for more: typed failures, balanced books, and the listed fixes. */
  readonly isOurs: boolean
  /** The client, exactly as configured: nothing is added. */
  readonly layer: (options: Options<D>) => Layer.Layer<Client<D>, SqlError>
  readonly layerConfig: (
    config: Config.Config.Wrap<Pick<Options<D>, Configurable & keyof Options<D>>>
  ) => Layer.Layer<Client<D>, SqlError | ConfigError.ConfigError>
  readonly make: (options: Options<D>) => Effect.Effect<Made<D>, SqlError, Scope.Scope>
}

/** How each option of an original is said to our Layer: one that has no line in it does not compile. */
type Said<O, Ours> = { readonly [Option in keyof O]-?: (value: NonNullable<O[Option]>) => Ours }

const pgSaid: Said<Options<"postgresql">, PgSql.PgSqlConfig> = {
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

const mysqlSaid: Said<Options<"mysql">, MysqlSql.MysqlSqlConfig> = {
  url: (url) => ({ url }),
  host: (host) => ({ host }),
  port: (port) => ({ port }),
  database: (database) => ({ database }),
  username: (username) => ({ username }),
  password: (password) => ({ password }),
  maxConnections: (maxSize) => ({ pool: { maxSize } }),
  connectionTTL: (maxLifetime) => ({ pool: { maxLifetime } }),
  // What is the pool's business, or the endpoint's, has a name of its own with us.
  poolConfig: ({ connectTimeout, idleTimeout, socketPath, ssl, ...mysql2 }) => ({
    mysql2,
    ...(ssl === undefined ? {} : { ssl }),
    ...(socketPath === undefined ? {} : { path: socketPath }),
    pool: {
      ...(connectTimeout === undefined ? {} : { connectTimeout }),
      ...(idleTimeout === undefined ? {} : { idleTimeout })
    }
  }),
  spanAttributes: (spanAttributes) => ({ spanAttributes }),
  transformResultNames: (transformResultNames) => ({ transformResultNames }),
  transformQueryNames: (transformQueryNames) => ({ transformQueryNames })
}

const asOurs =
  <O extends object, Ours extends PgSql.PgSqlConfig | MysqlSql.MysqlSqlConfig>(said: Said<O, Ours>, always?: Ours) =>
  (options: O): Ours => {
    // The suites make many pools on one database, on purpose.
    let config: Ours = { duplicates: "allow", ...always } as Ours
    for (const [option, value] of Object.entries(options)) {
      if (value === undefined) continue
      const part = (said as unknown as Record<string, (value: unknown) => Ours>)[option]!(value)
      config = { ...config, ...part, pool: { ...config.pool, ...part.pool } }
    }
    return config
  }

/** The options of an original as ours, for a test that adds what the original cannot be told. */
export const ours = {
  postgresql: asOurs(pgSaid),
  // Always on in the original, whose suites send such texts, and so does the storage of `@effect/cluster`.
  mysql: asOurs(mysqlSaid, { multipleStatements: true })
}

/** What the originals ask of their callers, and ours do not. */
const alone = <A, E, R>(client: Effect.Effect<A, E, R | Reactivity.Reactivity>) =>
  Effect.provide(client, Reactivity.layer) as Effect.Effect<A, E, Exclude<R, Reactivity.Reactivity>>

type Registered<D extends Database> = Omit<Driver<D>, "name" | "words">

const registry = {
  "@effect/sql-pg": {
    database: "postgresql",
    isOurs: false,
    layer: PgClient.layer,
    layerConfig: PgClient.layerConfig,
    make: (options) => alone(PgClient.make(options))
  } satisfies Registered<"postgresql">,
  "@sluice/sql-pg": {
    database: "postgresql",
    isOurs: true,
    layer: (options) => PgSql.layer(ours.postgresql(options)),
    layerConfig: (config) => PgSql.layerConfig(config as Configured.Configured<PgSql.PgSqlConfig>),
    make: (options) => Effect.map(PgSql.make(ours.postgresql(options)), ({ client }) => client)
  } satisfies Registered<"postgresql">,
  "@effect/sql-mysql2": {
    database: "mysql",
    isOurs: false,
    // It reads no configuration, whatever its type says.
    layer: MysqlClient.layer as Registered<"mysql">["layer"],
    layerConfig: MysqlClient.layerConfig,
    make: (options) => alone(MysqlClient.make(options))
  } satisfies Registered<"mysql">,
  "@sluice/sql-mysql2": {
    database: "mysql",
    isOurs: true,
    layer: (options) => MysqlSql.layer(ours.mysql(options)),
    layerConfig: (config) => MysqlSql.layerConfig(config as Configured.Configured<MysqlSql.MysqlSqlConfig>),
    make: (options) => Effect.map(MysqlSql.make(ours.mysql(options)), ({ client }) => client)
  } satisfies Registered<"mysql">
}

export type Name = keyof typeof registry

/** The names of those that are ours. */
export type Ours = { [N in Name]: (typeof registry)[N]["isOurs"] extends true ? N : never }[Name]

/** The driver of this name; a name that nobody knows fails, so that no suite runs on nothing by mistake. */
export const driver = <D extends Database = Database>(name: string): Driver<D> => {
  if (!Object.hasOwn(registry, name)) {
    throw new Error(`unknown driver ${JSON.stringify(name)}: known are ${Object.keys(registry).join(", ")}`)
  }
  const registered = registry[name as Name]
  return { name, words: databases[registered.database].words, ...registered } as unknown as Driver<D>
}

/** Ours of this database, and the one that it takes the place of. */
export const pair = <D extends Database>(database: D): { readonly ours: Driver<D>; readonly original: Driver<D> } => {
  const of = (isOurs: boolean) =>
    driver<D>(Object.entries(registry).find(([, one]) => one.database === database && one.isOurs === isOurs)![0])
  return { ours: of(true), original: of(false) }
}

/** All drivers, or those that the environment variable CONTRACT_DRIVERS names, with commas between them. */
export const selected: ReadonlyArray<Driver> = (
  process.env["CONTRACT_DRIVERS"]?.split(",") ?? Object.keys(registry)
).map((name) => driver(name.trim()))
