/** The last minute of one pool, in parts of five seconds: the oldest part is forgotten when a new one begins. */
import type { CloseReason } from "@sluice/pool/PoolStats"
import { Histogram } from "./histogram.js"

/** Milliseconds. Shorter: more memory for each pool. Longer: what "the last minute" covers varies by so much. */
export const PART = 5_000

/** Those of a whole minute, and the one that has just begun. */
const PARTS = 13

class Part {
  readonly waits = new Histogram()
  readonly holds = new Histogram()
  readonly connects = new Histogram()
  readonly failures = new Map<string, number>()
  readonly closed = new Map<CloseReason, number>()
  connectFailures = 0
  leaks = 0
  usingMax = 0
  waitingMax = 0

  clear(): void {
    this.waits.clear()
    this.holds.clear()
    this.connects.clear()
    this.failures.clear()
    this.closed.clear()
    this.connectFailures = 0
    this.leaks = 0
    this.usingMax = 0
    this.waitingMax = 0
  }
}

export const count = <K>(counts: Map<K, number>, key: K): void => {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

export class Window {
  /** The one that is filled now. */
  current = new Part()
  private readonly parts: Array<Part> = [this.current]
  private at = 0
  private endsAt: number

  constructor(now: number) {
    this.endsAt = now + PART
  }

  /** Forgets what is older than a minute. */
  pass(now: number): void {
    if (now < this.endsAt) return
    const steps = Math.min(PARTS, 1 + Math.floor((now - this.endsAt) / PART))
    for (let i = 0; i < steps; i++) {
      this.at = (this.at + 1) % PARTS
      const old = this.parts[this.at]
      if (old === undefined) this.parts.push(new Part())
      else old.clear()
    }
    this.current = this.parts[this.at]!
    this.endsAt += PART * (1 + Math.floor((now - this.endsAt) / PART))
  }

  [Symbol.iterator](): Iterator<Part> {
    return this.parts[Symbol.iterator]()
  }

  sum(of: (part: Part) => number): number {
    return this.parts.reduce((all, part) => all + of(part), 0)
  }

  max(of: (part: Part) => number): number {
    return this.parts.reduce((most, part) => Math.max(most, of(part)), 0)
  }

  counts<K>(of: (part: Part) => ReadonlyMap<K, number>): ReadonlyMap<K, number> {
    const all = new Map<K, number>()
    for (const part of this.parts) for (const [key, n] of of(part)) all.set(key, (all.get(key) ?? 0) + n)
    return all
  }
}
