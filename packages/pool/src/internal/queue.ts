/**
 * The list of waiters: eight classes, first in, first out within one. Push, shift and leaving cost O(1).
 *
 * A waiter is a node of two lists: its class, and the waiters that have the same timeout. These arrive in the order in which
 * they expire, so the first of each list expires first.
 */
import type { Priority } from "../Priority.js"
import type { Lease } from "./entry.js"
import { Heap, type Placed } from "./heap.js"

export const CLASSES = 8

/** The bit of a class: the first class has the highest, so that `clz32` gives the first of several. */
export const bitOf = (rank: number): number => 0x80000000 >>> rank

const isOneClass = (bits: number): boolean => (bits & (bits - 1)) === 0

/**
 * How often the oldest waiter of all is passed over before it is served. Counted and not timed: under a backlog every
 * waiter gets old, and by age the classes would mean nothing. Smaller: interactive work waits for background work under
 * load. Larger: background work stands still for longer.
 */
const MAX_SKIPS = 8

export class Waiter<A> {
  /** Neighbours in the class and among equal timeouts. Only `WaiterQueue` changes them. */
  prev: Waiter<A> | undefined = undefined
  next: Waiter<A> | undefined = undefined
  earlier: Waiter<A> | undefined = undefined
  later: Waiter<A> | undefined = undefined
  /** False once the waiter was served, has failed or has left. Exactly one of the three happens (I3). */
  queued = false
  /** The holder has an exclusive lease of this pool. */
  holds = false
  /** How many waited when it began to, itself included. Only `WaiterQueue` changes it. */
  depth = 0
  /** A number that rises with each waiter. */
  order = 0
  /** The lease, once it is granted. The record keeps it, so an interrupt on the way to the fiber cannot lose it. */
  lease: Lease<A> | undefined = undefined
  /** The error that the host made, once the waiter has failed. */
  error: unknown = undefined
  /** What the host wakes the caller with. Absent until the caller really waits. */
  resume: unknown = undefined

  constructor(
    /** For events. */
    readonly priority: Priority,
    /** The class, from 0 to 7; 0 is served first. */
    readonly rank: number,
    readonly shared: boolean,
    readonly holder: unknown,
    readonly since: number,
    readonly timeout: number,
    /** The deadline that the caller has declared; `Infinity` if it has declared none. */
    readonly declared = Infinity
  ) {}

  get deadline(): number {
    return this.since + this.timeout
  }
}

class Line<A> {
  head: Waiter<A> | undefined = undefined
  tail: Waiter<A> | undefined = undefined
  /** Counted in the classes only. */
  size = 0
}

/** The waiters that have the same timeout. */
class Equals<A> extends Line<A> implements Placed {
  index = -1

  /** The deadline of the first of them. */
  get at(): number {
    return this.head!.deadline
  }
}

export class WaiterQueue<A> {
  size = 0
  /**
   * Since when the queue has not been empty. A time in which it was empty counts twice against the time before: callers that work
   * in turns leave it empty for an instant at each turn. A connect that starts for the queue moves it to that moment.
   */
  busySince = 0
  /** When its last waiter was served. */
  private servedAt = -Infinity
  skips = 0
  /** The waiters that want a shared lease, the oldest first. */
  readonly sharers = new Set<Waiter<A>>()
  private orders = 0
  /** Bit `31 − rank` is set while that class has a waiter, so that `clz32` gives the first class. */
  private present = 0
  private readonly classes: Array<Line<A>> = Array.from({ length: CLASSES }, () => new Line<A>())
  private readonly byTimeout = new Map<number, Equals<A>>()
  /** The same lists, the one whose first waiter expires first at the top: where each caller has a deadline of its own they are many. */
  private readonly byDeadline = new Heap<Equals<A>>()

