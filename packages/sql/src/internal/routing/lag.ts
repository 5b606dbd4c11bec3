import type { Instant } from "@sluice/pool/Deadline"

/** Milliseconds within which two positions are kept, at most. */
const STEP = 100

/** Positions that are kept: the last minute of a primary that is asked all the time, and forty minutes of one that probes ask. */
const KEPT = 1_200

interface Sample {
  readonly position: string
  /** When the primary was first seen here, and when last. */
  readonly from: Instant
  until: Instant
}

/**
 * Where the primary was, and when, on the monotonic clock of this process. It tells how far a replica is behind without a privilege and
 * without the clocks of the servers. Its resolution is the time between two samples: a probe each two seconds, and more often where
 * reads ask for the position of a write. It may say a tenth of a second too much.
 */
export class Track {
  private samples: Array<Sample> = []

  constructor(private readonly reached: (position: string, wanted: string) => boolean | undefined) {}

  /** The primary is at this position. */
  note(position: string, at: Instant): void {
    const { samples } = this
    const last = samples[samples.length - 1]
    if (last?.position === position) {
      last.until = at
      return
    }
    const before = samples[samples.length - 2]
    // The last one gives its place, and its instant, to this one.
    if (before !== undefined && at - before.from < STEP) samples.pop()
    samples.push({ position, from: before !== undefined && at - before.from < STEP ? last!.from : at, until: at })
    if (samples.length > KEPT) samples.shift()
  }

  /** Another server is the primary. */
  clear(): void {
    this.samples = []
  }

  /**
   * Milliseconds that a replica at this position is behind: for how long the primary has been seen to have more. `said` is what the
   * server says itself, with its clocks: it counts as far as the positions do not contradict it.
   */
  lagOf(position: string, at: Instant, said: number | undefined): number | undefined {
    let missing: Sample | undefined
    let had: Sample | undefined
    for (let i = this.samples.length - 1; i >= 0; i--) {
      const sample = this.samples[i]!
      const has = this.reached(position, sample.position)
      if (has === undefined) return said
      if (has) {
        had = sample
        break
      }
      missing = sample
    }
    if (missing === undefined) return had === undefined ? said : 0
    const least = Math.max(0, at - missing.from)
    if (said === undefined) return least
    return Math.min(Math.max(said, least), had === undefined ? Infinity : at - had.until)
  }
}
