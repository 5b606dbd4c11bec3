/**
 * The door of the state machine of one pool. Every public method is one transition: it lets the rooms change the state, and
 * then runs what they have collected. The invariants stand in state.ts.
 */
import type { ConnectFailureKind } from "../PoolOptions.js"
import type { CloseReason, PoolStats } from "../PoolStats.js"
import { Acquire } from "./acquire.js"
import { Admission } from "./admission.js"
import { Connect } from "./connect.js"
import { Drain } from "./drain.js"
import { type Entry, EntryState, type Lease } from "./entry.js"
import { Growth } from "./growth.js"
import { Health } from "./health.js"
import type { Config, Host } from "./host.js"
import { Leaks } from "./leaks.js"
import { Maintenance } from "./maintenance.js"
import type { Waiter } from "./queue.js"
import { Release } from "./release.js"
import { snapshot } from "./snapshot.js"
import { State } from "./state.js"

export class Engine<A> {
  readonly state: State<A>
  readonly admission: Admission<A>
  private readonly growth: Growth<A>
  private readonly health: Health<A>
  private readonly acquire: Acquire<A>
  private readonly ending: Drain<A>
  private readonly back: Release<A>
  private readonly connect: Connect<A>
  private readonly maintenance: Maintenance<A>
  readonly leaks: Leaks<A>
  private isFlushing = false

  constructor(
    readonly config: Config,
    readonly host: Host<A>
  ) {
    this.state = new State(config, host)
    this.admission = new Admission(this.state)
    this.growth = new Growth(this.state, this.admission)
    this.health = new Health(this.state)
    this.acquire = new Acquire(this.state, this.admission, this.growth, this.health)
    this.ending = new Drain(this.state, this.admission, this.health)
    this.back = new Release(this.state, this.admission, this.health, this.acquire, this.ending)
    this.connect = new Connect(this.state, this.admission, this.growth, this.back)
    this.maintenance = new Maintenance(this.state, this.growth, this.health, this.acquire, this.back)
    this.leaks = new Leaks(this.state, this.health)
  }

  // Leases ------------------------------------------------------------------------------------------------------

  /** An exclusive lease, if there is one without waiting; else use `enter`. */
  take(holder: unknown): Lease<A> | undefined {
    const lease = this.acquire.take(holder)
    if (this.state.todo.length !== 0) this.flush()
    return lease
  }

  /** A shared lease, if there is one without waiting; else use `enter`. */
  takeShared(holder: unknown): Lease<A> | undefined {
    const lease = this.acquire.takeShared(holder)
    if (this.state.todo.length !== 0) this.flush()
    return lease
  }

  /** Afterwards the waiter has a lease, or an error, or is in the queue and will be resumed. */
  enter(waiter: Waiter<A>): void {
    this.acquire.enter(waiter)
    this.flush()
  }

  /** The caller of the waiter has left: it takes neither its place nor its lease with it. */
  abandon(waiter: Waiter<A>): void {
    this.back.abandon(waiter)
    this.flush()
  }

  /** Ends the lease. Does nothing but count when it has ended already. */
  release(lease: Lease<A>): void {
    if (!this.back.release(lease)) return
    const { ready, todo } = this.state
    // With nobody in the queue and nothing collected there is nothing to run.
    if (todo.length !== 0 || ready.length !== 0 || this.admission.queue.size !== 0) this.flush()
  }

  // What the host reports ---------------------------------------------------------------------------------------

  connected(resource: A, handle: unknown, startedAt: number): Entry<A> {
    const entry = this.connect.connected(resource, handle, startedAt)
    // The first connection of all starts the maintenance.
    this.maintenance.plan(this.host.now())
    this.flush()
    return entry
  }

  connectFailed(cause: unknown, kind: ConnectFailureKind): void {
    this.connect.connectFailed(cause, kind)
    this.ending.finish()
    this.flush()
  }

  /** The pause after a failure is known: `ms` milliseconds from now. */
  backedOff(ms: number): void {
    this.connect.backedOff(ms)
    this.flush()
  }

  validated(entry: Entry<A>, works: boolean): void {
    this.maintenance.validated(entry, works)
    this.flush()
  }

  wasReset(entry: Entry<A>, works: boolean): void {
    this.back.wasReset(entry, works)
    this.flush()
  }

  aborted(entry: Entry<A>, works: boolean): void {
    this.back.aborted(entry, works)
    this.flush()
  }

  wasClosed(entry: Entry<A>): void {
    this.ending.wasClosed(entry)
    this.growth.grow(this.host.now())
    this.ending.finish()
    this.flush()
  }

