/**
 * The numbers that alerts watch. Each is written once, as what Prometheus computes from the metrics and, beside it, as what the
 * process computes from its report: in seconds, shares and counts, as the metrics are.
 */
import { type Definition, metrics } from "../../Catalog.js"
import type { Database, PoolReport, Report } from "../../Report.js"
import { waitBounds } from "../bounds.js"
import { type Matchers, ownLabels, poolLabel, series, time, within } from "../promql.js"
import type { History } from "./history.js"

/** A pool of a process. */
export interface PoolSubject {
  readonly pool: PoolReport
  readonly waits: History
  readonly slow: History
}

/** A server, and all pools to it in all processes that report. */
export interface ServerSubject {
  /** The sum of `maxSize` of the pools. */
  readonly max: number
  /** The highest numbers that one of the processes has read. `undefined`: none has. */
  readonly server: Database["server"]
}

/** What the subject of an alert is, by what it is of. */
export interface Subjects {
  readonly pool: PoolSubject
  readonly process: Report
  readonly server: ServerSubject
}

/** What a rule file is made for. */
export interface Target {
  /** The span of "the last minute": longer where Prometheus looks less often. */
  readonly minuteMs: number
  /** Labels that tell the processes of a fleet apart. */
  readonly processLabels: ReadonlyArray<string>
  /** Connections that the server has for the pools. `undefined`: as many as it says. */
  readonly capacity: number | undefined
  /** Matchers for every series, as they are written in a query. */
  readonly filter?: string | undefined
}

export interface Signal<S> {
  readonly promql: (target: Target) => string
  /** NaN: not known, and above no threshold. */
  readonly value: (subject: S, target: Target) => number
}

/** The series of a metric in one process as one, whatever labels they differ in. */
const together = (
  metric: Definition,
  expression: string,
  dropped: ReadonlyArray<string> = ownLabels(metric)
): string => (dropped.length === 0 ? expression : `sum without (${dropped.join(", ")}) (${expression})`)

const gauge = (
  metric: Definition,
  read: (pool: PoolReport) => number,
  matchers: Matchers = {}
): Signal<PoolSubject> => ({
  promql: ({ filter }) => together(metric, series(metric, matchers, { extra: [filter] })),
  value: ({ pool }) => read(pool)
})

const increase = (metric: Definition, matchers: Matchers, span: string, { filter }: Target): string =>
  `increase(${series(metric, matchers, { extra: [filter] })}[${span}])`

/** What a counter has counted in the last minute. */
const lastMinute = (
  metric: Definition,
  read: (pool: PoolReport) => number,
  matchers: Matchers = {}
): Signal<PoolSubject> => ({
  promql: (target) => together(metric, increase(metric, matchers, time(target.minuteMs), target)),
  value: ({ pool }) => read(pool)
})

/** The same of all pools of a process. */
const ofProcess = (metric: Definition, read: (report: Report) => number, matchers: Matchers = {}): Signal<Report> => ({
  promql: (target) =>
    together(metric, increase(metric, matchers, time(target.minuteMs), target), [poolLabel, ...ownLabels(metric)]),
  value: read
})

const ratio = <S>(part: Signal<S>, whole: Signal<S>): Signal<S> => ({
  promql: (target) => `${part.promql(target)} / ${whole.promql(target)}`,
  value: (subject, target) => part.value(subject, target) / whole.value(subject, target)
})

/** The outcomes of an acquire for which there was no connection. */
const REFUSED = { timeout: "AcquireTimeout", saturated: "PoolSaturated", shed: "PoolShed" } as const

const refusedOf = (failures: Readonly<Record<string, number>>): number =>
  Object.values(REFUSED).reduce((sum, tag) => sum + (failures[tag] ?? 0), 0)

const used = gauge(metrics["db.client.connection.count"], (pool) => pool.using, {
  "db.client.connection.state": "used"
})

const max = gauge(metrics["db.client.connection.max"], (pool) => pool.max)

export const waiting: Signal<PoolSubject> = gauge(
  metrics["db.client.connection.pending_requests"],
  (pool) => pool.waiting
)

export const utilization: Signal<PoolSubject> = ratio(used, max)

/** Acquires that failed because there was no connection for them. */
export const refused: Signal<PoolSubject> = lastMinute(
  metrics["sluice.acquires"],
  (pool) => refusedOf(pool.lastMinute.acquireFailures),
  {
    outcome: Object.keys(REFUSED)
  }
)

const served = { outcome: ["ok", ...Object.keys(REFUSED)] }

/** Acquires that a connection was found for, or should have been. */
const acquires = lastMinute(
  metrics["sluice.acquires"],
  (pool) => pool.lastMinute.acquired + refusedOf(pool.lastMinute.acquireFailures),
  served
)

export const refusedShare: Signal<PoolSubject> = ratio(refused, acquires)

