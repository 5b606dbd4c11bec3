import type { SqlError } from "@effect/sql/SqlError"
import { type Instant, never } from "@sluice/pool/Deadline"
import * as OptionTable from "@sluice/pool/OptionTable"
import { Duration, Either } from "effect"
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

const duration = OptionTable.that("a duration of at least 0", (value) => OptionTable.millisOf(value) !== undefined)

const table: OptionTable.Table<Input> = {
  // These words become part of BEGIN, so none is taken that is not in this list.
  isolation: OptionTable.oneOf("read uncommitted", "read committed", "repeatable read", "serializable"),
  readOnly: OptionTable.flag,
  deferrable: OptionTable.flag,
  commitTimeout: duration,
  timeout: duration,
  verifyCommit: OptionTable.flag,
  retry: (value) => Either.match(Given.decode(value), { onLeft: (problem) => [problem], onRight: () => [] })
}

const elsewhere: OptionTable.Elsewhere = {
  isolationLevel: "use isolation",
  transactionIsolation: "use isolation",
  accessMode: "use readOnly: true or false",
  mode: "use readOnly: true or false",
  retries: "use retry: true, or a policy of SqlRetry",
  maxRetries: "use retry: true, or a policy of SqlRetry",
  maxWait: "use Sql.withAcquireTimeout around it",
  acquireTimeout: "use Sql.withAcquireTimeout around it",
  priority: "use Sql.withPriority around it",
  intent: "use Sql.read around it, or readOnly: true",
  savepoint: "leave it out: a nested withTransaction is a savepoint",
  name: "leave it out: savepoints have names of their own",
  statementTimeout: "use timeout, or the option statementTimeout of the Layer"
}

export const decode = (input: Input): Either.Either<Options, SqlError> => {
  const problems = OptionTable.problems(input, table, { elsewhere })
  if (problems.length > 0) return Either.left(invalidUse(`withTransaction: ${problems.join("; ")}`))
  const {
    commitTimeout = DEFAULT_COMMIT_TIMEOUT,
    deferrable,
    isolation,
    readOnly,
    retry,
    timeout,
    verifyCommit
  } = input
  return Either.right({
    deferrable,
    isolation,
    readOnly,
    commitTimeout: Duration.toMillis(commitTimeout),
    retry: Either.getOrUndefined(Given.decode(retry)),
    timeout: timeout === undefined ? undefined : Duration.toMillis(timeout),
    verifyCommit: verifyCommit === true
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
