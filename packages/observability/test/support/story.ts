/**
 * What happens to the pools of some processes, told moment by moment: as reports, and as the series that Prometheus would have read from
 * the same processes. The counters of both come from the same events.
 */
import type { Report } from "@sluice/observability"
import { endpointLabel } from "../../src/internal/alerts/signals.js"
import { AT, database, pool, report } from "./reports.js"

/** Seconds from one moment of a story to the next, unless it says otherwise. */
export const STEP = 15

/** One moment of one process. What is left out is calm. */
export interface Moment {
  readonly using?: number
  readonly waiting?: number
  readonly max?: number
  /** Acquires since the moment before that were served: how long they have waited in milliseconds, and how many they were. */
  readonly served?: ReadonlyArray<readonly [waitMs: number, count: number]>
  readonly timeouts?: number
  readonly saturated?: number
  readonly shed?: number
  readonly leaks?: number
  readonly connectFailures?: number
  readonly retries?: number
  readonly oldestLeaseMs?: number
  readonly suspendedMs?: number
  readonly lagMs?: number
  readonly server?: { readonly connections: number; readonly maxConnections: number }
  /** The process is not there. */
  readonly isGone?: boolean
}

export interface Story {
  readonly pods?: ReadonlyArray<string>
  /** In seconds. */
  readonly lasts: number
  /** Seconds from one moment to the next. Default `STEP`. */
  readonly step?: number
  readonly tell: (seconds: number, pod: string) => Moment
}

/** The bounds of the waits, in milliseconds: by hand, so that the catalogue is held against them. */
const BOUNDS = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]

const CALM = { using: 4, waiting: 0, max: 10, served: [[0.5, 400]], oldestLeaseMs: 12 } as const

interface Counters {
  readonly acquired: number
  readonly timeouts: number
  readonly saturated: number
  readonly shed: number
  readonly leaks: number
  readonly connectFailures: number
  readonly retries: number
}

const zero: Counters = {
  acquired: 0,
  timeouts: 0,
  saturated: 0,
  shed: 0,
  leaks: 0,
  connectFailures: 0,
  retries: 0
}

const names = Object.keys(zero) as ReadonlyArray<keyof Counters>

/** One process from the start of a story to its end. */
const life = ({ lasts, step = STEP, tell }: Story, pod: string) => {
  const moments: Array<{ readonly report: Report.Report; readonly values: ReadonlyMap<string, number> } | undefined> =
    []
  const past: Array<Counters> = []
  let counters = zero
  let within = BOUNDS.map(() => 0)
  for (let seconds = 0; seconds <= lasts; seconds += step) {
    const moment = tell(seconds, pod)
    const { max, oldestLeaseMs, served, using, waiting } = { ...CALM, ...moment }
    const events: Counters = { ...zero, ...pick(moment), acquired: served.reduce((sum, [, count]) => sum + count, 0) }
    counters = sumOf(counters, events)
    within = within.map((count, i) => count + served.reduce((sum, [ms, n]) => sum + (ms <= BOUNDS[i]! ? n : 0), 0))
    past.push(counters)
    if (moment.isGone) {
      moments.push(undefined)
      continue
    }
    const minute = differenceOf(counters, past.at(-1 - 60 / step) ?? past[0]!)
    const failures = { AcquireTimeout: minute.timeouts, PoolSaturated: minute.saturated, PoolShed: minute.shed }
    const reported = pool({
      using,
      waiting,
      max,
      oldestLeaseMs,
      acquired: counters.acquired,
      timeouts: counters.timeouts,
      saturated: counters.saturated,
      shed: counters.shed,
      leaks: counters.leaks,
      connectFailures: counters.connectFailures,
      lagMs: moment.lagMs,
      suspendedMs: moment.suspendedMs ?? 0,
      waitsWithin: BOUNDS.map((ms, i) => ({ ms, count: within[i]! })),
      lastMinute: {
        ...pool().lastMinute,
        acquired: minute.acquired,
        acquireFailures: failures,
        leaks: minute.leaks,
        connectFailures: minute.connectFailures
      }
    })
    const { server } = moment
    moments.push({
      report: report(
        [
          database([reported], {
            server: server && { at: AT, active: 0, idleInTransaction: 0, ...server },
            lastMinute: { retries: { total: minute.retries, denied: 0 }, errors: {} }
          })
        ],
        { pod, at: AT + seconds * 1_000 }
      ),
      values: valuesOf(pod, moment, counters, within, { max, oldestLeaseMs, using, waiting })
    })
  }
  return moments
}

