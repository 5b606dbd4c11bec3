/** The options of a route, checked once. */
import type { SqlError } from "@effect/sql/SqlError"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as Priority from "@sluice/pool/Priority"
import type { TransactionOptions } from "@sluice/sql/SqlOptions"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Duration, Effect, Either, Redacted } from "effect"
import type { ConsistencyOptions, RequestOptions } from "../RequestOptions.js"

export interface Policy {
  readonly intent: "read" | "write" | undefined
  readonly isPinned: boolean
  readonly priority: Priority.Priority | undefined
  readonly priorityHeader: string | undefined
  /** Milliseconds; `Infinity`: none. */
  readonly deadline: number
  readonly deadlineHeader: string | undefined
  readonly consistency: Consistency | undefined
  readonly transaction: TransactionOptions | undefined
  readonly hasDoor: boolean
}

export interface Consistency {
  readonly secret: Redacted.Redacted
  readonly cookie: string | undefined
  readonly header: string | undefined
  readonly isSecure: boolean
  /** Whole seconds. */
  readonly maxAge: number
}

/** The same characters may stand in the name of a header and of a cookie. */
const name = OptionTable.that(
  "a name of letters, digits and - _ . characters",
  (value) => typeof value === "string" && /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/.test(value)
)

const within = (least: number, most: number, words: string): OptionTable.Check =>
  OptionTable.that(words, (value) => {
    const millis = OptionTable.millisOf(value)
    return millis !== undefined && millis >= least && millis <= most
  })

/** A shorter secret could be guessed from a token; `Consistency.sign` refuses it, but only when there is a token. */
const SHORTEST_SECRET = 16

const secret: OptionTable.Check = (value, path) =>
  !Redacted.isRedacted(value)
    ? [`${path} must be Redacted.make("…")`]
    : typeof Redacted.value(value) === "string" && (Redacted.value(value) as string).length >= SHORTEST_SECRET
      ? []
      : [`${path} must have at least ${SHORTEST_SECRET} characters`]

const consistencyTable: OptionTable.Table<ConsistencyOptions> = {
  secret,
  cookie: name,
  header: name,
  secure: OptionTable.flag,
  maxAge: within(1_000, 86_400_000, "a duration from 1 second to 1 day")
}

const consistency: OptionTable.Check = (value, path) => [
  ...OptionTable.nested(consistencyTable)(value, path),
  ...(typeof value === "object" && value !== null && !("secret" in value && value.secret !== undefined)
    ? [`${path}.secret is missing: it signs the tokens`]
    : []),
  ...(typeof value === "object" &&
  value !== null &&
  "cookie" in value &&
  "header" in value &&
  value.cookie &&
  value.header
    ? [`${path} has a cookie and a header: choose one`]
    : [])
]

const table: OptionTable.Table<RequestOptions> = {
  intent: OptionTable.oneOf("read", "write"),
  connection: OptionTable.oneOf("request", "statement"),
  priority: OptionTable.oneOf(...Object.keys(Priority.rank)),
  priorityHeader: name,
  deadline: within(1, Infinity, "a duration of at least 1 millisecond"),
  deadlineHeader: name,
  consistency,
  transaction: OptionTable.that(
    "true, false or the options of withTransaction",
    (value) => typeof value === "boolean" || (typeof value === "object" && value !== null && !Array.isArray(value))
  ),
  admission: OptionTable.flag
}

const elsewhere: OptionTable.Elsewhere = {
  timeout: "use deadline",
  acquireTimeout: "use Sql.withAcquireTimeout around the handler, or the pool's acquireTimeout",
  readOnly: 'use intent: "read", or transaction: { readOnly: true }',
  isolation: "use transaction: { isolation }",
  cookie: "use consistency: { secret, cookie }",
  secret: "use consistency: { secret }",
  shedding: "use admission, or the pool's shedding"
}

/** The policy, or every problem of the options in one error. */
export const decode = (options: RequestOptions): Either.Either<Policy, SqlError> => {
  const problems = OptionTable.problems(options, table, { elsewhere })
  if (problems.length > 0) {
    return Either.left(
      SqlReason.toError(SqlReason.make("InvalidUse"), `the options of a request: ${problems.join("; ")}`)
    )
  }
  const { transaction = false } = options
  return Either.right({
    intent: options.intent,
    isPinned: options.connection !== "statement",
    priority: options.priority,
    priorityHeader: options.priorityHeader?.toLowerCase(),
    deadline: options.deadline === undefined ? Infinity : Duration.toMillis(options.deadline),
    deadlineHeader: options.deadlineHeader?.toLowerCase(),
    consistency: options.consistency && consistencyOf(options.consistency),
    transaction: transaction === false ? undefined : transaction === true ? {} : transaction,
    hasDoor: options.admission !== false
  })
}

const consistencyOf = ({ cookie, header, maxAge = 60_000, secret, secure }: ConsistencyOptions): Consistency => ({
  secret,
  cookie: header === undefined ? (cookie ?? "sluice-consistency") : undefined,
  header: header?.toLowerCase(),
  isSecure: secure === true,
  maxAge: Math.floor(Duration.toMillis(maxAge) / 1_000)
})

/** As an effect, for the moment at which a program makes its server. */
export const make = (options: RequestOptions): Effect.Effect<Policy, SqlError> => Effect.suspend(() => decode(options))
