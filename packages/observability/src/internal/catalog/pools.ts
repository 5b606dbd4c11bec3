import { closeReasons, leakKinds } from "../poolWords.js"
import { oneOf, pool, reason, type Unnamed } from "./model.js"

const classes = ["critical", "high", "normal", "low", "background"] as const
const priority = oneOf("priority", ...classes)
const kind = oneOf("kind", ...leakKinds)

/** A tenth of a second is the threshold of several alerts, so it is a bound. */
const waits = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** The metrics of every pool. */
export const pools = {
  "db.client.connection.count": {
    instrument: "upDownCounter",
    unit: "{connection}",
    attributes: [pool, oneOf("db.client.connection.state", "idle", "used")],
    description: "Open connections, by whether somebody uses them.",
    level: "basic"
  },
  "db.client.connection.idle.max": {
    instrument: "upDownCounter",
    unit: "{connection}",
    attributes: [pool],
    description: "The most connections that may be idle: as many as there may be.",
    level: "basic"
  },
  "db.client.connection.idle.min": {
    instrument: "upDownCounter",
    unit: "{connection}",
    attributes: [pool],
    description: "Connections that stay open although nobody uses them (minIdle).",
    level: "basic"
  },
  /** The name until version 1.44 of the conventions. Dashboards of others still use it. */
  "db.client.connection.max": {
    instrument: "upDownCounter",
    unit: "{connection}",
    attributes: [pool],
    description: "The most connections that there may be (maxSize as it is in force).",
    level: "basic"
  },
  /** The same as `db.client.connection.max`, under the name that it has since version 1.45 of the conventions. */
  "db.client.connection.limit": {
    instrument: "upDownCounter",
    unit: "{connection}",
    attributes: [pool],
    description: "The most connections that there may be (maxSize as it is in force).",
    level: "basic"
  },
  "db.client.connection.pending_requests": {
    instrument: "upDownCounter",
    unit: "{request}",
    attributes: [pool],
    description: "Callers that wait for a connection.",
    level: "basic"
  },
  "db.client.connection.timeouts": {
    instrument: "counter",
    unit: "{timeout}",
    attributes: [pool],
    description: "Acquires that got no connection within their acquire timeout.",
    level: "basic"
  },
  "db.client.connection.create_time": {
    instrument: "histogram",
    unit: "s",
    attributes: [pool],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    description: "How long connects took that have succeeded.",
    level: "basic"
  },
  "db.client.connection.wait_time": {
    instrument: "histogram",
    unit: "s",
    attributes: [pool],
    buckets: waits,
    description: "How long acquires have waited that got a connection.",
    level: "basic"
  },
  "db.client.connection.use_time": {
    instrument: "histogram",
    unit: "s",
    attributes: [pool],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300],
    description: "How long leases were held.",
    level: "basic"
  },
  "sluice.acquires": {
    instrument: "counter",
    unit: "{request}",
    attributes: [
      pool,
      // `none`: it got a connection at once, so that the pool has not asked for its class; or a hook has refused it.
      oneOf("priority", ...classes, "none"),
      oneOf(
        "outcome",
        "ok",
        "timeout",
        "saturated",
        "shed",
        "interrupted",
        "closed",
        "unavailable",
        "dismissed",
        "nested",
        "hook"
      )
    ],
    description: "Acquires that have ended, by how.",
    level: "basic"
  },
  "sluice.acquires.would_shed": {
    instrument: "counter",
    unit: "{request}",
    attributes: [pool],
    description: "Acquires that would have been shed if shedding were on and not in mode shadow.",
    level: "basic"
  },
  "sluice.acquires.late": {
    instrument: "counter",
    unit: "{request}",
    attributes: [pool],
    description: "Leases that were granted after the acquire timeout: none, unless the process did not run.",
    level: "basic"
  },
  "sluice.queue.depth": {
    instrument: "upDownCounter",
    unit: "{request}",
    attributes: [pool, priority],
    description: "Callers that wait for a connection, by class.",
    level: "basic"
  },
  "sluice.queue.oldest_age": {
    instrument: "gauge",
    unit: "s",
    attributes: [pool, priority],
    description: "How long the caller of a class that has waited longest waits; 0 if nobody waits.",
    level: "basic"
  },
  "sluice.queue.wait_time": {
    instrument: "histogram",
    unit: "s",
    attributes: [pool, priority],
    buckets: waits,
    description: "How long those acquires have waited, by class, that had to wait and got a connection.",
    level: "basic"
  },
  "sluice.queue.depth.max": {
    instrument: "gauge",
    unit: "{request}",
    attributes: [pool],
    description: "The most callers that have waited at once in the last 60 seconds.",
    level: "basic"
  },
  "sluice.connection.used.max": {
    instrument: "gauge",
    unit: "{connection}",
    attributes: [pool],
    description: "The most connections that were in use at once in the last 60 seconds.",
    level: "basic"
  },
  "sluice.connection.in_transit": {
    instrument: "upDownCounter",
    unit: "{connection}",
    attributes: [pool, oneOf("state", "connecting", "validating", "resetting", "quarantined", "closing")],
    description: "Connections that are neither idle nor in use, by what happens to them.",
    level: "basic"
  },
  "sluice.connections.closed": {
    instrument: "counter",
    unit: "{connection}",
    attributes: [pool, oneOf("reason", ...closeReasons)],
    description: "Connections that were closed, by why.",
    level: "basic"
  },
  "sluice.connect.failures": {
    instrument: "counter",
    unit: "{failure}",
    attributes: [pool, reason],
    description: "Connects that have failed, by why.",
    level: "basic"
  },
  "sluice.lease.oldest_age": {
    instrument: "gauge",
    unit: "s",
    attributes: [pool],
    description: "How long the lease is held that was granted first; 0 if there is none.",
    level: "basic"
  },
  "sluice.leaks": {
    instrument: "counter",
    unit: "{lease}",
    attributes: [pool, kind],
    description: "Leases that were held longer than leakThreshold, by what they were used for.",
    level: "basic"
  },
  "sluice.leaks.reclaimed": {
    instrument: "counter",
    unit: "{lease}",
    attributes: [pool, kind],
    description: "Leases that were taken away because nobody did anything with them.",
    level: "basic"
  },
  "sluice.pool.phase": {
    instrument: "upDownCounter",
    unit: "{pool}",
    attributes: [pool, oneOf("phase", "running", "suspended", "draining")],
    description: "Pools of this name that are in this phase.",
    level: "basic"
  },
  "sluice.pool.suspended": {
    instrument: "gauge",
    unit: "s",
    attributes: [pool],
    description: "For how long the pool has been suspended; 0 if it is not.",
    level: "basic"
  },
  "sluice.pool.host": {
    instrument: "upDownCounter",
    unit: "{pool}",
    attributes: [pool, oneOf("host", "up", "failing", "down")],
    description: "Pools of this name, by whether their host can be connected to.",
    level: "basic"
  },
  "sluice.pool.overloaded": {
    instrument: "upDownCounter",
    unit: "{pool}",
    attributes: [pool],
    description: "Pools of this name to which more work comes than their connections finish.",
    level: "basic"
  }
} as const satisfies Unnamed
