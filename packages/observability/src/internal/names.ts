/** The metrics that queries may name, until they are in the catalogue. */
export interface Metric {
  readonly instrument: "histogram" | "counter" | "upDownCounter" | "gauge"
  readonly unit: string
  readonly attributes: ReadonlyArray<string>
  readonly buckets?: ReadonlyArray<number>
  readonly description: string
}
const pool = "db.client.connection.pool.name"
const m = (
  instrument: Metric["instrument"],
  unit: string,
  description: string,
  attributes: ReadonlyArray<string> = [],
  buckets?: ReadonlyArray<number>
): Metric => ({ instrument, unit, attributes: [pool, ...attributes], description, ...(buckets ? { buckets } : {}) })
export const metrics = {
  "db.client.operation.duration": m(
    "histogram",
    "s",
    "d",
    ["db.system.name", "db.namespace", "db.operation.name", "error.type", "server.address", "server.port"],
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
  ),
  "db.client.connection.count": m("upDownCounter", "{connection}", "d", ["db.client.connection.state"]),
  "db.client.connection.idle.max": m("upDownCounter", "{connection}", "d"),
  "db.client.connection.idle.min": m("upDownCounter", "{connection}", "d"),
  "db.client.connection.max": m("upDownCounter", "{connection}", "d"),
  "db.client.connection.pending_requests": m("upDownCounter", "{request}", "d"),
  "db.client.connection.timeouts": m("counter", "{timeout}", "d"),
  "db.client.connection.wait_time": m(
    "histogram",
    "s",
    "d",
    [],
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
  ),
  "db.client.connection.use_time": m(
    "histogram",
    "s",
    "d",
    [],
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300]
  ),
  "db.client.connection.create_time": m(
    "histogram",
    "s",
    "d",
    [],
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
  ),
  "sluice.acquires": m("counter", "{request}", "d", ["priority", "outcome"]),
  "sluice.queue.depth": m("gauge", "{request}", "d", ["priority"]),
  "sluice.queue.oldest_age": m("gauge", "s", "d", ["priority"]),
  "sluice.connection.used.max": m("gauge", "{connection}", "d"),
  "sluice.queue.depth.max": m("gauge", "{request}", "d"),
  "sluice.connections.closed": m("counter", "{connection}", "d", ["reason"]),
  "sluice.connect.failures": m("counter", "{failure}", "d", ["reason"]),
  "sluice.errors": m("counter", "{error}", "d", ["reason"]),
  "sluice.lease.oldest_age": m("gauge", "s", "d"),
  "sluice.leaks": m("counter", "{lease}", "d", ["class"]),
  "sluice.retries": m("counter", "{retry}", "d", ["reason", "outcome"]),
  "sluice.replica.lag": m("gauge", "s", "d", ["endpoint"]),
  "sluice.pool.suspended": m("gauge", "s", "d"),
  "sluice.server.connections": m("gauge", "{connection}", "d"),
  "sluice.server.connections.max": m("gauge", "{connection}", "d"),
  "sluice.routes": m("counter", "{query}", "d", ["role", "reason"]),
  "sluice.stall": m("histogram", "s", "d", [], [0.25, 1])
} as const satisfies Record<string, Metric>
export type Name = keyof typeof metrics
export const prometheusName = (name: Name): string => {
  const { instrument, unit } = metrics[name]
  const base = name.replaceAll(".", "_")
  const withUnit = unit === "s" ? `${base}_seconds` : base
  return instrument === "counter" ? `${withUnit}_total` : withUnit
}