const pick = (moment: Moment): Partial<Counters> =>
  Object.fromEntries(Object.entries(moment).filter(([name]) => (names as ReadonlyArray<string>).includes(name)))

const sumOf = (a: Counters, b: Counters): Counters =>
  Object.fromEntries(names.map((name) => [name, a[name] + b[name]])) as unknown as Counters

const differenceOf = (a: Counters, b: Counters): Counters =>
  Object.fromEntries(names.map((name) => [name, a[name] - b[name]])) as unknown as Counters

/** What Prometheus would read, under the names that a person would write into a query. */
const valuesOf = (
  pod: string,
  moment: Moment,
  counters: Counters,
  within: ReadonlyArray<number>,
  { max, oldestLeaseMs, using, waiting }: { max: number; oldestLeaseMs: number; using: number; waiting: number }
): ReadonlyMap<string, number> => {
  const values = new Map<string, number>()
  const put = (name: string, value: number | undefined, labels = "") => {
    const own = `db_client_connection_pool_name="orders",instance="${pod}",namespace="shop"`
    if (value !== undefined) values.set(`${name}{${own}${labels === "" ? "" : `,${labels}`}}`, value)
  }
  put("db_client_connection_count", using, 'db_client_connection_state="used"')
  put("db_client_connection_count", max - using, 'db_client_connection_state="idle"')
  put("db_client_connection_max", max)
  put("db_client_connection_pending_requests", waiting)
  for (const [i, bound] of BOUNDS.entries()) {
    put("db_client_connection_wait_time_seconds_bucket", within[i], `le="${bound / 1_000}"`)
  }
  put("db_client_connection_wait_time_seconds_bucket", counters.acquired, 'le="+Inf"')
  for (const [outcome, count] of [
    ["ok", counters.acquired],
    ["timeout", counters.timeouts],
    ["saturated", counters.saturated],
    ["shed", counters.shed]
  ] as const) {
    put("sluice_acquires_total", count, `priority="normal",outcome="${outcome}"`)
  }
  put("sluice_leaks_total", counters.leaks, 'kind="forgotten"')
  put("sluice_connect_failures_total", counters.connectFailures, 'reason="ConnectFailed"')
  put("sluice_retries_total", counters.retries, 'reason="Deadlock",outcome="succeeded"')
  put("sluice_lease_oldest_age_seconds", oldestLeaseMs / 1_000)
  put("sluice_pool_suspended_seconds", (moment.suspendedMs ?? 0) / 1_000)
  const at = `${endpointLabel}="db-1:5432/pay"`
  put("sluice_replica_lag_seconds", moment.lagMs === undefined ? undefined : moment.lagMs / 1_000, at)
  put("sluice_endpoint_state", 1, `${at},role="primary",state="up"`)
  put("sluice_endpoint_state", 0, `${at},role="primary",state="down"`)
  put("sluice_server_connections", moment.server?.connections)
  put("sluice_server_connections_max", moment.server?.maxConnections)
  return values
}

/** A story, told. */
export interface Told {
  /** The seconds of each moment, and the reports of the processes that were there. */
  readonly moments: ReadonlyArray<{ readonly seconds: number; readonly reports: ReadonlyArray<Report.Report> }>
  /** Series as `promtool test rules` takes them. */
  readonly series: ReadonlyArray<{ readonly series: string; readonly values: string }>
}

export const told = (story: Story): Told => {
  const lives = (story.pods ?? ["pod-1"]).map((pod) => life(story, pod))
  const length = lives[0]!.length
  const moments = Array.from({ length }, (_, i) => ({
    seconds: i * (story.step ?? STEP),
    reports: lives.flatMap((life) => (life[i] === undefined ? [] : [life[i].report]))
  }))
  const series = lives.flatMap((life) => {
    const all = new Set(life.flatMap((moment) => [...(moment?.values.keys() ?? [])]))
    return [...all].map((name) => ({
      series: name,
      values: life.map((moment) => moment?.values.get(name) ?? "stale").join(" ")
    }))
  })
  return { moments, series }
}
