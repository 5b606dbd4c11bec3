/**
 * What a pool holds and has done, at one moment.
 *
 * @since 0.1.0
 */

/**
 * Why a connection was closed.
 *
 * - `idle`: unused for `idleTimeout` while more than `minIdle` were open.
 * - `lifetime`: older than `maxLifetime`, or used `maxUses` times.
 * - `error`: broken, or still busy when `abortTimeout` had passed.
 * - `validation`: it did not answer its check, or another one did not after the same fatal event.
 * - `reset`: it could not be cleaned within `resetTimeout`.
 * - `shrink`: above `maxSize` after a `resize`.
 * - `generation`: opened before a `Pool.reset`.
 * - `evicted`: somebody called `Pool.evict`.
 * - `drain`: the pool closed.
 *
 * @since 0.1.0
 * @category models
 */
export type CloseReason =
  | "idle"
  | "lifetime"
  | "error"
  | "validation"
  | "reset"
  | "shrink"
  | "generation"
  | "evicted"
  | "drain"

/**
 * An immutable snapshot; taking one costs the same whatever the pool holds.
 *
 * `size = available + using + validating + resetting + quarantined`, and `size + connecting + closing` never exceeds
 * `max` (after a `resize` to less, it only falls until that holds again).
 *
 * @since 0.1.0
 * @category models
 */
export interface PoolStats {
  /** Open connections. */
  readonly size: number
  /** Open connections that nobody uses and that could be handed out now. */
  readonly available: number
  /** Open connections that are leased. */
  readonly using: number
  /** Callers that wait for a connection. */
  readonly waiting: number
  /** Connects under way. They count towards `max`. */
  readonly connecting: number
  /** Connections being closed. They count towards `max` until they are really closed or `closeTimeout` has passed. */
  readonly closing: number
  /** Connections being asked if they still work. */
  readonly validating: number
  /** Connections being cleaned after a lease. */
  readonly resetting: number
  /** Connections whose running work is being stopped. */
  readonly quarantined: number
  /** `maxSize` as it is in force. */
  readonly max: number
  /** `minIdle` as it is in force. */
  readonly min: number
  /** Milliseconds that the oldest waiter has waited; 0 when nobody waits. */
  readonly oldestWaitMs: number
  /** Milliseconds since the oldest lease was granted; 0 when nothing is leased. */
  readonly oldestLeaseMs: number
  /** Whether the host can be connected to: see `PoolEvent` `Host`. */
  readonly host: "closed" | "failing" | "open" | "half-open"
  /** `running`; `suspended`: acquires wait for a `resume`; `draining` and `closed`: acquires fail. */
  readonly phase: "running" | "suspended" | "draining" | "closed"
  /** Leases granted so far. */
  readonly acquired: number
  /** Acquires that ended in `AcquireTimeout`. */
  readonly timeouts: number
  /** Acquires that ended in `PoolSaturated`. */
  readonly saturated: number
  /** Connects that succeeded. */
  readonly connects: number
  /** Connects that failed. */
  readonly connectFailures: number
  /** Connections that are closed, by reason. */
  readonly closed: Readonly<Record<CloseReason, number>>
  /** Releases that came after the connection had been taken away; they change nothing. */
  readonly lateReleases: number
}

/**
 * A lease: one of those that were granted longest ago, or one that left its connection dirty.
 *
 * @since 0.1.0
 * @category models
 */
export interface Holder {
  /** Number of the connection within its pool. */
  readonly connection: number
  /** Milliseconds since the lease was granted. */
  readonly heldMs: number
  /** What the pool's `describe` option says about the connection, for example `idle in transaction`. */
  readonly activity: string | undefined
  /** Name of the innermost span of the fiber that holds the lease. */
  readonly span: string | undefined
}
