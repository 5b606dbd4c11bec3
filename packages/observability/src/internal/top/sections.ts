/** What each panel says on a terminal: one line that is always shown, and rows for as long as there is room. */
import * as Panels from "../../Panels.js"
import type { Pod } from "../../Pods.js"
import type { PoolReport } from "../../Report.js"
import { count, duration, percent } from "../words.js"
import type { Beside, Endpoint, Place } from "./summary.js"
import * as Summary from "./summary.js"
import { bar, clean, clipLine, clipName, flow, type Line, lineWidth, pad, padStart, piece, widthOf } from "./text.js"

/** By what the pods are ordered. */
export type Sort = "saturation" | "waiting" | "p95" | "name"

export interface Section {
  readonly id: Panels.PanelId
  readonly head: Line
  readonly rows: ReadonlyArray<Line>
}

const { words } = Panels

/** Seen without colours, too. */
const MARK = "▲"

/** Below this there is room for the shortest words only. */
const NARROW = 60

const INDENT = 2

/** Between two columns. */
const GAP = 2

/** A bar longer than this tells no more. */
const LONGEST_BAR = 40

const titled = (id: Panels.PanelId, rest: Line): Line => [
  piece(Panels.get(id).title, "bold"),
  ...(rest.length === 0 ? [] : [piece("   "), ...rest])
]

const indent = (line: Line): Line => [piece(" ".repeat(INDENT)), ...line]

/** Groups behind the title, on the lines below it where they have no room. */
const spread = (id: Panels.PanelId, groups: ReadonlyArray<Line>, columns: number, rows: ReadonlyArray<Line> = []) => {
  const [head = [], ...more] = flow([titled(id, []), ...groups], columns)
  return { id, head, rows: [...more.map((line) => indent(line)), ...rows] }
}

const nothing = (id: Panels.PanelId, text: string): Section => ({
  id,
  head: titled(id, [piece(text, "dim")]),
  rows: []
})

const waitingMark = (waiting: number, isShort: boolean): Line =>
  waiting === 0
    ? [piece(isShort ? "" : `0 ${words.waiting}`, "dim")]
    : [piece(isShort ? `+${waiting} ${MARK}` : `${waiting} ${words.waiting} ${MARK}`, "critical")]

const placesBar = (using: number, size: number, max: number, columns: number): Line => [
  ...bar(
    [
      { size: using, char: "█", style: using >= max ? "critical" : "warning" },
      { size: Math.max(0, size - using), char: "▒", style: "good" },
      { size: Math.max(0, max - Math.max(size, using)), char: "░", style: "dim" }
    ],
    max,
    columns
  )
]

/** Rows of one bar each, whose bars and numbers stand below each other. */
const barRows = (
  rows: ReadonlyArray<{ readonly name: string; readonly totals: Summary.Totals; readonly end: string }>,
  columns: number
): ReadonlyArray<Line> => {
  const isShort = columns < NARROW
  const ofMax = ({ max, using }: Summary.Totals) => (isShort ? `${using}/${max}` : `${using} of ${max} ${words.using}`)
  const marks = rows.map(({ totals }) => waitingMark(totals.waiting, isShort))
  const widest = (texts: ReadonlyArray<string>): number =>
    texts.reduce((found, text) => Math.max(found, widthOf(text)), 0)
  const numbers = widest(rows.map(({ totals }) => ofMax(totals)))
  const mark = marks.reduce((found, line) => Math.max(found, lineWidth(line)), 0)
  const end = isShort ? 0 : widest(rows.map((row) => row.end))
  const name = Math.min(widest(rows.map((row) => row.name)), Math.max(8, Math.floor(columns / (isShort ? 2.5 : 3))))
  const room = columns - INDENT - name - numbers - mark - end - GAP * (end === 0 ? 3 : 4)
  const length = Math.min(LONGEST_BAR, Math.max(0, room))
  const longest = Math.min(length, Math.max(...rows.map(({ totals }) => totals.max), 0))
  return rows.map(({ name: text, totals, end: last }, i) => {
    const drawn = placesBar(totals.using, totals.size, totals.max, longest)
    return indent([
      piece(pad(clipName(text, name), name + GAP)),
      ...drawn,
      piece(" ".repeat(Math.max(0, longest - lineWidth(drawn)) + GAP)),
      piece(padStart(ofMax(totals), numbers)),
      piece(" ".repeat(GAP)),
      ...marks[i]!,
      ...(end === 0 ? [] : [piece(" ".repeat(mark - lineWidth(marks[i]!) + GAP)), piece(last, "dim")])
    ])
  })
}

