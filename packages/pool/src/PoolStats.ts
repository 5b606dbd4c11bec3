/**
 * What a pool holds and has done, at one moment.
 *
 * @since 0.1.0
 */

import type { Priority } from "./Priority.js"

/**
 * Why a connection was closed.
 *
 * - `idle`: unused for `idleTimeout` while more than `minIdle` were open, or the whole pool for `closeWhenIdle`.
 * - `lifetime`: older than `maxLifetime`, or used `maxUses` times.
 * - `error`: broken, or still busy when `abortTimeout` had passed.
 * - `validation`: it did not pass its check, or another connection that was silent for as long did not.
 * - `reset`: it was left dirty, and could not be cleaned within `resetTimeout`.
 * - `shrink`: above `maxSize` after a `resize`.
 * - `generation`: opened before a `Pool.reset`.
 * - `evicted`: somebody called `Pool.evict`.
 * - `reclaimed`: its lease was held too long and was taken away: see the option `reclaim`.
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
  | "reclaimed"
  | "drain"

/**
 * Why an acquire failed: the tag of its error.
 *
 * @since 0.2.0
 * @category models
 */
export type AcquireFailure =
  | "AcquireTimeout"
  | "PoolSaturated"
  | "PoolShed"
  | "PoolClosed"
  | "NestedAcquire"
  | "ConnectFailed"
  | "ConnectUnavailable"
  | "Dismissed"
  | "HookFailed"

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
  /** Open connections that are leased; one that several holders share counts once. */
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
  /** Milliseconds since the oldest lease was granted, shared or not; 0 when nothing is leased. */
  readonly oldestLeaseMs: number
  /**
   * Whether the host can be connected to. `up`: the last connect worked, or none was needed yet. `failing`: the last connect
   * failed. `down`: nothing is open and connecting has failed for `failFastAfter`, or the login was rejected: arriving
   * acquires fail at once.
   */
  readonly host: "up" | "failing" | "down"
  /** `running`; `suspended`: acquires wait for a `resume`; `draining` and `closed`: acquires fail. */
  readonly phase: "running" | "suspended" | "draining" | "closed"
  /** The oldest waiter was older than the `target` of `shedding` for all of its `interval`, and still is. */
  readonly isOverloaded: boolean
  /** Leases granted so far, one for each holder. */
  readonly acquired: number
  /**
   * Acquires that failed, by the tag of their error. The next three numbers are in it, and have names of their own because they are
   * asked for most.
   */
  readonly failed: Readonly<Record<AcquireFailure, number>>
  /** Acquires that ended in `AcquireTimeout`. */
  readonly timeouts: number
  /** Acquires that ended in `PoolSaturated`. */
  readonly saturated: number
  /** Acquires that ended in `PoolShed`. */
  readonly shed: number
  /** Callers that left, because they were interrupted, while they waited. */
  readonly interrupted: number
  /** With `shedding` in mode `shadow`: acquires that would have ended in `PoolShed`. */
  readonly wouldShed: number
  /**
   * Leases that were granted to callers whose deadline had passed: none, except after the process did not run. Then callers whose
   * answers lie in a socket already are served.
   */
  readonly lateGrants: number
  /** Connects that succeeded. */
  readonly connects: number
  /** Connects that failed. */
  readonly connectFailures: number
  /** Connections that are closed, by reason. */
  readonly closed: Readonly<Record<CloseReason, number>>
  /** Releases of leases that had ended already, because they were released twice or taken away; they change nothing. */
  readonly lateReleases: number
  /** Leases that were held longer than `leakThreshold`, each counted once. */
  readonly leaks: number
  /** Leases that were taken away because of it: see the option `reclaim`. */
  readonly reclaimed: number
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
  /** Name of the innermost span of the fiber that holds the lease, not counting spans named in the option `ownSpans`. */
  readonly span: string | undefined
}

/**
 * What a lease that is held too long is used for.
 *
 * - `busy`: it works, or has worked a moment ago.
 * - `idleInTransaction`: nothing runs, and a transaction is open.
 * - `forgotten`: nothing runs, and nothing is open.
 * - `listener`: it waits for notifications.
 * - `stream`: an answer is read in pieces, and its reader has not come to the end.
 * - `unknown`: the pool has no option `inspect` that could tell.
 *
 * @since 0.2.0
 * @category models
 */
