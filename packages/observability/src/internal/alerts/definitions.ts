/** All alerts. The rules for Prometheus, the alerts of the process and the page of runbooks are made of this list. */
import type { Thresholds } from "../../Thresholds.js"
import * as signals from "./signals.js"

export type Severity = "warning" | "critical"

/** How a number is written for people. */
export type Unit = "share" | "seconds" | "count"

export interface Condition<S> {
  readonly signal: signals.Signal<S>
  /** A value that is exactly this is still right. */
  readonly above: number
}

interface Common {
  readonly name: string
  readonly severity: Severity
  /** For how long all conditions must hold. */
  readonly forMs: number
  readonly unit: Unit
  /** One line. `{pool}`, `{endpoint}` and `{value}` are filled in. */
  readonly summary: string
  /** What has caused it, as far as the numbers say. */
  readonly cause: string
  /** What to do, first things first. */
  readonly remedy: string
}

/** What an alert of this kind watches. */
interface Watching<Of extends keyof signals.Subjects> extends Common {
  /** What there is one alert for: each pool of a process, each process, or each server. */
  readonly of: Of
  /** The first one is the number that the alert shows. */
  readonly when: readonly [Condition<signals.Subjects[Of]>, ...ReadonlyArray<Condition<signals.Subjects[Of]>>]
}

export type Alert = { readonly [Of in keyof signals.Subjects]: Watching<Of> }[keyof signals.Subjects]

export type AlertOf<Of extends keyof signals.Subjects> = Watching<Of>

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** An alert ends when its conditions have not held for this long, so that one which comes and goes is one alert. */
export const KEEP = MINUTE

/**
 * How fast the acquires that may be slow are used up, over a long span and a short one that tells whether it goes on. At 1 they
 * last exactly for the time for which the objective is set, 30 days: 14.4 uses up 2 % of them in an hour, 6 uses up 5 % in 6 hours.
 */
const burns = [
  { name: "SluiceWaitBudgetBurnsFast", rate: 14.4, long: HOUR, short: 5 * MINUTE, forMs: 2 * MINUTE, is: "critical" },
  { name: "SluiceWaitBudgetBurns", rate: 6, long: 6 * HOUR, short: 30 * MINUTE, forMs: 15 * MINUTE, is: "critical" },
  { name: "SluiceWaitBudgetBurnsSlowly", rate: 1, long: 3 * DAY, short: 6 * HOUR, forMs: HOUR, is: "warning" }
] as const

/** The spans over which slow acquires are counted. */
export const burnSpans: ReadonlyArray<number> = [
  ...new Set(burns.flatMap(({ long, short }): ReadonlyArray<number> => [long, short]))
]

/** A share as a percentage, without digits that say nothing: 0.144 % stays, 80.00000000000001 % does not. */
export const percent = (share: number): string => `${Number((share * 100).toPrecision(4))} %`

const span = (ms: number): string =>
  ms >= DAY ? `${ms / DAY} d` : ms >= HOUR ? `${ms / HOUR} h` : `${ms / MINUTE} min`

const burnAlerts = ({ objective, waitP95Ms }: Thresholds): ReadonlyArray<Alert> =>
  burns.map(({ forMs, is, long, name, rate, short }) => {
    const above = Number((rate * (1 - objective)).toPrecision(6))
    return {
      name,
      severity: is,
      of: "pool",
      forMs,
      when: [
        { signal: signals.slowShare(waitP95Ms, long), above },
        { signal: signals.slowShare(waitP95Ms, short), above }
      ],
      unit: "share",
      summary: `Pool {pool}: {value} of the acquires of ${span(long)} were not served within ${waitP95Ms} ms.`,
      cause: `The objective is that ${percent(objective)} are. At this rate the acquires that may be slow are used up ${rate === 1 ? "by the end of 30 days" : `${rate} times as fast as 30 days allow`}; the last ${span(short)} say that it goes on.`,
      remedy:
        "Look at the verdict of a board: it says whether the pool is too small, leases are held too long, or the database is slow. Then shorten the work, or raise maxSize within what the server allows."
    }
  })

