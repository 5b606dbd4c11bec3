/**
 * How the pool ends: nobody gets a lease any more; leases may go on for a while; at 80 % of the time what they run is
 * cancelled; at the end of it they are taken away.
 */
import type { Admission } from "./admission.js"
import { type Entry, EntryState } from "./entry.js"
import type { Health } from "./health.js"
import type { DrainCounts } from "./host.js"
import type { State } from "./state.js"

/** When a drain stops to wait for statements and cancels them, as a part of its time. */
const CANCEL_AT = 0.8

export class Drain<A> {
  /** `Release` counts the leases that have ended by themselves. */
  readonly report: DrainCounts = { released: 0, cancelled: 0, aborted: 0 }
  private cancelAt = Infinity
  private forceAt = Infinity
  private hasCancelled = false

  constructor(
    private readonly state: State<A>,
    private readonly admission: Admission<A>,
    private readonly health: Health<A>
  ) {}

  /** Begins to drain. A second call may only shorten the time, and cancels nothing again. */
  start(within: number, now: number): void {
    const { state } = this
    if (state.phase !== "draining") {
      state.phase = "draining"
      this.admission.failAll({ _tag: "PoolClosed" }, now)
      for (const entry of state.entries()) entry.closeReason ??= "drain"
      for (const entry of state.idle) this.health.closeIdle(entry, "drain", now)
      if (state.connecting > 0) state.later(() => state.host.interruptConnects())
    }
    if (now + within < this.forceAt) {
      this.forceAt = now + within
      if (!this.hasCancelled) this.cancelAt = now + within * CANCEL_AT
    }
    this.hurry(now)
    state.wakeBy(this.next)
  }

  /** The next moment at which there is something to do. */
  get next(): number {
    return Math.min(this.cancelAt, this.forceAt)
  }

  /** Does what is due: cancels the work of the leases, or takes the connections away. */
  hurry(now: number): void {
    if (now >= this.cancelAt) {
      this.cancelAt = Infinity
      this.hasCancelled = true
      // Cancelling has no use if the connections are taken away at the same moment.
      if (now < this.forceAt && this.state.host.canAbort) this.cancelAll()
    }
    if (now >= this.forceAt) {
      this.forceAt = Infinity
      this.takeAll(now)
    }
  }

  /** The connection is really closed, or the bound of closing it has passed: only now its place is free. */
  wasClosed(entry: Entry<A>): void {
    const { state } = this
    const reason = entry.closeReason!
    entry.state = EntryState.Gone
    state.closing--
    state.counters.closed[reason]++
    state.emit({ _tag: "Closed", connection: entry.id, reason })
  }

  /** Nothing is left of a pool that drains: it has closed. */
  finish(): void {
    const { state } = this
    if (state.phase !== "draining" || state.total !== 0) return
    state.phase = "closed"
    state.later(() => state.host.drained(this.report))
  }

  private cancelAll(): void {
    const { host, leases } = this.state
    this.report.cancelled += leases.size
    for (const entry of leases.entries()) this.state.later(() => host.cancel(entry))
  }

  private takeAll(now: number): void {
    const { host, leases } = this.state
    for (const lease of leases) {
      this.report.aborted++
      leases.end(lease)
      if (host.emit !== undefined) {
        this.state.emit({ _tag: "Released", connection: lease.entry.id, heldMs: now - lease.since })
      }
      if (lease.entry.holders === 0) this.health.close(lease.entry, "drain", now)
    }
  }
}
