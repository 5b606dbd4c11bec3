/** What the page knows: the last event, what came before it for the curves, the filters, and whether it is still told anything. */
import { most, sum } from "./words.js"

export const told = JSON.parse(document.getElementById("told").textContent)

/** The path under which the board is, also behind a proxy that takes a part of it away. */
export const base = location.pathname.replace(/\/?$/, "/")

/** Seconds that the curves show. */
export const SPAN = 300

/** Milliseconds without an event after which the numbers are said to be old. */
const STALE = 3_000

/** Milliseconds after which a connection that is silent is given up. */
const DEAD = 10_000

export const names = ["pool", "pod", "role"]

const readFilters = () => {
  const query = new URLSearchParams(location.search)
  return Object.fromEntries(names.map((name) => [name, query.get(name) ?? ""]))
}

export const state = {
  /** The last event. */
  now: undefined,
  /** By the page's own clock, which does not step. */
  receivedAt: 0,
  openedAt: performance.now(),
  problem: undefined,
  filters: readFilters(),
  /** One for each event, the oldest first: the pools, as few numbers each. */
  past: []
}

export const setFilter = (name, value) => {
  state.filters = { ...state.filters, [name]: value }
  const query = new URLSearchParams(location.search)
  for (const name of names) {
    if (state.filters[name] === "") query.delete(name)
    else query.set(name, state.filters[name])
  }
  const text = query.toString()
  history.pushState(null, "", text === "" ? location.pathname : `?${text}`)
}

addEventListener("popstate", () => {
  state.filters = readFilters()
})

/** Every pool of every process: `{ pod, pid, database, pool, key }`. */
export const rowsOf = (event) =>
  event.reports.flatMap((report) =>
    report.databases.flatMap((database) =>
      database.pools.map((pool) => ({
        report,
        database,
        pool,
        key: JSON.stringify([database.name, pool.name, pool.endpoint]),
        id: JSON.stringify([report.pod, report.pid, pool.id])
      }))
    )
  )

export const isWanted = ({ report, pool }) =>
  (state.filters.pool === "" || pool.name === state.filters.pool) &&
  (state.filters.pod === "" || report.pod === state.filters.pod) &&
  (state.filters.role === "" || pool.role === state.filters.role)

export const isFiltered = () => names.some((name) => state.filters[name] !== "")

/** Pools of the same name and endpoint in different processes are one group. */
export const groupsOf = (rows) => {
  const groups = new Map()
  for (const row of rows) {
    const group = groups.get(row.key)
    if (group === undefined) groups.set(row.key, { ...row, rows: [row] })
    else group.rows.push(row)
  }
  return [...groups.values()].map((group) => ({ ...group, total: totalOf(group.rows) }))
}

const counts = [
  "size",
  "available",
  "using",
  "waiting",
  "connecting",
  "closing",
  "validating",
  "resetting",
  "quarantined",
  "max"
]

/** The counts of several pools are added; of their times the worst is taken. */
export const totalOf = (rows) => {
  const total = Object.fromEntries(counts.map((name) => [name, sum(rows.map(({ pool }) => pool[name]))]))
  return {
    ...total,
    saturation: total.max === 0 ? 0 : (total.using + total.waiting) / total.max,
    oldestWaitMs: most(rows.map(({ pool }) => pool.oldestWaitMs)),
    waits: Object.fromEntries(
      ["p50Ms", "p95Ms", "p99Ms", "maxMs"].map((name) => [name, most(rows.map(({ pool }) => pool.waits[name]))])
    )
  }
}

/** For the curves: as few numbers as they need, because there are many pools and many seconds. */
const slim = ({ pool, report }) => ({
  report: { pod: report.pod },
  pool: {
    name: pool.name,
    role: pool.role,
    size: pool.size,
    using: pool.using,
    waiting: pool.waiting,
    max: pool.max,
    oldestWaitMs: pool.oldestWaitMs,
    waits: pool.waits
  }
})

const remember = (event) => {
  const last = state.past.at(-1)
  // A clock that was set back would draw a curve over itself: what is later by the old clock is forgotten.
  if (last !== undefined && last.at >= event.at) {
    state.past = state.past.filter(({ at }) => at < event.at)
    points = { filters: undefined, all: [] }
  }
  state.past.push({ at: event.at, rows: rowsOf(event).map(slim) })
  while (state.past[0].at < event.at - SPAN * 1_000) state.past.shift()
}

let points = { filters: undefined, all: [] }

/** The totals of the pools that the filters let through, one for each event. Only those that are new are computed. */
export const past = () => {
  if (points.filters !== state.filters) points = { filters: state.filters, all: [] }
  const known = points.all.at(-1)?.at ?? 0
  for (const { at, rows } of state.past) if (at > known) points.all.push({ at, ...totalOf(rows.filter(isWanted)) })
  while (points.all.length > 0 && points.all[0].at < state.past[0].at) points.all.shift()
  return points.all
}

export const silentMs = () => performance.now() - (state.receivedAt || state.openedAt)

export const isStale = () => silentMs() > STALE

/** Listens, and goes on listening: `changed` is called after each event, and each second in which there is none. */
export const listen = (changed) => {
  let source
  let wait = 1_000
  let lastTry = 0
  const open = () => {
    source?.close()
    lastTry = performance.now()
    source = new EventSource(`${base}events`)
    source.onmessage = ({ data }) => {
      state.now = JSON.parse(data)
      state.receivedAt = performance.now()
      state.problem = undefined
      wait = 1_000
      remember(state.now)
      changed()
    }
    // The browser tries again by itself, except after an answer that is no stream: too many viewers, or signed out.
    source.onerror = async () => {
      if (source.readyState !== EventSource.CLOSED) return
      const answer = await fetch(`${base}stats.json`, { method: "HEAD" }).catch(() => undefined)
      state.problem = answer?.status === 401 ? "signed out" : answer?.ok ? "too many viewers" : undefined
    }
  }
  open()
  setInterval(() => {
    const isDead = source.readyState === EventSource.CLOSED || silentMs() > DEAD
    if (isDead && performance.now() - lastTry > wait) {
      wait = Math.min(wait * 2, 30_000)
      open()
    }
    if (silentMs() > 1_500) changed()
  }, 1_000)
}