  /** The time that the engine asked for by `host.wake` has come. */
  tick(): void {
    const { admission, ending, leaks, maintenance, state } = this
    const now = this.host.now()
    state.wakeAt = Infinity
    if (maintenance.noteStall(now)) leaks.forgive(now)
    if (now >= state.resumeAt) this.goOn()
    // Waiters that can be served come before those that are too late: the process may have slept on both.
    this.acquire.dispatch(now)
    admission.expire(now)
    admission.planLook(now)
    // A waiter behind one that is gone may be served by what that one could not use.
    this.acquire.serve(now)
    maintenance.run(now)
    maintenance.rest(now)
    // The class of the lease may have one more now.
    if (leaks.run(now)) this.acquire.dispatch(now)
    ending.hurry(now)
    this.growth.grow(now)
    maintenance.plan(now)
    state.wakeBy(Math.min(state.resumeAt, ending.next, leaks.next))
    this.flush()
  }

  // Control -----------------------------------------------------------------------------------------------------

  /** Begins to fill up to `minIdle`. */
  start(): void {
    this.growth.grow(this.host.now())
    this.flush()
  }

  /** Closes the connection, now if it is idle, else when it comes back. False if it is closed or being closed already. */
  evict(entry: Entry<A>, reason: CloseReason): boolean {
    if (entry.state >= EntryState.Closing) return false
    if (entry.state === EntryState.Idle) this.health.closeIdle(entry, reason, this.host.now())
    else entry.closeReason ??= reason
    this.flush()
    return true
  }

  /** A fatal event on the host: every open connection must pass a check before it is handed out again. */
  suspect(cause: unknown): void {
    this.state.epoch++
    this.state.emit({ _tag: "Suspected", cause })
    this.flush()
  }

  /** Every waiter fails at once. Leases, connects and later acquires go on. */
  dismiss(): void {
    this.admission.failAll({ _tag: "Dismissed" }, this.host.now())
    this.flush()
  }

  resize(maxSize: number): void {
    const { config, state } = this
    const now = this.host.now()
    config.maxSize = maxSize
    config.minIdle = Math.min(config.minIdle, maxSize)
    for (const entry of state.idle) {
      if (state.total - state.closing > maxSize) this.health.closeIdle(entry, "shrink", now)
    }
    state.emit({ _tag: "Resized", max: maxSize })
    this.acquire.dispatch(now)
    this.flush()
  }

  suspend(atMost: number): void {
    const { state } = this
    if (state.isEnding) return
    state.phase = "suspended"
    state.resumeAt = this.host.now() + atMost
    state.wakeBy(state.resumeAt)
    state.emit({ _tag: "Suspended" })
    this.flush()
  }

  resume(): void {
    this.goOn()
    this.acquire.dispatch(this.host.now())
    this.flush()
  }

  /** Every connection that is open now is to be replaced, one after the other, evenly over `spread` milliseconds. */
  reset(spread: number): void {
    const { state } = this
    const now = this.host.now()
    const entries = [...state.entries()]
    entries.forEach((entry, i) => {
      entry.retireAt = Math.min(entry.retireAt, now + (spread * i) / entries.length)
      entry.retireReason = "generation"
    })
    for (const entry of state.idle) if (entry.retireAt <= now) this.health.closeIdle(entry, "generation", now)
    state.emit({ _tag: "Reset", connections: entries.length })
    this.growth.grow(now)
    this.flush()
  }

  /** Nobody gets a lease any more. Leases may go on for `within`; in the last fifth of it their work is cancelled. */
  drain(within: number): void {
    if (this.state.phase === "closed") return
    this.ending.start(within, this.host.now())
    this.ending.finish()
    this.flush()
  }

  /** Stops what a leased connection does, if one of its leases is at least this old. The lease goes on. */
  cancel(connection: number, heldMs: number): boolean {
    const { host, leases } = this.state
    const before = host.now() - heldMs
    for (const { entry, since } of leases) {
      if (entry.id !== connection || since > before) continue
      if (host.canAbort) host.cancel(entry)
      return host.canAbort
    }
    return false
  }

  stats(now: number): PoolStats {
    return snapshot(this.state, this.admission, now)
  }

  private goOn(): void {
    const { state } = this
    state.resumeAt = Infinity
    if (state.phase !== "suspended") return
    state.phase = "running"
    state.emit({ _tag: "Resumed" })
  }

  /** Runs what the transitions have collected. What runs may cause further ones; the outermost call runs them all. */
  private flush(): void {
    const { ready, todo } = this.state
    const { admission, state } = this
    // The time for which the last idle connection was kept may be over, or its reason may have ended by this transition. So may
    // the reason for which a class had reached its limit.
    if ((state.idle.size === 1 || (admission.hasLimits && state.idle.size > 0)) && admission.size !== 0) {
      this.acquire.serve(this.host.now())
    }
    if (this.isFlushing || (ready.length === 0 && todo.length === 0)) return
    this.isFlushing = true
    while (ready.length !== 0 || todo.length !== 0) {
      for (let i = 0; i < ready.length; i++) this.host.resume(ready[i]!)
      ready.length = 0
      for (let i = 0; i < todo.length; i++) todo[i]!()
      todo.length = 0
    }
    this.isFlushing = false
  }
}
