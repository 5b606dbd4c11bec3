/**
 * Who waits, who is next, who is refused, and who is shed. `Acquire` asks `next` and never looks into the lists.
 */
import type { AcquireError } from "../PoolError.js"
import type { Queue } from "../PoolStats.js"
import * as Backoff from "./backoff.js"
import type { Refusal } from "./host.js"
import { Limits } from "./limits.js"
import { bitOf, CLASSES, type Waiter, WaiterQueue } from "./queue.js"
import * as Shedding from "./shedding.js"
import type { State } from "./state.js"

/**
 * Milliseconds for which the last connection is kept after the last shared lease. Shorter: a caller that comes back from
 * slow work finds it taken, and waits behind slow work of others. Longer: a connection stands idle in front of waiters.
 */
const RESERVE_KEPT = 100

/** With fewer connections, the one that is kept would be too much of the whole. */
const RESERVE_LEAST = 4

/**
 * The most that a declared deadline must leave of the time that a lease takes on average, in milliseconds. Smaller: connections
 * work for callers that have given up. Larger: where some leases are long, short work is refused that would end in time.
 */
const REST = 20

export class Admission<A> {
  /** Nobody but this class and the tests look into it. */
  readonly queue = new WaiterQueue<A>()
  /**
   * Until when one connection is kept for shared leases. When slow exclusive work takes every connection, short shared work
   * would wait behind it, although one connection could do all of it. So of four or more connections the last one is leased
   * to nobody alone while shared leases are asked for, and callers that share pass those that cannot have it.
   */
  private reserveUntil = 0
  private readonly limits: Limits<A>
  /** The classes none of whose waiters could be served, each by its bit: `next` has found that out. */
  private closed = 0
  private shedding = Shedding.initial

  constructor(private readonly state: State<A>) {
    this.limits = new Limits(state)
  }

  /** How many callers wait. */
  get size(): number {
    return this.queue.size
  }

  /** Callers that would be served if there were connections: a class at its limit wants none. */
  get wanting(): number {
    const { limits, queue } = this
    if (!limits.areOn || queue.size === 0) return queue.size
    let others = 0
    for (let rank = 1; rank < CLASSES; rank++) {
      const head = queue.headOf(rank)
      if (head === undefined) continue
      others += Math.min(queue.sizeOf(rank), Math.max(limits.room(rank), this.isHeldBack(head) ? 0 : 1))
    }
    return Math.min(queue.sizeOf(0), limits.room(0)) + Math.min(others, limits.roomOfOthers)
  }

  /** Some class may not hold every connection, so that the class of a caller must be known. */
  get hasLimits(): boolean {
    return this.limits.areOn
  }

  /** The oldest waiter was too old for too long. */
  get isOverloaded(): boolean {
    return this.shedding.isOverloaded
  }

  /** Connections that a class may hold at once. */
  most(rank: number): number {
    return this.limits.areOn ? this.limits.most(rank) : this.state.config.maxSize
  }

  /** Idle connections that an exclusive waiter of the class might have. */
  idleFor(rank: number): number {
    const { limits, state } = this
    if (!limits.areOn) return state.idle.size
    return Math.min(state.idle.size, limits.room(rank), rank === 0 ? Infinity : limits.roomOfOthers)
  }

  /** How many wait in front of a newcomer of the class. */
  ahead(rank: number): number {
    return this.queue.sizeUpTo(rank)
  }

  /**
   * Milliseconds after which a newcomer of the class that has `timeout` would be sent away, by what is seen now; `Infinity` if nobody of
   * its class is. The waiters that are never shed are not enough for it: they wait already.
   */
  shedsAfter(rank: number, timeout: number): number {
    const { maxSize, shedding } = this.state.config
    const spares = rank === 0 || this.queue.size < Shedding.floorOf(maxSize)
    return shedding.mode !== "on" || !this.isOverloaded || spares ? Infinity : Shedding.limitOf(shedding, timeout)
  }

