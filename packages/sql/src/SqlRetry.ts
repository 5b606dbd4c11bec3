/**
 * When a failed statement or transaction is worth another run, and when that run begins.
 *
 * Without being asked, this library tries again what was never executed (retry class `always` of `SqlReason`), and inside of
 * `Sql.read` or `Sql.idempotent` what may be executed twice (class `idempotent`). A transaction is run again only under
 * `withTransaction({ retry })`. Nothing is run again inside of a transaction. What may have been executed is run again only
 * inside of `Sql.read` or `Sql.idempotent`.
 *
 * What is done unasked has three bounds: three runs; the caller's deadline (`Sql.withDeadline`, else the acquire timeout,
 * counted from the first failure), after which no run begins; and a budget for each `Sql`, so that a failing server is not
 * asked twice by everybody: ten retries to begin with, one more for every ten successful acquires, a hundred saved at most.
 * Conflicts between transactions are no sign of a failing server and spend nothing.
 *
 * A policy or a `Schedule` that the program gives, to `Sql.retry` or as `withTransaction({ retry })`, is obeyed as it stands:
 * its number of runs, its pauses, its timeout. Only a declared deadline (`Sql.withDeadline`, the `timeout` of the transaction)
 * ends it earlier, and the budget if it says `budget: true`. What it runs again is not tried again unasked inside.
 *
 * Every policy is a `Schedule`, and works with `Effect.retry` as well.
 *
 * @since 0.1.0
 */

import * as OptionTable from "@sluice/pool/OptionTable"
import { Data, type Duration, Either, type Schedule } from "effect"
import type { Policy } from "./internal/client/policy.js"
import * as policies from "./internal/client/policy.js"
import type * as SqlReason from "./SqlReason.js"

export type { Policy } from "./internal/client/policy.js"

/**
 * The options of `make` and `fromMatch`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Runs at most, the first one included. Default 3; serialization failures and deadlocks 6. Range 1 to 100. */
  readonly max?: number | undefined
  /**
   * The pause before run n + 1 is a random time between 0 and `backoffBase × backoffExponent ^ (n - 1)`, at most
   * `backoffCap`.
   *
   * - Unit: duration. Default 25 milliseconds; conflicts between transactions 5. Range 0 to 1 minute.
   */
  readonly backoffBase?: Duration.DurationInput | undefined
  /** Default 2. Range 1 to 10. */
  readonly backoffExponent?: number | undefined
  /** Unit: duration. Default 1 second; conflicts between transactions 50 milliseconds. Range 0 to 10 minutes. */
  readonly backoffCap?: Duration.DurationInput | undefined
  /**
   * No run begins later than this after the first one began. A run that has begun is not cut short.
   *
   * - Unit: duration. Default: none but the deadline. Range 1 millisecond and more.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Whether each retry is taken from the budget of the `Sql`. When the budget is used up the failure passes, and its message
   * says so. Conflicts between transactions spend nothing. Default false.
   */
  readonly budget?: boolean | undefined
}

/**
 * The options of `fromMatch`.
 *
 * @since 0.1.0
 * @category models
 */
export interface MatchOptions extends Options {
  /**
   * At least one. A string is the tag or the code of a reason, or a part of the message; a regular expression is tried on
   * each of these. Matched failures are run again whatever their class, but one with an unknown outcome only inside of
   * `Sql.read` or `Sql.idempotent`.
   */
  readonly match: ReadonlyArray<RegExp | string | SqlReason.Tag>
}

/**
 * A policy that cannot work. Lists every problem, not the first.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidPolicy extends Data.TaggedError("InvalidPolicy")<{ readonly problems: ReadonlyArray<string> }> {
  override get message(): string {
    return `SqlRetry: ${this.problems.length === 1 ? "an option is" : "options are"} invalid: ${this.problems.join("; ")}`
  }
}

const { anything } = OptionTable

/** The names. The values are checked one by one, because some depend on others. */
const table: OptionTable.Table<Options> = {
  max: anything,
  backoffBase: anything,
  backoffExponent: anything,
  backoffCap: anything,
  timeout: anything,
  budget: anything
}

const matchTable: OptionTable.Table<MatchOptions> = { ...table, match: anything }

/** What other libraries for retries call these. */
const elsewhere: OptionTable.Elsewhere = {
  retries: "use max, which counts the first run too",
  attempts: "use max, which counts the first run too",
  maxRetries: "use max, which counts the first run too",
  maxAttempts: "use max, which counts the first run too",
  numOfAttempts: "use max, which counts the first run too",
  factor: "use backoffExponent",
  minTimeout: "use backoffBase",
  startingDelay: "use backoffBase",
  delay: "use backoffBase",
  maxTimeout: "use backoffCap",
  maxDelay: "use backoffCap",
  maxRetryTime: "use timeout",
  randomize: "leave it out: every pause is random",
  jitter: "leave it out: every pause is random",
  backoffJitter: "leave it out: every pause is random",
  report: "use Effect.tapError inside of what is run again",
  onRetry: "use Effect.tapError inside of what is run again"
}

