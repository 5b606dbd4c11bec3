/**
 * What is remembered of one pool while it is watched. Everything is bounded: some 40 kB for the last minute, and up to 160 kB for the
 * leases that are replayed.
 */

import type { AcquireTimeout } from "@sluice/pool/PoolError"
import type { PoolEvent } from "@sluice/pool/PoolEvent"
import type { PoolGauge, PoolStats } from "@sluice/pool/PoolStats"
import { waitBounds } from "../bounds.js"
import { LeaseLog } from "./leaseLog.js"
import { type Look, Pace } from "./pace.js"
import { count, Window } from "./window.js"

/** Characters. A message is for one line of a board. */
const LONGEST_MESSAGE = 300

interface Outage {
  readonly since: number
  until: number | undefined
  attempts: number
  cause: unknown
}

/** The failures of callers for whom there was no connection, and who would have used one. */
const exhaustions: ReadonlySet<string> = new Set(["AcquireTimeout", "PoolSaturated", "PoolShed"])

export const messageOf = (cause: unknown): string => {
  const message =
    cause instanceof AggregateError && cause.message === ""
      ? String(cause.errors[0]?.message ?? cause.name)
      : cause instanceof Error
        ? cause.message || cause.name
        : String(cause)
  const line = message.replaceAll(/\s+/g, " ").trim()
  return line.length > LONGEST_MESSAGE ? `${line.slice(0, LONGEST_MESSAGE - 1)}…` : line
}

export class PoolRecord {
  readonly window: Window
  readonly log: LeaseLog
  readonly pace = new Pace()
  outage: Outage | undefined
  suspendedSince: number | undefined
  /** The message of the error is made when somebody wants to read it. */
  timeout: { readonly at: number; readonly error: AcquireTimeout } | undefined
  /** Leases by the first of the bounds that their wait does not exceed; the last count is of those above all bounds. */
  private readonly byWait = new Float64Array(waitBounds.length + 1)
  private arrivals = 0
  private ended = 0
  private heldSum = 0
  private lookedAt: number
  private waitingBefore: number

  constructor(
    private readonly now: () => number,
    private readonly gauge: PoolGauge,
    { host, phase }: PoolStats
  ) {
    const at = now()
    this.window = new Window(at)
    this.log = new LeaseLog(at)
    this.lookedAt = at
    this.waitingBefore = gauge.waiting
    if (host !== "up") this.outage = { since: at, until: undefined, attempts: 0, cause: undefined }
    if (phase === "suspended") this.suspendedSince = at
    this.peak()
  }

  /** Called in the middle of what the pool does. */
  readonly listen = (event: PoolEvent): void => {
    const { current } = this.window
    switch (event._tag) {
      case "Acquired": {
        const { connection, priority, waitMs } = event
        current.waits.add(waitMs)
        this.arrivals++
        this.within(waitMs)
        this.log.acquired(connection, waitMs, this.now())
        const { using, waiting } = this.gauge
        if (using > current.usingMax) current.usingMax = using
        // It has waited itself, until a moment ago.
        if (priority !== undefined && waiting >= current.waitingMax) current.waitingMax = waiting + 1
        return
      }
      case "Released":
        current.holds.add(event.heldMs)
        this.ended++
        this.heldSum += event.heldMs
        this.log.released(event.connection, this.now())
        return
      case "AcquireFailed":
        count(current.failures, event.error)
        this.arrivals++
        if (exhaustions.has(event.error)) {
          const at = this.now()
          this.log.left(event.waitMs, at)
          if (event.cause._tag === "AcquireTimeout") this.timeout = { at, error: event.cause }
        }
        if (event.waitMs > 0) current.waitingMax = Math.max(current.waitingMax, this.gauge.waiting + 1)
        return
      case "AcquireInterrupted":
        this.arrivals++
        this.log.left(event.waitMs, this.now())
        return
      case "Connected":
        current.connects.add(event.elapsedMs)
        return
      case "ConnectFailed":
        this.connectFailed(event.cause)
        return
      case "Closed":
        count(current.closed, event.reason)
        return
      case "Leak":
        current.leaks++
        return
      case "Host":
        if (event.state === "up") this.connectsAgain()
        return
      case "Suspended":
        this.suspendedSince ??= this.now()
        return
      case "Resumed":
        this.suspendedSince = undefined
    }
  }

  private connectFailed(cause: unknown): void {
    const { phase } = this.gauge
    // A pool that closes ends its connects itself.
    if (phase === "draining" || phase === "closed") return
    this.window.current.connectFailures++
    if (this.outage === undefined || this.outage.until !== undefined) {
      this.outage = { since: this.now(), until: undefined, attempts: 0, cause }
    }
    this.outage.attempts++
    this.outage.cause = cause
  }

  private connectsAgain(): void {
    if (this.outage !== undefined) this.outage.until ??= this.now()
  }

  private within(waited: number): void {
    let i = 0
    while (i < waitBounds.length && waited > waitBounds[i]!) i++
    this.byWait[i]!++
  }

  /** Leases whose callers have waited no longer than each of the bounds. */
  waitsWithin(): ReadonlyArray<{ readonly ms: number; readonly count: number }> {
    let count = 0
    return waitBounds.map((ms, i) => {
      count += this.byWait[i]!
      return { ms, count }
    })
  }

  private peak(): void {
    const { current } = this.window
    current.usingMax = Math.max(current.usingMax, this.gauge.using)
    current.waitingMax = Math.max(current.waitingMax, this.gauge.waiting)
  }

  /** Called about once a second. */
  look(uses: Look["uses"], host: string): void {
    const now = this.now()
    if (host === "up") this.connectsAgain()
    const { waiting } = this.gauge
    this.pace.add({
      elapsed: now - this.lookedAt,
      // Who waits has come and is in no event yet.
      arrivals: Math.max(0, this.arrivals + waiting - this.waitingBefore),
      ended: this.ended,
      heldSum: this.heldSum,
      uses
    })
    this.lookedAt = now
    this.waitingBefore = waiting
    this.arrivals = 0
    this.ended = 0
    this.heldSum = 0
    this.window.pass(now)
    this.peak()
  }
}
