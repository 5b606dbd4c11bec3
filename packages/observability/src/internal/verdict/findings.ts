/** What is wrong in one process, apart from why callers wait. */
import type { Database, HolderReport, Outage, PoolReport, Report } from "../../Report.js"
import type { Thresholds } from "../../Thresholds.js"
import { count, duration, percent } from "../words.js"
import { type Finding, levelOf } from "./finding.js"
import { effectOf, pressure, usedOf } from "./pressure.js"

/** Milliseconds after an outage for which a queue is what is left of it. */
const AFTERMATH = 15_000

/** A server that refuses connections because it has none left, in the words of PostgreSQL, MySQL and MariaDB. */
const isFull = (message: string): boolean =>
  /too many (clients|connections)|connection slots|max_user_connections/i.test(message)

export const processFindings = (report: Report, { stallMs }: Thresholds): ReadonlyArray<Finding> =>
  report.stallMs <= stallMs
    ? []
    : [
        {
          cause: "stall",
          level: "warning",
          where: undefined,
          pods: [report.pod],
          title: `The process did not run for ${duration(report.stallMs)}, so that every caller had to wait`,
          evidence: `the longest stall of the last minute took ${duration(report.stallMs)} (threshold ${duration(stallMs)})`,
          remedy:
            "Find what blocks the event loop: long computations, synchronous I/O, too little CPU for this process.",
          weight: report.stallMs
        }
      ]

export const databaseFindings = (
  report: Report,
  database: Database,
  thresholds: Thresholds
): ReadonlyArray<Finding> => {
  const found = [...rolesOf(database), ...retriesOf(database, thresholds)]
  for (const pool of database.pools) {
    if (pool.phase !== "closed") found.push(...poolFindings(report, pool, thresholds))
  }
  return found.map((finding) => ({ ...finding, pods: [report.pod] }))
}

type Found = Omit<Finding, "pods">

const rolesOf = ({ isWritable, name, pools }: Database): Array<Found> =>
  // A primary that cannot be reached is told of by its pool.
  isWritable || !pools.some(({ isUp }) => isUp)
    ? []
    : [
        {
          cause: "notWritable",
          level: "critical",
          where: name,
          title: `No server of "${name}" takes writes`,
          evidence: pools
            .map(({ endpoint, isUp, role }) => `${endpoint} (${role}) ${isUp ? "answers" : "does not answer"}`)
            .join("; "),
          remedy: "Promote a replica, make the primary writable, or give the address of the server that takes writes.",
          weight: Infinity
        }
      ]

const retriesOf = ({ lastMinute, name, pools }: Database, thresholds: Thresholds): Array<Found> => {
  const { denied, total } = lastMinute.retries
  const acquired = pools.reduce((all, pool) => all + pool.lastMinute.acquired, 0)
  const share = acquired === 0 ? 0 : total / acquired
  if (share <= thresholds.retries && denied === 0) return []
  const errors = Object.entries(lastMinute.errors)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([tag, n]) => `${tag} ${n}`)
  const mostly = errors.length === 0 ? "" : `; statements failed with ${errors.join(", ")}`
  return [
    {
      cause: "retries",
      level: "warning",
      where: name,
      title: `Many statements of "${name}" are executed again`,
      evidence: `${total} in the last minute, which is ${percent(share)} of the acquires (threshold ${percent(thresholds.retries)})${
        denied === 0 ? "" : `; ${denied} more were not, because the retry budget was used up`
      }${mostly}`,
      remedy: "Find why they fail: the reasons are among the errors.",
      weight: total + denied
    }
  ]
}

const poolFindings = (report: Report, pool: PoolReport, thresholds: Thresholds): Array<Found> => {
  const own = { where: pool.name }
  const found: Array<Found> = [...leasesOf(pool, thresholds), ...replicaOf(pool, thresholds), ...lostOf(pool)]
  const ordered = orderOf(pool, thresholds) ?? outageOf(report, pool, thresholds)
  if (ordered !== undefined) found.push(ordered)
  else if (!isOfStall(report, pool, thresholds)) {
    const pressed = pressure(pool, thresholds)
    if (pressed !== undefined) found.push({ ...pressed, ...own })
    else found.push(...busyOf(pool, thresholds))
  }
  return found
}

