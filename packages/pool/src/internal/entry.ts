/**
 * The records of the pool: `Entry` for a connection, `Lease` for a holder of one, and the list that entries live in.
 *
 * ```
 * connecting ──► idle ◄──────► leased ──► closing ──► gone
 *                 │ ▲            │ ▲
 *                 ▼ │            ▼ │
 *              validating   resetting, quarantined
 * ```
 *
 * A connect that has not succeeded has no entry. It is a number in the state, so a connect that fails leaves nothing
 * behind (I6).
 */
import type { CloseReason, Holder } from "../PoolStats.js"

export enum EntryState {
  Idle = 0,
  Leased = 1,
  Validating = 2,
  Resetting = 3,
  Quarantined = 4,
  Closing = 5,
  Gone = 6
}

/** One holder of one connection. A shared connection has a lease for each of its holders. */
export class Lease<A> {
  readonly entry: Entry<A>
  /** Who holds the connection. The engine compares holders and never looks inside of one. */
  readonly holder: unknown
  readonly shared: boolean
  /** When the lease was granted. */
  readonly since: number
  /** The class of the holder, where classes are limited; else -1. */
  readonly rank: number
  /** Neighbours in the list of `Leases`. Only `LeaseList` changes them. */
  newer: Lease<A> | undefined
  older: Lease<A> | undefined
  /** The lease has ended. `Leases.end` sets it, once (I7). */
  isOver: boolean
  /** The holder waits for another connection of this pool. Only `Leases.markParked` changes it. */
  isParked: boolean
  /** It was reported as held too long. Only `Leaks` changes it. */
  isReported: boolean
  /** What the host has noted about the acquire, for a report. The engine only keeps it. */
  note: unknown

  // Assigned here, because initializers of fields cost a tenth of what the engine needs for a lease.
  constructor(entry: Entry<A>, holder: unknown, shared: boolean, since: number, rank: number) {
    this.entry = entry
    this.holder = holder
    this.shared = shared
    this.since = since
    this.rank = rank
    this.newer = undefined
    this.older = undefined
    this.isOver = false
    this.isParked = false
    this.isReported = false
    this.note = undefined
  }
}

/** One open connection. */
export class Entry<A> {
  /** Whoever moves the entry changes it: `Leases`, `Health`, `Release`. */
  state: EntryState = EntryState.Idle
  /** Neighbours in an `EntryList`. Only `EntryList` changes them. */
  prev: Entry<A> | undefined = undefined
  next: Entry<A> | undefined = undefined
  /** Leases that are not over: none, one exclusive one, or shared ones (I2). Only `Leases` changes it. */
  holders = 0
  /** The present holders share the connection. Only `Leases` changes it. */
  isShared = false
  /** Leases granted so far. Only `Leases` changes it. */
  uses = 0
  /** The connection was leased or validated at least once (I10). `Acquire` and `Maintenance` set it. */
  isProven = false
  /** When the last lease ended. Only `Release` changes it. */
  lastUsedAt: number
  /** When the connection last passed a check. Only `Maintenance` changes it. */
  lastCheckedAt: number
  /** When the connection is to be replaced. `Engine.reset` may bring it forward. */
  retireAt: number
  retireReason: CloseReason = "lifetime"
  /** The lease that left the connection unclean, until the connection is clean or closed. Only `Release` changes it. */
  leftBy: Lease<A> | undefined = undefined
  /** What the host noted about that lease when it ended, for as long. The host sets it, `Release` and `Health` forget it. */
  left: Holder | undefined = undefined
  /** The number of fatal events at the moment at which the running check began. Only `Health` changes it. */
  checkEpoch = 0
  /** Set: the connection is closed instead of handed out again. */
  closeReason: CloseReason | undefined = undefined

  constructor(
    readonly id: number,
    readonly resource: A,
    /** What the host needs to close the connection. The engine only keeps it. */
    readonly handle: unknown,
    createdAt: number,
    lifetime: number,
    /** The number of fatal events that this connection was opened after, or has passed a check after. */
    public epoch: number
  ) {
    this.lastUsedAt = createdAt
    this.lastCheckedAt = createdAt
    this.retireAt = createdAt + lifetime
  }

  /** When the connection last gave a sign of life. */
  get lastSign(): number {
    return Math.max(this.lastUsedAt, this.lastCheckedAt)
  }
}

/**
 * A doubly linked list through the entries themselves: no allocation, removal from anywhere in O(1). An entry is in at
 * most one list: the idle stack, or the shared entries.
 */
export class EntryList<A> {
  /** Idle: the most recently used. Shared: the one that was shared last. */
  head: Entry<A> | undefined = undefined
  /** Idle: the longest unused. Shared: the one that was shared first. */
  tail: Entry<A> | undefined = undefined
  size = 0

  push(entry: Entry<A>): void {
    entry.prev = undefined
    entry.next = this.head
    if (this.head === undefined) this.tail = entry
    else this.head.prev = entry
    this.head = entry
    this.size++
  }

  remove(entry: Entry<A>): void {
    const { next, prev } = entry
    if (prev === undefined) this.head = next
    else prev.next = next
    if (next === undefined) this.tail = prev
    else next.prev = prev
    entry.prev = undefined
    entry.next = undefined
    this.size--
  }

  /** From the tail to the head. The loop may remove the entry that it was just given. */
  *[Symbol.iterator](): Generator<Entry<A>> {
    for (let entry = this.tail; entry !== undefined; ) {
      const { prev } = entry
      yield entry
      entry = prev
    }
  }

  /** Keeps the idle stack ordered by last use when an entry returns from a connect or a check, which are no use. */
  insertByLastUse(entry: Entry<A>): void {
    let below = this.tail
    let above: Entry<A> | undefined
    while (below !== undefined && below.lastUsedAt <= entry.lastUsedAt) {
      above = below
      below = below.prev
    }
    // `below` is the first entry from the tail that was used later; the new one goes right beneath it.
    entry.prev = below
    entry.next = above === undefined ? undefined : below === undefined ? this.head : below.next
    if (below === undefined) this.head = entry
    else below.next = entry
    if (entry.next === undefined) this.tail = entry
    else entry.next.prev = entry
    this.size++
  }
}
