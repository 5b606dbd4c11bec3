/** Judges the example: what is claimed, what was measured, and whether the claim held. */
import type { Claim } from "@sluice/example-program/work"

/** The end of a request: its number if it was served, else the error. */
export type Outcome = number | Refusal

export interface Refusal {
  readonly errno: number | undefined
  readonly message: string
}

export interface Evidence {
  readonly oneEach: ReadonlyArray<Outcome>
  readonly pooled: ReadonlyArray<Outcome>
  /** Connections that the pool opened and closed, and its connects that failed, all counted after its end. */
  readonly opened: number
  readonly failures: number
  readonly closed: number
  /** Sessions that are still on the server at the end. */
  readonly sessions: number
}

/** The outcome that the rows of an answer show. */
export const answered = (rows: unknown): Outcome => Number((rows as ReadonlyArray<{ request: unknown }>)[0]?.request)

/** The outcome that an error shows. Its `cause` is the error of the driver. */
export const failed = ({ cause }: { readonly cause?: unknown }): Outcome => {
  const { errno, message } = cause as { readonly errno?: number; readonly message: string }
  return { errno, message }
}

/** The error number of MySQL and MariaDB when `max_connections` are taken. */
const tooManyConnections = 1040

const refusalsOf = (outcomes: ReadonlyArray<Outcome>): ReadonlyArray<Refusal> =>
  outcomes.filter((outcome) => typeof outcome !== "number")

/** Whether every request got the answer to itself and not to another request. */
const allServed = (outcomes: ReadonlyArray<Outcome>) => outcomes.every((outcome, request) => outcome === request)

const said = (outcomes: ReadonlyArray<Outcome>) => {
  const refused = refusalsOf(outcomes)
  const messages = [...new Set(refused.map(({ message }) => message))].join("; ")
  return `${outcomes.length - refused.length} served, ${refused.length} refused${messages && `: ${messages}`}`
}

export const judge = (evidence: Evidence, requests: number, maxSize: number): ReadonlyArray<Claim> => {
  const { closed, failures, oneEach, opened, pooled, sessions } = evidence
  const refused = refusalsOf(oneEach)
  return [
    {
      claim: `${requests} requests at once, a connection each: most are refused`,
      measured: said(oneEach),
      held: oneEach.length === requests && refused.length > requests / 2
    },
    {
      claim: `each of those by the server, with error ${tooManyConnections}`,
      measured: [...new Set(refused.map(({ errno }) => errno ?? "none"))].join(", "),
      held: refused.every(({ errno }) => errno === tooManyConnections)
    },
    {
      claim: `the same ${requests} through query(sql, params): all are served`,
      measured: said(pooled),
      held: pooled.length === requests && allServed(pooled)
    },
    {
      claim: `on ${maxSize} connections, and the server refuses none`,
      measured: `${opened} opened, ${failures} refused`,
      held: opened > 0 && opened <= maxSize && failures === 0
    },
    {
      claim: "connections left open: 0",
      measured: `${opened - closed} of ${opened}; ${sessions} sessions on the server`,
      held: opened === closed && sessions === 0
    }
  ]
}