/** What the program has ordered. */
const orderOf = (pool: PoolReport, thresholds: Thresholds): Found | undefined => {
  const { name, phase, suspendedMs, using, waiting } = pool
  if (phase === "suspended") {
    const isLong = suspendedMs > thresholds.suspendedMs
    return {
      cause: "suspended",
      level: isLong ? "critical" : "warning",
      where: name,
      title: `"${name}" is suspended: ${count(waiting, "caller waits", "callers wait")}`,
      evidence: `for ${duration(suspendedMs)}${isLong ? ` (threshold ${duration(thresholds.suspendedMs)})` : ""}`,
      remedy: "Resume it. It resumes by itself when its bound has passed.",
      weight: waiting
    }
  }
  if (phase !== "draining") return undefined
  return {
    cause: "draining",
    level: "warning",
    where: name,
    title: `"${name}" is closing: acquires fail`,
    evidence: `${count(using, "connection")} still in use`,
    remedy: "Nothing, if the process ends. Else acquire before the scope of the pool ends.",
    weight: using
  }
}

const hostWords = ({ message }: Outage) =>
  isFull(message)
    ? {
        title: "the server has no connection left",
        remedy:
          "Close connections of others, or lower maxSize so that all processes together stay below the limit of the server."
      }
    : {
        title: "connecting fails",
        remedy: "Check that the host is up, accepts connections from here, and knows the user and the password."
      }

/** A pool of a database is called after its server, unless the program has named it. */
const placed = ({ endpoint, name }: PoolReport): string => (name === endpoint ? `"${name}"` : `"${name}" (${endpoint})`)

/** The host of the pool cannot be connected to, or could not be a moment ago. */
const outageOf = (report: Report, pool: PoolReport, thresholds: Thresholds): Found | undefined => {
  const { endpoint, host, name, outage, role, size, waiting } = pool
  if (outage === undefined) return undefined
  const effect = effectOf(pool, thresholds)
  const hit = effect === undefined ? "" : `; ${effect}`
  const failed = `${count(outage.attempts, "connect")} failed, the last one with: ${outage.message}`
  const { remedy, title } = hostWords(outage)
  if (outage.until !== undefined) {
    const ago = report.at - outage.until
    if (ago > AFTERMATH && pressure(pool, thresholds)?.cause !== "waits" && effect !== undefined) return undefined
    return {
      cause: "wasDown",
      level: "warning",
      where: name,
      title: `${placed(pool)} could not be connected to for ${duration(outage.until - outage.since)}, until ${duration(ago)} ago`,
      evidence: `${failed}${hit}`,
      remedy: "Connecting works again. If nobody has restarted the server, look into its log.",
      weight: waiting
    }
  }
  const since = duration(report.at - outage.since)
  if (size > 0 && host !== "down") {
    return {
      cause: isFull(outage.message) ? "serverFull" : "connectsFail",
      level: "warning",
      where: name,
      title: `${placed(pool)} gets no more connections: ${title}, since ${since}`,
      evidence: `${count(size, "connection")} still open; ${failed}${hit}`,
      remedy,
      weight: waiting
    }
  }
  if (role === "replica") {
    return {
      cause: "replicaDown",
      level: "warning",
      where: name,
      title: `Replica ${endpoint} cannot be reached, since ${since}`,
      evidence: `${failed}${hit}`,
      remedy: `Reads go to the other servers meanwhile. ${remedy}`,
      weight: waiting
    }
  }
  return {
    cause: isFull(outage.message) ? "serverFull" : "down",
    level: "critical",
    where: name,
    title: `${placed(pool)} has no connection: ${title}, since ${since}`,
    evidence: `${failed}${hit}`,
    remedy,
    weight: Infinity
  }
}

const lostOf = (pool: PoolReport): Array<Found> => {
  const { lastMinute, max, name, outage } = pool
  const lost = lastMinute.closed.error ?? 0
  return lost < Math.max(2, max / 2) || outage !== undefined
    ? []
    : [
        {
          cause: "connectionsLost",
          level: "warning",
          where: name,
          title: `${count(lost, "connection")} of ${placed(pool)} broke in the last minute`,
          evidence: `${lost} closed because of an error; at most ${max} are open`,
          remedy: "Find who ended them: a restart or a failover of the server, an administrator, a proxy between.",
          weight: lost
        }
      ]
}

/** The waits of this pool are no longer than the process did not run for, and its connections were not all in use. */
const isOfStall = (report: Report, pool: PoolReport, { stallMs, utilization }: Thresholds): boolean =>
  report.stallMs > stallMs &&
  Math.max(pool.waits.p95Ms, pool.oldestWaitMs) <= report.stallMs &&
  usedOf(pool) < pool.max * utilization.warning

