/**
 * A real MariaDB cluster for tests and demos: a primary, replicas that follow it by GTID, and verbs for what happens to
 * databases in production. The server is the machine's own `mariadbd`, 10.11 or newer, from its package manager.
 *
 * ```
 * make --bootstrap, copy, start--> running --scope closes, or this process dies--> processes and folder are gone
 * ```
 *
 * 1. Servers listen on 127.0.0.1 only, and ask for a password.
 * 2. A node keeps its port over `stop` and `start`.
 * 3. When this process ends, however it ends (also by SIGKILL), the servers end and their folder is removed.
 * 4. Every verb takes real time, also under a `TestClock`.
 * 5. The verbs do not count against `max_connections`: they also work on a server that takes no more clients.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Layer, type Scope } from "effect"
import * as Cluster from "./internal/mariaDbCluster.js"
import { MariaDbClusterError, type MariaDbClusterPhase } from "./internal/mariaDbClusterError.js"
import type { MariaDbNode, Options } from "./internal/mariaDbModel.js"
import type { ServerCluster } from "./internal/serverNode.js"

export type { Activity, BackendFilter, MariaDbNode, Options, StopMode } from "./internal/mariaDbModel.js"
export {
  /**
   * A step of a test cluster failed.
   *
   * @since 0.1.0
   * @category errors
   */
  MariaDbClusterError,
  /**
   * The step that failed.
   *
   * @since 0.1.0
   * @category errors
   */
  type MariaDbClusterPhase
}

/**
 * A running cluster.
 *
 * @since 0.1.0
 * @category models
 */
export interface MariaDbCluster extends ServerCluster<MariaDbNode, MariaDbClusterError> {}

/**
 * The tag of the cluster that a test uses.
 *
 * @since 0.1.0
 * @category tags
 */
export const MariaDbCluster: Context.Tag<MariaDbCluster, MariaDbCluster> = Context.GenericTag<MariaDbCluster>(
  "@sluice/testkit/MariaDbCluster"
)

/**
 * Makes a cluster that runs until the scope closes. Takes about half a second.
 *
 * - Interruption: possible at any moment. Closing the scope ends every process that was started.
 * - Closing the scope ends the servers as a crash would and removes their folder: about 100 milliseconds, at most 20 s.
 * - Its folder is in TMPDIR if that is set, else in memory (/dev/shm) if 4 GiB are free, else in the system's temporary
 *   folder. A new cluster takes 30 MiB for each node.
 * - As root the servers run as `nobody`, because MariaDB refuses root. Not on Windows.
 * - Without MariaDB it fails with phase `binaries`, and the message names the command that installs MariaDB.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options?: Options) => Effect.Effect<MariaDbCluster, MariaDbClusterError, Scope.Scope> = Cluster.make

/**
 * Provides a cluster that runs until the layer's scope closes.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<MariaDbCluster, MariaDbClusterError> =>
  Layer.scoped(MariaDbCluster, make(options))
