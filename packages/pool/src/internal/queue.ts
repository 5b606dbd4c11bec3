/**
 * Those who wait: eight classes, first in, first out within one; push, shift and leaving in O(1).
 *
 * A waiter is its own node in two lists: its class, and the deadlines of all who have the same timeout (which arrive in
 * the order in which they expire, so the front of each list is its earliest).
 */
import type { Effect } from "effect"
import type { RuntimeFiber } from "effect/Fiber"
import type { AcquireError } from "../PoolError.js"
import { type Priority, rank } from "../Priority.js"
import type { Entry } from "./entry.js"

const CLASSES = 8

/**
 * How often the oldest waiter of all is passed over before it is served. Counted, not timed: under a backlog every
 * waiter gets old, and by age the classes would mean nothing. Smaller: interactive work waits for background work under
 * load. Larger: background work stands still longer.
 */
const MAX_SKIPS = 8

export class Waiter<A> {
  prev: Waiter<A> | undefined = undefined
  next: Waiter<A> | undefined = undefined
  earlier: Waiter<A> | undefined = undefined
  later: Waiter<A> | undefined = undefined
  /** False once it was served, failed or has left: exactly one of the three happens (I3). */
  queued = false
  /** Its fiber holds an entry of this pool. */
  holds = false
  /** Its place among all waiters ever. */
  order = 0
  entry: Entry<A> | undefined = undefined
  leaseId = 0
  error: AcquireError | undefined = undefined
  /** Wakes the fiber; absent while the waiter is still being put in line. */
  resume: ((effect: Effect.Effect<void, AcquireError>) => void) | undefined = undefined

  constructor(
    readonly priority: Priority,
    readonly shared: boolean,
    readonly fiber: RuntimeFiber<any, any> | undefined,
    readonly since: number,
    readonly timeout: number
  ) {}

  get rank(): number {
    return rank[this.priority]
  }

  get deadline(): number {
    return this.since + this.timeout
  }
}

class Line<A> {
  head: Waiter<A> | undefined = undefined
  tail: Waiter<A> | undefined = undefined
}

export class WaiterQueue<A> {
  size = 0
  /** Since when somebody has been waiting without a gap; moved on by each connect that this has caused. */
  busySince = 0
  skips = 0
  /** Those who want a shared lease, oldest first. */
  readonly sharers = new Set<Waiter<A>>()
  private orders = 0
  /** Bit `31 − rank` is set while that class waits, so that `clz32` is the first one. */
  private present = 0
  private readonly classes: Array<Line<A>> = Array.from({ length: CLASSES }, () => new Line<A>())
  private readonly byTimeout = new Map<number, Line<A>>()

  push(waiter: Waiter<A>): void {
    waiter.queued = true
    waiter.order = ++this.orders
    const line = this.classes[waiter.rank]!
    waiter.prev = line.tail
    if (line.tail === undefined) {
      line.head = waiter
      this.present |= 0x80000000 >>> waiter.rank
    } else line.tail.next = waiter
    line.tail = waiter
    if (this.size++ === 0) this.busySince = waiter.since
    if (waiter.shared) this.sharers.add(waiter)
    this.watch(waiter)
  }

  remove(waiter: Waiter<A>): void {
    waiter.queued = false
    const line = this.classes[waiter.rank]!
    if (waiter.prev === undefined) line.head = waiter.next
    else waiter.prev.next = waiter.next
    if (waiter.next === undefined) line.tail = waiter.prev
    else waiter.next.prev = waiter.prev
    waiter.prev = undefined
    waiter.next = undefined
    if (line.head === undefined) this.present &= ~(0x80000000 >>> waiter.rank)
    this.size--
    if (waiter.shared) this.sharers.delete(waiter)
    this.unwatch(waiter)
  }

  /** The next one to be served; does not count as serving it. */
  peek(): Waiter<A> | undefined {
    if (this.present === 0) return undefined
    const first = this.classes[Math.clz32(this.present)]!.head!
    if (this.skips < MAX_SKIPS || this.oneClass()) return first
    return this.oldest()
  }

  /** Takes the waiter that `peek` named. */
  serve(waiter: Waiter<A>): void {
    if (this.oneClass() || waiter === this.oldest()) this.skips = 0
    else this.skips++
    this.remove(waiter)
  }

  /** The one who has waited longest, whatever its class. */
  oldest(): Waiter<A> | undefined {
    let oldest: Waiter<A> | undefined
    for (let bits = this.present; bits !== 0; ) {
      const first = Math.clz32(bits)
      bits &= ~(0x80000000 >>> first)
      const head = this.classes[first]!.head!
      if (oldest === undefined || head.order < oldest.order) oldest = head
    }
    return oldest
  }

  /** The youngest of the lowest class below `than`: the first to pay when the queue is full. */
  youngestBelow(than: number): Waiter<A> | undefined {
    for (let lowest = CLASSES - 1; lowest > than; lowest--) {
      const { tail } = this.classes[lowest]!
      if (tail !== undefined) return tail
    }
    return undefined
  }

  /** When the first deadline of all passes; `Infinity` if nobody waits. */
  firstDeadline(): number {
    let first = Infinity
    for (const line of this.byTimeout.values()) first = Math.min(first, line.head!.deadline)
    return first
  }

  /** Takes out and returns one waiter whose deadline has passed. */
  expired(now: number): Waiter<A> | undefined {
    for (const line of this.byTimeout.values()) {
      const waiter = line.head!
      if (waiter.deadline <= now) {
        this.remove(waiter)
        return waiter
      }
    }
    return undefined
  }

  *[Symbol.iterator](): Generator<Waiter<A>> {
    for (const line of this.classes) {
      for (let waiter = line.head; waiter !== undefined; waiter = waiter.next) yield waiter
    }
  }

  private oneClass(): boolean {
    return (this.present & (this.present - 1)) === 0
  }

  private watch(waiter: Waiter<A>): void {
    let line = this.byTimeout.get(waiter.timeout)
    if (line === undefined) {
      line = new Line()
      this.byTimeout.set(waiter.timeout, line)
    }
    waiter.earlier = line.tail
    if (line.tail === undefined) line.head = waiter
    else line.tail.later = waiter
    line.tail = waiter
  }

  private unwatch(waiter: Waiter<A>): void {
    const line = this.byTimeout.get(waiter.timeout)!
    if (waiter.earlier === undefined) line.head = waiter.later
    else waiter.earlier.later = waiter.later
    if (waiter.later === undefined) line.tail = waiter.earlier
    else waiter.later.earlier = waiter.earlier
    waiter.earlier = undefined
    waiter.later = undefined
    // Declared deadlines make every timeout a new one: an empty line must not stay.
    if (line.head === undefined) this.byTimeout.delete(waiter.timeout)
  }
}