const busyOf = (pool: PoolReport, { utilization }: Thresholds): Array<Found> => {
  const { max, name, using } = pool
  const share = usedOf(pool) / max
  return share <= utilization.warning
    ? []
    : [
        {
          cause: "busy",
          level: "warning",
          where: name,
          title: `Most connections of "${name}" are in use`,
          evidence: `${percent(share)} of ${max} in the last seconds (threshold ${percent(utilization.warning)}), ${using} now; nobody has waited for long`,
          remedy: "Callers will wait soon. See what another maxSize would have done.",
          weight: share
        }
      ]
}

const remedies: Readonly<Record<HolderReport["kind"], string>> = {
  busy: "Make this work shorter, or give it a time limit.",
  unknown: "Release it as soon as its work is done.",
  idleInTransaction: "End the transaction before slow work: its locks are held, too.",
  forgotten: "Hold a connection by an effect or a scope that ends with the work.",
  listener: "Listen on a connection that belongs to no pool.",
  stream: "Read the stream faster, or end it earlier."
}

const does: Readonly<Record<HolderReport["kind"], string>> = {
  busy: "at work",
  unknown: "what it is used for cannot be told",
  idleInTransaction: "idle in a transaction",
  forgotten: "nothing is done on it",
  listener: "listening",
  stream: "read as a stream"
}

const leasesOf = ({ holders, lastMinute, name }: PoolReport, { leaseMs }: Thresholds): Array<Found> => {
  const oldest = holders[0]
  if (oldest === undefined) return []
  const doing = oldest.idleMs > 0 ? `${does[oldest.kind]} for ${duration(oldest.idleMs)}` : does[oldest.kind]
  const what = `connection ${oldest.connection} for ${duration(oldest.heldMs)}, ${doing}`
  if (oldest.heldMs > leaseMs) {
    const long = holders.filter(({ heldMs }) => heldMs > leaseMs).length
    return [
      {
        cause: "longLease",
        level: "warning",
        where: name,
        title: `A lease of "${name}" is held for ${duration(oldest.heldMs)}`,
        evidence: `${long === 1 ? "" : `${long} leases, the oldest: `}${what} (threshold ${duration(leaseMs)})`,
        remedy: remedies[oldest.kind],
        weight: long
      }
    ]
  }
  return lastMinute.leaks === 0
    ? []
    : [
        {
          cause: "leak",
          level: "warning",
          where: name,
          title: `${count(lastMinute.leaks, "lease")} of "${name}" ${lastMinute.leaks === 1 ? "is" : "are"} held longer than leakThreshold`,
          evidence: `the oldest lease: ${what}`,
          remedy: remedies[oldest.kind],
          weight: lastMinute.leaks
        }
      ]
}

const replicaOf = (pool: PoolReport, thresholds: Thresholds): Array<Found> => {
  const { endpoint, isLagging, isSilent, isUp, lagMs, name, outage, phase, role } = pool
  const found: Array<Found> = []
  if (isSilent) {
    found.push({
      cause: "silent",
      level: "warning",
      where: name,
      title: `${endpoint} has stopped answering`,
      evidence: "a statement takes much longer than usual, and since it began nothing has come on any connection",
      remedy: "Look whether the host, or the network to it, is cut off or overloaded.",
      weight: 1
    })
  }
  if (role !== "replica") return found
  if (!isUp && phase === "running" && outage === undefined) {
    found.push({
      cause: "replicaDown",
      level: "warning",
      where: name,
      title: `Replica ${endpoint} gets no reads`,
      evidence: "its control connection gets no answer, or the pool has no connection",
      remedy: "Reads go to the other servers meanwhile. Look whether the host is up.",
      weight: 1
    })
  }
  const level = lagMs === undefined ? "ok" : levelOf(lagMs, thresholds.lagMs)
  if (level !== "ok" || isLagging) {
    const limit = level === "critical" ? thresholds.lagMs.critical : thresholds.lagMs.warning
    const above = level === "ok" ? "" : ` (threshold ${duration(limit)})`
    found.push({
      cause: "replicaLag",
      level: level === "ok" ? "warning" : level,
      where: name,
      title: `Replica ${endpoint} is ${lagMs === undefined ? "too far" : duration(lagMs)} behind the primary`,
      evidence: `${lagMs === undefined ? "how far is not known" : `${duration(lagMs)} behind${above}`}${
        isLagging ? "; it gets no reads, because maxLag of the router is exceeded" : ""
      }`,
      remedy:
        "Look for long statements on the replica, for large writes on the primary, and at the network between them.",
      weight: lagMs ?? 0
    })
  }
  return found
}
