/** What `MariaDbCluster` is used with: its options, its nodes, and what the nodes tell. */
import type { Effect, Redacted } from "effect"
import type { MariaDbClusterError } from "./mariaDbClusterError.js"
import type { ServerNode } from "./serverNode.js"

/**
 * What a cluster is made of.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Number of replicas. Default 0. Range 0 to 10; each takes about 100 milliseconds more. */
  readonly replicas?: number
  /**
   * Entries of my.cnf for every node, for example `{ max_connections: 20 }`; 10 is the least that MariaDB takes. They
   * win over the testkit's own, which prefer speed to durability; only folders, address, ports, logging, the language
   * of messages, and that replicas are read-only cannot be changed.
   */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** The database that `url` and `query` name. Default `sluice`. */
  readonly database?: string
  /** The user of `url`: every right on every database, none on the server. Not `sluice-testkit`. Default `sluice`. */
  readonly user?: string
  /** Its password, asked for on every connection. Default `sluice`. */
  readonly password?: string
}

/**
 * How a server stops. The words are those of `PgCluster`; MariaDB has no stop that waits for its clients.
 *
 * - `fast` disconnects every client and rolls back, then writes everything down (SIGTERM).
 * - `immediate` is a crash (SIGKILL): clients are cut off, and the next start recovers from the log.
 *
 * @since 0.1.0
 * @category models
 */
export type StopMode = "fast" | "immediate"

/**
 * A client session, as `information_schema.processlist` shows it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Activity {
  /** What `connection_id()` gives, and `KILL` takes. */
  readonly id: number
  readonly user: string
  /** Address and port of the client. */
  readonly host: string
  readonly database: string | null
  /** `Sleep` while it waits for a statement, `Query` or `Execute` while it runs one, … */
  readonly command: string
  /** What the running statement does. */
  readonly state: string | null
  /** The running statement; null while there is none. */
  readonly query: string | null
  /** How long it is in this state, in milliseconds. */
  readonly millis: number
}

/**
 * Which sessions are meant; every given field must match exactly.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackendFilter {
  readonly id?: number
  readonly database?: string
  readonly user?: string
}

/**
 * One server of a cluster and what can happen to it.
 *
 * The verbs that ask the server (`role`, `query`, `activity`, `terminateBackends`, `promote`) open a connection of
 * their own for each call, as the user `sluice-testkit` and on a port of their own (`extra_port`), so they need no
 * place under `max_connections`. On a paused node they wait until it is resumed; interruption ends the wait.
 *
 * @since 0.1.0
 * @category models
 */
export interface MariaDbNode extends ServerNode<MariaDbClusterError, StopMode> {
  /** `mysql://user:password@127.0.0.1:port/database` */
  readonly url: Redacted.Redacted<string>
  /**
   * Stops the server and waits until its process is gone. Default `fast`. Nothing happens if it does not run.
   * A paused server is resumed first. Interruption ends the wait, not the stopping.
   */
  readonly stop: (mode?: StopMode) => Effect.Effect<void, MariaDbClusterError>
  /**
   * Makes a replica a primary that accepts writes, also after a restart; first it applies what it has received, for at
   * most 30 seconds. Other nodes are not told.
   */
  readonly promote: Effect.Effect<void, MariaDbClusterError>
  /** Ends client sessions (`KILL CONNECTION`), waits until they are gone, and gives their number. */
  readonly terminateBackends: (filter?: BackendFilter) => Effect.Effect<number, MariaDbClusterError>
  /** The present client sessions, oldest first, without the testkit's own. */
  readonly activity: Effect.Effect<ReadonlyArray<Activity>, MariaDbClusterError>
  /**
   * Runs one statement as the administrator, on a connection of its own. It may do everything (`SET GLOBAL`, `KILL`,
   * `GRANT`, …), also write on a replica: only the user of `url` is refused there.
   */
  readonly query: <Row extends object = Record<string, unknown>>(
    sql: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, MariaDbClusterError>
}
