/** Tells which alerts have begun and which have ended, from one look at the reports to the next. */
import type { Database, PoolReport, Report } from "../../Report.js"
import type { Alert } from "./definitions.js"
import { burnSpans, KEEP } from "./definitions.js"
import { History } from "./history.js"
import { type Subject, slowCounters, type Target, WAIT_SPANS, waitBounds, waitCounters } from "./signals.js"

/** An alert has begun or ended. */
export interface Change {
  readonly isFiring: boolean
  readonly alert: Alert
  /** `undefined`: it is about all processes. */
  readonly pod: string | undefined
  readonly database: string
  readonly pool: string
  /** The number of the first condition when the alert began, or when its conditions held last. */
  readonly value: number
  /** When its conditions began to hold, in milliseconds since the epoch. */
  readonly since: number
}

/** An alert whose conditions hold, or have held until a moment ago. */
interface Active {
  readonly alert: Alert
  readonly place: Place
  readonly since: number
  value: number
  /** For how long the conditions hold, as far as somebody has looked. */
  heldMs: number
  /** For how long they do not hold any more. `undefined`: they do. */
  missedMs: number | undefined
  isFiring: boolean
  /** The look in which the conditions have held last. */
  look: number
}

interface Place {
  readonly pod: string | undefined
  readonly database: string
  readonly pool: string
  readonly key: string
}

interface Known {
  readonly waits: History
  readonly slow: History
  look: number
}

/**
 * At most this much of the time between two looks counts: a process that did not run for an hour has not seen that something was
 * wrong for an hour.
 */
const LONGEST_GAP = 60_000

/**
 * Holds no more than the pools of the last look, the alerts that are active, and sixty values of each counter for each span.
 */
export class Evaluator {
  private readonly active: Map<string, Active> = new Map()
  private readonly known: Map<string, Known> = new Map()
  private readonly alerts: Readonly<Record<Alert["of"], ReadonlyArray<Alert>>>
  private look = 0
  private last: number | undefined

  constructor(
    alerts: ReadonlyArray<Alert>,
    private readonly target: Target,
    /** What slow is, for `slowShare`. */
    private readonly slowMs: number
  ) {
    const of = (of: Alert["of"]) => alerts.filter((alert) => alert.of === of)
    this.alerts = { pool: of("pool"), database: of("database"), fleet: of("fleet") }
  }

  /** `now` is an instant of the monotonic clock, `at` the same moment in milliseconds since the epoch. */
  step(now: number, at: number, reports: ReadonlyArray<Report>): ReadonlyArray<Change> {
    const passed = Math.min(LONGEST_GAP, Math.max(0, now - (this.last ?? now)))
    this.last = now
    this.look++
    const changes: Array<Change> = []
    for (const { databases, pod } of reports) {
      for (const database of databases) this.ofProcess(pod, database, now, at, passed, changes)
    }
    for (const [endpoint, shared] of byEndpoint(reports)) this.ofServer(endpoint, shared, at, passed, changes)
    for (const [key, known] of this.known) if (known.look !== this.look) this.known.delete(key)
    this.end(passed, changes)
    return changes
  }

  private ofProcess(
    pod: string,
    database: Database,
    now: number,
    at: number,
    passed: number,
    changes: Array<Change>
  ): void {
    const names = new Map<string, number>()
    for (const pool of database.pools) {
      // Two pools of one name are told apart by their order.
      const same = names.get(pool.name) ?? 0
      names.set(pool.name, same + 1)
      const place = placeOf(pod, database.name, pool.name, same)
      const { slow, waits } = this.historyOf(place.key, pool, now)
      this.check(this.alerts.pool, place, { database, pool, fleetMax: 0, waits, slow }, at, passed, changes)
    }
    const pool = primaryOf(database)
    if (pool === undefined) return
    const subject = { database, pool, fleetMax: 0, ...nothing }
    this.check(this.alerts.database, placeOf(pod, database.name, pool.name, 0), subject, at, passed, changes)
  }