  /** Whether a caller waits for a shared lease. */
  get hasSharers(): boolean {
    return this.queue.sharers.size !== 0
  }

  /** Since when the queue has not been empty, but for moments; if a connect has started for it, since that moment. */
  get busySince(): number {
    return this.queue.busySince
  }

  /** A connect starts for the queue. */
  noteConnect(now: number): void {
    this.queue.busySince = now
  }

  /** Milliseconds that the oldest waiter has waited; 0 if nobody waits. */
  oldestWait(now: number): number {
    const oldest = this.queue.oldest()
    return oldest === undefined ? 0 : now - oldest.since
  }

  /** The classes in which callers wait. */
  classes(now: number): ReadonlyArray<Queue> {
    const found: Array<Queue> = []
    for (let rank = 0; rank < CLASSES; rank++) {
      const head = this.queue.headOf(rank)
      if (head === undefined) continue
      const { priority, since } = head
      found.push({ priority, depth: this.queue.sizeOf(rank), oldestMs: Math.round(now - since) })
    }
    return found
  }

  /** Puts the waiter into the queue, or refuses it. True if it is in the queue. */
  enter(waiter: Waiter<A>, now: number): boolean {
    const refusal = this.refusal(waiter, now)
    if (refusal !== undefined) {
      this.fail(waiter, refusal, now)
      return false
    }
    this.queue.push(waiter)
    waiter.holds = this.state.leases.markParked(waiter.holder, true)
    return true
  }

  /**
   * The waiter to be served now, if there is a connection for it. `passed` is a waiter for which there was none: then the
   * first that shares may pass it, while a connection is kept for those.
   */
  next(now: number, passed?: Waiter<A>): Waiter<A> | undefined {
    if (passed === undefined) {
      this.closed = this.limits.areOn ? this.findClosed() : 0
      for (let waiter = this.peek(); waiter !== undefined; waiter = this.peek()) {
        if (this.isOver(waiter, now)) {
          this.expireOne(waiter, now)
          if (this.limits.areOn) this.closed = this.findClosed()
          continue
        }
        if (waiter.shared || !this.keepsLastIdle(now)) return waiter
        this.state.wakeBy(this.reserveUntil)
        break
      }
    }
    if (!this.keepsReserve(now)) return undefined
    for (const waiter of this.queue.sharers) {
      if (!this.isOver(waiter, now) && !(this.limits.areOn && this.isHeldBack(waiter))) return waiter
    }
    return undefined
  }

  /**
   * What is left until the declared deadline of the waiter is enough for a lease. Judged when a connection is there for it,
   * and never by the acquire timeout, which says nothing about the time after.
   */
  leavesTime(waiter: Waiter<A>, now: number): boolean {
    const { host, load } = this.state
    return waiter.declared - now >= Math.min(load.hold, REST) || host.isLate()
  }

  /** There is a connection for the waiter that `next` named: it leaves the queue. */
  serve(waiter: Waiter<A>, now: number): void {
    if (this.limits.areOn) this.closed = this.findClosed()
    if (waiter === this.peek()) this.queue.serve(waiter, now, this.closed)
    else this.queue.remove(waiter)
    this.unmark(waiter)
  }

  /** The waiter that was served has its lease. */
  served(waiter: Waiter<A>, now: number): void {
    const { config, counters } = this.state
    if (waiter.deadline <= now) counters.lateGrants++
    if (config.shedding.mode !== "off") this.shed(now, waiter)
  }

  /** There is a connection for the waiter, but too little time. */
  refuseLate(waiter: Waiter<A>, now: number): void {
    this.leave(waiter)
    const refusal = { ...this.timedOut(waiter, now), rest: Math.max(0, waiter.declared - now) }
    this.fail(waiter, refusal, now)
  }

