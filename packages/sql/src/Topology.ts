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
  /** `primary` takes writes, or did so last. An endpoint that is configured as both is the primary. */
  readonly role: "primary" | "replica"
  /**
   * False while the pool has no open connection and its host does not answer, while its control connection gets no answer, and
   * while the pool is suspended or closed.
   */
  readonly isUp: boolean
  /**
   * A statement takes much longer than usual, and since it began nothing has come from this host on any connection. It may be cut
   * off. A program that chooses should prefer another one. Ends with the first sign of life.
   */
  readonly isSilent: boolean
  /** Since when it is up: a replica that has just come back has cold caches. */
  readonly upSince: Instant
  /**
   * Milliseconds that a replica is behind, when it was asked last. `undefined`: it cannot be told. It is told by the positions of the servers
   * and the clock of this process: the primary was seen to have more for so long. Where the server says a lag itself (PostgreSQL), with
   * its own clock, that counts as far as the positions do not contradict it; else it may be up to two seconds more.
   */
  readonly lag: number | undefined
  /**
   * It is farther behind than `maxLag` of the router, or was so and has not been near again in three answers. Reads should go
   * elsewhere.
   */
  readonly isLagging: boolean
  /**
   * The part of its reads that it should get: 1, and less for a while after it has come back, because its caches are cold. It is 0.1 at
   * first, and grows with each answer until `ramp` of the router has passed.
   */
  readonly share: number
  /**
   * Milliseconds from the sending of a statement to this server until its answer: a mean of the last second or so, over all
   * connections. 0 until one was answered.
   */
  readonly latency: number
  /** How far its history went when it was asked last: the WAL position of PostgreSQL, the GTIDs of MySQL and MariaDB. */
  readonly position: string | undefined
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
 * The roles of all endpoints at one moment. It never changes: a change of roles makes a new snapshot. An endpoint of another
 * cluster, and a former primary that still takes writes, are not in it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Snapshot {
  /** Takes the writes. While no server does: the one that did so last. */
  readonly primary: Target
  /** Whether a server takes writes, as far as is known. */
  readonly isWritable: boolean
  /** In the order of the configuration. Empty when there is no replica. A former primary that is a replica now is among them. */
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
   * Asks all servers for their roles and publishes a snapshot. Takes no longer than the abort timeout of the pool: a server
   * that does not answer by then counts as silent.
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
