/** Judges the example: what is claimed, what was measured, and whether the claim held. */
import type { Claim } from "@sluice/example-program/work"
import type { Alerts, Verdict } from "@sluice/observability"
import type { PoolStats } from "@sluice/pool/PoolStats"
import { type Incident, maxSize } from "./Incidents.js"

/** What a pool and those who watch it said when a caller had waited in vain. */
export interface Seen {
  readonly incident: Pick<Incident, "name" | "cause" | "says">
  /** The message of the error. */
  readonly error: string
  /** The four numbers, of the pool of the primary and of that of the replica. */
  readonly write: PoolStats
  readonly read: PoolStats
  /** What the boards say of this pool. */
  readonly reasons: ReadonlyArray<Verdict.Reason>
  /** The alert of an exhausted pool; `undefined`: there was none. */
  readonly alert: Alerts.Transition | undefined
  /** Acquires by the hooks of the program: begun, and ended with a connection. */
  readonly hooks: { readonly before: number; readonly after: number }
  /** Milliseconds after the last use until nothing was open, and how the books stand then. */
  readonly emptyAfterMs: number
  readonly last: PoolStats
}

export interface Evidence {
  readonly seen: ReadonlyArray<Seen>
  /** Sessions that are still on the server at the end. */
  readonly sessions: number
}

const four = ({ available, size, using, waiting }: PoolStats) =>
  `size ${size}, available ${available}, using ${using}, waiting ${waiting.toLocaleString("en")}`

/** The last sentences of an error are its cause and what to do. */
const end = (message: string) => message.split(". ").slice(-2).join(". ")

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`

const closed = ({ closed }: PoolStats) => Object.values(closed).reduce((sum, n) => sum + n, 0)

const ofPool = ({ alert, error, incident, reasons, write }: Seen): ReadonlyArray<Claim> => [
  {
    claim: `${incident.name}: the error names the cause, ${incident.cause}`,
    measured: `… ${end(error)}`,
    held: incident.says.test(error)
  },
  {
    claim: `${incident.name}: the board names it first`,
    measured: `${reasons[0]?.title ?? "nothing"}. ${reasons[0]?.remedy ?? ""}`,
    held: reasons[0]?.cause === incident.cause
  },
  {
    claim: `${incident.name}: the alert names it`,
    measured: alert === undefined ? "no alert" : `${alert.alert}: ${alert.description}`,
    held: alert?.reason?.cause === incident.cause
  },
  {
    claim: `${incident.name}: the four numbers show it`,
    measured: four(write),
    held: write.size === maxSize && write.using === maxSize && write.available === 0 && write.waiting >= 0
  }
]

export const judge = ({ seen, sessions }: Evidence, idleMs: number): ReadonlyArray<Claim> => {
  const sum = (f: (one: Seen) => number) => seen.reduce((all, one) => all + f(one), 0)
  const begun = sum(({ hooks }) => hooks.before)
  const served = sum(({ hooks }) => hooks.after)
  const slowest = Math.max(...seen.map(({ emptyAfterMs }) => emptyAfterMs))
  const opened = sum(({ last }) => last.connects)
  return [
    ...seen.flatMap(ofPool),
    {
      claim: "the pools of the replica have numbers of their own, and nobody reads there",
      measured: [...new Set(seen.map(({ read }) => four(read)))].join("; "),
      held: seen.every(({ read }) => read.using === 0 && read.waiting === 0)
    },
    {
      claim: "the hooks before and after an acquire are told of each of them",
      measured: `${begun.toLocaleString("en")} begun, ${served.toLocaleString("en")} ended with a connection`,
      held: seen.every(({ hooks, last }) => hooks.after === last.acquired && hooks.before > hooks.after)
    },
    {
      claim: `nothing is open when nobody has used it for ${seconds(idleMs)}`,
      measured: `after ${seconds(slowest)}`,
      held: seen.every(({ emptyAfterMs, last }) => last.size === 0 && emptyAfterMs >= idleMs * 0.9)
    },
    {
      claim: "connections left open: 0",
      measured: `${opened - sum(({ last }) => closed(last))} of ${opened}; ${sessions} sessions on the server`,
      held: opened > 0 && seen.every(({ last }) => last.connects === closed(last)) && sessions === 0
    }
  ]
}
