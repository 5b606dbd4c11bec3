/** Tells which alerts have begun and which have ended, from one look at the reports to the next. */

import type { Database, PoolReport, Report } from "../../Report.js"
import { waitBounds } from "../bounds.js"
import { type Alert, type AlertOf, burnSpans, type Condition, KEEP } from "./definitions.js"
import { History } from "./history.js"
import { type ServerSubject, type Subjects, slowCounters, type Target, WAIT_SPANS, waitCounters } from "./signals.js"

/** What an alert is about. What is `undefined` does not tell it from others. */
export interface Place {
  readonly pod: string | undefined
  readonly database: string | undefined
  readonly pool: string | undefined
  readonly endpoint: string | undefined
}

/** An alert has begun or ended. */
export interface Change {
  readonly isFiring: boolean
  readonly alert: Alert
  readonly place: Place
  /** The number of the first condition when its conditions have held last. */
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

/** The past of a pool. */
interface Known {
  readonly waits: History
  readonly slow: History
  /** The look in which the pool was there last. */
  look: number
}

/** One look at the reports. */
interface Look {
  readonly number: number
  readonly now: number
  readonly at: number
  /** Milliseconds since the look before, as far as they count. */
  readonly passed: number
  readonly changes: Array<Change>
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
  private readonly alerts: { readonly [Of in keyof Subjects]: ReadonlyArray<AlertOf<Of>> }
  private looks = 0
  private last: number | undefined

  constructor(
    alerts: ReadonlyArray<Alert>,
    private readonly target: Target,
    /** What slow is, for `slowShare`. */
    private readonly slowMs: number
  ) {
    this.alerts = {
      pool: alerts.filter((alert) => alert.of === "pool"),
      process: alerts.filter((alert) => alert.of === "process"),
      server: alerts.filter((alert) => alert.of === "server")
    }
  }

  /** `now` is an instant of the monotonic clock, `at` the same moment in milliseconds since the epoch. */
  step(now: number, at: number, reports: ReadonlyArray<Report>): ReadonlyArray<Change> {
    const passed = Math.min(LONGEST_GAP, Math.max(0, now - (this.last ?? now)))
    const look: Look = { number: ++this.looks, now, at, passed, changes: [] }
    this.last = now
    for (const report of reports) this.process(report, look)
    for (const [endpoint, subject] of byServer(reports)) {
      const place = { pod: undefined, database: undefined, pool: undefined, endpoint }
      this.check(this.alerts.server, place, endpoint, subject, look)
    }
    for (const [key, { look: last }] of this.known) if (last !== look.number) this.known.delete(key)
    this.end(look)
    return look.changes
  }

  private process(report: Report, look: Look): void {
    const { databases, pod } = report
    const none = { pod, database: undefined, pool: undefined, endpoint: undefined }
    this.check(this.alerts.process, none, JSON.stringify([pod]), report, look)
    for (const { name: database, pools } of databases) {
      for (const pool of pools) {
        const { endpoint, id, name } = pool
        const key = JSON.stringify([pod, id, name])
        const { slow, waits } = this.historyOf(key, pool, look)
        this.check(this.alerts.pool, { pod, database, pool: name, endpoint }, key, { pool, waits, slow }, look)
      }
    }
  }

  private historyOf(key: string, pool: PoolReport, { now, number }: Look): Known {
    let known = this.known.get(key)
    if (known === undefined) {
      known = { waits: new History(WAIT_SPANS, waitBounds.length + 1), slow: new History(burnSpans, 2), look: number }
      this.known.set(key, known)
    }
    known.look = number
    known.waits.push(now, waitCounters(pool))
    known.slow.push(now, slowCounters(pool, this.slowMs))
    return known
  }

  private check<Of extends keyof Subjects>(
    alerts: ReadonlyArray<AlertOf<Of>>,
    place: Place,
    key: string,
    subject: Subjects[Of],
    look: Look
  ): void {
    const holds = ({ above, signal }: Condition<Subjects[Of]>) => signal.value(subject, this.target) > above
    for (const alert of alerts) {
      if (!alert.when.every(holds)) continue
      const value = alert.when[0].signal.value(subject, this.target)
      this.hold(alert as unknown as Alert, place, `${alert.name} ${key}`, value, look)
    }
  }

  /** The conditions of this alert hold. */
  private hold(alert: Alert, place: Place, key: string, value: number, { at, changes, number, passed }: Look): void {
    let active = this.active.get(key)
    if (active === undefined) {
      active = { alert, place, since: at, value, heldMs: 0, missedMs: undefined, isFiring: false, look: number }
      this.active.set(key, active)
    } else active.heldMs += passed
    active.value = value
    active.missedMs = undefined
    active.look = number
    if (active.isFiring || active.heldMs < alert.forMs) return
    active.isFiring = true
    changes.push(changeOf(active))
  }

  /** Ends what has not held in this look. One that fires goes on for `KEEP`. */
  private end({ changes, number, passed }: Look): void {
    for (const [key, active] of this.active) {
      if (active.look === number) continue
      active.missedMs = active.missedMs === undefined ? 0 : active.missedMs + passed
      if (active.isFiring && active.missedMs < KEEP) continue
      this.active.delete(key)
      if (!active.isFiring) continue
      active.isFiring = false
      changes.push(changeOf(active))
    }
  }
}

const changeOf = ({ alert, isFiring, place, since, value }: Active): Change => ({
  isFiring,
  alert,
  place,
  value,
  since
})

const primaryOf = ({ pools }: Database): PoolReport | undefined => pools.find(({ role }) => role === "primary")

const highest = (a: Database["server"], b: Database["server"]): Database["server"] =>
  a === undefined || b === undefined
    ? (a ?? b)
    : {
        ...a,
        connections: Math.max(a.connections, b.connections),
        maxConnections: Math.max(a.maxConnections, b.maxConnections)
      }

/** What is known of each server: a database tells of the server that is its primary. */
const byServer = (reports: ReadonlyArray<Report>): ReadonlyMap<string, ServerSubject> => {
  const all = new Map<string, ServerSubject>()
  const at = (endpoint: string): ServerSubject => all.get(endpoint) ?? { max: 0, server: undefined }
  for (const database of reports.flatMap(({ databases }) => databases)) {
    for (const { endpoint, max } of database.pools) all.set(endpoint, { ...at(endpoint), max: at(endpoint).max + max })
    const endpoint = primaryOf(database)?.endpoint
    if (endpoint === undefined) continue
    all.set(endpoint, { ...at(endpoint), server: highest(at(endpoint).server, database.server) })
  }
  return all
}
