/** A pool as boards show it. */
import * as Pool from "@sluice/pool/Pool"
import * as Pools from "@sluice/pool/Pools"
import type { PoolReport, WhatIf } from "../../Report.js"
import { distribution } from "./histogram.js"
import { messageOf, type PoolRecord } from "./poolRecord.js"

/** Leases that are told. Each is described by the driver. */
const HOLDERS = 10

const MINUTE = 60_000

/** What is known of a pool besides what it knows itself. */
export interface Endpoint {
  readonly label: string
  readonly role: "primary" | "replica"
  readonly isUp: boolean
  readonly isSilent: boolean
  readonly isLagging: boolean
  readonly lag: number | undefined
  readonly latency: number
}

/** Of a pool that belongs to no database: its name stands for its place. */
export const alone = (pool: Pool.Pool<unknown>): Endpoint => {
  const { isUp, phase } = Pool.gauge(pool)
  return {
    label: pool.name,
    role: "primary",
    isUp: isUp && phase === "running",
    isSilent: false,
    isLagging: false,
    lag: undefined,
    latency: 0
  }
}

/** What JSON could not carry is not known. */
const finite = (n: number | undefined): number | undefined => (n !== undefined && Number.isFinite(n) ? n : undefined)

const present = (counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0))

export interface Moment {
  readonly now: number
  /** The time of the wall clock at an instant, as it is now. A clock that was set meanwhile changes no duration. */
  readonly wall: (instant: number) => number
  readonly texts: boolean
}

export const poolReport = (
  id: number,
  pool: Pool.Pool<unknown>,
  record: PoolRecord,
  endpoint: Endpoint,
  whatIf: ReadonlyArray<WhatIf>,
  { now, texts, wall }: Moment
): PoolReport => {
  const stats = Pool.unsafeStats(pool)
  const { outage, pace, suspendedSince, timeout, window } = record
  const waits = distribution(Array.from(window, (part) => part.waits))
  const isRecent = (at: number): boolean => now - at < MINUTE
  return {
    ...stats,
    id,
    name: pool.name,
    endpoint: endpoint.label,
    role: endpoint.role,
    isUp: endpoint.isUp,
    isSilent: endpoint.isSilent,
    isLagging: endpoint.isLagging,
    lagMs: finite(endpoint.lag),
    latencyMs: endpoint.latency,
    saturation: (stats.using + stats.waiting) / stats.max,
    usingMax: Math.max(
      stats.using,
      window.max((part) => part.usingMax)
    ),
    waitingMax: Math.max(
      stats.waiting,
      window.max((part) => part.waitingMax)
    ),
    queues: Pools.unsafeQueues(pool),
    waits,
    waitsWithin: record.waitsWithin(),
    holds: distribution(Array.from(window, (part) => part.holds)),
    connectTimes: distribution(Array.from(window, (part) => part.connects)),
    holders: Pools.unsafeHolders(pool, HOLDERS).map(
      ({ activity, connection, heldMs, idleMs, kind, remoteId, span }) => ({
        connection,
        heldMs,
        serverPid: remoteId,
        kind,
        idleMs,
        activity: texts ? activity : undefined,
        span: texts ? span : undefined
      })
    ),
    acquireFailures: present(stats.failed),
    whatIf,
    lastTimeout:
      timeout !== undefined && isRecent(timeout.at)
        ? { at: wall(timeout.at), message: timeout.error.likelyCause }
        : undefined,
    lastMinute: {
      acquired: waits.count,
      acquireFailures: Object.fromEntries(window.counts((part) => part.failures)),
      connects: window.sum((part) => part.connects.count),
      connectFailures: window.sum((part) => part.connectFailures),
      closed: Object.fromEntries(window.counts((part) => part.closed)),
      leaks: window.sum((part) => part.leaks)
    },
    now: pace.now(),
    usual: pace.usual(),
    doing: pace.doing(),
    outage:
      outage !== undefined && (outage.until === undefined || isRecent(outage.until))
        ? {
            since: wall(outage.since),
            until: outage.until === undefined ? undefined : wall(outage.until),
            attempts: outage.attempts,
            message: outage.cause === undefined ? "it had failed before this was watched" : messageOf(outage.cause)
          }
        : undefined,
    suspendedMs: suspendedSince === undefined || stats.phase !== "suspended" ? 0 : now - suspendedSince
  }
}
