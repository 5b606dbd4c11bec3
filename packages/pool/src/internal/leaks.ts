/**
 * Leases that are held too long. Each is reported once. If the pool reclaims, a lease with whose connection nothing was done for as
 * long is taken away.
 */
import type { LeakKind } from "../PoolStats.js"
import type { Entry, Lease } from "./entry.js"
import type { Health } from "./health.js"
import type { State } from "./state.js"

/**
 * Milliseconds without work from which a connection is idle, or half the threshold if that is less. A program that works all the
 * time is seen between two statements as often as at work. Smaller: it is told of as one that has forgotten its lease.
 */
const IDLE = 1_000

/**
 * The part of the threshold for which nothing must have been done with a lease that is taken away. With all of it, the first statement
 * of a lease would put that off until after the report, and there would be two.
 */
const UNUSED = 0.9

/** What may be taken away. Who works, reads a stream or listens has not forgotten its lease. */
const isTakeable: Readonly<Record<LeakKind, boolean>> = {
  busy: false,
  idleInTransaction: true,
  forgotten: true,
  listener: false,
  stream: false,
  unknown: true
}

export class Leaks<A> {
  /** When there may be something to tell of again, as far as the last look could see. */
  next = Infinity
  /** When the process has run again after a stall. Before that nobody could release anything, so that time does not count. */
  private ranSince = -Infinity

  constructor(
    private readonly state: State<A>,
    private readonly health: Health<A>
  ) {}

  /** The process did not run until now. */
  forgive(now: number): void {
    this.ranSince = now
  }

  /** Looks at every lease that is old enough. Gives whether one was taken away. */
  run(now: number): boolean {
    const { config, counters, isEnding, leases } = this.state
    this.next = Infinity
    if (config.leakThreshold === 0 || isEnding) return false
    const before = counters.reclaimed
    let told: Entry<A> | undefined
    for (const list of [leases.exclusive, leases.shared]) {
      for (let lease = list.oldest; lease !== undefined; ) {
        const { newer } = lease
        const at = Math.max(lease.since, this.ranSince) + config.leakThreshold
        // The leases are in the order in which they were granted.
        if (at > now) {
          this.next = Math.min(this.next, at)
          break
        }
        if (this.look(lease, lease.entry === told, now)) told = lease.entry
        lease = newer
      }
    }
    return counters.reclaimed !== before
  }

  /** What a lease is used for, and milliseconds for which nothing was done with it. It is busy before nothing was done for `idleAfter`. */
  inspect(lease: Lease<A>, now: number, idleAfter = Math.min(IDLE, (this.state.config.leakThreshold || Infinity) / 2)) {
    const found = this.state.host.inspect(lease.entry.resource)
    const idleFor = now - Math.max(lease.since, this.ranSince, found?.since ?? 0)
    const isIdle = found === undefined || idleFor >= idleAfter
    const kind: LeakKind = found === undefined ? "unknown" : isIdle ? found.kind : busyAs(found.kind)
    return { kind, idleFor, remoteId: found?.remoteId }
  }

  /** How many connections are leased for what. One that is shared is busy, because its holders wait for answers. */
  uses(now: number, idleAfter: number): Record<LeakKind, number> {
    const { host, leases } = this.state
    const uses = { busy: 0, idleInTransaction: 0, forgotten: 0, listener: 0, stream: 0, unknown: 0 }
    for (let lease = leases.exclusive.oldest; lease !== undefined; lease = lease.newer) {
      uses[this.inspect(lease, now, idleAfter).kind]++
    }
    for (const { resource } of leases.sharedEntries) uses[host.inspect(resource) === undefined ? "unknown" : "busy"]++
    return uses
  }

  /** As `uses`, of the leases alone that have been held for `age` milliseconds or more: each with what its connection is used for. */
  usesSince(now: number, age: number): Record<LeakKind, number> {
    const { leases } = this.state
    const uses = { busy: 0, idleInTransaction: 0, forgotten: 0, listener: 0, stream: 0, unknown: 0 }
    for (const list of [leases.exclusive, leases.shared]) {
      let lease = list.oldest
      for (; lease !== undefined && Math.round(now - lease.since) >= Math.round(age); lease = lease.newer) {
        uses[this.inspect(lease, now, Math.min(IDLE, age)).kind]++
      }
    }
    return uses
  }

  /** Gives whether there was something to tell. */
  private look(lease: Lease<A>, isRepeated: boolean, now: number): boolean {
    const { config, counters, host } = this.state
    const isNew = !lease.isReported
    if (!isNew && !config.reclaim) return false
    const { idleFor, kind } = this.inspect(lease, now)
    const wait = config.leakThreshold * UNUSED - idleFor
    const isReclaimed = config.reclaim && isTakeable[kind] && wait <= 0
    // A millisecond at least: a rest that is lost in the rounding of `now` would wake the pool again and again.
    if (config.reclaim && wait > 0) this.next = Math.min(this.next, now + Math.max(1, wait))
    if (!isNew && !isReclaimed) return false
    lease.isReported = true
    if (isNew) counters.leaks++
    const idleMs = kind === "busy" ? 0 : idleFor
    const leaking = { lease, kind, heldMs: now - lease.since, idleMs, isNew, isReclaimed, isRepeated }
    // Before the connection is closed, so that its holder can be told why.
    this.state.later(() => host.leaking(leaking))
    if (isReclaimed) this.take(lease, now)
    return true
  }

  /** The holder may come back and release: that changes nothing (I7). */
  private take(lease: Lease<A>, now: number): void {
    const { counters, host, leases } = this.state
    const { entry } = lease
    counters.reclaimed++
    leases.end(lease)
    if (host.emit !== undefined) {
      this.state.emit({ _tag: "Released", connection: entry.id, heldMs: now - lease.since })
    }
    if (entry.holders === 0) this.health.close(entry, "reclaimed", now)
    else entry.closeReason ??= "reclaimed"
  }
}

/** Between two statements a connection is at work, whatever is open on it. */
const busyAs = (kind: LeakKind): LeakKind => (isTakeable[kind] ? "busy" : kind)