export type LeakKind = "busy" | "idleInTransaction" | "forgotten" | "listener" | "stream" | "unknown"

/**
 * A lease, and what it is used for: `Pools.holders`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Lease extends Holder {
  readonly kind: LeakKind
  /** Milliseconds for which nothing was done on the connection. 0 while it is `busy`. */
  readonly idleMs: number
  /** What the host calls the connection: see `Inspection`. `undefined`: it cannot be told. */
  readonly remoteId: number | undefined
}

/**
 * The callers of one class that wait: `Pools.queues`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Queue {
  readonly priority: Priority
  /** How many wait. */
  readonly depth: number
  /** Milliseconds that the first of them has waited. */
  readonly oldestMs: number
}

/**
 * A lease that is held longer than `leakThreshold`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Leak extends Holder {
  readonly kind: LeakKind
  /** Milliseconds for which nothing was done on the connection. 0 while it is `busy`. */
  readonly idleMs: number
  /** Where the program has asked for the connection, with the option `leakStack`. */
  readonly stack: string | undefined
  /** The lease was taken away. */
  readonly isReclaimed: boolean
}

/**
 * The last connect that failed.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectFailure {
  /** What the pool's `connect` failed with. */
  readonly cause: unknown
  /** Milliseconds since the epoch of the first failure in a row. */
  readonly since: number
  /** Failures in a row. */
  readonly attempts: number
}

/**
 * What every acquire error knows.
 *
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  /** Name of the pool. */
  readonly pool: string
  /** Milliseconds that the acquire took. */
  readonly elapsedMs: number
  /** The pool when the acquire failed. */
  readonly stats: PoolStats
  /** The three leases that were granted longest ago. */
  readonly holders: ReadonlyArray<Holder>
  /** The connect failure that is in force, if connecting fails at the moment. */
  readonly lastConnectFailure: ConnectFailure | undefined
}

/**
 * A few of the numbers of `PoolStats`, always those of the present moment: `Pool.gauge`.
 *
 * @since 0.2.0
 * @category models
 */
export interface PoolGauge {
  /** `maxSize` as it is in force. */
  readonly max: number
  /** Open connections. */
  readonly size: number
  /** Open connections that nobody uses and that could be handed out now. */
  readonly available: number
  /** Open connections that are leased. */
  readonly using: number
  /** Callers that wait for a connection. */
  readonly waiting: number
  /** As in `PoolStats`. */
  readonly phase: PoolStats["phase"]
  /** A connection is open, or `host` is `up`: a caller that comes now need not wait for a host that does not answer. */
  readonly isUp: boolean
  /**
   * Milliseconds that a caller of this class which comes now would wait for a connection of its own, by the length of the queue
   * in front of it, the number of connections, and how long leases and connects have taken.
   *
   * - 0 if a connection is idle for it; `Infinity` if the pool drains or is closed; `NaN` for a class that does not exist.
   * - Callers of higher classes that come later are not foreseen. A host that does not answer counts with one more connect:
   *   see `isUp`.
   *
   * **When to use** To refuse work at the door, with a time after which to try again, when it would end too late anyway.
   */
  readonly estimate: (priority: Priority) => number
  /**
   * Milliseconds that a caller of this class which comes now may wait, if its acquire timeout is `acquireTimeout` milliseconds: as long as
   * that, or less while the pool is overloaded and `shedding` is `on`. Then whoever waits for longer is sent away.
   *
   * - `NaN` for a class that does not exist.
   *
   * **When to use** Beside `estimate`, to refuse work at the door that the pool would send away later.
   */
  readonly patience: (priority: Priority, acquireTimeout: number) => number
}

/**
 * How the leases that existed when a drain began have ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface DrainReport {
  /** Ended by themselves, or after they were cancelled. */
  readonly released: number
  /** Had their work stopped after 80 % of the time. */
  readonly cancelled: number
  /** Were taken away when the time was over. */
  readonly aborted: number
  /** From the start of the drain until the last connection was closed. */
  readonly elapsedMs: number
}
