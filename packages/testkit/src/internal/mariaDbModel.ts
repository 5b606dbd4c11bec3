/**
 * The types of `MariaDbCluster`: its options, its nodes, and what the nodes report. Below the module, so that internals
 * can use them.
 */
import type { Effect, Redacted } from "effect"
import type { MariaDbClusterError } from "./mariaDbClusterError.js"
import type { ServerNode } from "./serverNode.js"

/**
 * How many nodes a cluster has, their settings, and who may log in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Number of replicas. Default 0. Range 0 to 10; each takes about 100 milliseconds more. */
  readonly replicas?: number
  /**
   * Entries of my.cnf for every node, for example `{ max_connections: 20 }`; MariaDB raises a number below 10. They
   * override the testkit's own settings, which prefer speed to durability. Folders, address, ports, logging, the
   * language of messages, and that replicas are read-only cannot be changed.
   */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** The database that `url` and `query` name. Default `sluice`. */
  readonly database?: string
  /**
   * The user of `url`, with every right on every database and none on the server. `sluice-testkit` is taken. Default
   * `sluice`.
   */
  readonly user?: string
  /** The password of `user`. The server asks for it on every connection. Default `sluice`. */
  readonly password?: string
}

/**
 * How a server stops. The modes are named as in `PgCluster`; MariaDB has none that waits for clients.
 *
 * - `fast` disconnects every client and rolls back, then writes all data to disk (SIGTERM).
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
  /** The number that `connection_id()` returns and `KILL` takes. */
  readonly id: number
  readonly user: string
  /** Address and port of the client. */
  readonly host: string
  readonly database: string | null
  /** `Sleep` while the session waits for a statement, `Query` or `Execute` while it runs one, … */
  readonly command: string
  /** What the running statement does. */
  readonly state: string | null
  /** The running statement; null while there is none. */
  readonly query: string | null
  /** How long the session has been in this state, in milliseconds. */
  readonly millis: number
}

/**
 * Selects client sessions. Every field that is given must match exactly.
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
 * place under `max_connections`. On a paused node they wait until the node is resumed; an interruption ends the wait.
 *
 * @since 0.1.0
 * @category models
 */
export interface MariaDbNode extends ServerNode<MariaDbClusterError, StopMode> {
  /** `mysql://user:password@127.0.0.1:port/database` */
  readonly url: Redacted.Redacted<string>
  /**
   * Stops the server and waits until its process is gone. Default `fast`. Does nothing if the server does not run.
   * A paused server is resumed first. An interruption ends the wait; the server stops nevertheless.
   */
  readonly stop: (mode?: StopMode) => Effect.Effect<void, MariaDbClusterError>
  /**
   * Makes a replica a primary, which accepts writes also after a restart. The replica first applies what it has
   * received, for at most 30 seconds. The other nodes go on as they were: none follows the new primary.
   */
  readonly promote: Effect.Effect<void, MariaDbClusterError>
  /** Ends client sessions (`KILL CONNECTION`), waits until they are gone, and succeeds with their number. */
  readonly terminateBackends: (filter?: BackendFilter) => Effect.Effect<number, MariaDbClusterError>
  /** The present client sessions, oldest first, without the testkit's own. */
  readonly activity: Effect.Effect<ReadonlyArray<Activity>, MariaDbClusterError>
  /**
   * Runs one statement as the administrator, on a connection of its own. The administrator may do everything
   * (`SET GLOBAL`, `KILL`, `GRANT`, …) and also write on a replica, where the user of `url` may only read.
   */
  readonly query: <Row extends object = Record<string, unknown>>(
    sql: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, MariaDbClusterError>
}
