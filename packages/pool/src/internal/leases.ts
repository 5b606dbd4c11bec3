/**
 * Who holds what: one record for each holder, exclusive or shared, and what can be said about all of them together.
 */
import { type Entry, EntryList, EntryState, Lease } from "./entry.js"

/** A doubly linked list through the leases themselves, in the order in which they were granted. */
class LeaseList<A> {
  newest: Lease<A> | undefined = undefined
  oldest: Lease<A> | undefined = undefined
  size = 0
  /** Instants are summed as their distance from the first one, so that the sum is a small number and therefore exact. */
  private base = Number.NaN
  private sinceSum = 0

  push(lease: Lease<A>): void {
    lease.older = this.newest
    if (this.newest === undefined) this.oldest = lease
    else this.newest.newer = lease
    this.newest = lease
    this.size++
    if (Number.isNaN(this.base)) this.base = lease.since
    this.sinceSum += lease.since - this.base
  }

  remove(lease: Lease<A>): void {
    const { newer, older } = lease
    if (newer === undefined) this.newest = older
    else newer.older = older
    if (older === undefined) this.oldest = newer
    else older.newer = newer
    lease.newer = undefined
    lease.older = undefined
    // The fractions of a foreign clock may still drift; an empty list is the moment to be exact again.
    this.sinceSum = --this.size === 0 ? 0 : this.sinceSum - (lease.since - this.base)
  }

  /** All ages together. */
  ageSum(now: number): number {
    return this.size === 0 ? 0 : this.size * (now - this.base) - this.sinceSum
  }
}

export class Leases<A> {
  readonly exclusive = new LeaseList<A>()
  readonly shared = new LeaseList<A>()
  /** The connections that have shared holders, each once. */
  readonly sharedEntries = new EntryList<A>()
  /** Leases of each class, first the exclusive ones, then the shared ones. Only counted where classes are limited. */
  private readonly byRank = new Int32Array(16)

  /** Leased connections, which are fewer than leases where holders share. */
  get connections(): number {
    return this.exclusive.size + this.sharedEntries.size
  }

  /** Leases that are not over. */
  get size(): number {
    return this.exclusive.size + this.shared.size
  }

  /** Exclusive leases of the class. */
  exclusiveOf(rank: number): number {
    return this.byRank[rank]!
  }

  /** Shared leases of the class. */
  sharedOf(rank: number): number {
    return this.byRank[8 + rank]!
  }

  grant(entry: Entry<A>, holder: unknown, shared: boolean, now: number, rank: number): Lease<A> {
    const lease = new Lease(entry, holder, shared, now, rank)
    if (rank >= 0) this.byRank[shared ? 8 + rank : rank]!++
    entry.uses++
    entry.state = EntryState.Leased
    if (entry.holders++ === 0 && shared) {
      entry.isShared = true
      this.sharedEntries.push(entry)
    }
    if (shared) this.shared.push(lease)
    else this.exclusive.push(lease)
    return lease
  }

  /** Ends one lease. When `entry.holders` is 0 afterwards, the connection belongs to nobody. */
  end(lease: Lease<A>): void {
    const { entry } = lease
    lease.isOver = true
    entry.holders--
    if (lease.rank >= 0) this.byRank[lease.shared ? 8 + lease.rank : lease.rank]!--
    if (!lease.shared) {
      this.exclusive.remove(lease)
      return
    }
    this.shared.remove(lease)
    if (entry.holders === 0) {
      entry.isShared = false
      this.sharedEntries.remove(entry)
    }
  }

  /** The lease that was granted first of all that are not over. */
  get oldest(): Lease<A> | undefined {
    return this.longest(1)[0]
  }

  /** The `n` leases that were granted first, the oldest first. */
  longest(n: number): ReadonlyArray<Lease<A>> {
    const all: Array<Lease<A>> = []
    let { oldest: alone } = this.exclusive
    let { oldest: together } = this.shared
    while (all.length < n) {
      if (alone !== undefined && (together === undefined || alone.since <= together.since)) {
        all.push(alone)
        alone = alone.newer
      } else if (together !== undefined) {
        all.push(together)
        together = together.newer
      } else break
    }
    return all
  }

  *[Symbol.iterator](): Generator<Lease<A>> {
    for (const list of [this.exclusive, this.shared]) {
      for (let lease = list.oldest; lease !== undefined; ) {
        const { newer } = lease
        yield lease
        lease = newer
      }
    }
  }

  /** Each leased connection once. */
  *entries(): Generator<Entry<A>> {
    for (let lease = this.exclusive.oldest; lease !== undefined; lease = lease.newer) yield lease.entry
    yield* this.sharedEntries
  }

  /**
   * Mean time for which the present leases have had a connection. A connection with five holders works for five at once, so
   * a shared lease counts with its share of the time.
   */
  meanShare(now: number): number {
    if (this.size === 0) return 0
    const share = this.shared.size === 0 ? 0 : this.sharedEntries.size / this.shared.size
    return (this.exclusive.ageSum(now) + this.shared.ageSum(now) * share) / this.size
  }

  /** The shared connection with the most holders that takes one more. Work is packed, so that other connections stay free. */
  joinable(concurrency: number, admits: ((resource: A) => boolean) | undefined): Entry<A> | undefined {
    let best: Entry<A> | undefined
    for (let entry = this.sharedEntries.head; entry !== undefined; entry = entry.next) {
      if (entry.closeReason !== undefined || entry.holders >= concurrency) continue
      if (best !== undefined && entry.holders <= best.holders) continue
      if (admits === undefined || admits(entry.resource)) best = entry
    }
    return best
  }

  /** How many shared connections will serve nobody soon, because their work has come to a standstill. */
  countStalled(stalls: ((resource: A) => boolean) | undefined): number {
    if (stalls === undefined) return 0
    let count = 0
    for (let entry = this.sharedEntries.head; entry !== undefined; entry = entry.next) {
      if (stalls(entry.resource)) count++
    }
    return count
  }

  /** How many leased connections will be closed when they come back. */
  countEnding(): number {
    let count = 0
    for (const entry of this.entries()) if (entry.closeReason !== undefined) count++
    return count
  }

  /** Notes on the exclusive leases of `holder` whether it waits for another connection. True if it has such a lease. */
  markParked(holder: unknown, isParked: boolean): boolean {
    let holds = false
    if (holder === undefined) return holds
    for (let lease = this.exclusive.newest; lease !== undefined; lease = lease.older) {
      if (lease.holder !== holder) continue
      lease.isParked = isParked
      holds = true
    }
    return holds
  }

  /**
   * Every connection is held by a fiber that waits for another one, so nobody will release any. A busy connection may still
   * be released by another fiber, so this is no deadlock. The work on a shared connection ends by itself.
   */
  areAllParked(isBusy: (entry: Entry<A>) => boolean): boolean {
    if (this.shared.size > 0) return false
    for (let lease = this.exclusive.newest; lease !== undefined; lease = lease.older) {
      if (!lease.isParked || isBusy(lease.entry)) return false
    }
    return true
  }
}
