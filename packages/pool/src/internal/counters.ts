/**
 * What a pool has done so far. The pool decides nothing by these numbers; they are for `stats`.
 */
import type { AcquireFailure, CloseReason } from "../PoolStats.js"

export class Counters {
  acquired = 0
  interrupted = 0
  wouldShed = 0
  lateGrants = 0
  connects = 0
  connectFailures = 0
  lateReleases = 0
  leaks = 0
  reclaimed = 0
  readonly closed: Record<CloseReason, number> = {
    idle: 0,
    lifetime: 0,
    error: 0,
    validation: 0,
    reset: 0,
    shrink: 0,
    generation: 0,
    evicted: 0,
    reclaimed: 0,
    drain: 0
  }

  readonly failed: Record<AcquireFailure, number> = {
    AcquireTimeout: 0,
    PoolSaturated: 0,
    PoolShed: 0,
    PoolClosed: 0,
    NestedAcquire: 0,
    ConnectFailed: 0,
    ConnectUnavailable: 0,
    Dismissed: 0,
    HookFailed: 0
  }

  copy() {
    const { closed, failed, ...counts } = this
    return {
      ...counts,
      timeouts: failed.AcquireTimeout,
      saturated: failed.PoolSaturated,
      shed: failed.PoolShed,
      failed: { ...failed },
      closed: { ...closed }
    }
  }
}
