/** What a request asks for: read from its method and headers, within the bounds of its route. */
import * as Deadline from "@sluice/pool/Deadline"
import { shown } from "@sluice/pool/OptionTable"
import * as Priority from "@sluice/pool/Priority"
import { type Clock, Effect } from "effect"
import * as Refusal from "../Refusal.js"
import type { Head } from "./head.js"
import type { Policy } from "./policy.js"
import * as Token from "./token.js"

export interface Asked {
  readonly intent: "read" | "write"
  /** `undefined`: as the fiber around it. */
  readonly priority: Priority.Priority | undefined
  /** `Deadline.never`: none. */
  readonly deadline: Deadline.Instant
  /** A token of this client that may be believed. */
  readonly token: string | undefined
}

/** Reads a request. Fails with every header that has no meaning. */
export const read = (policy: Policy, head: Head): Effect.Effect<Asked, Refusal.Refusal> =>
  Effect.clockWith((clock) => {
    const problems: Array<string> = []
    const valueOf = (name: string | undefined): string | undefined =>
      name === undefined ? undefined : head.header(name)?.trim()
    const wanted = valueOf(policy.priorityHeader)
    if (wanted !== undefined && !Priority.isPriority(wanted)) {
      problems.push(`${policy.priorityHeader} must be one of ${words}, and is ${short(wanted)}`)
    }
    const until = valueOf(policy.deadlineHeader)
    const rest = until === undefined ? Infinity : restOf(until, clock)
    if (typeof rest === "string") problems.push(`${policy.deadlineHeader} ${rest}, and is ${short(until!)}`)
    if (problems.length > 0) return Effect.fail(Refusal.make(400, "BadRequest", undefined, problems))
    const millis = Math.min(policy.deadline, rest as number)
    const asked = (token: string | undefined): Asked => ({
      intent: policy.intent ?? intentOf(head.method),
      priority: lower(policy.priority, wanted as Priority.Priority | undefined),
      deadline: millis === Infinity ? Deadline.never : Deadline.nowOf(clock)() + millis,
      token
    })
    return policy.consistency === undefined
      ? Effect.succeed(asked(undefined))
      : Effect.map(Token.read(policy.consistency, head), asked)
  })

const words = Object.keys(Priority.rank).join(", ")

/** The methods that only read, by the rules of HTTP. */
const intentOf = (method: string): "read" | "write" => (method === "GET" || method === "HEAD" ? "read" : "write")

/** The priority of a header counts where it is lower than that of the route. */
const lower = (
  route: Priority.Priority | undefined,
  wanted: Priority.Priority | undefined
): Priority.Priority | undefined =>
  wanted !== undefined && Priority.rank[wanted] > Priority.rank[route ?? "normal"] ? wanted : route

/** Milliseconds. Nobody waits longer for a response: a header that says more has its unit wrong. */
const LONGEST = 86_400_000

/** Milliseconds from now until the moment that a header names; a text: what is wrong with it. */
const restOf = (text: string, clock: Clock.Clock): number | string => {
  const isCount = /^\d{1,15}$/.test(text)
  const isMoment = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i.test(text)
  const millis = isCount ? Number(text) : isMoment ? Date.parse(text) - clock.unsafeCurrentTimeMillis() : Number.NaN
  if (Number.isNaN(millis)) return "must be milliseconds from now (1500) or a moment (2026-11-28T17:00:00Z)"
  if (millis <= 0) return "must be in the future"
  return millis > LONGEST ? "must be within 24 hours from now" : millis
}

/** A header can be long, and a message about it must not be. */
const short = (text: string): string => shown(text.length > 40 ? `${text.slice(0, 40)}…` : text)
