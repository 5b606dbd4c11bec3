/** What each panel shows of the pools that the filters let through. */
import { cancelButton, poolButtons } from "./actions.js"
import { curve } from "./curves.js"
import { isFiltered, state, told } from "./data.js"
import { h, table } from "./dom.js"
import { badges, flagsOf, legend, places } from "./places.js"
import { count, counted, duration, most, percent, spaced, sum } from "./words.js"

const { thresholds, words } = told

/** Rows that are shown of a list that grows with the number of pods. */
const MOST_ROWS = 10

export const waitCurve = {
  id: "curve-waits",
  title: "Wait for a connection",
  format: duration,
  series: [
    { name: words.p50, color: "idle-ink", value: ({ waits }) => waits.p50Ms },
    { name: words.p95, color: "using", value: ({ waits }) => waits.p95Ms },
    { name: words.p99, color: "wait", value: ({ waits }) => waits.p99Ms }
  ]
}

export const useCurve = {
  id: "curve-use",
  title: "Connections and callers",
  format: (value) => count(Math.round(value)),
  series: [
    { name: words.using, color: "using", fill: true, value: ({ using }) => using },
    { name: words.waiting, color: "wait", value: ({ waiting }) => waiting },
    { name: words.max, color: "soft", dash: [4, 4], width: 1, value: ({ max }) => max }
  ]
}

/** A number that is above its threshold is marked, in colour and in words. */
const figure = (name, text, isHigh, limit) =>
  h(
    "div",
    { class: isHigh ? "figure hot" : "figure" },
    h("dt", {}, name),
    h("dd", {}, text, isHigh && h("small", {}, `above ${limit}`))
  )

const waits = ({ past, total }) => {
  const limit = duration(thresholds.waitP95Ms)
  return [
    h(
      "dl",
      { class: "figures" },
      figure(words.oldestWait, duration(total.oldestWaitMs), total.oldestWaitMs > thresholds.waitP95Ms, limit),
      figure(words.p50, duration(total.waits.p50Ms), false),
      figure(words.p95, duration(total.waits.p95Ms), total.waits.p95Ms > thresholds.waitP95Ms, limit),
      figure(words.p99, duration(total.waits.p99Ms), false)
    ),
    curve(waitCurve, past)
  ]
}

/** A bar of a share, with a mark at each threshold. What is above 100 % goes on behind the mark of 100 %. */
const meter = (share, scale, level) =>
  h(
    "div",
    { class: "meter", "aria-hidden": "true" },
    h("i", { class: level, style: { width: `${Math.min(100, (share / scale) * 100)}%` } }),
    h("u", { style: { left: `${100 / scale}%` } })
  )

/** The worst of these pools: one that is all in use while callers wait is not better because others are idle. */
const levelOf = (rows) => {
  const isFull = ({ pool }) => pool.waiting > 0 && pool.using + pool.waiting > pool.max
  const isBusy = ({ pool }) => pool.using / pool.max > thresholds.utilization.warning
  return rows.some(isFull) ? "bad" : rows.some(isBusy) ? "warn" : "fine"
}

const saturation = ({ groups, past }) => {
  const scale = Math.max(1.25, ...groups.map(({ total }) => Math.min(4, total.saturation * 1.05)))
  return [
    h(
      "ul",
      { class: "bars" },
      groups.map(({ key, pool, rows, total }) =>
        h(
          "li",
          { key },
          h("span", { class: "name" }, pool.name, h("small", {}, pool.role)),
          meter(total.saturation, scale, levelOf(rows)),
          h("b", {}, percent(total.saturation))
        )
      )
    ),
    curve(useCurve, past)
  ]
}

const kindWords = {
  busy: "at work",
  idleInTransaction: "idle in transaction",
  forgotten: "nothing runs",
  listener: "listens",
  stream: "is being read",
  unknown: ""
}

