/** Three pods of a shop while statements are slow: what the pictures of the terminal show. */
import type { Pods, Report } from "@sluice/observability"
import { AT, database, doing, holder, pool, report, times } from "./reports.js"

const spans = ["checkout", "list orders", "refund", "report of the month", "checkout", "checkout"]

const busy = (pod: number, using: number, waiting: number): Report.PoolReport =>
  pool({
    name: "orders",
    size: using,
    available: 0,
    using,
    waiting,
    max: 20,
    saturation: (using + waiting) / 20,
    usingMax: using,
    waitingMax: waiting + 5,
    oldestWaitMs: waiting === 0 ? 0 : 2_300 - pod * 400,
    queues:
      waiting === 0
        ? []
        : [
            { priority: "normal", depth: waiting - 1, oldestMs: 2_300 - pod * 400 },
            { priority: "background", depth: 1, oldestMs: 1_100 }
          ],
    waits: { ...times(340 - pod * 100, 5_400), p50Ms: 12, p99Ms: 1_900 - pod * 200, maxMs: 2_300 - pod * 400 },
    holds: times(900, 5_400),
    now: { arrivalsPerSecond: 95, holdMeanMs: 410 },
    usual: { arrivalsPerSecond: 100, holdMeanMs: 12 },
    doing: doing({ busy: using - 1, idleInTransaction: 1 }),
    holders: spans.map((span, i) => ({
      ...holder("busy", 4_200 - i * 350 - pod * 90),
      connection: i + 1 + pod,
      serverPid: 4_700 + 10 * pod + i,
      activity: i === 2 ? "idle in transaction" : "select * from orders where customer = $1",
      ...(i === 2 ? { kind: "idleInTransaction" as const, idleMs: 900 } : {}),
      span
    })),
    acquireFailures: { AcquireTimeout: 31 },
    connects: 24,
    closed: { ...pool().closed, idle: 3, error: 1 },
    lastMinute: {
      acquired: 5_400,
      acquireFailures: { AcquireTimeout: 4 },
      connects: 6,
      connectFailures: 0,
      closed: { idle: 2 },
      leaks: 0
    },
    whatIf: [10, 20, 28, 40].map((maxSize) => ({
      maxSize,
      waited: Math.max(0, (28 - maxSize) / 30),
      waitP99Ms: Math.max(0, (28 - maxSize) * 110),
      utilization: Math.min(0.99, 19 / maxSize)
    }))
  })

const replica = (lagMs: number): Report.PoolReport =>
  pool({ name: "orders read 1", endpoint: "db-2:5432/pay", role: "replica", lagMs, isLagging: lagMs > 10_000, max: 10 })

const pods: ReadonlyArray<readonly [pod: string, using: number, waiting: number]> = [
  ["shop-7d9f-a1", 20, 12],
  ["shop-7d9f-b2", 20, 5],
  ["shop-7d9f-c3", 11, 0]
]

export const reports: ReadonlyArray<Report.Report> = pods.map(([pod, using, waiting], i) =>
  report(
    [
      database([busy(i, using, waiting), replica(12_400 - i * 200)], {
        server: { at: AT, connections: 71, maxConnections: 100, active: 50, idleInTransaction: 3 },
        errors: { UniqueViolation: 7 },
        lastMinute: { retries: { total: 3, denied: 0 }, errors: { UniqueViolation: 1 } }
      })
    ],
    { pod }
  )
)

/** The three, and one that does not answer any more. */
export const asked: ReadonlyArray<Pods.Pod> = [
  ...reports.map(
    (report): Pods.Pod => ({ url: `http://${report.pod}:9470/stats.json`, report, ageMs: 200, error: undefined })
  ),
  {
    url: "http://shop-7d9f-d4:9470/stats.json",
    report: undefined,
    ageMs: 0,
    error: "it cannot be reached (ECONNREFUSED)"
  }
]