  /** The waiter leaves the queue without a connection. */
  leave(waiter: Waiter<A>): void {
    this.queue.remove(waiter)
    this.unmark(waiter)
  }

  /** Fails every waiter whose deadline has passed, and asks for the next moment at which one passes. */
  expire(now: number): void {
    for (let waiter = this.queue.expired(now); waiter !== undefined; waiter = this.queue.expired(now)) {
      this.expireOne(waiter, now)
    }
    if (this.state.config.shedding.mode !== "off") this.shed(now)
    this.state.wakeBy(this.queue.firstDeadline())
  }

  /** Asks for the next look at the age of the queue, if nothing is released before. */
  planLook(now: number): void {
    const { config } = this.state
    const oldest = config.shedding.mode === "off" ? undefined : this.queue.oldest()
    if (oldest === undefined) return
    const { since, timeout } = oldest
    this.state.wakeBy(Shedding.nextLook(this.shedding, config.shedding, now - since, timeout, now))
  }

  /** Fails a waiter that is in no list any more. */
  fail(waiter: Waiter<A>, refusal: Refusal, now: number): void {
    const { counters, host, ready } = this.state
    const waited = now - waiter.since
    counters.failed[refusal._tag]++
    waiter.error = host.refuse(refusal, waited, now)
    if (waiter.resume !== undefined) ready.push(waiter)
    const cause = waiter.error as AcquireError
    this.state.emit({ _tag: "AcquireFailed", error: refusal._tag, cause, waitMs: waited, priority: waiter.priority })
  }

  failAll(refusal: Refusal, now: number): void {
    for (let waiter = this.queue.oldest(); waiter !== undefined; waiter = this.queue.oldest()) {
      this.leave(waiter)
      this.fail(waiter, refusal, now)
    }
  }

  /** Why everybody fails at once while connecting fails. */
  hostRefusal(): Refusal {
    return { _tag: this.state.backoff.kind === "rejected" ? "ConnectFailed" : "ConnectUnavailable" }
  }

  /** A shared lease was granted. */
  noteShared(now: number): void {
    this.reserveUntil = now + RESERVE_KEPT
  }

  /** One connection is kept for shared leases, idle or shared. */
  keepsReserve(now: number): boolean {
    const { config, open, total } = this.state
    return now < this.reserveUntil && total >= config.maxSize && open >= RESERVE_LEAST && this.state.flowing <= 1
  }

  /** The last idle connection is kept for shared leases. */
  keepsLastIdle(now: number): boolean {
    return this.state.idle.size === 1 && this.state.flowing === 0 && this.keepsReserve(now)
  }

  private refusal(waiter: Waiter<A>, now: number): Refusal | undefined {
    const { backoff, config, isEnding, open } = this.state
    if (isEnding) return { _tag: "PoolClosed" }
    if (Backoff.refuses(backoff, config, now, open)) return this.hostRefusal()
    if (waiter.timeout <= 0) return this.timedOut(waiter, now)
    if (this.queue.size < config.maxWaiters) return undefined
    const victim = this.queue.youngestBelow(waiter.rank)
    if (victim === undefined) return { _tag: "PoolSaturated" }
    this.leave(victim)
    this.fail(victim, { _tag: "PoolSaturated" }, now)
    return undefined
  }

  /**
   * The deadline of the waiter has passed. While timers are late the process did not run, and the answers that the waiter
   * needs may lie in a socket already: then the timers decide, a little later, when its time is over.
   */
  private isOver(waiter: Waiter<A>, now: number): boolean {
    return waiter.deadline <= now && !this.state.host.isLate()
  }

  /** The waiter whose turn it is, of the classes that may have a connection. */
  private peek(): Waiter<A> | undefined {
    return this.queue.peek(this.closed)
  }

  private isHeldBack(waiter: Waiter<A>): boolean {
    return this.limits.heldBack(waiter.rank, waiter.shared, this.canJoin) !== undefined
  }