/** What runs, if it says more than the kind of the lease. */
const activityOf = ({ activity, kind }) => {
  const text = activity?.replace(/^busy: /, "")
  return text === undefined || text === kindWords[kind] || text === "busy" ? "—" : h("code", {}, text)
}

const holders = ({ rows }) => {
  const all = rows
    .flatMap((row) => row.pool.holders.map((holder) => ({ ...row, holder })))
    .sort((a, b) => b.holder.heldMs - a.holder.heldMs)
    .slice(0, MOST_ROWS)
  const hasPods = new Set(rows.map(({ report }) => report.pod)).size > 1
  const seesTexts = told.rights !== "numbers"
  const mark = ({ heldMs, idleMs, kind }) =>
    heldMs > thresholds.leaseMs || (kind !== "busy" && idleMs > thresholds.idleLeaseMs) ? "warn" : undefined
  const columns = [
    { name: "held for", kind: "num" },
    { name: "pool" },
    hasPods && { name: "pod" },
    { name: "doing" },
    seesTexts && { name: "activity", kind: "text" },
    seesTexts && { name: "span", kind: "text" },
    { name: "server pid", kind: "num" },
    told.rights === "admin" && { name: "action", kind: "act" }
  ].filter((column) => column !== false)
  return table({
    caption: "The leases that were granted longest ago, the oldest first",
    empty: "No connection is leased.",
    columns,
    rows: all.map(({ holder, id, pool, report }) => ({
      key: `${id} ${holder.connection}`,
      kind: mark(holder),
      cells: [
        duration(holder.heldMs),
        `${pool.name} #${holder.connection}`,
        hasPods && report.pod,
        kindWords[holder.kind] === "" ? "—" : kindWords[holder.kind],
        seesTexts && activityOf(holder),
        seesTexts && (holder.span ?? "—"),
        holder.serverPid === undefined ? "—" : String(holder.serverPid),
        told.rights === "admin" && cancelButton({ holder, pool, report })
      ].filter((cell) => cell !== false)
    }))
  })
}

/** Adds up records of counts. */
const merged = (records) => {
  const totals = new Map()
  for (const record of records) {
    for (const [name, value] of Object.entries(record)) totals.set(name, (totals.get(name) ?? 0) + value)
  }
  return [...totals].filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1])
}

const reasons = (caption, empty, entries) =>
  table({
    caption,
    empty,
    columns: [{ name: "reason" }, { name: "last minute", kind: "num" }, { name: "in all", kind: "num" }],
    rows: entries.map(({ kind, lately, name, total }) => ({
      key: name,
      kind,
      cells: [name, count(lately), count(total)]
    }))
  })

const databasesOf = (rows) => [
  ...new Map(rows.map(({ database, report }) => [database, { database, report }])).values()
]

/** Each reason with its numbers of the last minute and of all time. */
const both = (lately, all, named = (name) => name) => {
  const recent = new Map(lately)
  return all.map(([name, total]) => ({ name: named(name), total, lately: recent.get(name) ?? 0 }))
}

const errors = ({ rows }) => {
  const databases = databasesOf(rows).map(({ database }) => database)
  const retries = {
    lately: sum(databases.map(({ lastMinute }) => lastMinute.retries.total)),
    total: sum(databases.map(({ retries }) => retries.total))
  }
  const failed = both(
    merged([
      ...rows.map(({ pool }) => pool.lastMinute.acquireFailures),
      ...databases.map(({ lastMinute }) => lastMinute.errors)
    ]),
    merged([...rows.map(({ pool }) => pool.acquireFailures), ...databases.map(({ errors }) => errors)])
  ).map((entry) => ({ ...entry, kind: entry.lately > 0 ? "warn" : undefined }))
  const again = retries.total === 0 ? [] : [{ name: "executed again", ...retries }]
  return reasons("Failures by reason", "Nothing has failed.", [...failed, ...again])
}