/** What tells a place from the others: names that all of them share are left out. */
export const namesOf = (all: ReadonlyArray<Place>): ((place: Place) => string) => {
  const hasPods = new Set(all.map(({ pod }) => pod)).size > 1
  const hasPools = new Set(all.map(({ pool }) => pool.name)).size > 1
  return ({ pod, pool }) =>
    clean([hasPods ? pod : "", hasPools || !hasPods ? pool.name : ""].filter((name) => name !== "").join(" "))
}

const places = (all: ReadonlyArray<Place>, columns: number): Section => {
  if (all.length === 0) return nothing("places", "no pool is known")
  const totals = Summary.totalsOf(all)
  const { available, max, size, using, waiting } = totals
  const notOpen = Math.max(0, max - size)
  const label: Line = [piece(`${words.size} ${size} of ${words.max} ${max}`)]
  const title = titled("places", label)
  const room = columns - lineWidth(title) - 2
  const head = room < 10 ? title : [...title, piece("  "), ...placesBar(using, size, max, Math.min(LONGEST_BAR, room))]
  const numbers: ReadonlyArray<Line> = [
    [piece("█ ", "warning"), piece(`${words.using} ${using}`)],
    [piece("▒ ", "good"), piece(`${words.available} ${available}`)],
    [piece("░ ", "dim"), piece(`${words.free} ${notOpen}`)],
    waiting === 0 ? [piece(`${words.waiting} 0`)] : [piece(`${words.waiting} ${waiting} ${MARK}`, "critical")]
  ]
  const pools = [...Summary.groupBy(all, ({ pool }) => pool.name)]
  const rows = pools.map(([name, group]) => {
    const own = Summary.totalsOf(group)
    const peak = Math.max(...group.map(({ pool }) => pool.usingMax))
    return { name: clean(name), totals: own, end: group.length > 1 ? "" : `at most ${peak} in a minute` }
  })
  return {
    id: "places",
    head,
    rows: [
      ...flow(numbers, columns - INDENT).map(indent),
      ...(pools.length < 2 ? [] : barRows(rows.sort(bySaturation), columns))
    ]
  }
}

const bySaturation = (a: { readonly totals: Summary.Totals }, b: { readonly totals: Summary.Totals }): number =>
  b.totals.saturation - a.totals.saturation

const waits = (all: ReadonlyArray<Place>, columns: number): Section => {
  const worst = [...all].sort((a, b) => b.pool.waits.p95Ms - a.pool.waits.p95Ms)[0]
  if (worst === undefined) return nothing("waits", "no pool is known")
  const nameOf = namesOf(all)
  const { count: acquires, maxMs, p50Ms, p95Ms, p99Ms } = worst.pool.waits
  const oldest = Math.max(...all.map(({ pool }) => pool.oldestWaitMs))
  const numbers: ReadonlyArray<Line> =
    acquires === 0
      ? [[piece("no acquire in the last minute", "dim")]]
      : [
          [piece(`${words.p50} ${duration(p50Ms)}`)],
          [piece(`${words.p95} ${duration(p95Ms)}`)],
          [piece(`${words.p99} ${duration(p99Ms)}`)],
          [piece(`${words.longest} ${duration(maxMs)}`)],
          ...(all.length > 1 ? [[piece(`(${nameOf(worst)})`, "dim")]] : [])
        ]
  const now: ReadonlyArray<Line> =
    oldest > 0 ? [[piece(`${words.oldestWait} ${duration(oldest)} ${MARK}`, "critical")]] : []
  const queues = all
    .flatMap((place) => place.pool.queues.map((queue) => ({ ...queue, name: nameOf(place) })))
    .sort((a, b) => b.oldestMs - a.oldestMs)
    .map(({ depth, name, oldestMs, priority }) =>
      indent([
        piece(padStart(duration(oldestMs), 8), "critical"),
        piece(`  ${name}  ${depth} of class ${clean(priority)}`)
      ])
    )
  return spread("waits", [...now, ...numbers], columns, queues)
}

