/**
 * The numbers that alerts watch. Each is written once, as what Prometheus computes from the metrics and, beside it, as what the
 * process computes from its report: in seconds, shares and counts, as the metrics are.
 */

import type { Database, PoolReport } from "../../Report.js"
import * as Catalog from "../names.js"
import { label, type Matchers, ownLabels, POOL, series, time, within } from "../promql.js"
import type { History } from "./history.js"

/** What an alert is about. */
export interface Subject {
  /** For an alert of the fleet: with the highest numbers of the server that one of the processes has seen. */
  readonly database: Database
  /** For an alert of a database: the pool of its primary, by whose name Prometheus knows the database. */
  readonly pool: PoolReport
  /** For an alert of the fleet: the sum of `maxSize` of all pools to the server, in all processes that report. */
  readonly fleetMax: number
  readonly waits: History
  readonly slow: History
}

/** What a rule file is made for. */
export interface Target {
  /** The span of "the last minute": longer where Prometheus looks less often. */
  readonly minuteMs: number
  /** Labels that tell the processes of a fleet apart. */
  readonly processLabels: ReadonlyArray<string>
  /** Connections that the database has for the pools. `undefined`: as many as the server says. */
  readonly capacity: number | undefined
}

export interface Signal {
  readonly promql: (target: Target) => string
  /** NaN: not known, and above no threshold. */
  readonly value: (subject: Subject, target: Target) => number
}

/** Series of one pool in one process as one series, whatever other labels the metric has. */
const perPool = (name: Catalog.Name, expression: string, kept: ReadonlyArray<string> = []): string => {
  const dropped = ownLabels(name).filter((own) => !kept.includes(own))
  return dropped.length === 0 ? expression : `sum without (${dropped.join(", ")}) (${expression})`
}

const gauge = (
  name: Catalog.Name,
  read: (subject: Subject) => number | undefined,
  matchers: Matchers = {}
): Signal => ({
  promql: () => perPool(name, series(name, matchers)),
  value: (subject) => read(subject) ?? Number.NaN
})

/** What a counter has counted in the last minute. */
const lastMinute = (name: Catalog.Name, read: (subject: Subject) => number, matchers: Matchers = {}): Signal => ({
  promql: ({ minuteMs }) => perPool(name, `increase(${series(name, matchers)}[${time(minuteMs)}])`),
  value: read
})

const ratio = (part: Signal, whole: Signal): Signal => ({
  promql: (target) => `${part.promql(target)} / ${whole.promql(target)}`,
  value: (subject, target) => part.value(subject, target) / whole.value(subject, target)
})

/** The outcomes of an acquire for which there was no connection. */
const REFUSED = { timeout: "AcquireTimeout", saturated: "PoolSaturated", shed: "PoolShed" } as const

const refusedOf = (failures: Readonly<Record<string, number>>): number =>
  Object.values(REFUSED).reduce((sum, tag) => sum + (failures[tag] ?? 0), 0)

const used = gauge("db.client.connection.count", ({ pool }) => pool.using, { "db.client.connection.state": "used" })

const max = gauge("db.client.connection.max", ({ pool }) => pool.max)

export const waiting: Signal = gauge("db.client.connection.pending_requests", ({ pool }) => pool.waiting)

export const utilization: Signal = ratio(used, max)

/** Acquires that failed because there was no connection for them. */
export const refused: Signal = lastMinute("sluice.acquires", ({ pool }) => refusedOf(pool.lastMinute.acquireFailures), {
  outcome: Object.keys(REFUSED)
})

const served = { outcome: ["ok", ...Object.keys(REFUSED)] }

/** Acquires that a connection was found for, or should have been. */
const acquires = lastMinute(
  "sluice.acquires",
  ({ pool }) => pool.lastMinute.acquired + refusedOf(pool.lastMinute.acquireFailures),
  served
)

export const refusedShare: Signal = ratio(refused, acquires)

export const leaks: Signal = lastMinute("sluice.leaks", ({ pool }) => pool.lastMinute.leaks)

export const connectFailures: Signal = lastMinute(
  "sluice.connect.failures",
  ({ pool }) => pool.lastMinute.connectFailures
)

export const oldestLease: Signal = gauge("sluice.lease.oldest_age", ({ pool }) => pool.oldestLeaseMs / 1_000)

export const suspended: Signal = gauge("sluice.pool.suspended", ({ pool }) => pool.suspendedMs / 1_000)

export const lag: Signal = gauge("sluice.replica.lag", ({ pool }) =>
  pool.lagMs === undefined ? undefined : pool.lagMs / 1_000
)

const WAIT = "db.client.connection.wait_time"

