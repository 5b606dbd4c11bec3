import { Effect, Random, Schedule, ScheduleDecision, ScheduleInterval } from "effect"
import * as SqlReason from "../../SqlReason.js"
import type { Policy } from "../../SqlRetry.js"

export interface Situation {
  /** It only reads, or was declared idempotent. */
  readonly repeatable: boolean
  /** What is run again is all that the failure undid: a whole transaction, or what the program gave to `Sql.retry`. */
  readonly whole: boolean
}

const RUNS = 3

/** Milliseconds. */
const BASE = 25

const CAP = 1_000

/** The winner of a conflict is usually done within milliseconds; longer pauses would only add latency. */
const CONFLICT = { retries: 5, base: 5, cap: 50 }

/** MySQL's lock wait has taken most of a minute already: more than two of these is no answer for anybody. */
const LOCK_WAITS = 2

const ofCode: (reason: SqlReason.SqlReason) => boolean = ({ code }) => code === "1205"

/** Two transactions wanted the same rows; the server works, and this one is rolled back. */
export const isConflict = (reason: SqlReason.SqlReason): boolean =>
  reason._tag === "SerializationFailure" ||
  reason._tag === "Deadlock" ||
  (reason._tag === "LockTimeout" && reason.retry === "transaction") ||
  (reason._tag === "TransactionAborted" && reason.retry === "transaction")

const matches = (match: ReadonlyArray<RegExp | string>, reason: SqlReason.SqlReason, error: unknown): boolean => {
  const message = error instanceof Error ? error.message : String(error)
  const texts = [reason._tag, message, ...(reason.code === undefined ? [] : [reason.code])]
  return match.some((one) =>
    typeof one === "string"
      ? one === reason._tag || one === reason.code || message.includes(one)
      : // By `search`, because `test` of a global expression remembers where it was.
        texts.some((text) => text.search(one) >= 0)
  )
}

/** Retries that the class of a reason is worth. */
const worth = (reason: SqlReason.SqlReason, { repeatable, whole }: Situation, policy: Policy): number => {
  const usual = (policy.max ?? RUNS) - 1
  switch (reason.retry) {
    case "always":
      return usual
    case "idempotent":
      // To look whether it was written is the program's, also when it may be written twice.
      return repeatable && reason._tag !== "CommitUnknown" ? usual : 0
    case "transaction":
      if (!whole) return 0
      if (reason._tag === "LockTimeout") return ofCode(reason) ? Math.min(LOCK_WAITS, usual) : 0
      return isConflict(reason) && policy.max === undefined ? CONFLICT.retries : usual
    case "never":
      return 0
  }
}

/** Longest pause before the next run, after `retries` of them; `undefined`: there is none. */
export const ceiling = (policy: Policy, error: unknown, retries: number, situation: Situation): number | undefined => {
  const reason = SqlReason.of(error)
  if (reason.outcome === "unknown" && !situation.repeatable) return undefined
  const allowed =
    policy.match === undefined
      ? worth(reason, situation, policy)
      : matches(policy.match, reason, error)
        ? (policy.max ?? RUNS) - 1
        : 0
  if (retries >= allowed) return undefined
  const conflict = isConflict(reason)
  const cap = policy.cap ?? (conflict ? Math.max(CONFLICT.cap, policy.base ?? 0) : CAP)
  // Disks and memory do not come back in milliseconds.
  if (reason._tag === "ResourceExhausted") return cap
  return Math.min(cap, (policy.base ?? (conflict ? CONFLICT.base : BASE)) * policy.exponent ** retries)
}

/** `until`: milliseconds since the epoch, no run begins later. `permit`: asked last, and only when there would be a run. */
export const schedule = (
  policy: Policy,
  situation: Situation & {
    readonly until?: number
    readonly permit?: (reason: SqlReason.SqlReason) => boolean
  }
): Schedule.Schedule<number, unknown> =>
  Schedule.makeWithState(
    { retries: 0, until: undefined as number | undefined },
    (now, error: unknown, { retries, until = Math.min(situation.until ?? Infinity, now + policy.timeout) }) =>
      Effect.map(Random.next, (chance) => {
        const longest = ceiling(policy, error, retries, situation)
        const at = longest === undefined ? Infinity : now + Math.round(chance * longest)
        if (at >= until || situation.permit?.(SqlReason.of(error)) === false) {
          return [{ retries, until }, retries, ScheduleDecision.done] as const
        }
        const next = { retries: retries + 1, until }
        return [next, next.retries, ScheduleDecision.continueWith(ScheduleInterval.after(at))] as const
      })
  )
