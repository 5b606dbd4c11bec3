/**
 * Times in buckets whose bounds grow by a factor, so that the error of a percentile is a share of it and the memory is fixed.
 *
 * A bucket is told as the geometric middle of its bounds: at most 4.9 % too high or too low. Less than `LEAST` counts as no time at all.
 */
import type { Distribution } from "../../Report.js"

/** Milliseconds. */
const LEAST = 0.01
const GROWTH = 1.1
const LN = Math.log(GROWTH)

/** The first bucket is for no time, the last one for everything above an hour. */
const BUCKETS = Math.ceil(Math.log(3_600_000 / LEAST) / LN) + 2

const bucketOf = (ms: number): number =>
  // Not `<`, so that what is no number counts as no time.
  !(ms >= LEAST) ? 0 : Math.min(BUCKETS - 1, 1 + Math.floor(Math.log(ms / LEAST) / LN))

const middleOf = (bucket: number): number => (bucket === 0 ? 0 : LEAST * GROWTH ** (bucket - 0.5))

export class Histogram {
  readonly counts = new Uint32Array(BUCKETS)
  count = 0
  sum = 0
  max = 0

  add(ms: number): void {
    this.counts[bucketOf(ms)]!++
    this.count++
    this.sum += ms
    if (ms > this.max) this.max = ms
  }

  clear(): void {
    if (this.count === 0) return
    this.counts.fill(0)
    this.count = 0
    this.sum = 0
    this.max = 0
  }
}

const nothing: Distribution = { count: 0, meanMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 }

/** What all of them have in common. */
export const distribution = (parts: Iterable<Histogram>): Distribution => {
  const counts = new Float64Array(BUCKETS)
  let count = 0
  let sum = 0
  let max = 0
  for (const part of parts) {
    if (part.count === 0) continue
    for (let i = 0; i < BUCKETS; i++) counts[i]! += part.counts[i]!
    count += part.count
    sum += part.sum
    max = Math.max(max, part.max)
  }
  if (count === 0) return nothing
  /** The least value that so great a share of all does not exceed. */
  const percentile = (share: number): number => {
    const wanted = Math.ceil(share * count)
    let seen = 0
    for (let i = 0; i < BUCKETS; i++) {
      seen += counts[i]!
      // The greatest value is known exactly, and the middle of its bucket may be above it.
      if (seen >= wanted) return Math.min(max, middleOf(i))
    }
    return max
  }
  return {
    count,
    meanMs: sum / count,
    p50Ms: percentile(0.5),
    p95Ms: percentile(0.95),
    p99Ms: percentile(0.99),
    maxMs: max
  }
}
