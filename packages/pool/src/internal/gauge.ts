/**
 * A few numbers of a running pool, read without making an object.
 */
import type { PoolGauge } from "../PoolStats.js"
import type { Priority } from "../Priority.js"
import type { Engine } from "./engine.js"
import { estimate } from "./estimate.js"

export class Gauge implements PoolGauge {
  constructor(
    private readonly engine: Engine<any>,
    /** The place of each class in the queue. */
    private readonly ranks: Readonly<Record<Priority, number>>
  ) {}

  get size(): number {
    return this.engine.state.open
  }

  get max(): number {
    return this.engine.state.config.maxSize
  }

  get available(): number {
    return this.engine.state.idle.size
  }

  get using(): number {
    return this.engine.state.leases.connections
  }

  get waiting(): number {
    return this.engine.admission.size
  }

  get phase(): PoolGauge["phase"] {
    return this.engine.state.phase
  }

  get isUp(): boolean {
    return this.engine.state.open > 0 || this.engine.state.backoff.phase === "up"
  }

  estimate(priority: Priority): number {
    const { admission, host, state } = this.engine
    const rank = this.ranks[priority]
    return rank === undefined ? Number.NaN : estimate(state, admission, rank, host.now())
  }

  patience(priority: Priority, acquireTimeout: number): number {
    const rank = this.ranks[priority]
    return rank === undefined
      ? Number.NaN
      : Math.min(acquireTimeout, this.engine.admission.shedsAfter(rank, acquireTimeout))
  }
}
