import { shown } from "@sluice/pool/OptionTable"
import { Either, Schedule } from "effect"
import * as policies from "./policy.js"

/** What the program gave to `Sql.retry`, or to `withTransaction` as `retry`. */
export interface Given {
  readonly schedule: (situation: policies.Situation) => Schedule.Schedule<unknown, any>
  /** Whether a failure may be followed by another run. The schedule then says whether it is. */
  readonly admits: (error: unknown, situation: policies.Situation) => boolean
  /** Milliseconds from the beginning of the first run, after which no other one begins. */
  readonly timeout: number
  readonly budget: boolean
}

const isPolicy = (u: unknown): u is policies.Policy =>
  typeof u === "object" && u !== null && policies.TypeId in u && Schedule.isSchedule(u)

const ofPolicy = (policy: policies.Policy): Given => ({
  schedule: (situation) => policies.schedule(policy, () => situation),
  admits: (error, situation) => policies.longestPause(policy, error, 0, situation) !== undefined,
  timeout: policy.timeout,
  budget: policy.budget
})

const ofSchedule = (schedule: Schedule.Schedule<unknown, any>): Given => ({
  schedule: () => schedule,
  admits: policies.permits,
  timeout: Infinity,
  budget: false
})

const standard = ofPolicy(policies.standard)

/** Nothing for `undefined` and `false`; a sentence about a value that says nothing about retries. */
export const decode = (u: unknown): Either.Either<Given | undefined, string> => {
  if (u === undefined || u === false) return Either.right(undefined)
  if (u === true) return Either.right(standard)
  if (isPolicy(u)) return Either.right(ofPolicy(u))
  if (Schedule.isSchedule(u)) return Either.right(ofSchedule(u as Schedule.Schedule<unknown, any>))
  return Either.left(
    Either.isEither(u)
      ? "retry is an Either, as SqlRetry.make and SqlRetry.fromMatch give it: take the policy out of it first, for example with yield* or Either.getOrThrow"
      : `retry must be a policy of SqlRetry or a Schedule, and is ${shown(u)}`
  )
}
