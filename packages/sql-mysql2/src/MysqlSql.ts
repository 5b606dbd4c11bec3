/**
 * MySQL and MariaDB on one shared pool: `Sql`, `SqlClient` and `MysqlClient` in one Layer.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { MysqlClient, type MysqlClientConfig, TypeId } from "@effect/sql-mysql2/MysqlClient"
import * as Runtime from "@sluice/sql/driver/Runtime"
import * as Router from "@sluice/sql/Router"
import type { Service } from "@sluice/sql/Sql"
import { Sql } from "@sluice/sql/Sql"
import * as Topology from "@sluice/sql/Topology"
import { Config, type ConfigError, Context, type Duration, Effect, Layer, type Redacted, type Scope } from "effect"
import type { ConnectionOptions } from "mysql2"
import * as compiler from "./internal/compiler.js"
import { driver, packed } from "./internal/driver.js"
import * as endpoint from "./internal/endpoint.js"

/**
 * One server. What is left out is taken from the configuration around it, then from the defaults of `mysql2`.
 *
 * @since 0.1.0
 * @category models
 */
export interface EndpointConfig {
  /** `mysql://user:password@host:3306/database`. Wins over the other fields. */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. */
  readonly host?: string | undefined
  /** Default 3306. Range 1 to 65,535. */
  readonly port?: number | undefined
  /** The server's Unix socket, instead of `host` and `port`. */
  readonly path?: string | undefined
  /** Default: no TLS, unless the url asks for it. */
  readonly ssl?: ConnectionOptions["ssl"] | undefined
  /** Default: none; then tables have to be named with their database. */
  readonly database?: string | undefined
  readonly username?: string | undefined
  /**
   * An effect is run for each connection that is opened, so that a password that was changed meanwhile is found without a
   * restart: open connections go on, and while the server refuses, it is read once for each attempt, at most once a second.
   * If it fails, so does the attempt (`ConnectFailed`).
   */
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown> | undefined
}

/**
 * What `mysql2` can be told about a connection, without what has a name in `MysqlSqlConfig` or is the pool's.
 *
 * @since 0.1.0
 * @category models
 */
export type Mysql2Options = Omit<
  ConnectionOptions,
  | "uri"
  | "host"
  | "port"
  | "user"
  | "password"
  | "database"
  | "socketPath"
  | "ssl"
  | "connectTimeout"
  | "connectionLimit"
  | "maxIdle"
  | "idleTimeout"
  | "queueLimit"
  | "waitForConnections"
  | "rowsAsArray"
  | "multipleStatements"
  | "isServer"
  | "pool"
  | "resetOnRelease"
  | "enableKeepAlive"
  | "gracefulEnd"
>

/**
 * Everything the Layer can be told. The fields of `EndpointConfig` describe the primary if there is no `primary`, and are
 * the defaults of `primary` and `replicas` if there is.
 *
 * @since 0.1.0
 * @category models
 */
export interface MysqlSqlConfig extends EndpointConfig, Runtime.RuntimeConfig {
  /** Takes writes, and everything that does not say what it is. */
  readonly primary?: EndpointConfig | undefined
  /** Take what is inside of `Sql.read`, in turn. Default none. */
  readonly replicas?: ReadonlyArray<EndpointConfig> | undefined
  /**
   * Longest time one statement may run. The server enforces it: MariaDB (`max_statement_time`) for all statements, MySQL
   * (`max_execution_time`) for SELECT alone. One second later the client gives up on the connection.
   *
   * - Unit: duration. Default none. Fails with `StatementTimeout`.
   */
  readonly statementTimeout?: Duration.DurationInput | undefined
  /**
   * When a session is made new (`COM_RESET_CONNECTION`) before its next user. It costs two round trips, and the prepared
   * statements.
   *
   * - `auto`: when the server has reported a change (variables, temporary tables, PREPARE, USE), and after LOCK TABLES, HANDLER
   *   and `get_lock`. Named locks that a stored procedure takes are not seen.
   * - `always`: after each use.
   * - `never`: only open transactions are rolled back.
   *
   * Default `auto`.
   */
  readonly resetOnRelease?: "auto" | "always" | "never" | undefined
  /**
   * Whether statements are prepared: the server keeps up to 100 for each connection, and values are sent beside the text.
   * False for proxies that lose them; values are then written into the text, with the same meaning. Default true.
   */
  readonly prepare?: boolean | undefined
  /**
   * Whether short reads share connections. Default: where the server is a MariaDB and nothing stands between. True: on every
   * server, for those that answer in the order of asking: MySQL does; ProxySQL and Aurora 2 are known not to. False: nowhere.
   *
   * A statement outside of transactions and `withConnection` that begins with SELECT, VALUES or TABLE, locks no rows, asks
   * nothing of the session (`last_insert_id()`, `found_rows()`, `get_lock()`), has no parameter of more than 64 KiB, and has
   * needed less than 1 millisecond of the server lately, is sent on a connection where others are under way, in one write
   * with those of the same moment; up to 128, and no more than 4 milliseconds of work. All other statements have a connection
   * for themselves, as has everything of priority `low` and `background`, and every statement when `mysql2.compress` is on.
   */
  readonly pipeline?: boolean | undefined
  /** Shown as `program_name` among the connection attributes (`performance_schema.session_connect_attrs`). Default `@sluice/sql-mysql2`. */
  readonly applicationName?: string | undefined
  readonly transformResultNames?: ((str: string) => string) | undefined
  readonly transformQueryNames?: ((str: string) => string) | undefined
  readonly spanAttributes?: Record<string, unknown> | undefined
  /** Everything else: `timezone`, `charset`, `dateStrings`, `typeCast`, `authPlugins`, … Default `supportBigNumbers: true`. */
  readonly mysql2?: Mysql2Options | undefined
}

