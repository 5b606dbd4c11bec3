/**
 * The pool's record of one connection, and the two intrusive lists that entries live in.
 *
 * ```
 * connecting ──► idle ◄──────► leased ──► gone (through closing)
 *                 │ ▲            │ ▲
 *                 ▼ │            ▼ │
 *              validating   resetting, quarantined
 * ```
 *
 * A connect that has not succeeded has no entry: it is a number in the engine, so that a failed one cannot leave
 * anything behind (I6).
 */
import type { RuntimeFiber } from "effect/Fiber"
import type { CloseReason, Holder } from "../PoolStats.js"

export enum State {
  Idle = 0,
  Leased = 1,
  Validating = 2,
  Resetting = 3,
  Quarantined = 4,
  Closing = 5,
  Gone = 6
}

export class Entry<A> {
  state: State = State.Idle
  prev: Entry<A> | undefined = undefined
  next: Entry<A> | undefined = undefined
  /** Rises at each hand-out; a release that brings an older one changes nothing (I7). */
  leaseId = 0
  /** 0: not leased. 1 and not `shared`: exclusive. Otherwise the number of shared holders (I2). */
  holders = 0
  shared = false
  /** Whose lease it is; while it is being cleaned, whose it was. */
  holder: RuntimeFiber<any, any> | undefined = undefined
  /** The holder waits for another connection of this pool. */
  holderParked = false
  uses = 0
  leasedAt: number
  lastUsedAt: number
  lastCheckedAt: number
  retireAt: number
  retireReason: CloseReason = "lifetime"
  /** The lease after which it has to be cleaned, as it was when it ended. */
  left: Holder | undefined = undefined
  /** The last fatal event at the moment when the running check began. */
  checkEpoch = 0
  /** Set: close instead of handing back. */
  doomed: CloseReason | undefined = undefined

  constructor(
    readonly id: number,
    readonly resource: A,
    /** Ends the connection; the engine only keeps it for whoever executes `Close`. */
    readonly handle: unknown,
    createdAt: number,
    lifetime: number,
    /** The last fatal event that this connection has survived or was opened after. */
    public epoch: number
  ) {
    this.leasedAt = createdAt
    this.lastUsedAt = createdAt
    this.lastCheckedAt = createdAt
    this.retireAt = createdAt + lifetime
  }
}

/**
 * A doubly linked list through the entries themselves: no allocation, removal from anywhere in O(1). An entry is in
 * at most one list at a time: idle, or leased.
 */
export class EntryList<A> {
  /** Idle: the most recently used. Leased: the newest lease. */
  head: Entry<A> | undefined = undefined
  /** Idle: the longest unused. Leased: the oldest lease. */
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

  /** From the bottom up. The one in hand may be taken out. */
  *[Symbol.iterator](): Generator<Entry<A>> {
    for (let entry = this.tail; entry !== undefined; ) {
      const { prev } = entry
      yield entry
      entry = prev
    }
  }

  /** Keeps the idle stack ordered by last use when an entry returns that nobody has used: after a check, a connect. */
  insertByLastUse(entry: Entry<A>): void {
    let below = this.tail
    let above: Entry<A> | undefined
    while (below !== undefined && below.lastUsedAt <= entry.lastUsedAt) {
      above = below
      below = below.prev
    }
    // `below` is the first entry from the bottom that was used later; the entry goes right beneath it.
    entry.prev = below
    entry.next = above === undefined ? undefined : below === undefined ? this.head : below.next
    if (below === undefined) this.head = entry
    else below.next = entry
    if (entry.next === undefined) this.tail = entry
    else entry.next.prev = entry
    this.size++
  }
}
