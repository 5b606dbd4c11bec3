/**
 * Who holds what: the leased entries, newest first, and what can be said about all of them together.
 */
import type { RuntimeFiber } from "effect/Fiber"
import type { CloseReason } from "../PoolStats.js"
import { type Entry, EntryList, State } from "./entry.js"
import type { Waiter } from "./queue.js"

export class Leases<A> extends EntryList<A> {
  /** Entries that have shared holders. */
  shared = 0
  /** Instants are summed from here, so that the sum stays small and therefore exact. */
  private base = Number.NaN
  private leasedAtSum = 0

  grant(entry: Entry<A>, fiber: RuntimeFiber<any, any> | undefined, shared: boolean, now: number): void {
    entry.uses++
    if (entry.holders > 0) {
      entry.holders++
      return
    }
    entry.state = State.Leased
    entry.leaseId++
    entry.holders = 1
    entry.leasedAt = now
    if (Number.isNaN(this.base)) this.base = now
    this.leasedAtSum += now - this.base
    if (shared) {
      entry.shared = true
      this.shared++
    } else entry.holder = fiber
    this.push(entry)
  }

  /** Takes the entry from all its holders; returns how long it was leased. */
  end(entry: Entry<A>, now: number): number {
    this.remove(entry)
    this.leasedAtSum -= entry.leasedAt - this.base
    if (entry.shared) {
      entry.shared = false
      this.shared--
    }
    entry.holders = 0
    entry.holder = undefined
    entry.holderParked = false
    return now - entry.leasedAt
  }

  /** Mean age of the present leases. */
  meanAge(now: number): number {
    return this.size === 0 ? 0 : now - this.base - this.leasedAtSum / this.size
  }

  /** The fullest shared entry that takes one more: work is packed, so that the other connections stay free. */
  joinable(concurrency: number, admits: ((resource: A) => boolean) | undefined): Entry<A> | undefined {
    if (this.shared === 0) return undefined
    let best: Entry<A> | undefined
    for (let entry = this.head; entry !== undefined; entry = entry.next) {
      if (!entry.shared || entry.doomed !== undefined) continue
      if (entry.holders >= concurrency || (best !== undefined && entry.holders <= best.holders)) continue
      if (admits === undefined || admits(entry.resource)) best = entry
    }
    return best
  }

  /**
   * A connection that is always shared by somebody is never given back as a whole, so its end must be decided while it is
   * used: then it takes no more holders.
   */
  retireShared(unfit: (entry: Entry<A>) => CloseReason | undefined): void {
    if (this.shared === 0) return
    for (let entry = this.head; entry !== undefined; entry = entry.next) {
      if (entry.shared) entry.doomed ??= unfit(entry)
    }
  }

  /** How many will be closed when they come back. */
  countDoomed(): number {
    let count = 0
    for (let entry = this.head; entry !== undefined; entry = entry.next) if (entry.doomed !== undefined) count++
    return count
  }

  /** Notes on the entries that a waiter's fiber holds whether that fiber is parked. */
  mark(waiter: Waiter<A>, parked: boolean): void {
    if (waiter.fiber === undefined || (!parked && !waiter.holds)) return
    for (let entry = this.head; entry !== undefined; entry = entry.next) {
      if (entry.holder === waiter.fiber) {
        entry.holderParked = parked
        waiter.holds = parked
      }
    }
  }

  /**
   * Every lease is held by a fiber that waits for another one: nobody will release. A connection that is at work is so for
   * somebody else, who got it from its holder and may give it back.
   */
  allParked(isAtWork: (entry: Entry<A>) => boolean): boolean {
    for (let entry = this.head; entry !== undefined; entry = entry.next) {
      if (!entry.holderParked || isAtWork(entry)) return false
    }
    return true
  }
}