/**
 * A running MySQL or MariaDB: the services of the Layer as values.
 *
 * @since 0.1.0
 * @category models
 */
export interface MysqlSql {
  readonly sql: Service
  /** Also the `SqlClient`. */
  readonly client: MysqlClient
  readonly router: Router.Service
  readonly topology: Topology.Service
}

/**
 * A database without a Layer, for as long as the scope lives; for a second one beside the Layer's.
 *
 * - Fails with a `SqlError`. `SqlReason.of(error)._tag` is `InvalidOptions` for options that cannot work, else why the
 *   first connect failed: `ConnectFailed`, `AuthenticationFailed` (also: no such database), `TooManyConnections`, or
 *   `AcquireTimeout` when nobody answered at all.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (config: MysqlSqlConfig): Effect.Effect<MysqlSql, SqlError, Scope.Scope | Reactivity.Reactivity> =>
  makeAt(config, Runtime.callSite(make))

const makeAt = Effect.fnUntraced(function* (
  config: MysqlSqlConfig,
  madeAt: string
): Effect.fn.Return<MysqlSql, SqlError, Scope.Scope | Reactivity.Reactivity> {
  const { primary, replicas } = yield* endpoint.resolve(config)
  const { client, router, sql, topology } = yield* Runtime.make(
    config.pipeline === false ? driver : packed(config.pipeline === true),
    {
      primary,
      replicas,
      pool: config.pool,
      startup: config.startup,
      duplicates: config.duplicates,
      madeAt,
      compiler: compiler.make(config.transformQueryNames),
      transformRows:
        config.transformResultNames === undefined
          ? undefined
          : Statement.defaultTransforms(config.transformResultNames).array,
      spanAttributes: [
        ...Object.entries(config.spanAttributes ?? {}),
        ["db.system.name", "mysql"],
        ...(primary.database === undefined ? [] : [["db.namespace", primary.database] as const]),
        ["server.address", primary.path ?? primary.host],
        ...(primary.path === undefined ? [["server.port", primary.port] as const] : [])
      ]
    }
  )
  const mysqlClient: MysqlClient = Object.assign(client, {
    [TypeId]: TypeId as TypeId,
    config: {
      ...config,
      ...config.primary,
      host: primary.host,
      port: primary.port,
      database: primary.database,
      username: primary.user,
      password: primary.password
    } satisfies MysqlClientConfig
  })
  return { sql: { ...sql, client: mysqlClient }, client: mysqlClient, router, topology }
})

const layerAt = (
  config: MysqlSqlConfig,
  madeAt: string
): Effect.Effect<
  Context.Context<Sql | SqlClient | MysqlClient | Router.Router | Topology.Topology>,
  SqlError,
  Scope.Scope | Reactivity.Reactivity
> =>
  Effect.map(makeAt(config, madeAt), ({ client, router, sql, topology }) =>
    Context.make(Sql, sql).pipe(
      Context.add(SqlClient, client),
      Context.add(MysqlClient, client),
      Context.add(Router.Router, router),
      Context.add(Topology.Topology, topology)
    )
  )

/**
 * `Sql`, `SqlClient` and `MysqlClient` on one pool for each endpoint, with the `Router` and the `Topology` of `@sluice/sql`. Keep the Layer in a constant, so that everything that
 * needs it shares the pool.
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
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  config: MysqlSqlConfig
): Layer.Layer<Sql | SqlClient | MysqlClient | Router.Router | Topology.Topology, SqlError> => {
  const madeAt = Runtime.callSite(layer)
  return Layer.scopedContext(layerAt(config, madeAt)).pipe(Layer.provide(Reactivity.layer))
}

/**
 * As `layer`, from Effect's configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<MysqlSqlConfig>
): Layer.Layer<
  Sql | SqlClient | MysqlClient | Router.Router | Topology.Topology,
  ConfigError.ConfigError | SqlError
> => {
  const madeAt = Runtime.callSite(layerConfig)
  return Layer.scopedContext(Effect.flatMap(Config.unwrap(config), (config) => layerAt(config, madeAt))).pipe(
    Layer.provide(Reactivity.layer)
  )
}
