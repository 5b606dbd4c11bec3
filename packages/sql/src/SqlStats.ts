/**
 * What `Sql.stats` and `Sql.events` give. `Sql` exports the same types.
 *
 * @since 0.2.0
 */
import type { PoolEvent } from "@sluice/pool/PoolEvent"
import type { PoolStats } from "@sluice/pool/PoolStats"

/**
 * The pools behind `Sql`, at one moment.
 *
 * The server may see as many connections as the `max` of all pools, one for each `control`, and one for `listen`.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlStats {
  readonly write: PoolStats & { readonly endpoint: string }
  /** One for each replica. Empty when there is none: then reads are part of `write`. */
  readonly read: ReadonlyArray<PoolStats & { readonly endpoint: string }>
  /**
   * The control connection of each endpoint, which no pool counts. It is opened to cancel a statement, where the database needs
   * a connection for that (MySQL), and closed 10 seconds after its last use.
   */
  readonly control: ReadonlyArray<{
    readonly endpoint: string
    /** 0 or 1. */
    readonly open: number
    /** How often it was opened since the `Sql` was made. */
    readonly connects: number
  }>
  /**
   * The connection on which a client of PostgreSQL listens, to the primary. No pool counts it. It is opened for the first listener
   * and closed 10 seconds after the last one has left. Other databases have none.
   */
  readonly listen: {
    readonly endpoint: string
    /** 0 or 1; 2 for a moment where a proxy is on the way, while it is tried whether notifications come through. */
    readonly open: number
    /** How often one was opened since the `Sql` was made. */
    readonly connects: number
  }
}

/**
 * An event, and the pool in which it happened.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlEvent {
  /** Name of the pool. */
  readonly pool: string
  readonly event: PoolEvent
}

/**
 * Whether the database can be worked with.
 *
 * @since 0.2.0
 * @category models
 */
export interface Health {
  readonly isReady: boolean
  /** Why not, in a few words, without hosts and statements. `undefined` if it is ready. */
  readonly reason: string | undefined
}

/**
 * How long an acquire that begins now would take.
 *
 * @since 0.2.0
 * @category models
 */
export interface Forecast {
  /** Milliseconds, estimated; 0 if a connection is idle; `Infinity` if the pool drains or is closed. */
  readonly waitMs: number
  /**
   * Milliseconds that it may wait: the acquire timeout, or the rest until the declared deadline if that is less, or what an overloaded pool
   * leaves it that sends away whoever waits for too long (`shedding`).
   */
  readonly patienceMs: number
}
