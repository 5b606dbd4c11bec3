import type { Metrics } from "../harness/subject.js"

const percentile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)]!

/**
 * One round of work that many callers share: each takes the next operation as soon as its last one is done, so a caller
 * who waits longer than the others gets fewer of them. Fairness is what the slowest got, over the mean.
 */
export class Round {
  private readonly latencies: Float64Array
  private readonly done: Uint32Array
  private taken = 0
  private finished = 0
  private measured = 0

  constructor(
    callers: number,
    private readonly total: number
  ) {
    this.latencies = new Float64Array(total)
    this.done = new Uint32Array(callers)
  }

  /** Whether there is another operation to do. */
  take(): boolean {
    if (this.taken === this.total) return false
    this.taken++
    return true
  }

  /** Number of the operation that was taken last, from 1. */
  get number(): number {
    return this.taken
  }

  /** A caller has its answer. `startedAt` is of `performance.now`; `NaN` leaves the latency out. */
  finish(caller: number, startedAt: number): void {
    this.done[caller]!++
    this.finished++
    if (!Number.isNaN(startedAt)) this.latencies[this.measured++] = performance.now() - startedAt
  }

  /** Latencies in microseconds. */
  metrics(): Metrics {
    if (this.finished !== this.total) {
      throw new Error(`${this.finished} operations were finished instead of ${this.total}`)
    }
    const sorted = this.latencies.subarray(0, this.measured).sort()
    const least = this.done.reduce((a, b) => Math.min(a, b), Infinity)
    return {
      p50: percentile(sorted, 0.5) * 1000,
      p99: percentile(sorted, 0.99) * 1000,
      worst: percentile(sorted, 1) * 1000,
      fairness: (least * this.done.length) / this.total
    }
  }
}
