/** Reports for a board: a pool in which everybody waits, and a fleet. */
import type { Report } from "@sluice/observability"
import * as Reports from "./reports.js"

/** A pool in which everybody waits for connections that are in a transaction and at rest. */
export const stuck = (changes: Partial<Report.PoolReport> = {}): Report.PoolReport =>
  Reports.pool({
    size: 10,
    available: 0,
    using: 10,
    waiting: 17,
    oldestWaitMs: 4_210,
    oldestLeaseMs: 31_000,
    saturation: 2.7,
    queues: [{ priority: "normal", depth: 17, oldestMs: 4_210 }],
    waits: { count: 100, meanMs: 1_200, p50Ms: 900, p95Ms: 4_100, p99Ms: 4_900, maxMs: 4_950 },
    timeouts: 12,
    acquireFailures: { AcquireTimeout: 12 },
    lastMinute: {
      acquired: 100,
      acquireFailures: { AcquireTimeout: 12 },
      connects: 6,
      connectFailures: 0,
      closed: { idle: 2 },
      leaks: 0
    },
    closed: { ...Reports.pool().closed, idle: 5, lifetime: 1 },
    doing: Reports.doing({ idleInTransaction: 9, busy: 1 }),
    holders: Array.from({ length: 10 }, (_, i) => ({
      ...Reports.holder(i === 9 ? "busy" : "idleInTransaction", 31_000 - i * 2_500),
      connection: i + 1,
      serverPid: 4_711 + i,
      activity: i === 9 ? "select * from orders where id = $1" : "idle in transaction",
      span: i === 9 ? "GET /orders/:id" : "POST /orders/:id/pay"
    })),
    whatIf: [4, 6, 8, 10, 12, 16, 20].map((maxSize) => ({
      maxSize,
      waited: Math.max(0, (16 - maxSize) / 20),
      waitP99Ms: Math.max(0, (16 - maxSize) * 400),
      utilization: Math.min(1, 11 / maxSize)
    })),
    ...changes
  })

/** A pool of reads, on a replica. */
export const replica = (changes: Partial<Report.PoolReport> = {}): Report.PoolReport =>
  Reports.pool({ role: "replica", endpoint: "db-2:5432/pay", lagMs: 120, ...changes })

/** Processes of which each ninth has the stuck pool. */
export const fleet = (pods: number): ReadonlyArray<Report.Report> =>
  Array.from({ length: pods }, (_, i) =>
    Reports.report(
      [
        Reports.database([i % 9 === 0 ? stuck() : Reports.pool({ using: i % 4, available: 4 - (i % 4) }), replica()], {
          server: { at: Reports.AT, connections: 23, maxConnections: 100, active: 3, idleInTransaction: 9 }
        })
      ],
      { pod: `pay-${i}`, pid: 100 + i }
    )
  )
