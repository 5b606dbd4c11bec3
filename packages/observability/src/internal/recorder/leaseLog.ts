/** When the last leases were asked for, and how long they were held: what is replayed with other sizes. */
import type { Recorded } from "./whatIf.js"

/** Leases that are kept: 16 bytes for each. The percentiles of fewer would differ from minute to minute. */
const MOST = 10_000

/** A pool that is used little keeps no more memory than it needs. */
const FIRST = 256

/** Milliseconds. What is older says little about now. */
const OLDEST = 600_000

/** A connection that is leased. */
interface Held {
  readonly arrival: number
  readonly since: number
  holders: number
}

export class LeaseLog {
  /** In the order in which they ended. */
  private ends = new Float64Array(FIRST)
  /** From the arrival until the end. */
  private totals = new Float32Array(FIRST)
  /** NaN for a caller that has got no connection. */
  private holds = new Float32Array(FIRST)
  private size = 0
  private next = 0
  private droppedUntil: number
  /** Holders of a shared connection count as one lease, from the first until the last. */
  private readonly held = new Map<number, Held>()

  constructor(now: number) {
    this.droppedUntil = now
  }

  acquired(connection: number, waited: number, now: number): void {
    const held = this.held.get(connection)
    if (held === undefined) this.held.set(connection, { arrival: now - waited, since: now, holders: 1 })
    else held.holders++
  }

  released(connection: number, now: number): void {
    const held = this.held.get(connection)
    // Its lease was granted before anybody listened.
    if (held === undefined || --held.holders > 0) return
    this.held.delete(connection)
    this.add(now, now - held.arrival, now - held.since)
  }

  /** The caller has left without a connection. */
  left(waited: number, now: number): void {
    this.add(now, waited, Number.NaN)
  }

  private add(end: number, total: number, hold: number): void {
    if (this.size === this.ends.length) {
      if (this.size < MOST) this.grow()
      else this.droppedUntil = this.ends[this.next]!
    }
    this.ends[this.next] = end
    this.totals[this.next] = total
    this.holds[this.next] = hold
    this.next++
    if (this.size < this.next) this.size = this.next
    if (this.next === this.ends.length && this.next === MOST) this.next = 0
  }

  private grow(): void {
    const { ends, holds, totals } = this
    const capacity = Math.min(MOST, ends.length * 4)
    this.ends = new Float64Array(capacity)
    this.ends.set(ends)
    this.totals = new Float32Array(capacity)
    this.totals.set(totals)
    this.holds = new Float32Array(capacity)
    this.holds.set(holds)
  }

  /** Everything since a moment from which on nothing is missing. Leases that are not over are held until now. */
  recorded(now: number): Recorded {
    const from = Math.max(this.droppedUntil, now - OLDEST)
    const found: Array<{ at: number; hold: number; patience: number }> = []
    let warm = 0
    const note = (end: number, arrival: number, hold: number): void => {
      if (end <= from) return
      if (arrival < from) {
        // Of a caller that came and left without a connection nothing is left to be replayed.
        if (Number.isNaN(hold)) return
        warm++
        found.push({ at: -1, hold: Math.min(hold, end - from), patience: Infinity })
      } else {
        found.push({ at: arrival - from, hold, patience: Number.isNaN(hold) ? end - arrival : Infinity })
      }
    }
    for (let i = 0; i < this.size; i++) note(this.ends[i]!, this.ends[i]! - this.totals[i]!, this.holds[i]!)
    for (const { arrival, since } of this.held.values()) note(now, arrival, now - since)
    found.sort((a, b) => a.at - b.at)
    const arrivals = new Float64Array(found.length)
    const holds = new Float64Array(found.length)
    const patience = new Float64Array(found.length)
    /** What a caller without a connection would have held it for, nobody knows: as long as the one before it. */
    let last = found.find(({ hold }) => !Number.isNaN(hold))?.hold ?? 0
    for (const [i, { at, hold, patience: most }] of found.entries()) {
      if (!Number.isNaN(hold)) last = hold
      arrivals[i] = Math.max(0, at)
      holds[i] = last
      patience[i] = most
    }
    return { arrivals, holds, patience, warm, duration: now - from }
  }
}
