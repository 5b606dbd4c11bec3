/** Reports of calm pools, to be changed in what a test is about. */
import type { Report } from "@sluice/observability"

export const AT = Date.UTC(2026, 10, 28, 12)

const none: Report.Distribution = { count: 0, meanMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 }

export const times = (ms: number, count = 100): Report.Distribution => ({
  count,
  meanMs: ms,
  p50Ms: ms,
  p95Ms: ms,
  p99Ms: ms,
  maxMs: ms
})

const idle = { busy: 0, idleInTransaction: 0, forgotten: 0, listener: 0, stream: 0, unknown: 0 }

export const doing = (uses: Partial<typeof idle>): typeof idle => ({ ...idle, ...uses })

export const holder = (
  kind: Report.HolderReport["kind"],
  heldMs: number,
  idleMs = kind === "busy" ? 0 : heldMs
): Report.HolderReport => ({
  connection: 1,
  heldMs,
  kind,
  idleMs,
  serverPid: 4711,
  activity: undefined,
  span: undefined
})

const calm: Report.PoolReport = {
  id: 1,
  name: "orders",
  endpoint: "db-1:5432/pay",
  role: "primary",
  isUp: true,
  isSilent: false,
  isLagging: false,
  lagMs: undefined,
  latencyMs: 1,
  saturation: 0.2,
  size: 4,
  available: 2,
  using: 2,
  waiting: 0,
  connecting: 0,
  closing: 0,
  validating: 0,
  resetting: 0,
  quarantined: 0,
  max: 10,
  min: 0,
  oldestWaitMs: 0,
  oldestLeaseMs: 8,
  host: "up",
  phase: "running",
  isOverloaded: false,
  acquired: 100_000,
  failed: {
    AcquireTimeout: 0,
    PoolSaturated: 0,
    PoolShed: 0,
    PoolClosed: 0,
    NestedAcquire: 0,
    ConnectFailed: 0,
    ConnectUnavailable: 0,
    Dismissed: 0,
    HookFailed: 0
  },
  timeouts: 0,
  saturated: 0,
  shed: 0,
  interrupted: 0,
  wouldShed: 0,
  lateGrants: 0,
  connects: 4,
  connectFailures: 0,
  closed: {
    idle: 0,
    lifetime: 0,
    error: 0,
    validation: 0,
    reset: 0,
    shrink: 0,
    generation: 0,
    evicted: 0,
    reclaimed: 0,
    drain: 0
  },
  lateReleases: 0,
  leaks: 0,
  reclaimed: 0,
  usingMax: 5,
  waitingMax: 0,
  queues: [],
  waits: times(0.1, 6_000),
  waitsWithin: [],
  holds: times(10, 6_000),
  connectTimes: none,
  holders: [holder("busy", 8)],
  acquireFailures: {},
  whatIf: [],
  lastTimeout: undefined,
  lastMinute: { acquired: 6_000, acquireFailures: {}, connects: 0, connectFailures: 0, closed: {}, leaks: 0 },
  now: { arrivalsPerSecond: 100, holdMeanMs: 10 },
  usual: { arrivalsPerSecond: 100, holdMeanMs: 10 },
  doing: doing({ busy: 1 }),
  outage: undefined,
  suspendedMs: 0
}

export const pool = (changes: Partial<Report.PoolReport> = {}): Report.PoolReport => ({ ...calm, ...changes })

export const database = (
  pools: ReadonlyArray<Report.PoolReport>,
  changes: Partial<Report.Database> = {}
): Report.Database => ({
  name: "pay",
  system: "postgresql",
  isWritable: true,
  pools,
  server: undefined,
  retries: { total: 0, denied: 0 },
  errors: {},
  lastMinute: { retries: { total: 0, denied: 0 }, errors: {} },
  ...changes
})

export const report = (
  databases: ReadonlyArray<Report.Database>,
  changes: Partial<Report.Report> = {}
): Report.Report => ({
  version: 1,
  pod: "pod-1",
  pid: 100,
  at: AT,
  uptimeMs: 900_000,
  stallMs: 0,
  databases,
  ...changes
})

/** A process with one pool. */
export const of = (changes: Partial<Report.PoolReport> = {}, pod = "pod-1"): Report.Report =>
  report([database([pool(changes)])], { pod })