const saturation = (all: ReadonlyArray<Place>, columns: number): Section => {
  if (all.length === 0) return nothing("saturation", "no pool is known")
  const { saturation: now } = Summary.totalsOf(all)
  const nameOf = namesOf(all)
  const worst = [...all].sort((a, b) => b.pool.saturation - a.pool.saturation)
  const first = worst[0]!
  const groups: ReadonlyArray<Line> = [
    [piece(percent(now), now > 1 ? "critical" : "plain")],
    ...(all.length > 1 ? [[piece(`${percent(first.pool.saturation)} in ${nameOf(first)}`)]] : []),
    [
      piece(
        `in the last minute at most ${Math.max(...all.map(({ pool }) => pool.usingMax))} ${words.using}, ${Math.max(
          ...all.map(({ pool }) => pool.waitingMax)
        )} ${words.waiting}`,
        "dim"
      )
    ]
  ]
  return spread("saturation", groups, columns)
}

const holders = (all: ReadonlyArray<Place>): Section => {
  const nameOf = namesOf(all)
  const found = all
    .flatMap((place) => place.pool.holders.map((holder) => ({ ...holder, name: nameOf(place) })))
    .sort((a, b) => b.heldMs - a.heldMs)
  if (found.length === 0) return nothing("holders", "nothing is leased")
  const first = found[0]!
  const rows = found.map(({ activity, connection, heldMs, kind, name, serverPid, span }): Line => {
    const doing = activity === undefined ? kinds[kind] : clean(activity)
    return indent([
      piece(padStart(duration(heldMs), 8)),
      piece(`  ${name} #${connection}`, "dim"),
      piece(span === undefined ? "" : `  in span ${clean(span)}`, "bold"),
      piece(
        doing === "" ? "" : `  ${doing}`,
        kind === "idleInTransaction" || kind === "forgotten" ? "warning" : "plain"
      ),
      piece(serverPid === undefined ? "" : `  server process ${serverPid}`, "dim")
    ])
  })
  return {
    id: "holders",
    head: titled("holders", [piece(`${words.longest} ${duration(first.heldMs)}`)]),
    rows
  }
}

const kinds: Readonly<Record<PoolReport["holders"][number]["kind"], string>> = {
  busy: "at work",
  idleInTransaction: "idle in transaction",
  forgotten: "nothing is done with it",
  listener: "listens",
  stream: "reading a stream",
  unknown: ""
}

const countGroups = (all: ReadonlyArray<readonly [string, number]>): ReadonlyArray<Line> =>
  all.map(([name, times]) => [piece(`${clean(name)} ${times}`)])

const sinceStart = (text: string): Line => [piece(`(${text} since the start)`, "dim")]

const errors = (all: ReadonlyArray<Place>, columns: number): Section => {
  const failures = Summary.failuresOf(all)
  const { denied, total } = failures.retries
  const groups: ReadonlyArray<Line> = [
    ...(failures.errors.length === 0 ? [[piece("none in the last minute", "dim")]] : countGroups(failures.errors)),
    ...(total === 0 ? [] : [[piece(`executed again ${total}`)]]),
    ...(denied === 0 ? [] : [[piece(`retry budget used up, not again ${denied}`, "warning")]]),
    ...(failures.sinceStart === 0 ? [] : [sinceStart(`${failures.sinceStart}`)])
  ]
  return spread("errors", groups, columns)
}

const closes = (all: ReadonlyArray<Place>, columns: number): Section => {
  const total = (of: (pool: PoolReport) => number): number => all.reduce((sum, { pool }) => sum + of(pool), 0)
  const failed = total(({ lastMinute }) => lastMinute.connectFailures)
  const closed = Summary.counts(all.map(({ pool }) => pool.lastMinute.closed))
  const groups: ReadonlyArray<Line> = [
    [piece(`opened ${total(({ lastMinute }) => lastMinute.connects)}`)],
    ...(failed === 0 ? [] : [[piece(`failed ${failed}`, "warning")]]),
    ...closed.map(([name, times]): Line => [piece(`closed (${clean(name)}) ${times}`)]),
    sinceStart(`${total(({ connects }) => connects)} opened`)
  ]
  return spread("closes", groups, columns)
}