export const leaks: Signal<PoolSubject> = lastMinute(metrics["sluice.leaks"], (pool) => pool.lastMinute.leaks)

export const connectFailures: Signal<PoolSubject> = lastMinute(
  metrics["sluice.connect.failures"],
  (pool) => pool.lastMinute.connectFailures
)

export const oldestLease: Signal<PoolSubject> = gauge(
  metrics["sluice.lease.oldest_age"],
  (pool) => pool.oldestLeaseMs / 1_000
)

export const suspended: Signal<PoolSubject> = gauge(
  metrics["sluice.pool.suspended"],
  (pool) => pool.suspendedMs / 1_000
)

export const lag: Signal<PoolSubject> = {
  // A pool has one server; two of one name have two, of which each may be behind.
  promql: ({ filter }) => series(metrics["sluice.replica.lag"], {}, { extra: [filter] }),
  value: ({ pool }) => (pool.lagMs === undefined ? Number.NaN : pool.lagMs / 1_000)
}

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
export const waitQuantile = (share: number): Signal<PoolSubject> => ({
  promql: ({ filter, minuteMs }) => {
    const buckets = series(metrics["db.client.connection.wait_time"], {}, { suffix: "_bucket", extra: [filter] })
    return `histogram_quantile(${share}, ${together(metrics["db.client.connection.wait_time"], `increase(${buckets}[${time(minuteMs)}])`)})`
  },
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
export const slowShare = (ms: number, spanMs: number): Signal<PoolSubject> => ({
  promql: (target) => {
    const span = time(spanMs)
    const bucket = series(
      metrics["db.client.connection.wait_time"],
      {},
      { suffix: "_bucket", extra: [within(ms / 1_000), target.filter] }
    )
    // `le` is the label of a bucket, which the catalogue does not list: it is taken away here, so that the two sides match.
    const fast = together(metrics["db.client.connection.wait_time"], `increase(${bucket}[${span}])`, [
      ...ownLabels(metrics["db.client.connection.wait_time"]),
      "le"
    ])
    return `1 - ${fast} / ${together(metrics["sluice.acquires"], increase(metrics["sluice.acquires"], served, span, target))}`
  },
  value: ({ slow }) => 1 - slow.increase(spanMs, 0) / slow.increase(spanMs, 1)
})

const poolsOf = ({ databases }: Report): ReadonlyArray<PoolReport> => databases.flatMap(({ pools }) => pools)

/** Statements that were executed again, for each acquire: of a process, because replicas have pools of their own. */
export const retries: Signal<Report> = ratio(
  ofProcess(
    metrics["sluice.retries"],
    ({ databases }) => databases.reduce((sum, { lastMinute }) => sum + lastMinute.retries.total, 0),
    { outcome: ["succeeded", "failed"] }
  ),
  ofProcess(
    metrics["sluice.acquires"],
    (report) =>
      poolsOf(report).reduce(
        (sum, { lastMinute }) => sum + lastMinute.acquired + refusedOf(lastMinute.acquireFailures),
        0
      ),
    served
  )
)

/** The label that says which server a pool connects to. */
export const endpointLabel: string = ownLabels(metrics["sluice.replica.lag"])[0]!

/** A metric of pools, for each server. Which pool connects to which server is told by another metric. */
const atServer = (how: "sum" | "max", metric: Definition, { filter, processLabels }: Target): string => {
  const states = series(metrics["sluice.endpoint.state"], {}, { extra: [filter] })
  const others = ownLabels(metrics["sluice.endpoint.state"]).filter((own) => own !== endpointLabel)
  const places = `max without (${others.join(", ")}) (${states})`
  const value = series(metric, {}, { extra: [filter] })
  return `${how} without (${[...processLabels, poolLabel].join(", ")}) (${places} * ignoring (${endpointLabel}) group_left () ${value})`
}

const serverMax: Signal<ServerSubject> = {
  promql: (target) => atServer("max", metrics["sluice.server.connections.max"], target),
  value: ({ server }) => server?.maxConnections ?? Number.NaN
}

/** Share of the connections that the server allows which are open. */
export const serverUtilization: Signal<ServerSubject> = ratio(
  {
    promql: (target) => atServer("max", metrics["sluice.server.connections"], target),
    value: ({ server }) => server?.connections ?? Number.NaN
  },
  serverMax
)

/** `maxSize` of all pools to a server, for each connection that it has. */
export const committed: Signal<ServerSubject> = ratio(
  {
    promql: (target) => atServer("sum", metrics["db.client.connection.max"], target),
    value: ({ max }) => max
  },
  {
    promql: (target) => (target.capacity === undefined ? serverMax.promql(target) : String(target.capacity)),
    value: (subject, target) => target.capacity ?? serverMax.value(subject, target)
  }
)