/** The bounds of the buckets of waits, in milliseconds. */
export const waitBounds: ReadonlyArray<number> = Catalog.metrics[WAIT].buckets!.map((seconds) =>
  Math.round(seconds * 1_000)
)

/** The spans over which waits are counted for their percentiles: the last minute. */
export const WAIT_SPANS = [60_000]

/** How many acquires have waited no longer than each bound, and how many there were. */
export const waitCounters = ({ acquired, waitsWithin }: PoolReport): ReadonlyArray<number> => [
  ...waitsWithin.map(({ count }) => count),
  acquired
]

/**
 * The wait that this share of the acquires does not exceed, as `histogram_quantile` estimates it: on a straight line between the
 * bounds of the bucket in which it lies.
 */
const quantileOf = (share: number, counts: ReadonlyArray<number>): number => {
  const total = counts[waitBounds.length]
  if (total === undefined || !(total > 0)) return Number.NaN
  const rank = share * total
  const bucket = waitBounds.findIndex((_, i) => counts[i]! >= rank)
  if (bucket < 0) return waitBounds.at(-1)! / 1_000
  const [below, low] = bucket === 0 ? [0, 0] : [counts[bucket - 1]!, waitBounds[bucket - 1]!]
  const high = waitBounds[bucket]!
  return (low + ((high - low) * (rank - below)) / (counts[bucket]! - below)) / 1_000
}

/** A percentile of the waits of the last minute. */
export const waitQuantile = (share: number): Signal => ({
  promql: ({ minuteMs }) =>
    `histogram_quantile(${share}, ${perPool(
      WAIT,
      `increase(${series(WAIT, {}, { suffix: "_bucket" })}[${time(minuteMs)}])`
    )})`,
  value: ({ waits }) =>
    quantileOf(
      share,
      [...waitBounds, Infinity].map((_, i) => waits.increase(60_000, i))
    )
})

/** What `slowShare` needs: how many acquires were served within `ms`, and how many there were, refused ones among them. */
export const slowCounters = (pool: PoolReport, ms: number): ReadonlyArray<number> => {
  const fast = pool.waitsWithin.find((bound) => bound.ms === ms)
  return fast === undefined ? [] : [fast.count, pool.acquired + pool.timeouts + pool.saturated + pool.shed]
}

/** Share of the acquires of a span that were not served within `ms`: they have waited longer, or have failed. */
export const slowShare = (ms: number, spanMs: number): Signal => ({
  promql: () => {
    const span = `[${time(spanMs)}]`
    const fast = `increase(${series(WAIT, {}, { suffix: "_bucket", extra: within(ms / 1_000) })}${span})`
    // `le` is the label of a bucket, which the catalogue does not list: it is taken away here, so that the two sides match.
    const all = perPool("sluice.acquires", `increase(${series("sluice.acquires", served)}${span})`)
    return `1 - sum without (${[...ownLabels(WAIT), "le"].join(", ")}) (${fast}) / ${all}`
  },
  value: ({ slow }) => 1 - slow.increase(spanMs, 0) / slow.increase(spanMs, 1)
})

/** Statements that were executed again, for each acquire. */
export const retries: Signal = ratio(
  lastMinute("sluice.retries", ({ database }) => database.lastMinute.retries.total),
  lastMinute(
    "sluice.acquires",
    ({ database }) =>
      database.pools.reduce(
        (sum, { lastMinute }) => sum + lastMinute.acquired + refusedOf(lastMinute.acquireFailures),
        0
      ),
    served
  )
)

/** One number for all processes. */
const acrossFleet = (how: "sum" | "max", expression: string, { processLabels }: Target): string =>
  `${how} without (${processLabels.join(", ")}) (${expression})`

const serverMax: Signal = {
  promql: (target) => acrossFleet("max", series("sluice.server.connections.max"), target),
  value: ({ database }) => database.server?.maxConnections ?? Number.NaN
}

/** Share of the connections that the server allows which are open. */
export const serverUtilization: Signal = ratio(
  {
    promql: (target) => acrossFleet("max", series("sluice.server.connections"), target),
    value: ({ database }) => database.server?.connections ?? Number.NaN
  },
  serverMax
)

/** `maxSize` of all pools of the fleet, for each connection that the database has. */
export const committed: Signal = ratio(
  {
    promql: (target) => acrossFleet("sum", series("db.client.connection.max"), target),
    value: ({ fleetMax }) => fleetMax
  },
  {
    promql: (target) => (target.capacity === undefined ? serverMax.promql(target) : String(target.capacity)),
    value: (subject, target) => target.capacity ?? serverMax.value(subject, target)
  }
)

export const poolLabel: string = label(POOL)
