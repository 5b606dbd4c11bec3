/**
 * What would have become of the recorded acquires with another number of connections: the exact simulation of a queue, first in, first
 * out, in which each lease is held for as long as it was.
 *
 * It knows nothing of priorities, of connects that take time, and of a server that becomes slower under more connections. So it tells how
 * many connections the recorded work needs, and not how fast the server would have been.
 */
import type { WhatIf } from "../../Report.js"

/** Acquires in the order in which they came. */
export interface Recorded {
  /** The first ones, which came before the recording began. They hold connections, and are not counted. */
  readonly warm: number
  /** Milliseconds since the recording began. */
  readonly arrivals: Float64Array
  /** Milliseconds for which a lease is held. */
  readonly holds: Float64Array
  /** Milliseconds after which the caller leaves without a lease. */
  readonly patience: Float64Array
  /** Milliseconds of the recording. */
  readonly duration: number
}

/** A wait that is no longer is none: the hand-over itself takes as long. */
const WAIT = 1

/** Of fewer acquires nothing can be told. */
const LEAST = 20

/** Sizes that are replayed at most. Each takes about a millisecond. */
const SIZES = 16

/** Connections by the moment from which each is free, the earliest first: a heap whose size never changes. */
class Free {
  private readonly at: Float64Array

  constructor(size: number) {
    this.at = new Float64Array(size)
  }

  get first(): number {
    return this.at[0]!
  }

  /** The first one is free again at `until`. */
  take(until: number): void {
    const { at } = this
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= at.length) break
      if (child + 1 < at.length && at[child + 1]! < at[child]!) child++
      if (at[child]! >= until) break
      at[i] = at[child]!
      i = child
    }
    at[i] = until
  }
}

export const replay = (recorded: Recorded, maxSize: number): WhatIf => {
  const { arrivals, duration, holds, patience, warm } = recorded
  const free = new Free(maxSize)
  const waits = new Float64Array(arrivals.length - warm)
  let waited = 0
  let used = 0
  for (let i = 0; i < arrivals.length; i++) {
    const arrival = arrivals[i]!
    const start = Math.max(arrival, free.first)
    const leaves = start - arrival > patience[i]!
    const wait = leaves ? patience[i]! : start - arrival
    if (!leaves) {
      const end = start + holds[i]!
      free.take(end)
      used += Math.max(0, Math.min(duration, end) - Math.min(duration, start))
    }
    if (i < warm) continue
    waits[i - warm] = wait
    if (wait > WAIT) waited++
  }
  waits.sort()
  return {
    maxSize,
    waited: waits.length === 0 ? 0 : waited / waits.length,
    waitP99Ms: waits[Math.max(0, Math.ceil(waits.length * 0.99) - 1)] ?? 0,
    utilization: duration <= 0 ? 0 : used / (maxSize * duration)
  }
}

/** The least size with which nobody would have waited: as many leases as there would have been at the same time. */
export const enough = ({ arrivals, holds }: Recorded): number => {
  const ends = arrivals.map((arrival, i) => arrival + holds[i]!).sort()
  let most = 0
  let ended = 0
  for (let i = 0; i < arrivals.length; i++) {
    // A connection that comes back at the moment of an arrival serves it.
    while (ends[ended]! <= arrivals[i]!) ended++
    most = Math.max(most, i + 1 - ended)
  }
  return Math.max(1, most)
}

/** The sizes that are worth a look: up to twice the present one, closer together near it, and the one that is enough. */
export const sizes = (max: number, enough: number): ReadonlyArray<number> => {
  const wanted = new Set([1, max, enough])
  const most = 2 * max
  if (most <= SIZES) for (let size = 1; size <= most; size++) wanted.add(size)
  else
    for (const share of [0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.35, 1.5, 1.75, 2])
      wanted.add(Math.round(max * share))
  return [...wanted].sort((a, b) => a - b)
}

/** All sizes, one at each step, so that whoever takes the steps can let others run in between. */
export function* all(recorded: Recorded, max: number): Generator<void, ReadonlyArray<WhatIf>> {
  if (recorded.arrivals.length - recorded.warm < LEAST) return []
  const found: Array<WhatIf> = []
  yield
  for (const size of sizes(max, enough(recorded))) {
    found.push(replay(recorded, size))
    yield
  }
  return found
}
