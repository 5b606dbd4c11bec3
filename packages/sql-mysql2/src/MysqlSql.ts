/**
 * MySQL and MariaDB on one shared pool: `Sql`, `SqlClient` and `MysqlClient` in one Layer.
 *
 * @since 0.1.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import { MysqlClient, type MysqlClientConfig, TypeId } from "@effect/sql-mysql2/MysqlClient"
import type { Configured } from "@sluice/sql/driver/Configured"
import * as Layers from "@sluice/sql/driver/Layers"
import type { Origin } from "@sluice/sql/driver/Runtime"
import { type ConfigError, Effect, type Layer, type Scope } from "effect"
import type { MysqlSqlConfig } from "./Config.js"
import * as compiler from "./internal/compiler.js"
import { driver, packed } from "./internal/driver.js"
import * as endpoint from "./internal/endpoint.js"

export type { EndpointConfig, Mysql2Options, MysqlSqlConfig } from "./Config.js"

/**
 * A running MySQL or MariaDB: the three services of the Layer as values.
 *
 * @since 0.1.0
 * @category models
 */
export interface MysqlSql extends Layers.Running<MysqlClient> {}

const start = Effect.fnUntraced(function* (
  config: MysqlSqlConfig,
  origin: Origin
): Effect.fn.Return<MysqlSql, SqlError, Scope.Scope> {
  const endpoints = yield* endpoint.resolve(config)
  const { pipeline } = config
  const { client, router, sql, topology } = yield* Layers.start(
    pipeline === false ? driver : packed(pipeline === true),
    config,
    endpoints,
    origin,
    {
      compiler: compiler.make(config.transformQueryNames),
      system: "mysql"
    }
  )
  const mysqlClient: MysqlClient = Object.assign(client, {
    [TypeId]: TypeId as TypeId,
    config: Layers.shown(config, endpoints.primary) satisfies MysqlClientConfig
  })
  return { sql: { ...sql, client: mysqlClient }, client: mysqlClient, router, topology }
})

const layers = Layers.make({ tag: MysqlClient, start })

/**
 * Starts a client without a Layer. It lives as long as the scope.
 *
 * **When to use:** for a second database beside the one of the Layer.
 *
 * - Uses the `Reactivity` of its context if there is one, else one of its own.
 * - Fails with a `SqlError`. `SqlReason.of(error)._tag` is `InvalidOptions` for options that cannot work, else the reason
 *   why the first connect failed: `ConnectFailed`, `AuthenticationFailed` (also: no such database), `TooManyConnections`, or
 *   `AcquireTimeout` when no server has answered.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (config: MysqlSqlConfig) => Effect.Effect<MysqlSql, SqlError, Scope.Scope> = layers.make

/**
 * `Sql`, `SqlClient` and `MysqlClient` on one pool for each endpoint. Keep the Layer in a constant, so that all parts of the
 * program share the pool.
 *
 * - Fails as `make` does. The message never has a password in it.
 *
 * @example
 * ```ts
 * import { MysqlSql } from "@sluice/sql-mysql2"
 * import { Redacted } from "effect"
 *
 * const SqlLive = MysqlSql.layer({
 *   url: Redacted.make("mysql://app:secret@localhost:3306/pay"),
 *   pool: { maxSize: 10, acquireTimeout: "5 seconds" }
 * })
 * ```
 *
 * @example
 * ```ts
 * import { MysqlSql } from "@sluice/sql-mysql2"
 * import { Effect, Redacted } from "effect"
 *
 * // Every session has this role and time zone, also after a statement has changed them.
 * const ReportsLive = MysqlSql.layer({
 *   url: Redacted.make("mysql://app:secret@localhost:3306/pay"),
 *   hooks: {
 *     onConnect: ({ sql }) => Effect.all([sql`set role reporting`, sql`set time_zone = '+00:00'`])
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: (config: MysqlSqlConfig) => Layer.Layer<Layers.Services | MysqlClient, SqlError> = layers.layer

/**
 * The same as `layer`, with options that are read from Effect's configuration. Every part may be a `Config`: the whole, a
 * field, or a part of `primary`, `replicas`, `hosts` and `pool`. What is no `Config` is taken as it stands.
 *
 * @example
 * ```ts
 * import { MysqlSql } from "@sluice/sql-mysql2"
 * import { Config } from "effect"
 *
 * const SqlLive = MysqlSql.layerConfig({
 *   url: Config.redacted("DATABASE_URL"),
 *   replicas: [{ url: Config.redacted("REPLICA_URL") }],
 *   pool: { maxSize: Config.withDefault(Config.integer("DATABASE_CONNECTIONS"), 10), acquireTimeout: "5 seconds" }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: (
  config: Configured<MysqlSqlConfig>
) => Layer.Layer<Layers.Services | MysqlClient, ConfigError.ConfigError | SqlError> = layers.layerConfig