export const all = (thresholds: Thresholds): ReadonlyArray<Alert> => {
  const t = thresholds
  return [
    {
      name: "SluicePoolBusy",
      severity: "warning",
      of: "pool",
      forMs: 5 * MINUTE,
      when: [{ signal: signals.utilization, above: t.utilization.warning }],
      unit: "share",
      summary: "Pool {pool} has {value} of its connections in use.",
      cause: "Leases are held longer than before, or more work arrives. At the next rush callers will wait.",
      remedy:
        "Find the longest leases and slow statements first. If all of them are needed, raise maxSize within what the server allows; a board shows what another maxSize would have done."
    },
    {
      name: "SluicePoolFull",
      severity: "critical",
      of: "pool",
      forMs: 2 * MINUTE,
      when: [
        { signal: signals.utilization, above: t.utilization.critical },
        { signal: signals.waiting, above: 0 }
      ],
      unit: "share",
      summary: "Pool {pool} is full ({value} in use), and callers wait.",
      cause:
        "More work arrives than the connections finish, or leases are held by slow statements, open transactions or forgotten work.",
      remedy:
        "Look at the longest leases: end open transactions before slow work, stop or shorten slow statements. If all leases are short, send less work, or raise maxSize within what the server allows."
    },
    {
      name: "SluicePoolWaitsLong",
      severity: "warning",
      of: "pool",
      forMs: 5 * MINUTE,
      when: [{ signal: signals.waitQuantile(0.95), above: t.waitP95Ms / 1_000 }],
      unit: "seconds",
      summary: "Pool {pool}: one acquire in twenty waits {value} or longer.",
      cause:
        "The pool is often full when callers come: their bursts are larger than the pool, or leases are held too long.",
      remedy:
        "Compare the wait with how long leases are held: if leases are short, raise maxSize; if they are long, shorten the work in them. Requests can be served before background work by priority."
    },
    {
      name: "SluicePoolExhausted",
      severity: "warning",
      of: "pool",
      forMs: 0,
      when: [{ signal: signals.refused, above: 0 }],
      unit: "count",
      summary: "Pool {pool}: acquires have failed because there was no connection for them.",
      cause:
        "Callers have waited for the acquire timeout, too many of them waited already, or they were shed because the pool is overloaded.",
      remedy:
        "Read the message of the error: it names the likely cause, the longest leases and what to do. Do not raise the acquire timeout, because a longer queue only fails later."
    },
    {
      name: "SluicePoolRefuses",
      severity: "critical",
      of: "pool",
      forMs: 0,
      when: [{ signal: signals.refusedShare, above: t.exhaustion }],
      unit: "share",
      summary: "Pool {pool}: {value} of the acquires have failed because there was no connection for them.",
      cause:
        "Callers have waited for the acquire timeout, too many of them waited already, or they were shed because the pool is overloaded.",
      remedy:
        "Read the message of the error: it names the likely cause, the longest leases and what to do. Until it is found, send less work: background work first."
    },
    ...burnAlerts(t),
    {
      name: "SluiceFleetOvercommitted",
      severity: "critical",
      of: "server",
      forMs: MINUTE,
      when: [{ signal: signals.committed, above: 1 }],
      unit: "share",
      summary: "The pools of all processes may open {value} of the connections that {endpoint} has.",
      cause:
        "The sum of maxSize over all processes is greater than what the server allows. As long as they are not all in use nothing fails; in a rush, or when a deploy doubles the processes, the server refuses.",
      remedy:
        "Lower maxSize, or run fewer processes, before the rush comes. Raise max_connections only if the server has the memory and the cores for it."
    },
    {
      name: "SluiceServerConnectionsHigh",
      severity: "warning",
      of: "server",
      forMs: MINUTE,
      when: [{ signal: signals.serverUtilization, above: t.serverConnections.warning }],
      unit: "share",
      summary: "{endpoint} has {value} of its max_connections open.",
      cause:
        "The server counts all connections, also those of other programs, of administrators and of processes that are being replaced.",
      remedy:
        "Compare the connections of the server with those of the pools on a board. If the pools have most of them, lower maxSize or minIdle; if not, find the other programs in the server's own list."
    },
    {
      name: "SluiceServerConnectionsExhausted",
      severity: "critical",
      of: "server",
      forMs: MINUTE,
      when: [{ signal: signals.serverUtilization, above: t.serverConnections.critical }],
      unit: "share",
      summary: "{endpoint} has {value} of its max_connections open, and will soon refuse.",
      cause:
        "The server counts all connections, also those of other programs, of administrators and of processes that are being replaced.",
      remedy:
        "Free connections now: stop a deploy that doubles the processes, lower maxSize, end idle sessions of other programs. Leave the reserved connections to the administrators."
    },
    {
      name: "SluiceLeaseLong",
      severity: "warning",
      of: "pool",
      forMs: 0,
      when: [{ signal: signals.oldestLease, above: t.leaseMs / 1_000 }],
      unit: "seconds",
      summary: "Pool {pool}: a connection has been leased for {value}.",
      cause:
        "A statement runs very long, a transaction was left open, or a program keeps a connection that it does not use.",
      remedy:
        "A board and the log name the span that holds it, and the server's process behind it. End the transaction, cancel the statement, or give long work a pool of its own."
    },
    {
      name: "SluiceLeak",
      severity: "warning",
      of: "pool",
      forMs: 0,
      when: [{ signal: signals.leaks, above: 0 }],
      unit: "count",
      summary: "Pool {pool}: a lease was held longer than leakThreshold.",
      cause:
        "A program keeps a connection longer than it should: mostly because work that waits for something else is done inside of the lease.",
      remedy:
        "The log names the span, and with the option leakStack the line that has acquired it. Use Pool.use or Sql.withConnection around the statements alone. The option reclaim takes such leases away."
    },
    {
      name: "SluiceReplicaBehind",
      severity: "warning",
      of: "pool",
      forMs: MINUTE,
      when: [{ signal: signals.lag, above: t.lagMs.warning / 1_000 }],
      unit: "seconds",
      summary: "Replica {endpoint} is {value} behind.",
      cause:
        "The replica does not apply changes as fast as the primary makes them: a large write, a long query on the replica that holds it up, or a slow disk or network.",
      remedy:
        "Look for long queries on the replica and for bulk writes on the primary. Reads that must be fresh go to another server by themselves, so watch the load of the primary."
    },
    {
      name: "SluiceReplicaFarBehind",
      severity: "critical",
      of: "pool",
      forMs: MINUTE,
      when: [{ signal: signals.lag, above: t.lagMs.critical / 1_000 }],
      unit: "seconds",
      summary: "Replica {endpoint} is {value} behind.",
      cause: "The replica has stopped applying changes, or it will not catch up by itself.",
      remedy:
        "See on the replica whether replication runs at all, and whether its disk is full. Take it out of service if it does not catch up; the primary then has all reads."
    },
    {
      name: "SluiceRetriesMany",
      severity: "warning",
      of: "process",
      forMs: 5 * MINUTE,
      when: [{ signal: signals.retries, above: t.retries }],
      unit: "share",
      summary: "Statements are executed again after {value} of the acquires.",
      cause:
        "Transactions conflict (deadlocks, serialization failures), or the server ends connections: a failover, a restart, a proxy that cuts them.",
      remedy:
        "Look at the errors by reason. Conflicts: make transactions shorter and let them lock in one order. Lost connections: look at the server and the network."
    },
    {
      name: "SluiceConnectFailures",
      severity: "warning",
      of: "pool",
      forMs: MINUTE,
      when: [{ signal: signals.connectFailures, above: 0 }],
      unit: "count",
      summary: "Pool {pool}: connecting has failed {value} times in the last minute.",
      cause: "The host is down or cannot be reached, refuses more connections, or rejects the login.",
      remedy:
        "The log has the server's own words. The pool tries again by itself, and needs no restart. For a rejected login, correct the credentials; for too many connections, see SluiceServerConnectionsExhausted."
    },
    {
      name: "SluicePoolSuspended",
      severity: "warning",
      of: "pool",
      forMs: 0,
      when: [{ signal: signals.suspended, above: t.suspendedMs / 1_000 }],
      unit: "seconds",
      summary: "Pool {pool} has been suspended for {value}.",
      cause:
        "Somebody has called Pool.suspend, for example for a maintenance of the database, and nobody has resumed it. Its callers wait.",
      remedy: "Resume the pool if the maintenance is over; it resumes by itself after an hour at most."
    }
  ]
}
