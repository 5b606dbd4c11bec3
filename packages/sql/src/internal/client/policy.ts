import * as Deadline from "@sluice/pool/Deadline"
import { type Context, Effect, Random, Schedule, ScheduleDecision, ScheduleInterval } from "effect"
import * as SqlReason from "../../SqlReason.js"
import { isRepeatable } from "./references.js"

/** Marks policies among schedules. */
export const TypeId: unique symbol = Symbol.for("@sluice/sql/SqlRetry")

export interface Fields {
  /** Runs at most, the first one included; `undefined`: 3, and for serialization failures and deadlocks 6. */
  readonly max: number | undefined
  /** Milliseconds; `undefined`: 25, and for conflicts between transactions 5. */
  readonly base: number | undefined
  readonly exponent: number
  /** Milliseconds; `undefined`: 1,000, and for conflicts between transactions 50. */
  readonly cap: number | undefined
  /** Milliseconds from the beginning of the first run. */
  readonly timeout: number
  /** `undefined`: what the class of the reason allows. */
  readonly match: ReadonlyArray<RegExp | string> | undefined
  /** Whether its retries are taken from the budget of the `Sql`, and end when that is used up. */
  readonly budget: boolean
}

/**
 * When to run again: a `Schedule` whose input is the failure and whose output is the number of the retry, and the plain data
 * that it was made of.
 *
 * **When to use:** give it to `Sql.retry` or `withTransaction({ retry })`. As a `Schedule` it also works with `Effect.retry`
 * and with every combinator of `Schedule`; then its timeout counts from the first failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy extends Fields, Schedule.Schedule<number, unknown> {
  readonly [TypeId]: typeof TypeId
}

export interface Situation {
  /** The work only reads, or was declared idempotent. */
  readonly repeatable: boolean
  /** All that the failure has undone is run again: a whole transaction, or what the program gave to `Sql.retry`. */
  readonly whole: boolean
}

const RUNS = 3

/** Milliseconds. */
const BASE = 25

const CAP = 1_000

/** The winner of a conflict is usually done within milliseconds; longer pauses would only add latency. */
const CONFLICT = { retries: 5, base: 5, cap: 50 }

/** Retries after a lock wait of MySQL, which has taken most of a minute already. With more, no caller would still wait. */
const LOCK_WAITS = 2

/** The lock wait timeout of MySQL. */
const isLockWait = ({ code }: SqlReason.SqlReason): boolean => code === "1205"

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
const retriesOf = (reason: SqlReason.SqlReason, { repeatable, whole }: Situation, { max }: Fields): number => {
  const usual = (max ?? RUNS) - 1
  switch (reason.retry) {
    case "always":
      return usual
    case "idempotent":
      // The program has to look whether the transaction was written, even where it may be written twice.
      return repeatable && reason._tag !== "CommitUnknown" ? usual : 0
    case "transaction":
      if (!whole) return 0
      if (reason._tag === "LockTimeout") return isLockWait(reason) ? Math.min(LOCK_WAITS, usual) : 0
      return isConflict(reason) && max === undefined ? CONFLICT.retries : usual
    case "never":
      return 0
  }
}

/** Another run could do twice what the server has done. */
const mayHaveStayed = ({ outcome }: SqlReason.SqlReason): boolean => outcome === "unknown" || outcome === "executed"

/** Longest pause before the next run, after so many retries; `undefined`: there is no next run. */
export const longestPause = (
  fields: Fields,
  error: unknown,
  retries: number,
  situation: Situation
): number | undefined => {
  const reason = SqlReason.of(error)
  if (mayHaveStayed(reason) && !situation.repeatable) return undefined
  const allowed =
    fields.match === undefined
      ? retriesOf(reason, situation, fields)
      : matches(fields.match, reason, error)
        ? (fields.max ?? RUNS) - 1
        : 0
  if (retries >= allowed) return undefined
  const conflict = isConflict(reason)
  const cap = fields.cap ?? (conflict ? Math.max(CONFLICT.cap, fields.base ?? 0) : CAP)
  // Disks and memory do not come back in milliseconds.
  if (reason._tag === "ResourceExhausted") return cap
  return Math.min(cap, (fields.base ?? (conflict ? CONFLICT.base : BASE)) * fields.exponent ** retries)
}

/**
 * Whether a plain `Schedule` may run again what failed like this. How often and when is for the schedule to say, but what the
 * server has done decides whether another run can be right.
 */
export const permits = (error: unknown, { repeatable, whole }: Situation): boolean => {
  const reason = SqlReason.of(error)
  switch (reason.retry) {
    case "always":
      return true
    case "idempotent":
      return repeatable && reason._tag !== "CommitUnknown"
    case "transaction":
      return whole && (!mayHaveStayed(reason) || repeatable)
    case "never":
      return false
  }
}

interface State {
  readonly retries: number
  readonly until: Deadline.Instant | undefined
}

/** The schedule of a policy. `situationOf` is asked with the context of the fiber that has failed. */
export const schedule = (
  fields: Fields,
  situationOf: (context: Context.Context<never>) => Situation
): Schedule.Schedule<number, unknown> =>
  Schedule.makeWithState(
    { retries: 0, until: undefined } as State,
    (wall, error: unknown, { retries, until: set }: State) =>
      Effect.flatMap(Random.next, (chance) =>
        Effect.clockWith((clock) =>
          Effect.withFiberRuntime((fiber) => {
            // `wall` may have stepped since the failure before. It only places the interval; the timeout is not measured by it.
            const now = fields.timeout === Infinity ? 0 : Deadline.nowOf(clock)()
            const until = set ?? now + fields.timeout
            const longest = longestPause(fields, error, retries, situationOf(fiber.currentContext))
            const pause = longest === undefined ? Infinity : Math.round(chance * longest)
            if (pause === Infinity || now + pause >= until) {
              return Effect.succeed([{ retries, until }, retries, ScheduleDecision.done] as const)
            }
            const next = retries + 1
            const interval = ScheduleInterval.after(wall + pause)
            return Effect.succeed([{ retries: next, until }, next, ScheduleDecision.continueWith(interval)] as const)
          })
        )
      )
  )

/** The policy of these fields. As a plain schedule it asks the fiber whether its work may be repeated. */
export const make = (fields: Fields): Policy =>
  Object.assign(
    schedule(fields, (context) => ({ repeatable: isRepeatable(context), whole: true })),
    fields,
    { [TypeId]: TypeId as typeof TypeId }
  )

export const standard: Policy = make({
  max: undefined,
  base: undefined,
  exponent: 2,
  cap: undefined,
  timeout: Infinity,
  match: undefined,
  budget: true
})
