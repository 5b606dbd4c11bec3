/** What `PgCluster` is used with: its options, its nodes, and what the nodes tell. */
import type { Effect, Redacted } from "effect"
import type { PgClusterError } from "./pgClusterError.js"
import type { ServerNode } from "./serverNode.js"

/**
 * What a cluster is made of.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Number of streaming replicas. Default 0. Range 0 to 10; each takes about 100 milliseconds more. */
  readonly replicas?: number
  /**
   * Entries of postgresql.conf for every node, for example `{ max_connections: 20 }`. They win over the testkit's own,
   * which prefer speed to durability (`fsync` off); only address, port and logging cannot be changed.
   */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** The database that `url` and `query` name. Made if it is not `postgres`. Default `sluice`. */
  readonly database?: string
  /** The superuser, and the user of `url`. Default `sluice`. */
  readonly user?: string
  /** Its password, asked for on every connection (SCRAM-SHA-256). One line. Default `sluice`. */
  readonly password?: string
}

/**
 * How a server stops, in PostgreSQL's own words.
 *
 * - `smart` waits, without a limit, until every client has left; new clients are refused.
 * - `fast` rolls back and disconnects every client (SQLSTATE 57P01), then writes everything down.
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
  /** What it waits for; null while it computes. */
  readonly waitEvent: string | null
  /** The running statement, or the last one. */
  readonly query: string
  readonly queryStart: Date | null
  readonly backendStart: Date
  readonly database: string
  readonly user: string
}

/**
 * Which sessions are meant; every given field must match exactly.
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
 * their own for each call, named `sluice-testkit`. It needs a free place under `max_connections`: PostgreSQL keeps
 * three for superusers, so a test that fills the server should do so as another user. On a paused node they wait until
 * it is resumed; interruption ends the wait.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgNode extends ServerNode<PgClusterError, StopMode> {
  /** `postgres://user:password@127.0.0.1:port/database` */
  readonly url: Redacted.Redacted<string>
  /**
   * Stops the server and waits until its process is gone. Default `fast`. Nothing happens if it does not run.
   *
   * - A paused server is resumed first. Interruption ends the wait, not the stopping.
   * - `smart` may never end; a second `stop` with another mode ends it.
   * - `fast` on a primary waits for replicas that are connected but paused, up to `wal_sender_timeout` (60 seconds).
   */
  readonly stop: (mode?: StopMode) => Effect.Effect<void, PgClusterError>
  /** Makes a replica a primary and waits until it accepts writes, at most 30 seconds. Other nodes are not told. */
  readonly promote: Effect.Effect<void, PgClusterError>
  /** Ends client sessions (SQLSTATE 57P01), waits until they are gone, and gives their number. */
  readonly terminateBackends: (filter?: BackendFilter) => Effect.Effect<number, PgClusterError>
  /** The present client sessions, oldest first, without the testkit's own. */
  readonly activity: Effect.Effect<ReadonlyArray<Activity>, PgClusterError>
  /** Runs one statement as the superuser, on a connection of its own. */
  readonly query: <Row extends object = Record<string, unknown>>(
    sql: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, PgClusterError>
}
