/**
 * How a caller gets a lease: at once, or through the queue.
 */
import type { Admission } from "./admission.js"
import type { Entry, Lease } from "./entry.js"
import type { Growth } from "./growth.js"
import type { Health } from "./health.js"
import type { Waiter } from "./queue.js"
import type { State } from "./state.js"

export class Acquire<A> {
  constructor(
    private readonly state: State<A>,
    private readonly admission: Admission<A>,
    private readonly growth: Growth<A>,
    private readonly health: Health<A>
  ) {}

  /** The fast path: the most recently used idle connection, if nobody waits and it needs no check. Else use `enter`. */
  take(holder: unknown): Lease<A> | undefined {
    const { admission, state } = this
    if (admission.size !== 0 || state.phase !== "running" || admission.hasLimits) return undefined
    const entry = state.idle.head
    if (entry === undefined) return undefined
    const now = state.host.now()
    if (!this.health.isFresh(entry, now) || admission.keepsLastIdle(now)) return undefined
    state.idle.remove(entry)
    return this.grant(entry, holder, false, now)
  }

  /** The fast path of a shared lease: the shared connection with the most holders that has room, else as `take`. */
  takeShared(holder: unknown): Lease<A> | undefined {
    const { admission, state } = this
    if (state.phase !== "running" || admission.hasLimits) return undefined
    const now = state.host.now()
    if (admission.size !== 0 && (admission.hasSharers || !admission.keepsReserve(now))) return undefined
    const entry = this.joinable() ?? state.idle.head
    if (entry === undefined) return undefined
    if (entry.holders === 0) {
      if (!this.health.isFresh(entry, now)) return undefined
      state.idle.remove(entry)
    }
    return this.grant(entry, holder, true, now)
  }

  /** The slow path. Afterwards the waiter has a lease, or an error, or is in the queue and will be resumed. */
  enter(waiter: Waiter<A>): void {
    const now = waiter.since
    this.state.isResting = false
    if (!this.admission.enter(waiter, now)) return
    this.dispatch(now)
    if (waiter.queued && this.isDeadlocked(waiter)) {
      this.admission.leave(waiter)
      this.admission.fail(waiter, { _tag: "NestedAcquire" }, now)
    }
    if (!waiter.queued) return
    const { priority } = waiter
    this.state.emit({ _tag: "Queued", waiting: this.admission.size, priority })
    this.state.wakeBy(waiter.deadline)
    this.admission.planLook(now)
  }

  /** Serves the waiters that can be served, and opens connections for the others if that is worth it. */
  dispatch(now: number): void {
    this.serve(now)
    this.growth.grow(now)
  }

  serve(now: number): void {
    if (this.state.phase !== "running") return
    let passed: Waiter<A> | undefined
    for (;;) {
      const waiter = this.admission.next(now, passed)
      if (waiter === undefined) return
      const entry = (waiter.shared ? this.joinable() : undefined) ?? this.takeIdle(now)
      if (entry !== undefined) {
        if (this.admission.leavesTime(waiter, now)) this.hand(entry, waiter, now)
        else this.refuse(entry, waiter, now)
      } else if (passed === undefined) passed = waiter
      else return
    }
  }

  private hand(entry: Entry<A>, waiter: Waiter<A>, now: number): void {
    this.admission.serve(waiter, now)
    waiter.lease = this.grant(entry, waiter.holder, waiter.shared, now, waiter)
    if (waiter.resume !== undefined) this.state.ready.push(waiter)
    this.admission.served(waiter, now)
  }

  /** The connection stays for the next one. */
  private refuse(entry: Entry<A>, waiter: Waiter<A>, now: number): void {
    if (entry.holders === 0) this.state.idle.push(entry)
    this.admission.refuseLate(waiter, now)
  }

  private grant(entry: Entry<A>, holder: unknown, shared: boolean, now: number, waiter?: Waiter<A>): Lease<A> {
    const { state } = this
    state.counters.acquired++
    if (!entry.isProven) state.prove(entry)
    if (shared) this.admission.noteShared(now)
    const rank = waiter !== undefined && this.admission.hasLimits ? waiter.rank : -1
    const lease = state.leases.grant(entry, holder, shared, now, rank)
    if (state.host.emit !== undefined) {
      const waitMs = waiter === undefined ? 0 : now - waiter.since
      state.emit({ _tag: "Acquired", connection: entry.id, waitMs, priority: waiter?.priority })
    }
    return lease
  }

  /** The most recently used idle connection that is fit. One that needs a check is sent to it, one for each waiter. */
  private takeIdle(now: number): Entry<A> | undefined {
    const { admission, health, state } = this
    for (let entry = state.idle.head; entry !== undefined; entry = state.idle.head) {
      const unclean = state.statusOf(entry) === "clean" ? undefined : "error"
      const reason = health.unfit(entry, state.open - 1, now) ?? unclean
      if (reason !== undefined) {
        health.closeIdle(entry, reason, now)
      } else if (health.needsCheck(entry, now)) {
        if (state.validating >= admission.wanting) return undefined
        state.idle.remove(entry)
        health.startCheck(entry)
      } else {
        state.idle.remove(entry)
        return entry
      }
    }
    return undefined
  }

  private joinable(): Entry<A> | undefined {
    const { config, host, leases } = this.state
    return leases.sharedEntries.size === 0 ? undefined : leases.joinable(config.concurrency, host.admits)
  }

  /** Every connection is held by a fiber that waits for one, and the holder of this waiter is among them. */
  private isDeadlocked(waiter: Waiter<A>): boolean {
    const { config, leases, total } = this.state
    if (!waiter.holds || leases.connections !== total || total < config.maxSize) return false
    return leases.areAllParked((entry) => this.state.statusOf(entry) === "busy")
  }
}
