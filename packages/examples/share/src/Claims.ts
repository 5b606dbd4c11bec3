/** Judges the example: what is claimed, what was measured, and whether the claim held. */
import type { Claim } from "@sluice/example-program/work"
import type * as Flood from "./Flood.js"
import { type Answer, percentile } from "./Load.js"
import type * as Rush from "./Rush.js"

export interface Evidence {
  readonly two: Rush.Seen
  readonly one: Rush.Seen & { readonly opened: number; readonly refused: number; readonly closed: number }
  readonly flood: Flood.Evidence
  /** Sessions that are still on the server at the end. */
  readonly sessions: number
  readonly elapsedMs: number
}

export interface Limits {
  /** Connections that all pools together may open, with two pools in each process, and with one. */
  readonly two: number
  readonly one: number
  /** Places of the server. */
  readonly places: number
  /** Statements of the flood. */
  readonly statements: number
}

/** SQLSTATE of a server whose places are taken. */
const tooManyConnections = "53300"

/**
 * Milliseconds. A request waits until one of the statements under way has ended, which is one hold at most, and this for everything that
 * is not the pool's. Of the slowest in a hundred only a ratio is claimed, because on a busy machine they show the machine.
 */
const slack = 5

const failed = (answers: ReadonlyArray<Answer>) =>
  answers.flatMap(({ failure }) => (failure === undefined ? [] : [failure]))

export const judge = ({ elapsedMs, flood, one, sessions, two }: Evidence, limits: Limits): ReadonlyArray<Claim> => {
  const refused = failed(two.answers)
  const failedOne = failed(one.answers)
  const idle = percentile(flood.idle, 0.99)
  const before = percentile(flood.before.requests, 0.99)
  const after = percentile(flood.after.requests, 0.99)
  const half = percentile(flood.after.requests, 0.5)
  const bound = percentile(flood.idle, 0.5) + flood.after.hold + slack
  const opened = one.opened + flood.opened
  const closed = one.closed + flood.closed
  return [
    {
      claim: `two pools in each process, ${limits.two} connections for ${limits.places} places: requests are refused`,
      measured: `${of(refused.length, two.answers.length)}; ${two.peak} connections at once`,
      held: refused.length > 0
    },
    {
      claim: `each of those by the server, with ${tooManyConnections}`,
      measured: [...new Set(refused.map(({ code, message }) => `${code ?? "no code"}: ${message}`))].join("; "),
      held: refused.every(({ code }) => code === tooManyConnections)
    },
    {
      claim: "one Layer in each process: every request is served",
      measured: `${of(failedOne.length, one.answers.length)} failed${failedOne.length === 0 ? "" : `: ${failedOne[0]!.message}`}`,
      held: one.answers.length > 0 && failedOne.length === 0
    },
    {
      claim: `on at most ${limits.one} connections, and the server refuses none`,
      measured: `${one.peak} at once; ${one.refused} refused`,
      held: one.peak > 0 && one.peak <= limits.one && one.refused === 0
    },
    {
      claim: "and the job does its work beside them",
      measured: `${count(one.done)} statements; with two pools ${count(two.done)}`,
      held: one.done > 0
    },
    {
      claim: "a second pool on the database, in the same process: refused when it is made, if it is asked to be",
      measured: flood.second === undefined ? "it was made" : flood.second.slice(0, flood.second.indexOf(":")),
      held: flood.second?.startsWith("a second pool on one database") === true
    },
    {
      claim: `${count(limits.statements)} statements in line, of the same class: requests wait behind them`,
      measured: `p99 ${ms(before)}, ${of(failed(flood.before.requests).length, flood.before.requests.length)} failed; alone ${ms(idle)}`,
      held: before > 10 * idle && flood.before.waiting >= limits.statements / 2
    },
    {
      claim: "the same in class background: half of the requests within alone + one mean hold + 5 ms",
      measured: `p50 ${ms(half)} ≤ ${ms(bound)}; ${count(flood.after.waiting)} in line`,
      held: half <= bound && flood.after.waiting >= limits.statements / 2
    },
    {
      claim: "and 99 of 100 within a tenth of the time that they took in the same class",
      measured: `p99 ${ms(after)} ≤ ${ms(before / 10)}`,
      held: after <= before / 10
    },
    {
      claim: "and all of them are served, both times",
      measured: `${count(flood.before.done)} in ${ms(flood.before.elapsed)}, ${count(flood.after.done)} in ${ms(flood.after.elapsed)}`,
      held: flood.before.done === limits.statements && flood.after.done === limits.statements
    },
    {
      claim: "requests beside the flood in class background that failed: 0",
      measured: of(failed(flood.after.requests).length, flood.after.requests.length),
      held: flood.after.requests.length > 0 && failed(flood.after.requests).length === 0
    },
    {
      claim: "connections left open: 0",
      measured: `${opened - closed} of ${opened}; ${sessions} sessions on the server`,
      held: opened > 0 && opened === closed && sessions === 0
    },
    {
      claim: "the demo ends within 60 s",
      measured: ms(elapsedMs),
      held: elapsedMs <= 60_000
    }
  ]
}

const count = (n: number) => n.toLocaleString("en-US")
const of = (n: number, all: number) => `${count(n)} of ${count(all)}`
const ms = (value: number) => (value < 1_000 ? `${value.toFixed(1)} ms` : `${(value / 1_000).toFixed(1)} s`)
