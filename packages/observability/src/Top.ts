/**
 * The board of a terminal: a screen as text, from what the processes report. `sluice top` of `@sluice/fleet` shows it live.
 *
 * The panels, their titles and their order are those of `Panels`. A small screen shows the first line of each panel and the most
 * important rows, a larger one shows more; a line is never longer than the screen is wide.
 *
 * @since 0.2.0
 */
import { everything, fit } from "./internal/top/layout.js"
import { type Section, sections } from "./internal/top/sections.js"
import { between, clean, clipLine, type Line, piece, render } from "./internal/top/text.js"
import { verdict } from "./internal/top/verdict.js"
import { count } from "./internal/words.js"
import type { Pod } from "./Pods.js"
import type { Thresholds } from "./Thresholds.js"
import * as Verdict from "./Verdict.js"

/**
 * By what the pods are ordered. Those that do not answer come first in any case.
 *
 * @since 0.2.0
 * @category models
 */
export type Sort = "saturation" | "waiting" | "p95" | "name"

/**
 * The orders, as the key `s` of `sluice top` goes through them.
 *
 * @since 0.2.0
 * @category constants
 */
export const sorts: ReadonlyArray<Sort> = ["saturation", "waiting", "p95", "name"]

/**
 * What is drawn, and on what.
 *
 * @since 0.2.0
 * @category models
 */
export interface Screen {
  readonly pods: ReadonlyArray<Pod>
  /** When: milliseconds since the epoch. */
  readonly at: number
  /** Width of the terminal. Range: 20 or more; less is drawn as 20. */
  readonly columns: number
  /** Height of the terminal. `undefined`: everything is shown, on as many lines as it takes. */
  readonly rows: number | undefined
  /** Whether to use the 16 colours that every terminal has. Nothing is told by colour alone. */
  readonly colour: boolean
  /** Default `saturation`. */
  readonly sort?: Sort | undefined
  /** Only pods and pools with this text in their names are shown. Default all. */
  readonly filter?: string | undefined
  /** How many lines of the whole board are left out at the top. Default 0: the rows that matter most, as many as there is room for. */
  readonly scroll?: number | undefined
  /** What the verdict goes by. Default `Thresholds.standard`. */
  readonly thresholds?: Thresholds | undefined
  /** A word in the upper right corner, such as `paused`. */
  readonly status?: string | undefined
  /** The last line, such as a list of keys. */
  readonly footer?: string | undefined
}

/**
 * A screen, and how far it can be scrolled.
 *
 * @since 0.2.0
 * @category models
 */
export interface Drawn {
  /** At most `rows` lines, each at most `columns` wide. */
  readonly lines: ReadonlyArray<string>
  /** The largest `scroll` that changes anything. */
  readonly scrollMax: number
}

const NARROWEST = 20

const TITLE = "Connection Pool Health"

/** Of each pod the pools whose names have the text in them, or all if its own name has. */
const select = (pods: ReadonlyArray<Pod>, filter: string): ReadonlyArray<Pod> => {
  const text = filter.toLowerCase()
  const has = (name: string): boolean => name.toLowerCase().includes(text)
  if (text === "") return pods
  return pods.flatMap((pod): ReadonlyArray<Pod> => {
    const { report, url } = pod
    if (report === undefined || has(report.pod)) return report !== undefined || has(url) ? [pod] : []
    const databases = report.databases.flatMap((database) => {
      const pools = database.pools.filter(({ name }) => has(name))
      return pools.length === 0 ? [] : [{ ...database, pools }]
    })
    return databases.length === 0 ? [] : [{ ...pod, report: { ...report, databases } }]
  })
}

/** What a pod is called that has not answered yet: the host and the port of its address. */
const named = (pod: Pod): Pod => {
  const host = /^\w+:\/\/(?:[^/@]*@)?([^/?#]+)/.exec(pod.url)?.[1]
  return host === undefined ? pod : { ...pod, url: host }
}

const clock = (at: number): string => `${new Date(at).toISOString().slice(11, 19)} UTC`

const header = ({ at, columns, filter = "", pods, status }: Screen): Line => {
  const answering = pods.filter(({ error, report }) => error === undefined && report !== undefined).length
  const asked = answering === pods.length ? count(pods.length, "pod") : `${answering} of ${pods.length} pods answer`
  return between(
    [piece(TITLE, "bold"), piece(`  ${asked}`), piece(filter === "" ? "" : `  filter: ${clean(filter)}`, "warning")],
    [piece(status === undefined ? "" : `${status}  `), piece(clock(at), "dim")],
    columns
  )
}

/**
 * Draws a screen. The same input gives the same text: it reads no clock and no terminal.
 *
 * **When to use:** for a board in a terminal of your own. `sluice top` is ready.
 *
 * - Names and texts in reports come from other machines. Control and format characters in them are not drawn, so they cannot move the
 *   cursor, change colours or send anything back.
 *
 * @since 0.2.0
 * @category combinators
 */
export const draw = (screen: Screen): Drawn => {
  const columns = Math.max(NARROWEST, Math.floor(screen.columns))
  const pods = select(screen.pods, screen.filter ?? "").map(named)
  const reports = pods.flatMap(({ report }) => (report === undefined ? [] : [report]))
  const silent = pods.filter(({ error }) => error !== undefined).map(({ report, url }) => report?.pod ?? url)
  const all: ReadonlyArray<Section> = [
    verdict(Verdict.of(reports, { silent, thresholds: screen.thresholds }), columns),
    ...sections(pods, columns, screen.sort ?? "saturation")
  ]
  const head = header({ ...screen, columns })
  const foot = screen.footer === undefined ? [] : [clipLine([piece(screen.footer, "dim")], columns)]
  const whole = everything(all)
  const room = screen.rows === undefined ? whole.length : Math.max(1, Math.floor(screen.rows) - 1 - foot.length)
  const scrollMax = Math.max(0, whole.length - room)
  const scroll = Math.min(screen.scroll ?? 0, scrollMax)
  const body = scroll > 0 || whole.length <= room ? whole.slice(scroll, scroll + room) : fit(all, room, columns)
  // The footer stays in the last line of the screen.
  const below = foot.length === 0 ? 0 : room - body.length
  const lines = [head, ...body, ...Array.from({ length: below }, (): Line => []), ...foot]
  return { lines: lines.slice(0, screen.rows).map((line) => render(line, screen.colour)), scrollMax }
}
