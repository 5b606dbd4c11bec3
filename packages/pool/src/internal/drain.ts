/**
 * The two moments of a drain, and how its leases have ended.
 */
import type { DrainCounts } from "./host.js"

/** When a drain stops waiting for statements and cancels them. */
const CANCEL_AT = 0.8

export class Drain {
  readonly report: DrainCounts = { released: 0, cancelled: 0, aborted: 0 }
  private cancelAt = Infinity
  private forceAt = Infinity
  private hasCancelled = false

  /** A second drain may only be more impatient, and cancels nothing again. */
  hurry(now: number, within: number): void {
    if (now + within >= this.forceAt) return
    this.forceAt = now + within
    if (!this.hasCancelled) this.cancelAt = now + within * CANCEL_AT
  }

  /** The next moment at which something is to be done. */
  next(): number {
    return Math.min(this.cancelAt, this.forceAt)
  }

  /** Once true: what is leased is to be cancelled. Without a meaning when it would be taken away at the same moment. */
  cancels(now: number): boolean {
    if (now < this.cancelAt) return false
    this.cancelAt = Infinity
    this.hasCancelled = true
    return now < this.forceAt
  }

  /** Once true: what is leased is to be taken away. */
  forces(now: number): boolean {
    if (now < this.forceAt) return false
    this.forceAt = Infinity
    return true
  }
}
