import type { SqlError } from "@effect/sql/SqlError"
import { type Instant, never } from "@sluice/pool/Deadline"
import { millisOf, shown } from "@sluice/pool/OptionTable"
import type { Duration } from "effect"
import { Either } from "effect"
import type { BeginOptions } from "../../driver/Driver.js"
import { invalidUse } from "../client/errors.js"
import * as Given from "../client/given.js"

/** The options of `withTransaction`, as programs write them. */
export interface Input extends BeginOptions {
  readonly commitTimeout?: Duration.DurationInput | undefined
  readonly retry?: unknown
  readonly timeout?: Duration.DurationInput | undefined
  readonly verifyCommit?: boolean | undefined
}

/** The same, checked. */
export interface Options extends BeginOptions {
  /** Milliseconds: bound of the COMMIT. */
  readonly commitTimeout: number
  readonly retry: Given.Given | undefined
  /** Milliseconds. */
  readonly timeout: number | undefined
  readonly verifyCommit: boolean
}

/** One call of `withTransaction`, with all of its runs. */
export interface Call {
  readonly options: Options
  /** The earlier of the declared deadline and the end of `timeout`. */
  readonly deadline: Instant
  /** Milliseconds that must be left until the deadline, or COMMIT is not sent. */
  readonly floor: number
}

const DEFAULT_COMMIT_TIMEOUT = 30_000

/**
 * Milliseconds that must be left for a COMMIT. A COMMIT whose answer comes after the deadline is `CommitUnknown`, and the
 * program cannot tell whether anything was written; a rollback it understands. Empirical: a round trip within one region with
 * a flush to disk takes 1 to 10 ms. Less would send COMMITs whose answer cannot come in time, more would undo transactions that
 * had been written.
 */
const FLOOR = 20

/** A call that has little time altogether keeps a fifth of it for COMMIT, because with all of `FLOOR` it could never commit. */
const SHARE = 0.2

const isolations: ReadonlyArray<unknown> = ["read uncommitted", "read committed", "repeatable read", "serializable"]

export const decode = (input: Input): Either.Either<Options, SqlError> => {
  const problems: Array<string> = []
  const duration = (name: "commitTimeout" | "timeout"): number | undefined => {
    const value = input[name]
    if (value === undefined) return undefined
    const millis = millisOf(value)
    if (millis === undefined) problems.push(`${name} must be a duration of at least 0, and is ${shown(value)}`)
    return millis
  }
  const commitTimeout = duration("commitTimeout") ?? DEFAULT_COMMIT_TIMEOUT
  const timeout = duration("timeout")
  const { deferrable, isolation, readOnly } = input
  // The words of an isolation level become part of BEGIN, so none is taken that is not in this list.
  if (isolation !== undefined && !isolations.includes(isolation)) {
    problems.push(`isolation must be one of ${isolations.map(shown).join(", ")}, and is ${shown(isolation)}`)
  }
  const retry = Given.decode(input.retry)
  if (Either.isLeft(retry)) problems.push(retry.left)
  if (problems.length > 0) return Either.left(invalidUse(`withTransaction: ${problems.join("; ")}`))
  return Either.right({
    deferrable,
    isolation,
    readOnly,
    commitTimeout,
    retry: Either.getOrUndefined(retry),
    timeout,
    verifyCommit: input.verifyCommit === true
  })
}

/** `deadline`: the declared one. The clock is read only where time is bounded. */
export const call = (options: Options, deadline: Instant, now: () => Instant): Call => {
  const { timeout } = options
  if (timeout === undefined && deadline === never) return { options, deadline, floor: 0 }
  const began = now()
  const end = timeout === undefined ? deadline : Math.min(deadline, began + timeout)
  return { options, deadline: end, floor: Math.min(FLOOR, SHARE * (end - began)) }
}

const notBegun = new WeakMap<object, Call>()

/**
 * Marks the failure of a transaction that got no connection. Nothing of it was sent (BEGIN goes with its first statement), and
 * its body has not run. Kept outside of the error, so that programs cannot see it; `call` says which transaction failed.
 */
export const markNotBegun = (error: SqlError, call: Call): void => {
  notBegun.set(error, call)
}

/** Whether this is the failure of this very transaction to begin: its body may have passed on that of another one. */
export const hasNotBegun = (error: unknown, call: Call): boolean =>
  typeof error === "object" && error !== null && notBegun.get(error) === call
