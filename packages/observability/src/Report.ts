/**
 * What one process knows of its pools at one moment, as plain data: what `/stats.json` answers, and what every board draws.
 *
 * Durations are milliseconds, and instants milliseconds since the epoch by the clock of the process that made the report. Numbers of
 * "the last minute" cover 60 seconds, or the time since the start if that is less. No parameter and no password is in a report; texts
 * of statements and names of spans are in it only for readers who may see them.
 *
 * A report is the same before and after JSON: every number in it is finite, and what is not known is `undefined`, which JSON leaves out.
 *
 * @since 0.2.0
 */
import type { CloseReason, LeakKind, PoolStats } from "@sluice/pool/PoolStats"
import type { Priority } from "@sluice/pool/Priority"

/**
 * One process.
 *
 * @since 0.2.0
 * @category models
 */
export interface Report {
  readonly version: 1
  /** What people call the process: the host name of its pod, or what the program says. */
  readonly pod: string
  readonly pid: number
  readonly at: number
  readonly uptimeMs: number
  /** The longest time for which the process did not run, in the last minute. */
  readonly stallMs: number
  readonly databases: ReadonlyArray<Database>
}

/**
 * One `Sql` of the process, or one pool that belongs to none.
 *
 * @since 0.2.0
 * @category models
 */
export interface Database {
  readonly name: string
  /** `db.system.name` of OpenTelemetry. `undefined`: the pool is of something else. */
  readonly system: string | undefined
  /** Whether a server takes writes, as far as is known. */
  readonly isWritable: boolean
  readonly pools: ReadonlyArray<PoolReport>
  /** What the server itself counts, when it was asked last. `undefined`: nobody has asked, or the server does not tell. */
  readonly server: Server | undefined
  /** Executions that were repeated, and those that were not because the retry budget was used up. */
  readonly retries: { readonly total: number; readonly denied: number }
  /** Failures of statements, by the tag of their reason. */
  readonly errors: Readonly<Record<string, number>>
  /** The same of the last minute alone. */
  readonly lastMinute: {
    readonly retries: { readonly total: number; readonly denied: number }
    readonly errors: Readonly<Record<string, number>>
  }
}

/**
 * The connections as the database sees them. They are more than those of this process: that is what this is for.
 *
 * @since 0.2.0
 * @category models
 */
export interface Server {
  readonly at: number
  readonly connections: number
  readonly maxConnections: number
  /** Connections of this user that run a statement at this moment. */
  readonly active: number
  /** Connections of this user that are idle in a transaction. `undefined`: the user may not know. */
  readonly idleInTransaction: number | undefined
}

/**
 * One pool.
 *
 * @since 0.2.0
 * @category models
 */
export interface PoolReport extends PoolStats {
  /** The number of the pool in its process: two pools may have one name. */
  readonly id: number
  readonly name: string
  /** Host, port and database. */
  readonly endpoint: string
  readonly role: "primary" | "replica"
  readonly isUp: boolean
  readonly isSilent: boolean
  readonly isLagging: boolean
  readonly lagMs: number | undefined
  readonly latencyMs: number
  /** `(using + waiting) / max`. */
  readonly saturation: number
  /** Highest values of the last minute: spikes between two looks. */
  readonly usingMax: number
  readonly waitingMax: number
  /** Callers that wait, by class. Classes in which nobody waits are not in it. */
  readonly queues: ReadonlyArray<{
    readonly priority: Priority
    readonly depth: number
    readonly oldestMs: number
  }>
  /** How long the acquires of the last minute have waited. */
  readonly waits: Distribution
  /**
   * Leases granted so far whose acquires have waited no longer than `ms`, for each bound of the metric
   * `db.client.connection.wait_time`, in order.
   */
  readonly waitsWithin: ReadonlyArray<{ readonly ms: number; readonly count: number }>
  /** How long the leases that ended in the last minute were held. */
  readonly holds: Distribution
  /** How long the connects of the last minute have taken. */
  readonly connectTimes: Distribution
  /** The leases that were granted longest ago, at most ten, the oldest first. */
  readonly holders: ReadonlyArray<HolderReport>
  /** Failed acquires, by the tag of the error. */
  readonly acquireFailures: Readonly<Record<string, number>>
  readonly closed: Readonly<Record<CloseReason, number>>
  /** In order of size. Empty while too little was recorded. */
  readonly whatIf: ReadonlyArray<WhatIf>
  /** The likely cause of the last acquire that timed out in the last minute, in the words of its error. */
  readonly lastTimeout: { readonly at: number; readonly message: string } | undefined
  readonly lastMinute: LastMinute
  /** The last ten seconds. */
  readonly now: Pace
  /** What ten seconds are like: the median of the ten minutes before them. `undefined`: too little was seen. */
  readonly usual: Pace | undefined
  /**
   * What the leased connections are used for: how many of them, on average over the last ten seconds. One on which nothing was done for
   * a moment only (`idleLeaseMs` of the thresholds) counts as busy.
   */
  readonly doing: Readonly<Record<LeakKind, number>>
  /** The last time at which connecting has failed, unless that has ended more than a minute ago. */
  readonly outage: Outage | undefined
  /** For how long the pool has been suspended; 0 if it is not. */
  readonly suspendedMs: number
}

/**
 * What has happened in a pool in the last minute.
 *
 * @since 0.2.0
 * @category models
 */
export interface LastMinute {
  /** Leases granted. */
  readonly acquired: number
  /** Failed acquires, by the tag of the error. */
  readonly acquireFailures: Readonly<Record<string, number>>
  readonly connects: number
  readonly connectFailures: number
  /** Reasons for which nothing was closed are not in it. */
  readonly closed: { readonly [K in CloseReason]?: number }
  /** Leases that were found to be held longer than `leakThreshold`. */
  readonly leaks: number
}

/**
 * How many come, and how long they stay.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pace {
  /** Acquires that have begun, whatever became of them. */
  readonly arrivalsPerSecond: number
  /** How long the leases that ended were held. */
  readonly holdMeanMs: number
}

/**
 * A time in which connecting has failed.
 *
 * @since 0.2.0
 * @category models
 */
export interface Outage {
  readonly since: number
  /** `undefined`: it goes on. */
  readonly until: number | undefined
  /** Connects that have failed. */
  readonly attempts: number
  /** What the last of them has failed with. */
  readonly message: string
}

/**
 * Percentiles are at most 5 % too high or too low, and what takes less than 0.01 milliseconds is 0 in them. `meanMs` and `maxMs` are
 * exact. All are 0 if `count` is.
 *
 * @since 0.2.0
 * @category models
 */
export interface Distribution {
  readonly count: number
  readonly meanMs: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/**
 * A lease.
 *
 * @since 0.2.0
 * @category models
 */
export interface HolderReport {
  readonly connection: number
  readonly heldMs: number
  /** The process or thread of the server that works for it, as the server's own lists name it. */
  readonly serverPid: number | undefined
  readonly kind: LeakKind
  /** How long nothing was done on the connection; 0 while it works. */
  readonly idleMs: number
  /** Only for readers who may see texts. */
  readonly activity: string | undefined
  /** Only for readers who may see texts. */
  readonly span: string | undefined
}

/**
 * What would have become of the acquires that were recorded, with another `maxSize`.
 *
 * @since 0.2.0
 * @category models
 */
export interface WhatIf {
  readonly maxSize: number
  /** Share of the acquires that would have waited more than a millisecond. */
  readonly waited: number
  readonly waitP99Ms: number
  /** Share of the time of all connections in which they would have been used. */
  readonly utilization: number
}