  private ofServer(
    endpoint: string,
    { databases, fleetMax }: Shared,
    at: number,
    passed: number,
    changes: Array<Change>
  ): void {
    const [first] = databases
    if (first === undefined) return
    const servers = databases.map(({ server }) => server).filter((server) => server !== undefined)
    const server = servers[0] && {
      ...servers[0],
      connections: Math.max(...servers.map(({ connections }) => connections)),
      maxConnections: Math.max(...servers.map(({ maxConnections }) => maxConnections))
    }
    const pool = primaryOf(first)!
    const subject = { database: { ...first, server }, pool, fleetMax, ...nothing }
    this.check(this.alerts.fleet, placeOf(undefined, first.name, pool.name, endpoint), subject, at, passed, changes)
  }

  private historyOf(key: string, pool: PoolReport, now: number): Known {
    let known = this.known.get(key)
    if (known === undefined) {
      known = { waits: new History(WAIT_SPANS, waitBounds.length + 1), slow: new History(burnSpans, 2), look: 0 }
      this.known.set(key, known)
    }
    known.look = this.look
    known.waits.push(now, waitCounters(pool))
    known.slow.push(now, slowCounters(pool, this.slowMs))
    return known
  }

  private check(
    alerts: ReadonlyArray<Alert>,
    place: Place,
    subject: Subject,
    at: number,
    passed: number,
    changes: Array<Change>
  ): void {
    for (const alert of alerts) {
      const [first, ...others] = alert.when
      const value = first.signal.value(subject, this.target)
      if (!(value > first.above)) continue
      if (others.some(({ above, signal }) => !(signal.value(subject, this.target) > above))) continue
      this.hold(alert, place, value, at, passed, changes)
    }
  }

  /** The conditions of this alert hold. */
  private hold(alert: Alert, place: Place, value: number, at: number, passed: number, changes: Array<Change>): void {
    const key = `${alert.name}\n${place.key}`
    let active = this.active.get(key)
    if (active === undefined) {
      active = { alert, place, since: at, value, heldMs: 0, missedMs: undefined, isFiring: false, look: this.look }
      this.active.set(key, active)
    } else active.heldMs += passed
    active.value = value
    active.missedMs = undefined
    active.look = this.look
    if (active.isFiring || active.heldMs < alert.forMs) return
    active.isFiring = true
    changes.push(changeOf(active))
  }

  /** Ends what has not held in this look. One that fires goes on for `KEEP`. */
  private end(passed: number, changes: Array<Change>): void {
    for (const [key, active] of this.active) {
      if (active.look === this.look) continue
      active.missedMs = active.missedMs === undefined ? 0 : active.missedMs + passed
      if (active.isFiring && active.missedMs < KEEP) continue
      this.active.delete(key)
      if (!active.isFiring) continue
      active.isFiring = false
      changes.push(changeOf(active))
    }
  }
}

/** For alerts that look at no history. */
const nothing = { waits: new History([], 0), slow: new History([], 0) }

const placeOf = (pod: string | undefined, database: string, pool: string, same: number | string): Place => ({
  pod,
  database,
  pool,
  key: JSON.stringify([pod, database, pool, same])
})

const primaryOf = ({ pools }: Database): PoolReport | undefined => pools.find(({ role }) => role === "primary")

/** The pools to one server, and the databases of which it is the primary. */
interface Shared {
  readonly databases: Array<Database>
  fleetMax: number
}

const byEndpoint = (reports: ReadonlyArray<Report>): ReadonlyMap<string, Shared> => {
  const all = new Map<string, Shared>()
  const at = (endpoint: string): Shared => {
    const known = all.get(endpoint) ?? { databases: [], fleetMax: 0 }
    all.set(endpoint, known)
    return known
  }
  for (const database of reports.flatMap(({ databases }) => databases)) {
    for (const { endpoint, max } of database.pools) at(endpoint).fleetMax += max
    const primary = primaryOf(database)
    if (primary !== undefined) at(primary.endpoint).databases.push(database)
  }
  return all
}

const changeOf = ({ alert, isFiring, place, since, value }: Active): Change => ({
  isFiring,
  alert,
  pod: place.pod,
  database: place.database,
  pool: place.pool,
  value,
  since
})