const closes = ({ rows }) => {
  const pools = rows.map(({ pool }) => pool)
  const closed = both(
    merged(pools.map(({ lastMinute }) => lastMinute.closed)),
    merged(pools.map(({ closed }) => closed)),
    (name) => `closed: ${spaced(name)}`
  )
  const line = (name, field, kind) => {
    const lately = sum(pools.map(({ lastMinute }) => lastMinute[field]))
    return { name, lately, total: sum(pools.map((pool) => pool[field])), kind: lately > 0 ? kind : undefined }
  }
  const failures = line("connect failed", "connectFailures", "warn")
  return reasons("Connects, and closes by reason", "Nothing was opened yet.", [
    line("connected", "connects"),
    ...(failures.total === 0 ? [] : [failures]),
    ...closed
  ])
}

const endpoints = ({ groups }) =>
  table({
    caption: "Servers with their role",
    empty: "There is no server.",
    columns: [
      { name: "server" },
      { name: words.role },
      { name: "state" },
      { name: words.lag, kind: "num" },
      { name: "latency", kind: "num" }
    ],
    rows: groups.map(({ key, pool, rows }) => {
      const lags = rows.flatMap(({ pool }) => (pool.lagMs === undefined ? [] : [pool.lagMs]))
      const flags = flagsOf(rows)
      return {
        key,
        cells: [
          pool.endpoint,
          pool.role,
          flags.length === 0 ? h("span", { class: "badge good" }, "up") : badges(flags),
          lags.length === 0 ? "—" : duration(most(lags)),
          duration(most(rows.map(({ pool }) => pool.latencyMs)))
        ]
      }
    })
  })

/** One server is asked by many processes: the latest answer counts. */
const server = ({ rows }) => {
  const byName = new Map()
  for (const { database, pool } of rows) {
    const known = byName.get(database.name) ?? { ours: 0, server: undefined }
    const latest = (database.server?.at ?? 0) > (known.server?.at ?? 0) ? database.server : known.server
    byName.set(database.name, { ours: known.ours + pool.size, server: latest })
  }
  return table({
    caption: "Connections as the clients count them, and as the server does",
    empty: "There is no database.",
    columns: [
      { name: "database" },
      { name: "of these pools", kind: "num" },
      { name: "of the server", kind: "num" },
      { name: "allowed", kind: "num" },
      { name: "at work", kind: "num" },
      { name: "idle in transaction", kind: "num" }
    ],
    rows: [...byName].map(([name, { ours, server }]) => ({
      key: name,
      kind:
        server !== undefined && server.connections / server.maxConnections > thresholds.serverConnections.warning
          ? "warn"
          : undefined,
      cells: [
        name,
        count(ours),
        ...(server === undefined
          ? ["not asked", "—", "—", "—"]
          : [server.connections, server.maxConnections, server.active, server.idleInTransaction].map((n) =>
              n === undefined ? "—" : count(n)
            ))
      ]
    }))
  })
}

const pods = ({ choose, event, rows }) => {
  const byPod = new Map()
  for (const row of rows) byPod.set(row.report.pod, [...(byPod.get(row.report.pod) ?? []), row])
  const totals = [...byPod]
    .map(([pod, rows]) => ({ pod, rows, total: totalOfPod(rows) }))
    .sort(
      (a, b) => b.total.saturation - a.total.saturation || b.total.using - a.total.using || (a.pod < b.pod ? -1 : 1)
    )
  const scale = Math.max(1.25, ...totals.map(({ total }) => Math.min(4, total.saturation * 1.05)))
  const silent = event.silent.map((pod) =>
    h("li", { key: `silent ${pod}`, class: "gone" }, h("span", { class: "name" }, pod), h("em", {}, "does not answer"))
  )
  return h(
    "ol",
    { class: totals.length > 8 ? "bars many" : "bars" },
    silent,
    totals.map(({ pod, rows, total }) =>
      h(
        "li",
        { key: pod },
        h(
          "button",
          {
            class: "name link",
            type: "button",
            "aria-label": `Show pod ${pod} alone`,
            on: { click: () => choose("pod", pod) }
          },
          pod
        ),
        meter(total.saturation, scale, levelOf(rows)),
        h("b", {}, percent(total.saturation)),
        h("small", {}, `${total.using} of ${total.max}${total.waiting > 0 ? `, ${total.waiting} waiting` : ""}`)
      )
    )
  )
}

