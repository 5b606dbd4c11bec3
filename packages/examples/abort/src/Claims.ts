/** Judges the example: what is claimed, what was measured, and whether the claim held. */
import type { Claim } from "@sluice/example-program/work"
import { type Kind, patience, type Ran } from "./Flood.js"

export interface Evidence {
  readonly leaking: Ran
  readonly fixed: Ran
  readonly ours: Ran
  /** Connections that our pool has opened and closed, counted after its end. */
  readonly opened: number
  readonly closed: number
  /** Sessions of ours that are still on the server at the end. */
  readonly sessions: number
}

const count = (n: number) => n.toLocaleString("en-US")

const answeredOf = (name: string, { answered, dropped }: Kind) =>
  `${count(answered)} of ${count(answered + dropped)} ${name} answered`

const left = ({ after, arrived, statements, using }: Ran) =>
  `${using} in use and ${statements} statements running, ${after} ms after the last of ${count(arrived)} requests that arrived`

const next = ({ next }: Ran) =>
  next === undefined ? `no answer within ${patience / 1_000} s` : `answered after ${next} ms`

/** A flood of which too little arrives proves nothing. */
const isFlood = ({ arrived }: Ran, maxSize: number) => arrived >= 10 * maxSize

export const judge = (evidence: Evidence, maxSize: number): ReadonlyArray<Claim> => {
  const { closed, fixed, leaking, opened, ours, sessions } = evidence
  return [
    {
      claim: `the middleware of the report: all ${maxSize} connections are lost to clients that have gone`,
      measured: left(leaking),
      held: leaking.using === maxSize && leaking.statements === 0
    },
    {
      claim: "and the next request waits in vain",
      measured: next(leaking),
      held: leaking.next === undefined
    },
    {
      claim: "its fix, request.destroyed: every connection comes back",
      measured: left(fixed),
      held: fixed.using === 0 && isFlood(fixed, maxSize)
    },
    {
      claim: "but it drops every healthy POST, because its body was read",
      measured: `${answeredOf("POSTs", fixed.posts)}, ${answeredOf("GETs", fixed.gets)}`,
      held: fixed.posts.answered === 0 && fixed.posts.dropped > 0 && fixed.gets.answered > 0
    },
    {
      claim: `Sluice, ${count(ours.sent)} aborted requests: every connection comes back, and no statement of theirs runs on`,
      measured: left(ours),
      held: ours.using === 0 && ours.statements === 0 && isFlood(ours, maxSize)
    },
    {
      claim: "no healthy request is dropped meanwhile",
      measured: `${answeredOf("POSTs", ours.posts)}, ${answeredOf("GETs", ours.gets)}`,
      held: ours.posts.dropped + ours.gets.dropped === 0 && ours.posts.answered > 0 && ours.gets.answered > 0
    },
    {
      claim: "the next request is served at once",
      measured: next(ours),
      held: ours.next !== undefined && ours.next < 1_000
    },
    {
      claim: "connections left open: 0",
      measured: `${opened - closed} of ${opened}; ${sessions} sessions on the server`,
      held: opened > 0 && opened <= maxSize && opened === closed && sessions === 0
    }
  ]
}