const stateOf = (one: Endpoint): Line => {
  if (!one.isUp) return [piece(`down ${MARK}`, "critical")]
  if (!one.isWritable) return [piece(`takes no writes ${MARK}`, "critical")]
  if (one.isSilent) return [piece(`silent ${MARK}`, "warning")]
  if (one.isLagging) return [piece(`too far behind ${MARK}`, "warning")]
  return [piece("up", "good")]
}

const endpoints = (all: ReadonlyArray<Place>): Section => {
  const found = Summary.endpointsOf(all)
  const down = found.filter(({ isUp }) => !isUp).length
  const behind = found.filter(({ isLagging, isUp }) => isUp && isLagging).length
  const head = [
    piece(count(found.filter(({ role }) => role === "primary").length, "primary", "primaries")),
    piece(`, ${count(found.filter(({ role }) => role === "replica").length, "replica")}`),
    ...(down === 0 ? [] : [piece(`, ${down} down ${MARK}`, "critical")]),
    ...(behind === 0 ? [] : [piece(`, ${behind} too far behind ${MARK}`, "warning")])
  ]
  const name = Math.max(0, ...found.map(({ endpoint }) => widthOf(clean(endpoint))))
  const rows = found.map((one) =>
    indent([
      piece(one.role),
      piece(`  ${pad(clean(one.endpoint), name)}  `),
      ...stateOf(one),
      piece(
        one.lagMs === undefined ? "" : `  ${duration(one.lagMs)} ${words.lag}`,
        one.isLagging ? "warning" : "plain"
      ),
      piece(one.isUp ? `  answers in ${duration(one.latencyMs)}` : "", "dim")
    ])
  )
  return { id: "endpoints", head: titled("endpoints", head), rows }
}

const server = (all: ReadonlyArray<Place>, columns: number): Section => {
  const found = Summary.serversOf(all)
  if (found.length === 0) return nothing("server", "nobody has asked it")
  const groupsOf = ({ ours, server: { active, connections, idleInTransaction, maxConnections } }: Beside) => {
    const share = maxConnections === 0 ? 0 : connections / maxConnections
    return [
      [piece(`ours ${ours} of ${connections}`)],
      [piece(`${percent(share)} of ${maxConnections}`, share > 0.9 ? "critical" : share > 0.8 ? "warning" : "plain")],
      [piece(`at work ${active}`)],
      ...(idleInTransaction === undefined
        ? []
        : [[piece(`idle in transaction ${idleInTransaction}`, idleInTransaction > 0 ? "warning" : "plain")]])
    ] as ReadonlyArray<Line>
  }
  const [first] = found
  if (found.length === 1) return spread("server", groupsOf(first!), columns)
  const rows = found.flatMap((one) =>
    flow([[piece(clean(one.endpoint))], ...groupsOf(one)], columns - INDENT).map(indent)
  )
  return { id: "server", head: titled("server", [piece(count(found.length, "server"))]), rows }
}

interface PodRow {
  readonly name: string
  readonly totals: Summary.Totals
  readonly p95Ms: number
  readonly end: string
}

const orders: Readonly<Record<Sort, (a: PodRow, b: PodRow) => number>> = {
  saturation: bySaturation,
  waiting: (a, b) => b.totals.waiting - a.totals.waiting,
  p95: (a, b) => b.p95Ms - a.p95Ms,
  name: () => 0
}

