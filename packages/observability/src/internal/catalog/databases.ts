import { tags } from "@sluice/sql/SqlReason"
import { oneOf, pool, reason, some, type Unnamed } from "./model.js"

// Not `endpoint`: in Kubernetes, Prometheus puts a label of this name on every series, and renames ours.
const endpoint = some("sluice.endpoint")
const role = oneOf("role", "primary", "replica")
const database = [some("db.system.name"), some("db.namespace"), some("server.address"), some("server.port")]

/** The metrics of every `Sql`, and of the process. */
export const databases = {
  "db.client.operation.duration": {
    instrument: "histogram",
    unit: "s",
    attributes: [pool, ...database, some("db.operation.name"), oneOf("error.type", ...tags, "interrupted")],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10],
    description: "How long statements took as their callers see it, with what they have waited for.",
    level: "full"
  },
  "sluice.errors": {
    instrument: "counter",
    unit: "{error}",
    attributes: [pool, reason],
    description: "Statements and commits that have failed after the last retry, by why.",
    level: "full"
  },
  "sluice.retries": {
    instrument: "counter",
    unit: "{retry}",
    // `denied`: there was none, because the retry budget was used up.
    attributes: [pool, reason, oneOf("outcome", "succeeded", "failed", "denied")],
    description: "Executions that were repeated, by why, and what came of it.",
    level: "full"
  },
  "sluice.routes": {
    instrument: "counter",
    unit: "{query}",
    attributes: [pool, role, oneOf("reason", "write", "read", "session", "lag_fallback", "no_replica")],
    description: "Where statements, pins and transactions were sent, and why.",
    level: "full"
  },
  "sluice.replica.lag": {
    instrument: "gauge",
    unit: "s",
    attributes: [pool, endpoint],
    description: "How far a replica is behind; not there while it cannot be told.",
    level: "full"
  },
  "sluice.endpoint.state": {
    instrument: "upDownCounter",
    unit: "{endpoint}",
    attributes: [pool, endpoint, role, oneOf("state", "up", "down", "silent", "lagging")],
    description: "1 for the state in which an endpoint is, 0 for the others.",
    level: "full"
  },
  "sluice.endpoint.latency": {
    instrument: "gauge",
    unit: "s",
    attributes: [pool, endpoint],
    description: "From the sending of a statement until its answer, a mean of the last second.",
    level: "full"
  },
  "sluice.role.changes": {
    instrument: "counter",
    unit: "{change}",
    attributes: [pool],
    description: "How often another server, or none, has taken the writes.",
    level: "full"
  },
  "sluice.role.fences": {
    instrument: "counter",
    unit: "{lease}",
    attributes: [pool],
    description: "Leases that were exchanged before a write, because they were older than a change of the roles.",
    level: "full"
  },
  "sluice.packing.statements": {
    instrument: "counter",
    unit: "{query}",
    attributes: [pool],
    description: "Reads that shared their connection with others.",
    level: "full"
  },
  "sluice.packing.batches": {
    instrument: "counter",
    unit: "{batch}",
    attributes: [pool],
    description: "Writes to a socket in which these reads left.",
    level: "full"
  },
  "sluice.reads.elsewhere": {
    instrument: "counter",
    unit: "{query}",
    attributes: [pool, oneOf("outcome", "sent", "denied")],
    description: "Reads that were held up: sent on a second connection as well, or not, because too many were.",
    level: "full"
  },
  "sluice.control.connects": {
    instrument: "counter",
    unit: "{connection}",
    attributes: [pool],
    description: "How often a control connection was opened, which no pool counts.",
    level: "full"
  },
  "sluice.cancels": {
    instrument: "counter",
    unit: "{query}",
    attributes: [pool],
    description: "Statements that were cancelled on the server.",
    level: "full"
  },
  "sluice.server.connections": {
    instrument: "gauge",
    unit: "{connection}",
    attributes: [pool],
    description: "Connections as the server counts them, whoever has opened them; not there unless it is asked.",
    level: "full"
  },
  "sluice.server.connections.max": {
    instrument: "gauge",
    unit: "{connection}",
    attributes: [pool],
    description: "The most connections that the server allows; not there unless it is asked.",
    level: "full"
  },
  "sluice.stall": {
    instrument: "histogram",
    unit: "s",
    attributes: [],
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    description: "How late the event loop of the process was, looked at once a second.",
    level: "full"
  }
} as const satisfies Unnamed
