/**
 * The endpoints behind one `Sql`: which of them is the primary, which are replicas, and how busy each is.
 *
 * A `Router` chooses among them. Programs read them for diagnosis.
 *
 * @since 0.2.0
 */
import type { Instant } from "@sluice/pool/Deadline"
import { Context, type Effect, type Stream } from "effect"

/**
 * One endpoint with its pool. The numbers are those of the moment at which they are read, and reading one costs no I/O.
 *
 * @since 0.2.0
 * @category models
 */
export interface Target {
  /** Host and port, for names and messages. Never contains a password. */
  readonly label: string
  /** `primary` takes writes. An endpoint that is configured as both is the primary. */
  readonly role: "primary" | "replica"
  /** False while the pool has no open connection and its host does not answer, and while the pool is suspended or closed. */
  readonly isUp: boolean
  /** Connections that are leased. */
  readonly using: number
  /** Open connections that could be leased now. */
  readonly available: number
  /** Callers that wait for a connection. */
  readonly waiting: number
  /** Largest number of connections that the pool may open. */
  readonly max: number
}

/**
 * The roles of all endpoints at one moment. It never changes: a change of roles makes a new snapshot.
 *
 * @since 0.2.0
 * @category models
 */
export interface Snapshot {
  readonly primary: Target
  /** In the order of the configuration. Empty when there is no replica. */
  readonly replicas: ReadonlyArray<Target>
  /** When the roles were last looked at, on the monotonic clock: see `Deadline` of `@sluice/pool`. */
  readonly at: Instant
}

/**
 * What `Topology` offers.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  /** The snapshot that routing uses now. No I/O. */
  readonly snapshot: () => Snapshot
  /** The present snapshot, then each later one. */
  readonly changes: Stream.Stream<Snapshot>
  /**
   * Looks at the roles again and publishes a snapshot. In this version the roles are those of the configuration, so only
   * `at` changes.
   */
  readonly refresh: Effect.Effect<void>
}

/**
 * The tag. The Layer of a driver provides it beside `Sql`.
 *
 * **When to use:** to show which endpoints a program reads from and writes to, or to choose a time for work by how busy they
 * are. To change where statements go, provide a `Router` instead.
 *
 * @example
 * ```ts
 * import { Topology } from "@sluice/sql"
 * import { Effect } from "effect"
 *
 * const replicasUp = Effect.map(Topology.Topology, (topology) =>
 *   topology.snapshot().replicas.filter((replica) => replica.isUp).length
 * )
 * ```
 *
 * @see `Router` decides which of these targets a statement goes to.
 * @see `Sql.stats` has all numbers of each pool.
 * @since 0.2.0
 * @category tags
 */
export class Topology extends Context.Tag("@sluice/sql/Topology")<Topology, Service>() {}
