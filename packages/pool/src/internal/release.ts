/**
 * What happens to a connection that comes back: it goes to a waiter, to the idle stack, to be cleaned, or away.
 */
import type { CloseReason } from "../PoolStats.js"
import type { Acquire } from "./acquire.js"
import type { Admission } from "./admission.js"
import type { Drain } from "./drain.js"
import { type Entry, EntryState, type Lease } from "./entry.js"
import type { Health } from "./health.js"
import type { Waiter } from "./queue.js"
import type { State } from "./state.js"

export class Release<A> {
  constructor(
    private readonly state: State<A>,
    private readonly admission: Admission<A>,
    private readonly health: Health<A>,
    private readonly acquire: Acquire<A>,
    private readonly drain: Drain<A>
  ) {}

  /** Ends a lease. A second release of the same lease changes nothing (I7), and gives false. */
  release(lease: Lease<A>): boolean {
    const { state } = this
    if (lease.isOver) {
      state.counters.lateReleases++
      return false
    }
    const now = state.host.now()
    const { entry } = lease
    const held = now - lease.since
    this.state.load.held(lease.shared ? held / entry.holders : held)
    state.leases.end(lease)
    if (state.host.emit !== undefined) {
      state.emit({ _tag: "Released", connection: entry.id, heldMs: held })
    }
    if (state.phase === "draining") this.drain.report.released++
    if (entry.holders > 0) {
      if (this.admission.size !== 0) this.acquire.dispatch(now)
      return true
    }
    entry.lastUsedAt = now
    this.putBack(entry, now, lease)
    // The class of the lease may have one more now, whatever becomes of this connection.
    if (this.admission.hasLimits && this.admission.size !== 0) this.acquire.dispatch(now)
    return true
  }

  /**
   * The caller has left: its waiter leaves the queue. If the lease was granted and the caller has not received it, the lease
   * ends. Nothing is lost between the two, because the waiter record holds the lease.
   */
  abandon(waiter: Waiter<A>): void {
    if (waiter.queued) {
      const { counters, host } = this.state
      const { priority, since } = waiter
      this.admission.leave(waiter)
      counters.interrupted++
      this.state.emit({ _tag: "AcquireInterrupted", waitMs: host.now() - since, priority })
      // The waiter behind it may be served by what this one could not use: a connection that is shared.
      this.acquire.dispatch(this.state.host.now())
    } else if (waiter.lease !== undefined) this.release(waiter.lease)
  }

  /** An open connection that is in no list goes where it belongs. `lease` is the one that has just ended, if one has. */
  putBack(entry: Entry<A>, now: number, lease?: Lease<A>): void {
    const { health, state } = this
    const reason = health.unfit(entry, state.open, now)
    if (reason !== undefined) {
      health.close(entry, reason, now)
      return
    }
    const status = state.statusOf(entry)
    if (status === "clean") {
      entry.state = EntryState.Idle
      entry.leftBy = undefined
      entry.left = undefined
      if (entry.lastUsedAt === now) state.idle.push(entry)
      else state.idle.insertByLastUse(entry)
      const { closeWhenIdle } = state.config
      if (closeWhenIdle !== Infinity && state.leases.size === 0) {
        state.wakeBy(Math.max(now, entry.lastUsedAt + closeWhenIdle))
      }
      if (this.admission.size !== 0) this.acquire.dispatch(now)
      return
    }
    if (lease !== undefined) entry.leftBy = lease
    if (status === "dirty" && state.host.canReset) {
      entry.state = EntryState.Resetting
      state.resetting++
      state.inTransit.add(entry)
      state.later(() => state.host.reset(entry))
    } else if (status === "busy" && state.host.canAbort) {
      entry.state = EntryState.Quarantined
      state.quarantined++
      state.inTransit.add(entry)
      state.later(() => state.host.abort(entry))
    } else health.close(entry, status === "dirty" ? "reset" : "error", now)
  }

  wasReset(entry: Entry<A>, works: boolean): void {
    this.state.resetting--
    this.cleaned(entry, works && this.state.statusOf(entry) === "clean", "reset")
  }

  aborted(entry: Entry<A>, works: boolean): void {
    this.state.quarantined--
    this.cleaned(entry, works && this.state.statusOf(entry) !== "busy", "error")
  }

  private cleaned(entry: Entry<A>, works: boolean, reason: CloseReason): void {
    const now = this.state.host.now()
    this.state.inTransit.delete(entry)
    // A connection that was not clean when it was new is no success until it was cleaned.
    if (works && !entry.isProven && this.state.statusOf(entry) === "clean") this.state.connectSucceeded()
    if (works) this.putBack(entry, now)
    else this.health.close(entry, entry.closeReason ?? reason, now)
  }
}
