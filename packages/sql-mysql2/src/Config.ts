/**
 * What `MysqlSql` can be told. `MysqlSql` exports the same types.
 *
 * @since 0.2.0
 */
import type { RuntimeConfig } from "@sluice/sql/driver/Runtime"
import type { TargetWord } from "@sluice/sql/Router"
import type { Duration, Effect, Redacted } from "effect"
import type { ConnectionOptions } from "mysql2"

/**
 * One server. A field that is left out is taken from the surrounding configuration, then from the defaults of `mysql2`.
 *
 * @since 0.1.0
 * @category models
 */
export interface EndpointConfig {
  /**
   * `mysql://user:password@host:3306/database?ssl-mode=VERIFY_IDENTITY`. The url wins over the other fields, which
   * say what it leaves out.
   *
   * The words behind the question mark: `ssl-mode` (`DISABLED`, `PREFERRED`, `REQUIRED`, `VERIFY_CA`, `VERIFY_IDENTITY`; also
   * `sslmode`, with the words of libpq), `ssl-ca`, `ssl-cert` and `ssl-key` with names of files, `ssl` as the option `ssl` in
   * JSON, `socketPath`, and the options of `mysql2` that are plain data (`charset`, `timezone`, `dateStrings`, …). Every other
   * word is refused by name, with what to use instead. Without a mode there is no TLS, as in `mysql2`. The url of a configuration
   * without `primary`, `replicas` and `hosts` may name several hosts (`mysql://a:3306,b:3307/database`): see `hosts` of
   * `MysqlSqlConfig`.
   */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. */
  readonly host?: string | undefined
  /** Default 3306. Range 1 to 65,535. */
  readonly port?: number | undefined
  /** The server's Unix socket, instead of `host` and `port`. */
  readonly path?: string | undefined
  /**
   * `true`: TLS, and the certificate must be trusted and for the name of the host. An object: TLS with these options, which check
   * the name only with `verifyIdentity: true`. The name of a profile of `mysql2`. Default: no TLS, unless the url asks for it.
   */
  readonly ssl?: ConnectionOptions["ssl"] | boolean | undefined
  /** Default: none; then statements must name the database of each table. */
  readonly database?: string | undefined
  readonly username?: string | undefined
  /**
   * An effect is run for each connection that is opened, so a password that has changed is found without a restart. Open
   * connections are not affected. While the server refuses the password, the effect is run once for each connect, at most once
   * a second. If the effect fails, the connect fails with `ConnectFailed`.
   */
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown> | undefined
}

/**
 * The options of a connection of `mysql2`, without those that `MysqlSqlConfig` has a name for and those of its pool.
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
export interface MysqlSqlConfig extends EndpointConfig, RuntimeConfig {
  /** Takes writes, and every statement that is not marked as a read. */
  readonly primary?: EndpointConfig | undefined
  /** Take the statements inside of `Sql.read`: see `Router`. Default none. */
  readonly replicas?: ReadonlyArray<EndpointConfig> | undefined
  /**
   * Servers of one database, instead of `primary` and `replicas`: which of them takes writes is found by asking them, at the start
   * and after each sign of a failover. The others are replicas. A `url` with several hosts means the same.
   *
   * - A server that is named twice counts once. Each `url` here names one host.
   * - Fails with `InvalidOptions` if the list is empty, if the servers have different databases, or beside `primary` or `replicas`.
   */
  readonly hosts?: ReadonlyArray<EndpointConfig> | undefined
  /**
   * Where statements go that are not marked with `Sql.read`. The words are those of libpq's `target_session_attrs`:
   *
   * - `read-write`, `primary`: to the server that takes writes.
   * - `read-only`, `standby`: to a replica.
   * - `prefer-standby`: to a replica, or to the primary while no replica is up.
   * - `any`: to any server that is up.
   *
   * Default `read-write`.
   */
  readonly targetSessionAttrs?: TargetWord | undefined
  /**
   * Longest time one statement may run. The server enforces it: MariaDB (`max_statement_time`) for all statements, MySQL
   * (`max_execution_time`) for SELECT alone. If the server has not answered one second later, the client closes the connection.
   * COMMIT is bounded by the `commitTimeout` of its transaction instead.
   *
   * - Unit: duration. Default none. Fails with `StatementTimeout`.
   */
  readonly statementTimeout?: Duration.DurationInput | undefined
  /**
   * When a session is cleaned (`COM_RESET_CONNECTION`) before its next user. It costs the prepared statements, and two round trips
   * while the connection serves nobody.
   *
   * - `auto`: when the server has reported a change (variables, temporary tables, PREPARE, USE), after LOCK TABLES, HANDLER,
   *   `get_lock` and variables that a SELECT sets, and after a failure of a statement that may have changed the session, because the
   *   server reports nothing then. Named locks that a stored procedure takes are not noticed.
   * - `always`: after each use. On a MariaDB without a proxy it costs no round trip, because it is sent at release and the next
   *   statement behind it. That one is prepared again, where it has parameters; with `prepare: false` it is not. If the server
   *   refuses the reset the connection is closed.
   * - `never`: only open transactions are rolled back.
   *
   * After each of these resets `hooks.onConnect` gives the session its state again.
   *
   * Default `auto`.
   */
  readonly resetOnRelease?: "auto" | "always" | "never" | undefined
  /**
   * Whether statements are prepared. The server keeps up to 100 prepared statements for each connection, and values are sent
   * beside the text. Set it to false for a proxy that loses prepared statements: then values are written into the text, with the
   * same meaning. Default true.
   */
  readonly prepare?: boolean | undefined
  /**
   * Whether one text may have several statements: the server takes them only if the client has asked for it when it connected. A
   * text that a program has put together of foreign parts can then carry a statement that the program did not mean, so it is off
   * unless asked for. `SqlRunnerStorage` of `@effect/cluster` (and with it `ClusterCron`, and workflows) sends such texts, and
   * migrations may. With it a transaction with an isolation level begins in one round trip instead of two.
   *
   * Default false: the server refuses the second statement, and nothing is executed (`SyntaxError`, 1064).
   */
  readonly multipleStatements?: boolean | undefined
  /**
   * Whether short reads share connections. Default: only if the server is a MariaDB with no proxy in front of it. True: on every
   * server. Set it to true only if the server answers in the order of asking: MySQL does; ProxySQL and Aurora 2 are known not
   * to. False: nowhere.
   *
   * A short read is a statement outside of transactions and `withConnection` that begins with SELECT, VALUES or TABLE, locks no
   * rows, does not depend on the session (`last_insert_id()`, `found_rows()`, `get_lock()`), has no parameter of more than
   * 64 KiB, and whose recent executions have taken the server less than 1 millisecond. Short reads are sent on a connection
   * where others are under way: up to 128 of them, and up to 4 milliseconds of work. Reads that start at the same moment leave
   * in one write. All other statements have a connection for themselves, and so has every statement of priority `low` or
   * `background`, and every statement when `mysql2.compress` is on.
   */
  readonly pipeline?: boolean | undefined
  /** Shown as `program_name` among the connection attributes (`performance_schema.session_connect_attrs`). Default `@sluice/sql-mysql2`. */
  readonly applicationName?: string | undefined
  readonly transformResultNames?: ((str: string) => string) | undefined
  readonly transformQueryNames?: ((str: string) => string) | undefined
  readonly spanAttributes?: Record<string, unknown> | undefined
  /** All other options of a connection: `timezone`, `charset`, `dateStrings`, `typeCast`, `authPlugins`, … Default `supportBigNumbers: true`. */
  readonly mysql2?: Mysql2Options | undefined
}
