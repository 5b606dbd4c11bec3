/**
 * Everything an acquire can fail with. Each error carries the pool at that moment.
 *
 * @since 0.1.0
 */
import { Data } from "effect"
import * as diagnosis from "./internal/diagnosis.js"
import type { ConnectFailure, LeakKind, Snapshot } from "./PoolStats.js"
import type { Priority } from "./Priority.js"

export type {
  /**
   * The last connect that failed.
   *
   * @since 0.1.0
   * @category models
   */
  ConnectFailure,
  /**
   * What every acquire error knows.
   *
   * @since 0.1.0
   * @category models
   */
  Snapshot
}

/**
 * No connection within the acquire timeout.
 *
 * - `timeoutMs`: the acquire timeout, or less if the caller's deadline is earlier.
 * - `phase`: what used the time: `waiting` for others to release, `validating` an old connection, or `connecting`.
 * - `priority`: the class of the caller.
 * - `reserveKept`: one connection was idle, and kept for shared leases.
 * - `heldBack`: the class had as many connections as `classLimits` or `reserved` leave it.
 * - `held`: what those leases were used for that had been held for all of the time that the caller has waited.
 * - `restMs`: there was a connection for the caller, and its declared deadline left only so much time: less than leases take.
 *
 * @since 0.1.0
 * @category errors
 */
export class AcquireTimeout extends Data.TaggedError("AcquireTimeout")<
  Snapshot & {
    readonly timeoutMs: number
    readonly phase: "waiting" | "validating" | "connecting"
    readonly priority: Priority
    readonly reserveKept?: boolean | undefined
    readonly heldBack?: "classLimit" | "reserved" | undefined
    readonly held?: Readonly<Record<LeakKind, number>> | undefined
    readonly restMs?: number | undefined
  }
> {
  override get message(): string {
    return diagnosis.timeout(this)
  }

  /**
   * The end of the message: why there was no connection, as far as the snapshot proves it, and what helps. Names no holder, so it can be
   * shown to everybody. Empty if nothing is proven.
   *
   * @since 0.2.0
   */
  get likelyCause(): string {
    return diagnosis.likelyCause(this)
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
 * The pool is overloaded, and the caller has waited for so long that others are better served: see the option `shedding`.
 * Nothing was done. Trying again at once makes the overload worse.
 *
 * - `targetMs`: the age of the queue that the pool aims at.
 *
 * @since 0.2.0
 * @category errors
 */
export class PoolShed extends Data.TaggedError("PoolShed")<Snapshot & { readonly targetMs: number }> {
  override get message(): string {
    return diagnosis.shed(this)
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
 * This fiber holds a connection and asked for another one, and the fibers that hold all the other connections wait for one
 * as well: none of them would ever be served.
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
 * Connecting fails for a reason that waiting does not change, for example a wrong password or an option `connect` that gives
 * no effect, and no connection is open.
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
 * The program's hook `beforeAcquire` has failed, has thrown or was too slow, so nothing was acquired.
 *
 * - `cause`: what the hook failed with; a `TimeoutException` if it was too slow.
 *
 * @since 0.2.0
 * @category errors
 */
export class HookFailed extends Data.TaggedError("HookFailed")<
  Snapshot & { readonly hook: "beforeAcquire"; readonly cause: unknown }
> {
  override get message(): string {
    return diagnosis.hookFailed(this)
  }
}

/**
 * `Pool.dismiss` has sent every waiter away: there is a better place than this pool.
 *
 * @since 0.2.0
 * @category errors
 */
export class Dismissed extends Data.TaggedError("Dismissed")<Snapshot> {
  override get message(): string {
    return diagnosis.dismissed(this)
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
  | PoolShed
  | PoolClosed
  | NestedAcquire
  | ConnectFailed
  | ConnectUnavailable
  | HookFailed
  | Dismissed

/**
 * Options that cannot work. Lists every problem, not the first.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidOptions extends Data.TaggedError("InvalidOptions")<{
  readonly pool: string
  readonly problems: ReadonlyArray<string>
  /** What the program has thrown, if that is the problem. */
  readonly cause?: unknown
}> {
  override get message(): string {
    return diagnosis.invalid(this)
  }
}