  private readonly canJoin = (): boolean => {
    const { config, host, leases } = this.state
    return leases.joinable(config.concurrency, host.admits) !== undefined
  }

  private findClosed(): number {
    let closed = 0
    for (let rank = 0; rank < CLASSES; rank++) {
      const head = this.queue.headOf(rank)
      if (head !== undefined && this.isHeldBack(head)) closed |= bitOf(rank)
    }
    return closed
  }

  /**
   * Looks at the age of the oldest waiter, and sheds those that are too old if that has gone on for too long: the lowest class
   * first, never class critical. `served` was the last one to leave the queue.
   */
  private shed(now: number, served?: Waiter<A>): void {
    const { queue, state } = this
    const { counters, config } = state
    const settings = config.shedding
    const oldest = queue.oldest()
    const isLate =
      oldest !== undefined && now - oldest.since >= Shedding.targetOf(settings, oldest.timeout) && this.isFull()
    const before = this.shedding
    this.shedding = Shedding.looked(before, settings, isLate, now)
    const { isOverloaded } = this.shedding
    if (isOverloaded !== before.isOverloaded) {
      state.emit({ _tag: "Overload", isOverloaded, waitMs: oldest === undefined ? 0 : now - oldest.since })
    }
    if (!isOverloaded) return
    const isTooOld = (waiter: Waiter<A> | undefined) =>
      waiter !== undefined && now - waiter.since >= Shedding.limitOf(settings, waiter.timeout)
    if (settings.mode === "shadow") {
      if (
        served !== undefined &&
        queue.size >= Shedding.floorOf(config.maxSize) &&
        served.rank > 0 &&
        isTooOld(served)
      ) {
        counters.wouldShed++
      }
      return
    }
    // Where a class is too old, those below it go first, whatever their age: it would be served before them.
    let highest = 0
    while (highest < CLASSES && !isTooOld(queue.headOf(highest))) highest++
    for (let rank = CLASSES - 1; rank > 0 && rank >= highest; rank--) {
      for (let head = queue.headOf(rank); head !== undefined; head = queue.headOf(rank)) {
        if (queue.size <= Shedding.floorOf(config.maxSize)) return
        if (rank === highest && !isTooOld(head)) break
        this.leave(head)
        this.fail(head, { _tag: "PoolShed" }, now)
      }
    }
  }

  /** Every connection that there can be is there, and works or is cleaned: callers wait because there is too much work. */
  private isFull(): boolean {
    const { backoff, config, connecting, idle, leases, phase, total } = this.state
    if (phase !== "running" || idle.size > 0 || leases.connections === 0) return false
    return total - connecting >= Math.min(config.maxSize, backoff.softMax)
  }

  private expireOne(waiter: Waiter<A>, now: number): void {
    const { config, counters } = this.state
    if (config.shedding.mode === "shadow" && this.isOverloaded && waiter.rank > 0) counters.wouldShed++
    this.leave(waiter)
    this.fail(waiter, this.timedOut(waiter, now), now)
  }

  private timedOut(waiter: Waiter<A>, now: number): Refusal & { readonly _tag: "AcquireTimeout" } {
    const { backoff, config, connecting, total, validating } = this.state
    const isConnecting = connecting > 0 || (Backoff.isFailing(backoff) && total < config.maxSize)
    const phase = validating > 0 ? "validating" : isConnecting ? "connecting" : "waiting"
    const reserveKept = !waiter.shared && this.keepsLastIdle(now)
    const { priority, timeout } = waiter
    const heldBack = this.limits.areOn ? this.limits.heldBack(waiter.rank, waiter.shared, this.canJoin) : undefined
    return { _tag: "AcquireTimeout", timeout, phase, priority, reserveKept, heldBack, rest: undefined }
  }

  private unmark(waiter: Waiter<A>): void {
    if (waiter.holds) this.state.leases.markParked(waiter.holder, false)
  }
}
