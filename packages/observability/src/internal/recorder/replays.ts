/**
 * Replays the recorded leases of each pool with other sizes, while somebody wants to see it. A replay is a few milliseconds of computing,
 * so it is done in steps, between which everything else runs, and seldom.
 */
import type { Timer, Timers } from "@sluice/pool/Deadline"
import type { WhatIf } from "../../Report.js"
import type { PoolRecord } from "./poolRecord.js"
import { all } from "./whatIf.js"

/** Milliseconds between two rounds at least. */
const PAUSE = 5_000

/** And so many times what the last round has taken, so that they take at most 2 % of the time of the process. */
const SHARE = 50

type Wanted = readonly [record: PoolRecord, max: number]

export class Replays {
  private readonly found = new WeakMap<PoolRecord, ReadonlyArray<WhatIf>>()
  private isRunning = false
  private nextAt = -Infinity
  private timer: Timer | undefined

  constructor(private readonly timers: Timers["Type"]) {}

  of(record: PoolRecord): ReadonlyArray<WhatIf> {
    return this.found.get(record) ?? []
  }

  /** Begins a round, unless one is under way or was a moment ago. */
  want(pools: ReadonlyArray<Wanted>): void {
    const { timers } = this
    if (this.isRunning || timers.now() < this.nextAt) return
    this.isRunning = true
    const steps = this.round(pools)
    let spent = 0
    const step = (): void => {
      const began = timers.now()
      const { done } = steps.next()
      const ended = timers.now()
      spent += ended - began
      if (done !== true) {
        this.timer = timers.set(ended, step)
        return
      }
      this.isRunning = false
      this.nextAt = ended + Math.max(PAUSE, SHARE * spent)
    }
    this.timer = timers.set(timers.now(), step)
  }

  stop(): void {
    this.timer?.cancel()
  }

  private *round(pools: ReadonlyArray<Wanted>): Generator<void, void> {
    for (const [record, max] of pools) {
      const found = yield* all(record.log.recorded(this.timers.now()), max)
      this.found.set(record, found)
    }
  }
}
