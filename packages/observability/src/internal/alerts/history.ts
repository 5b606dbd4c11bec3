/**
 * What the counters of a pool were a minute ago and three days ago: sixty values for each span of time, whatever comes. A counter
 * that goes back belongs to another pool of the same name, and the history begins anew.
 */

/** For each span this many values are kept. A share over a span may thus be of a span that is one sixtieth shorter. */
const SLOTS = 60

/** The last values of some counters, as far apart as the span allows. */
class Ring {
  private readonly times: Float64Array = new Float64Array(SLOTS + 1)
  private readonly values: Float64Array
  /** How many are kept. */
  private size = 0
  /** Where the next one is put. */
  private next = 0

  constructor(
    readonly spanMs: number,
    private readonly width: number
  ) {
    this.values = new Float64Array((SLOTS + 1) * width)
  }

  clear(): void {
    this.size = 0
  }

  push(now: number, counters: ReadonlyArray<number>): void {
    const slots = this.times.length
    const last = (this.next + slots - 1) % slots
    if (this.size > 0 && now - this.times[last]! < this.spanMs / SLOTS) return
    this.times[this.next] = now
    for (let i = 0; i < this.width; i++) this.values[this.next * this.width + i] = counters[i]!
    this.next = (this.next + 1) % slots
    this.size = Math.min(this.size + 1, slots)
  }

  /** The oldest value of the span. `undefined`: nothing was kept in it. */
  oldest(now: number, counter: number): number | undefined {
    const slots = this.times.length
    for (let i = this.size; i > 0; i--) {
      const slot = (this.next + slots - i) % slots
      if (this.times[slot]! >= now - this.spanMs) return this.values[slot * this.width + counter]
    }
    return undefined
  }
}

/** Counters, and what they have counted in each of some spans. */
export class History {
  private readonly rings: ReadonlyArray<Ring>
  private latest: ReadonlyArray<number> = []
  private now = 0

  constructor(
    spans: ReadonlyArray<number>,
    private readonly width: number
  ) {
    this.rings = spans.map((span) => new Ring(span, width))
  }

  /** The counters at this moment. */
  push(now: number, counters: ReadonlyArray<number>): void {
    if (counters.length !== this.width || counters.some((value, i) => value < (this.latest[i] ?? 0))) {
      for (const ring of this.rings) ring.clear()
    }
    if (counters.length !== this.width) return
    this.latest = counters
    this.now = now
    for (const ring of this.rings) ring.push(now, counters)
  }

  /** What a counter has counted in the span, or since it was first seen if that is less. NaN if it was never seen. */
  increase(spanMs: number, counter: number): number {
    const ring = this.rings.find((ring) => ring.spanMs === spanMs)
    const oldest = ring?.oldest(this.now, counter)
    return oldest === undefined ? Number.NaN : this.latest[counter]! - oldest
  }
}
