/**
 * What `PgSql` can be told. `PgSql` exports the same types.
 *
 * @since 0.2.0
 */

import type { Duplex } from "node:stream"
import type { SqlError } from "@effect/sql/SqlError"
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import type { RuntimeConfig } from "@sluice/sql/driver/Runtime"
import type { TargetWord } from "@sluice/sql/Router"
import type { Duration, Effect, Redacted, Scope } from "effect"
import type * as Pg from "pg"

/**
 * One server. A field that is left out is taken from the surrounding configuration, then from the environment, then
 * from PostgreSQL's defaults. These variables are read: `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`, `PGOPTIONS`,
 * `PGAPPNAME`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`, `PGSSLCRL`, `PGSSLMINPROTOCOLVERSION`,
 * `PGSSLMAXPROTOCOLVERSION`, `PGSSLNEGOTIATION`, `PGCHANNELBINDING` and `PGTARGETSESSIONATTRS`, and `PGGSSENCMODE` is refused where it
 * asks for something that is not done. `PGHOST` and `PGPORT` may be lists: see `hosts` of `PgSqlConfig`.
 *
 * @since 0.1.0
 * @category models
 */
export interface EndpointConfig {
  /**
   * `postgres://user:password@host:5432/database?sslmode=verify-full`. The url wins over the other fields, which
   * say what it leaves out.
   *
   * The words behind the question mark are those of libpq, with their meaning there: `sslmode`, `sslrootcert` (`system`: the
   * authorities that Node trusts), `sslcert`, `sslkey`, `sslpassword`, `sslcrl`, `ssl_min_protocol_version`,
   * `ssl_max_protocol_version`, `sslnegotiation`, `channel_binding`, `application_name`, `fallback_application_name`, `options`,
   * `host`, `port`, `user`, `password`, `dbname`, `target_session_attrs`. Every other word is refused by name, with what to use
   * instead. The url of a configuration without `primary`, `replicas` and `hosts` may name several hosts
   * (`postgres://a:5432,b:5433/database`): see `hosts` of `PgSqlConfig`. Three things are different from libpq: without `sslmode`
   * there is no TLS, `verify-full` without `sslrootcert` checks against the authorities that Node trusts, and without
   * `target_session_attrs` statements go to the server that takes writes.
   */
  readonly url?: Redacted.Redacted | undefined
  readonly host?: string | undefined
  /** Default 5432. Range 1 to 65,535. */
  readonly port?: number | undefined
  /** Directory of the server's Unix socket, instead of `host`. */
  readonly path?: string | undefined
  /**
   * `true`: TLS, and the certificate must be trusted and for this host. An object: the same, with these options of `node:tls`.
   * Together with an `sslmode` of the url the object gives certificates, and the mode says what is checked. Default: no TLS,
   * unless the url or the environment asks for it.
   */
  readonly ssl?: PgClientConfig["ssl"]
  /** Default: the name of the user. */
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
 * Everything the Layer can be told. The fields of `EndpointConfig` describe the primary if there is no `primary`, and are
 * the defaults of `primary` and `replicas` if there is.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgSqlConfig extends EndpointConfig, RuntimeConfig {
  /** Takes writes, and every statement that is not marked as a read. */
  readonly primary?: EndpointConfig | undefined
  /** Take the statements inside of `Sql.read`: see `Router`. Default none. */
  readonly replicas?: ReadonlyArray<EndpointConfig> | undefined
  /**
   * Servers of one database, instead of `primary` and `replicas`: which of them takes writes is found by asking them, at the start
   * and after each sign of a failover. The others are replicas. A `url` with several hosts means the same, and
   * so does `PGHOST` if it is a list.
   *
   * - A server that is named twice counts once. Each `url` here names one host.
   * - Fails with `InvalidOptions` if the list is empty, if the servers have different databases, or beside `primary` or `replicas`.
   */
  readonly hosts?: ReadonlyArray<EndpointConfig> | undefined
  /**
   * Where statements go that are not marked with `Sql.read`. The words are those of libpq's `target_session_attrs`:
   *
   * - `read-write`: to the server that takes writes.
   * - `primary`: to the primary, also if its sessions are read-only by default (`default_transaction_read_only`).
   * - `read-only`: to a server that takes no writes. `standby`: to a replica.
   * - `prefer-standby`: to a replica, or to the primary while no replica is up.
   * - `any`: to any server that is up.
   *
   * Default `read-write`.
   */
  readonly targetSessionAttrs?: TargetWord | undefined
  /**
   * Longest time one statement may run. The server enforces it (`statement_timeout`). If the server has not answered one second
   * later, the client closes the connection.
   *
   * - Unit: duration. Default none. Fails with `StatementTimeout`.
   */
  readonly statementTimeout?: Duration.DurationInput | undefined
  /**
   * When a session is cleaned (`DISCARD ALL`) before its next user.
   *
   * - `auto`: after SET, LISTEN, PREPARE, DECLARE, LOAD, DO, CALL, a temporary object, `set_config`, a lock of the session, and after
   *   a change of a setting that the server reports. What else a function of the program does to the session is not noticed.
   * - `always`: after each use. It costs no round trip, because it travels with the next statement, and the prepared statements. A
   *   connection that nobody uses is cleaned after a second, so a lock that only a function knows of is not held for long. What
   *   `auto` notices is cleaned at once. If the session cannot be cleaned the connection is closed, and the statement is not executed.
   * - `never`: only open transactions are rolled back.
   *
   * After each of these resets `hooks.onConnect` gives the session its state again. With such a hook `always` cleans at once, which takes
   * its round trips, but no time of a caller who finds another connection.
   *
   * Default `auto`.
   */
  readonly resetOnRelease?: "auto" | "always" | "never" | undefined
  /**
   * Whether short reads share connections. Default true.
   *
   * A short read is a statement outside of transactions and `withConnection` that begins with SELECT, VALUES or TABLE, locks no
   * rows, has no parameter of more than 64 KiB, and whose recent executions have taken the server less than 1 millisecond. Short
   * reads are sent on a connection where others are under way: up to 128 of them, and up to 4 milliseconds of work. Reads that
   * start at the same moment leave in one write. Changes that a short read makes to its session (`set_config`, advisory locks of
   * a session) are seen by the reads that share the connection. All other statements have a connection for themselves, and so
   * has every statement of priority `low` or `background`.
   */
  readonly pipeline?: boolean | undefined
  /**
   * The proxy between the client and the server. `pgbouncer-transaction` is PgBouncer in transaction mode: for each transaction
   * PgBouncer chooses any free server connection. Then:
   *
   * - Statements are not prepared by name, and short reads do not share connections.
   * - `statementTimeout` is not sent to the server. The client alone enforces it, one second later. Set `statement_timeout` on the
   *   role as well.
   * - `hooks.onConnect` is refused with `InvalidOptions`: what it sets would reach other clients. Set it on the role.
   * - `listen` fails with `InvalidUse`: connect to the server itself to listen.
   * - Changes that a statement makes to its session outside of a transaction (SET, LISTEN, PREPARE, temporary tables, advisory
   *   locks of a session) are seen by the next client that PgBouncer gives that server connection to. They are neither noticed
   *   nor undone: use SET LOCAL, `pg_advisory_xact_lock`, and transactions.
   * - `DateStyle`, `IntervalStyle` and `extra_float_digits` stay those of the role. If dates or intervals cannot be read in that
   *   style, one warning says so, and statements that give them fail: set `datestyle` of the role to ISO.
   *
   * Without this option behind such a proxy, no statement gets the answer of another one, but some fail with `StalePlan`, and one
   * warning names this option.
   *
   * Default none.
   */
  readonly proxy?: "pgbouncer-transaction" | undefined
  /** Shown in `pg_stat_activity`. Default: `PGAPPNAME` of the environment, then `@sluice/sql-pg`. */
  readonly applicationName?: string | undefined
  readonly types?: PgClientConfig["types"]
  readonly transformResultNames?: ((str: string) => string) | undefined
  readonly transformQueryNames?: ((str: string) => string) | undefined
  readonly transformJson?: boolean | undefined
  readonly spanAttributes?: Record<string, unknown> | undefined
  readonly stream?: (() => Duplex) | undefined
}

/**
 * What `layerFromPool` takes: the pool, and every option but those that say where to connect to. An option that is given here
 * wins over the same option of the pool.
 *
 * @since 0.1.0
 * @category models
 */
export interface FromPoolConfig extends Omit<PgSqlConfig, keyof EndpointConfig | "primary" | "hosts"> {
  /** Gives the pool whose options are read. What the effect acquires is released with the Layer. */
  readonly acquire: Effect.Effect<Pg.Pool, SqlError, Scope.Scope>
}

/**
 * What a listener receives.
 *
 * - `Notification`: `payload` is empty when the sender gave none; `processId` is the backend that has sent it.
 * - `Resubscribed`: the listening connection was lost, and another one listens now. Notifications that were sent in the
 *   `lostForMs` milliseconds before are lost, so read again the data that the notifications announce.
 * - `Overflowed`: the listener did not read for so long that 10,000 events waited for it. The `missed` events that came after
 *   those are lost; read again, as above.
 *
 * @since 0.1.0
 * @category models
 */
export type ListenEvent =
  | {
      readonly _tag: "Notification"
      readonly channel: string
      readonly payload: string
      readonly processId: number
    }
  | { readonly _tag: "Resubscribed"; readonly channel: string; readonly lostForMs: number }
  | { readonly _tag: "Overflowed"; readonly channel: string; readonly missed: number }