const totalOfPod = (rows) => {
  const add = (name) => sum(rows.map(({ pool }) => pool[name]))
  const [using, waiting, max] = [add("using"), add("waiting"), add("max")]
  return { using, waiting, max, saturation: max === 0 ? 0 : (using + waiting) / max }
}

/** Of the pools of one name in many processes the one counts that needs most. */
const whatIf = ({ groups }) =>
  groups.map(({ key, pool, rows }) => {
    const needy = rows.reduce((worst, row) => (row.pool.waits.p99Ms > worst.pool.waits.p99Ms ? row : worst))
    const { whatIf, max } = needy.pool
    const enough = whatIf.find(({ waited }) => waited < 0.001)
    const title = `Pool ${pool.name}, ${pool.role}${rows.length > 1 ? `, in pod ${needy.report.pod}` : ""}`
    return h(
      "div",
      { key, class: "whatif" },
      h("h3", {}, title),
      h(
        "p",
        {},
        whatIf.length === 0
          ? "Too little was recorded to say anything yet."
          : enough === undefined
            ? `maxSize is ${max}. With none of the sizes that were tried, up to ${whatIf.at(-1).maxSize}, would nobody have waited.`
            : `maxSize is ${max}. With ${enough.maxSize}, nobody would have waited.`
      ),
      whatIf.length > 0 &&
        table({
          caption: `${title}: the recorded acquires with another maxSize`,
          empty: "",
          columns: [
            { name: "maxSize", kind: "num" },
            { name: "would have waited", kind: "num" },
            { name: "wait p99", kind: "num" },
            { name: "in use", kind: "num" }
          ],
          rows: whatIf.map(({ maxSize, utilization, waited, waitP99Ms }) => ({
            key: maxSize,
            kind: maxSize === max ? "present" : undefined,
            cells: [
              maxSize === max ? `${maxSize} (now)` : String(maxSize),
              percent(waited),
              duration(waitP99Ms),
              percent(utilization)
            ]
          }))
        })
    )
  })

const marks = { ok: "✓", warning: "!", critical: "✕" }

const verdict = ({ event }) => {
  const { level, reasons, sentence } = event.verdict
  const wanted = reasons.filter(
    ({ pods, where }) =>
      (state.filters.pod === "" || pods.length === 0 || pods.includes(state.filters.pod)) &&
      (state.filters.pool === "" || where === undefined || where === state.filters.pool)
  )
  return h(
    "div",
    { class: `verdict ${level}` },
    h("span", { class: "mark", "aria-hidden": "true" }, marks[level]),
    h(
      "div",
      {},
      h("p", { class: "sentence", role: "status", "aria-live": "polite" }, sentence),
      isFiltered() && h("p", { class: "hint" }, "The sentence is about all pools and pods, whatever the filters are."),
      wanted.length > 0 &&
        h(
          "ul",
          { class: "reasons" },
          wanted.map(({ cause, evidence, level, pods, remedy, title, where }) =>
            h(
              "li",
              { key: `${cause} ${where ?? ""}`, class: level },
              wanted.length > 1 && h("strong", {}, title),
              pods.length > 1 && h("span", { class: "pods" }, counted(pods.length, "pod")),
              h("p", { class: "evidence" }, evidence),
              h("p", { class: "remedy" }, remedy)
            )
          )
        )
    )
  )
}

/** Each panel by its id. */
export const contents = {
  verdict,
  places: ({ groups }) => [legend(), h("div", { class: "pools" }, places(groups, poolButtons))],
  waits,
  saturation,
  holders,
  errors,
  closes,
  endpoints,
  server,
  pods,
  whatIf: (view) => h("div", { class: "whatifs" }, whatIf(view))
}
