/**
 * Everything an acquire can fail with. Each error carries the pool at that moment.
 *
 * @since 0.1.0
 */
import { Data } from "effect"
import * as diagnosis from "./internal/diagnosis.js"
import type { Holder, PoolStats } from "./PoolStats.js"

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
 * No connection within the acquire timeout. `phase` names what used the time: `waiting` for others to release,
 * `validating` an old connection, or `connecting`.
 *
 * @since 0.1.0
 * @category errors
 */
export class AcquireTimeout extends Data.TaggedError("AcquireTimeout")<
  Snapshot & { readonly timeoutMs: number; readonly phase: "waiting" | "validating" | "connecting" }
> {
  override get message(): string {
    return diagnosis.timeout(this)
  }
}

/**
 * `maxWaiters` callers wait already, and none of them is of a lower class than this one.
 *
 * @since 0.1.0
 * @category errors
 */
export class PoolSaturated extends Data.TaggedError("PoolSaturated")<Snapshot & { readonly maxWaiters: number }> {
  override get message(): string {
    return diagnosis.saturated(this)
  }
}

/**
 * The pool is draining or closed.
 *
 * @since 0.1.0
 * @category errors
 */
export class PoolClosed extends Data.TaggedError("PoolClosed")<Snapshot> {
  override get message(): string {
    return diagnosis.closed(this)
  }
}

/**
 * This fiber holds a connection and asked for another one, and so do the holders of all the others: waiting would
 * never end.
 *
 * @since 0.1.0
 * @category errors
 */
export class NestedAcquire extends Data.TaggedError("NestedAcquire")<Snapshot> {
  override get message(): string {
    return diagnosis.nested(this)
  }
}

/**
 * The host refuses this pool for a reason that waiting does not change, for example a wrong password, and no
 * connection is open.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectFailed extends Data.TaggedError("ConnectFailed")<Snapshot & { readonly cause: unknown }> {
  override get message(): string {
    return diagnosis.connectFailed(this)
  }
}

/**
 * No connection is open and every connect has failed for `failFastAfter`: acquires fail at once until one succeeds.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectUnavailable extends Data.TaggedError("ConnectUnavailable")<
  Snapshot & { readonly since: number; readonly attempts: number; readonly cause: unknown }
> {
  override get message(): string {
    return diagnosis.unavailable(this)
  }
}

/**
 * Everything that `Pool.use`, `Pool.acquire` and `Pool.share` can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type AcquireError =
  | AcquireTimeout
  | PoolSaturated
  | PoolClosed
  | NestedAcquire
  | ConnectFailed
  | ConnectUnavailable

/**
 * Options that cannot work. Lists every problem, not the first.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidOptions extends Data.TaggedError("InvalidOptions")<{
  readonly pool: string
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `pool "${this.pool}": ${this.problems.length === 1 ? "an option is" : "options are"} invalid: ${this.problems.join("; ")}`
  }
}