const check = (
  options: Options,
  match: ReadonlyArray<unknown> | undefined,
  isMatch = false
): Either.Either<Policy, InvalidPolicy> => {
  const problems = [
    ...OptionTable.problems(options, isMatch ? matchTable : table, {
      elsewhere: isMatch ? elsewhere : { ...elsewhere, match: "use SqlRetry.fromMatch" }
    })
  ]
  if (typeof options !== "object" || options === null) return Either.left(new InvalidPolicy({ problems }))
  const number = (name: "max" | "backoffExponent", low: number, high: number, whole: boolean): number | undefined => {
    const value = options[name]
    if (value === undefined) return undefined
    if (!(typeof value === "number" && value >= low && value <= high && (!whole || Number.isInteger(value)))) {
      problems.push(`${name} must be ${whole ? "an integer" : "a number"} from ${low} to ${high}, and is ${value}`)
    }
    return value
  }
  const millis = (
    name: "backoffBase" | "backoffCap" | "timeout",
    low: number,
    high: number,
    range: string
  ): number | undefined => {
    const value = options[name]
    if (value === undefined) return undefined
    const ms = OptionTable.millisOf(value) ?? Number.NaN
    if (!(ms >= low && ms <= high))
      problems.push(`${name} must be a duration ${range}, and is ${OptionTable.shown(value)}`)
    return ms
  }
  const max = number("max", 1, 100, true)
  const exponent = number("backoffExponent", 1, 10, false)
  const base = millis("backoffBase", 0, 60_000, "from 0 to 1 minute")
  const cap = millis("backoffCap", 0, 600_000, "from 0 to 10 minutes")
  const timeout = millis("timeout", 1, Infinity, "of at least 1 millisecond")
  if (base !== undefined && base > (cap ?? 1_000)) {
    problems.push(`backoffBase must not be above backoffCap, ${base} ms are above ${cap ?? 1_000} ms`)
  }
  const { budget } = options
  if (budget !== undefined && typeof budget !== "boolean") {
    problems.push(`budget must be true or false, and is ${OptionTable.shown(budget)}`)
  }
  if (match !== undefined) {
    if (!Array.isArray(match) || match.length === 0) problems.push("match must name at least one failure")
    else {
      match.forEach((one, i) => {
        if (!(one instanceof RegExp) && !(typeof one === "string" && one !== "")) {
          problems.push(`match[${i}] must be a regular expression, a tag, a code or a text`)
        }
      })
    }
  }
  return problems.length > 0
    ? Either.left(new InvalidPolicy({ problems }))
    : Either.right(
        policies.make({
          max,
          base,
          exponent: exponent ?? 2,
          cap,
          timeout: timeout ?? Infinity,
          match: match as ReadonlyArray<RegExp | string> | undefined,
          budget: budget === true
        })
      )
}

/**
 * A policy that goes by the class of the reason: `always`, `transaction`, and `idempotent` inside of `Sql.read` or
 * `Sql.idempotent`.
 *
 * **When to use:** to change how often, how long or with what pauses failures are retried that are worth a retry.
 *
 * @see `fromMatch` to name the failures.
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Either.Either<Policy, InvalidPolicy> => check(options, undefined)

/**
 * A policy that goes by what a failure looks like: the shape that other libraries have in their configuration.
 *
 * **When to use:** to move such a configuration here, or to retry what its class alone does not allow, such as `LockTimeout`.
 *
 * @see `make` for a policy that goes by the class of the reason.
 * @example
 * ```ts
 * import { Sql, SqlRetry } from "@sluice/sql"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const policy = yield* SqlRetry.fromMatch({
 *     match: ["Deadlock", "55P03", /too many connections/i],
 *     backoffBase: "100 millis",
 *     backoffExponent: 1.5,
 *     timeout: "5 seconds",
 *     max: 4
 *   })
 *   return yield* Sql.query("update accounts set balance = 0").pipe(Sql.retry(policy))
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMatch = (options: MatchOptions): Either.Either<Policy, InvalidPolicy> =>
  check(options, options?.match ?? [], true)

/**
 * What `Sql.retry()` and `withTransaction({ retry: true })` use: the defaults of `make`, within the budget.
 *
 * @since 0.1.0
 * @category constructors
 */
export const standard: Policy = policies.standard

/**
 * Whether the policy runs work again that has failed with this error for the first time.
 *
 * **When to use:** to try a policy against the errors that you expect, in a test.
 *
 * - `repeatable`: the work only reads, or was declared idempotent. Default false.
 *
 * @since 0.1.0
 * @category getters
 */
export const allows = (
  policy: Policy,
  error: unknown,
  options?: { readonly repeatable?: boolean | undefined }
): boolean =>
  policies.longestPause(policy, error, 0, { repeatable: options?.repeatable === true, whole: true }) !== undefined

/**
 * The policy as a `Schedule` that does not look whether `Sql.read` or `Sql.idempotent` is around the effect it retries. It
 * knows neither the budget nor the deadline, as no policy does under `Effect.retry`. Gives the number of the retry.
 *
 * **When to use:** with `Effect.retry`, around an effect that only you know to be repeatable. Else the policy itself will do.
 *
 * - `repeatable`: what is retried only reads, or may be executed twice. Default false.
 *
 * @since 0.1.0
 * @category conversions
 */
export const schedule = (
  policy: Policy,
  options?: { readonly repeatable?: boolean | undefined }
): Schedule.Schedule<number, unknown> =>
  policies.schedule(policy, () => ({ repeatable: options?.repeatable === true, whole: true }))