  push(waiter: Waiter<A>): void {
    waiter.queued = true
    waiter.order = ++this.orders
    waiter.depth = this.size + 1
    const line = this.classes[waiter.rank]!
    waiter.prev = line.tail
    if (line.tail === undefined) {
      line.head = waiter
      this.present |= bitOf(waiter.rank)
    } else line.tail.next = waiter
    line.tail = waiter
    line.size++
    if (this.size++ === 0) {
      this.busySince = Math.min(waiter.since, this.busySince + 2 * (waiter.since - this.servedAt))
    }
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
    if (line.head === undefined) this.present &= ~bitOf(waiter.rank)
    line.size--
    this.size--
    if (waiter.shared) this.sharers.delete(waiter)
    this.unwatch(waiter)
  }

  /** The waiter whose turn it is, not counting classes whose bit is in `closed`. Does not take it out. */
  peek(closed = 0): Waiter<A> | undefined {
    const open = this.present & ~closed
    if (open === 0) return undefined
    const first = this.classes[Math.clz32(open)]!.head!
    if (this.skips < MAX_SKIPS || isOneClass(open)) return first
    return this.oldest(closed)
  }

  /** Takes out the waiter that `peek` named, and counts whether the oldest was passed over. */
  serve(waiter: Waiter<A>, now: number, closed = 0): void {
    if (isOneClass(this.present & ~closed) || waiter === this.oldest(closed)) this.skips = 0
    else this.skips++
    this.remove(waiter)
    this.servedAt = now
  }

  /** The first of a class. */
  headOf(rank: number): Waiter<A> | undefined {
    return this.classes[rank]!.head
  }

  /** How many wait in a class. */
  sizeOf(rank: number): number {
    return this.classes[rank]!.size
  }

  /** The waiter that has waited longest, whatever its class, but for those whose bit is in `closed`. */
  oldest(closed = 0): Waiter<A> | undefined {
    let oldest: Waiter<A> | undefined
    for (let bits = this.present & ~closed; bits !== 0; ) {
      const first = Math.clz32(bits)
      bits &= ~bitOf(first)
      const head = this.classes[first]!.head!
      if (oldest === undefined || head.order < oldest.order) oldest = head
    }
    return oldest
  }

  /** The youngest waiter of the lowest class below `rank`: it is refused first when the queue is full. */
  youngestBelow(rank: number): Waiter<A> | undefined {
    for (let lowest = CLASSES - 1; lowest > rank; lowest--) {
      const { tail } = this.classes[lowest]!
      if (tail !== undefined) return tail
    }
    return undefined
  }

  /** How many wait in the class and in those above it. */
  sizeUpTo(rank: number): number {
    let size = 0
    for (let i = 0; i <= rank; i++) size += this.classes[i]!.size
    return size
  }

  /** When the first deadline of all passes; `Infinity` if nobody waits. */
  firstDeadline(): number {
    return this.byDeadline.first?.at ?? Infinity
  }

  /** One waiter whose deadline has passed. Does not take it out. */
  expired(now: number): Waiter<A> | undefined {
    const first = this.byDeadline.first?.head
    return first !== undefined && first.deadline <= now ? first : undefined
  }

  *[Symbol.iterator](): Generator<Waiter<A>> {
    for (const line of this.classes) {
      for (let waiter = line.head; waiter !== undefined; waiter = waiter.next) yield waiter
    }
  }

  private watch(waiter: Waiter<A>): void {
    let line = this.byTimeout.get(waiter.timeout)
    if (line === undefined) {
      line = new Equals()
      line.head = waiter
      this.byTimeout.set(waiter.timeout, line)
      this.byDeadline.push(line)
    } else {
      waiter.earlier = line.tail
      line.tail!.later = waiter
    }
    line.tail = waiter
  }

  private unwatch(waiter: Waiter<A>): void {
    const line = this.byTimeout.get(waiter.timeout)!
    const { earlier, later } = waiter
    waiter.earlier = undefined
    waiter.later = undefined
    if (later === undefined) line.tail = earlier
    else later.earlier = earlier
    if (earlier !== undefined) {
      earlier.later = later
      return
    }
    if (later !== undefined) {
      line.head = later
      this.byDeadline.delay(line)
      return
    }
    // Callers with a deadline of their own bring ever new timeouts, so an empty list must not stay.
    this.byTimeout.delete(waiter.timeout)
    this.byDeadline.remove(line)
  }
}
