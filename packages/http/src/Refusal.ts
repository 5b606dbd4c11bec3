/**
 * What a request is answered with when the database could not serve it.
 *
 * | status | when | `Retry-After` |
 * | --- | --- | --- |
 * | 400 | a header of the request has no meaning; a value that the database cannot take (`InvalidData`) | |
 * | 503 | refused at the door; no connection (every acquire error); nothing was done, and it may work later: a deadlock, a failover | seconds, by the estimate of the queue where there is one |
 * | 504 | the deadline has passed while a statement ran (`StatementTimeout`) | |
 *
 * Everything else is left to the program, with its own failure: a constraint that is violated, a text that is wrong, a write of which
 * nobody knows whether it happened (`CommitUnknown`, a lost connection).
 *
 * @since 0.2.0
 */
import * as SqlReason from "@sluice/sql/SqlReason"
import { Cause, Option } from "effect"

/**
 * An answer: `reason` is for the client too, and says neither statements nor hosts.
 *
 * @since 0.2.0
 * @category models
 */
export interface Refusal {
  readonly status: 400 | 503 | 504
  /** A name of `SqlReason`; `BadRequest`: `problems` says which headers have no meaning. */
  readonly reason: SqlReason.Tag | "BadRequest"
  /** Whole seconds, at least 1. */
  readonly retryAfter: number | undefined
  readonly problems: ReadonlyArray<string>
}

/** `later`: 503 when nothing was done on the server and the same may succeed later, else the program's own. */
type Answer = 400 | 503 | 504 | "later" | "own"

/** Every reason has a row. */
const answers: Readonly<Record<SqlReason.Tag, Answer>> = {
  AcquireTimeout: 503,
  PoolSaturated: 503,
  PoolShed: 503,
  PoolClosed: 503,
  NestedAcquire: 503,
  DatabaseDown: 503,
  HookFailed: 503,
  NoReplica: 503,
  ConnectFailed: 503,
  TooManyConnections: 503,
  AuthenticationFailed: 503,
  StatementTimeout: 504,
  InvalidData: 400,
  ConnectionLost: "later",
  ServerShutdown: "later",
  NotWritable: "later",
  SerializationFailure: "later",
  Deadlock: "later",
  LockTimeout: "later",
  StalePlan: "later",
  TransactionAborted: "later",
  Cancelled: "own",
  UniqueViolation: "own",
  ForeignKeyViolation: "own",
  CheckViolation: "own",
  NotNullViolation: "own",
  SyntaxError: "own",
  PermissionDenied: "own",
  ResourceExhausted: "own",
  CommitUnknown: "own",
  LeaseReclaimed: "own",
  InvalidOptions: "own",
  InvalidUse: "own",
  Unclassified: "own"
}

/** Seconds, where nobody can say when it will be better. */
const SOON = 1

/**
 * The answer to a failure; `undefined` where it is the program's own.
 *
 * **When to use:** in an error handler of your own. The bindings of this package have done it already.
 *
 * @since 0.2.0
 * @category getters
 */
export const of = (error: unknown): Refusal | undefined => {
  if (!isOurs(error)) return undefined
  const { _tag, outcome, retry } = SqlReason.of(error)
  const answer = answers[_tag]
  const isLater = outcome !== "unknown" && (retry === "always" || retry === "transaction")
  const status = answer === "later" ? (isLater ? 503 : "own") : answer
  return status === "own" ? undefined : make(status, _tag, status === 503 ? SOON : undefined)
}

/**
 * The answer to a failed effect, whether its failure was expected (a failure) or not (a defect, as `Effect.orDie` makes it).
 *
 * @since 0.2.0
 * @category getters
 */
export const ofCause = (cause: Cause.Cause<unknown>): Refusal | undefined =>
  Option.match(Cause.failureOption(cause), {
    onSome: of,
    onNone: () =>
      Option.getOrUndefined(Option.flatMap(Cause.dieOption(cause), (defect) => Option.fromNullable(of(defect))))
  })

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  status: Refusal["status"],
  reason: Refusal["reason"],
  retryAfter?: number,
  problems: ReadonlyArray<string> = []
): Refusal => ({ status, reason, retryAfter, problems })

/**
 * The response as plain data, for a server of whatever kind.
 *
 * @since 0.2.0
 * @category conversions
 */
export const toResponse = (
  refusal: Refusal
): { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string } => ({
  status: refusal.status,
  headers: {
    "content-type": "application/json",
    ...(refusal.retryAfter === undefined ? {} : { "retry-after": String(refusal.retryAfter) })
  },
  body: JSON.stringify({
    error: refusal.reason,
    ...(refusal.problems.length === 0 ? {} : { problems: refusal.problems })
  })
})

const isOurs = (error: unknown): boolean => typeof error === "object" && error !== null && SqlReason.key in error
