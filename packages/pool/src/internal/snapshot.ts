/**
 * What can be seen of an engine from outside: numbers only, at one moment.
 */
import type { PoolStats } from "../PoolStats.js"
import type { Engine } from "./engine.js"

export const snapshot = (engine: Engine<any>, now: number): PoolStats => ({
  size: engine.open,
  available: engine.idle.size,
  using: engine.leased.size,
  waiting: engine.queue.size,
  connecting: engine.connecting,
  closing: engine.closing,
  validating: engine.validating,
  resetting: engine.resetting,
  quarantined: engine.quarantined,
  max: engine.config.maxSize,
  min: engine.config.minIdle,
  oldestWaitMs: engine.queue.size === 0 ? 0 : now - engine.queue.oldest()!.since,
  oldestLeaseMs: engine.leased.tail === undefined ? 0 : now - engine.leased.tail.leasedAt,
  host: engine.governor.phase,
  phase: engine.phase,
  ...engine.books.copy()
})
