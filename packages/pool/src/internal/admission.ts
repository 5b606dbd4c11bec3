/**
 * Who waits, who is next, and who is refused. `Acquire` asks `next` and never looks into the lists.
 */
import * as Backoff from "./backoff.js"
import type { Refusal } from "./host.js"
import { type Waiter, WaiterQueue } from "./queue.js"
import type { State } from "./state.js"

/**
 * Milliseconds for which the last connection is kept after the last shared lease. Shorter: a caller that comes back from
 * slow work finds it taken, and waits behind slow work of others. Longer: a connection stands idle in front of waiters.
 */
const RESERVE_KEPT = 100

/** With fewer connections, the one that is kept would be too much of the whole. */
const RESERVE_LEAST = 4

export class Admission<A> {
  /** Nobody but this class and the tests look into it. */
  readonly queue = new WaiterQueue<A>()
  /**
   * Until when one connection is kept for shared leases. When slow exclusive work takes every connection, short shared work
   * would wait behind it, although one connection could do all of it. So of four or more connections the last one is leased
   * to nobody alone while shared leases are asked for, and callers that share pass those that cannot have it.
   */
  private reserveUntil = 0

  constructor(private readonly state: State<A>) {}

  /** How many callers wait. */
  get size(): number {
    return this.queue.size
  }

  /** How many wait in front of a newcomer of the class. */
  ahead(rank: number): number {
    return this.queue.sizeUpTo(rank)
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
      for (let waiter = this.queue.peek(); waiter !== undefined; waiter = this.queue.peek()) {
        if (this.isOver(waiter, now)) {
          this.expireOne(waiter, now)
          continue
        }
        if (waiter.shared || !this.keepsLastIdle(now)) return waiter
        this.state.wakeBy(this.reserveUntil)
        break
      }
    }
    if (!this.keepsReserve(now)) return undefined
    for (const waiter of this.queue.sharers) if (!this.isOver(waiter, now)) return waiter
    return undefined
  }

  /** There is a connection for the waiter that `next` named: it leaves the queue. */
  serve(waiter: Waiter<A>, now: number): void {
    if (waiter === this.queue.peek()) this.queue.serve(waiter, now)
    else this.queue.remove(waiter)
    this.unmark(waiter)
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
    this.state.wakeBy(this.queue.firstDeadline())
  }

  /** Fails a waiter that is in no list any more. */
  fail(waiter: Waiter<A>, refusal: Refusal, now: number): void {
    const { counters, host, ready } = this.state
    const waited = now - waiter.since
    if (refusal._tag === "AcquireTimeout") counters.timeouts++
    waiter.error = host.refuse(refusal, waited, now)
    if (waiter.resume !== undefined) ready.push(waiter)
    this.state.emit({ _tag: "AcquireFailed", error: refusal._tag, waitMs: Math.round(waited) })
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
    const { backoff, config, counters, isEnding, open } = this.state
    if (isEnding) return { _tag: "PoolClosed" }
    if (Backoff.refuses(backoff, config, now, open)) return this.hostRefusal()
    if (waiter.timeout <= 0) return this.timedOut(waiter, now)
    if (this.queue.size < config.maxWaiters) return undefined
    counters.saturated++
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

  private expireOne(waiter: Waiter<A>, now: number): void {
    this.leave(waiter)
    this.fail(waiter, this.timedOut(waiter, now), now)
  }

  private timedOut(waiter: Waiter<A>, now: number): Refusal {
    const { backoff, config, connecting, total, validating } = this.state
    const isConnecting = connecting > 0 || (Backoff.isFailing(backoff) && total < config.maxSize)
    const phase = validating > 0 ? "validating" : isConnecting ? "connecting" : "waiting"
    const reserveKept = !waiter.shared && this.keepsLastIdle(now)
    return { _tag: "AcquireTimeout", timeout: waiter.timeout, phase, reserveKept }
  }

  private unmark(waiter: Waiter<A>): void {
    if (waiter.holds) this.state.leases.markParked(waiter.holder, false)
  }
}