const pods = (asked: ReadonlyArray<Pod>, columns: number, sort: Sort): Section => {
  const rows = asked.flatMap((one): ReadonlyArray<PodRow> => {
    const { report } = one
    if (report === undefined) return []
    const own = Summary.placesOf([one])
    const p95Ms = Math.max(0, ...own.map(({ pool }) => pool.waits.p95Ms))
    const late = report.stallMs > 100 ? `, did not run for ${duration(report.stallMs)}` : ""
    const name = clean(report.pod)
    return [{ name, totals: Summary.totalsOf(own), p95Ms, end: `${words.p95} ${duration(p95Ms)}${late}` }]
  })
  const silent = asked.filter(({ error }) => error !== undefined)
  const silentRows = silent.map(({ ageMs, error, report, url }): Line => {
    const last = report === undefined ? "" : `  (last report ${duration(ageMs)} ago)`
    return indent([
      piece(clean(report?.pod ?? url)),
      piece(`  does not answer ${MARK}`, "critical"),
      piece(`${last}  ${clean(error!)}`)
    ])
  })
  const unasked = asked.filter(({ error, report }) => error === undefined && report === undefined)
  const unaskedRows = unasked.map(({ url }): Line => indent([piece(clean(url)), piece("  no answer yet", "dim")]))
  const byName = (a: PodRow, b: PodRow): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  rows.sort((a, b) => orders[sort](a, b) || byName(a, b))
  const head = [
    piece(count(asked.length, "pod")),
    ...(silent.length === 0 ? [] : [piece(`, ${silent.length} without an answer ${MARK}`, "critical")]),
    ...(rows.length < 2 ? [] : [piece(`  by ${sort}`, "dim")])
  ]
  return { id: "pods", head: titled("pods", head), rows: [...silentRows, ...unaskedRows, ...barRows(rows, columns)] }
}

/** Of this share of the acquires it is said that nobody waited. */
const HARDLY = 0.001

const whatIf = (all: ReadonlyArray<Place>, columns: number): Section => {
  const told = all.filter(({ pool }) => pool.whatIf.length > 0).sort((a, b) => b.pool.waits.p95Ms - a.pool.waits.p95Ms)
  if (told.length === 0) return nothing("whatIf", "too little was recorded")
  const nameOf = namesOf(all)
  const enough = ({ pool }: Place): string => {
    const size = pool.whatIf.find(({ waited }) => waited <= HARDLY)?.maxSize
    if (size === undefined) return `with ${pool.whatIf.at(-1)!.maxSize} some would still have waited (now ${pool.max})`
    return size === pool.max
      ? `${size} is enough, and less is not`
      : `with ${size} nobody would have waited (now ${pool.max})`
  }
  // The head speaks of the first one.
  const rows = told.flatMap((place, i) => {
    const sizes = place.pool.whatIf.map(
      ({ maxSize, utilization, waitP99Ms, waited }): Line => [
        piece(`${maxSize}: ${percent(waited)} wait, ${words.p99} ${duration(waitP99Ms)}, ${percent(utilization)} used`)
      ]
    )
    const lines = flow(sizes, columns - INDENT)
    return (i === 0 ? lines : [[piece(`${nameOf(place)}: ${enough(place)}`)], ...lines]).map(indent)
  })
  const first = told[0]!
  const name = all.length > 1 ? `${nameOf(first)}: ` : ""
  return { id: "whatIf", head: titled("whatIf", [piece(name), piece(enough(first))]), rows }
}

/** All panels but the verdict, in the order of `Panels`. */
export const sections = (asked: ReadonlyArray<Pod>, columns: number, sort: Sort): ReadonlyArray<Section> => {
  const all = Summary.placesOf(asked)
  const drawn: Readonly<Record<Exclude<Panels.PanelId, "verdict">, () => Section>> = {
    places: () => places(all, columns),
    waits: () => waits(all, columns),
    saturation: () => saturation(all, columns),
    holders: () => holders(all),
    errors: () => errors(all, columns),
    closes: () => closes(all, columns),
    endpoints: () => endpoints(all),
    server: () => server(all, columns),
    pods: () => pods(asked, columns, sort),
    whatIf: () => whatIf(all, columns)
  }
  return Panels.all
    .flatMap(({ id }) => (id === "verdict" ? [] : [drawn[id]()]))
    .map(({ head, id, rows }) => ({
      id,
      head: clipLine(head, columns),
      rows: rows.map((row) => clipLine(row, columns))
    }))
}
