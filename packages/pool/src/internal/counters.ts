/**
 * What a pool has done so far. The pool decides nothing by these numbers; they are for `stats`.
 */
import type { CloseReason } from "../PoolStats.js"

export class Counters {
  acquired = 0
  timeouts = 0
  saturated = 0
  shed = 0
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

  copy() {
    const { closed, ...counts } = this
    return { ...counts, closed: { ...closed } }
  }
}
