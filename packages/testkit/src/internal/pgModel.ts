/**
 * The types of `PgCluster`: its options, its nodes, and what the nodes report. Below the module, so that internals can
 * use them.
 */
import type { Effect, Redacted } from "effect"
import type { PgClusterError } from "./pgClusterError.js"
import type { ServerNode } from "./serverNode.js"

/**
 * How many nodes a cluster has, their settings, and who may log in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Number of streaming replicas. Default 0. Range 0 to 10; each takes about 100 milliseconds more. */
  readonly replicas?: number
  /**
   * Entries of postgresql.conf for every node, for example `{ max_connections: 20 }`. They override the testkit's
   * own settings, which prefer speed to durability (`fsync` off). Address, port and logging cannot be changed.
   */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** The database that `url` and `query` name. It is created unless it is `postgres`. Default `sluice`. */
  readonly database?: string
  /** The superuser, and the user of `url`. Default `sluice`. */
  readonly user?: string
  /**
   * The password of `user`, in one line. The server asks for it on every connection (SCRAM-SHA-256). Default `sluice`.
   */
  readonly password?: string
}

/**
 * How a server stops, in PostgreSQL's own words.
 *
 * - `smart` refuses new clients and waits, without a limit, until every client has left.
 * - `fast` rolls back and disconnects every client (SQLSTATE 57P01), then writes all data to disk.
 * - `immediate` is a crash: clients are cut off, and the next start recovers from the log.
 *
 * @since 0.1.0
 * @category models
 */
export type StopMode = "smart" | "fast" | "immediate"

/**
 * A client session, as `pg_stat_activity` shows it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Activity {
  readonly pid: number
  readonly applicationName: string
  /** `active`, `idle`, `idle in transaction`, … */
  readonly state: string | null
  /** What the session waits for; null while it computes. */
  readonly waitEvent: string | null
  /** The running statement, or the last one. */
  readonly query: string
  readonly queryStart: Date | null
  readonly backendStart: Date
  readonly database: string
  readonly user: string
}

/**
 * Selects client sessions. Every field that is given must match exactly.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackendFilter {
  readonly applicationName?: string
  readonly database?: string
  readonly user?: string
}

/**
 * One server of a cluster and what can happen to it.
 *
 * The verbs that ask the server (`role`, `query`, `activity`, `terminateBackends`, `promote`) open a connection of
 * their own for each call, named `sluice-testkit`. It needs a free place under `max_connections`. PostgreSQL keeps
 * three places for superusers, so a test that fills the server should do so as another user. On a paused node the verbs
 * wait until the node is resumed; an interruption ends the wait.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgNode extends ServerNode<PgClusterError, StopMode> {
  /** `postgres://user:password@127.0.0.1:port/database` */
  readonly url: Redacted.Redacted<string>
  /**
   * Stops the server and waits until its process is gone. Default `fast`. Does nothing if the server does not run.
   *
   * - A paused server is resumed first. An interruption ends the wait; the server stops nevertheless.
   * - `smart` may never end; a second `stop` with another mode ends it.
   * - `fast` on a primary waits for replicas that are connected but paused, up to `wal_sender_timeout` (60 seconds).
   */
  readonly stop: (mode?: StopMode) => Effect.Effect<void, PgClusterError>
  /** Makes a replica a primary and waits until it accepts writes, at most 30 seconds. No other node follows it. */
  readonly promote: Effect.Effect<void, PgClusterError>
  /** Ends client sessions (SQLSTATE 57P01), waits until they are gone, and succeeds with their number. */
  readonly terminateBackends: (filter?: BackendFilter) => Effect.Effect<number, PgClusterError>
  /** The present client sessions, oldest first, without the testkit's own. */
  readonly activity: Effect.Effect<ReadonlyArray<Activity>, PgClusterError>
  /** Runs one statement as the superuser, on a connection of its own. */
  readonly query: <Row extends object = Record<string, unknown>>(
    sql: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, PgClusterError>
}
