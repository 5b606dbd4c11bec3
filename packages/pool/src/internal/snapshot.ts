/**
 * What can be seen of an engine from outside: numbers, at one moment.
 */
import type { PoolStats } from "../PoolStats.js"
import type { Admission } from "./admission.js"
import type { State } from "./state.js"

export const snapshot = <A>(state: State<A>, admission: Admission<A>, now: number): PoolStats => {
  const { oldest } = state.leases
  return {
    size: state.open,
    available: state.idle.size,
    using: state.leases.connections,
    waiting: admission.size,
    connecting: state.connecting,
    closing: state.closing,
    validating: state.validating,
    resetting: state.resetting,
    quarantined: state.quarantined,
    max: state.config.maxSize,
    min: state.config.minIdle,
    oldestWaitMs: Math.round(admission.oldestWait(now)),
    oldestLeaseMs: oldest === undefined ? 0 : Math.round(now - oldest.since),
    host: state.backoff.phase,
    phase: state.phase,
    isOverloaded: admission.isOverloaded,
    ...state.counters.copy()
  }
}
