/**
 * What the errors of a database mean. A driver maps each code to a `Kind`. `reason` makes a `SqlReason` of the kind and the phase:
 * whether the connection can be kept, what has happened on the server, and what may be tried again.
 *
 * The errors that do not depend on the database are made here too: options that cannot work, and deadlines that have passed.
 *
 * @since 0.1.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as SqlReason from "../SqlReason.js"
import type { Phase } from "./Driver.js"

/**
 * Milliseconds that the client waits for the server to enforce its statement timeout before the client enforces it.
 *
 * @since 0.1.0
 * @category constants
 */
export const PATIENCE = 1_000

/**
 * A kind of error.
 *
 * - `refused`: the server has refused the statement, and the connection works.
 * - `retired`: the same, but the connection must not be used again.
 * - `lost`: the connection is lost. The phase says what that means for the statement.
 * - `unopened`: no connection was opened.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind =
  | { readonly kind: "refused"; readonly tag: SqlReason.Tag; readonly retry: SqlReason.Retry }
  | { readonly kind: "retired"; readonly tag: SqlReason.Tag; readonly retry: SqlReason.Retry }
  | { readonly kind: "lost"; readonly tag: SqlReason.Tag }
  | { readonly kind: "unopened"; readonly tag: SqlReason.Tag; readonly retry: SqlReason.Retry }

/**
 * The server has refused the statement, and the connection works.
 *
 * @since 0.1.0
 * @category constructors
 */
export const refused = (tag: SqlReason.Tag, retry: SqlReason.Retry = "never"): Kind => ({ kind: "refused", tag, retry })

/**
 * The server has refused the statement, and the connection must not be used again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const retired = (tag: SqlReason.Tag, retry: SqlReason.Retry = "never"): Kind => ({ kind: "retired", tag, retry })

/**
 * The connection is lost.
 *
 * @since 0.1.0
 * @category constructors
 */
export const lost = (tag: SqlReason.Tag = "ConnectionLost"): Kind => ({ kind: "lost", tag })

/**
 * No connection was opened.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unopened = (tag: SqlReason.Tag = "ConnectFailed", retry: SqlReason.Retry = "always"): Kind => ({
  kind: "unopened",
  tag,
  retry
})

/**
 * The kind of an error that the server has sent, and after which its session goes on. Whatever the code says of connections, this
 * one works and the statement is undone: a function may raise any code, and postgres_fdw raises those of the connection behind
 * it. Only an error that means that another server has to be asked (`retired`, retry `always`) stays as it is.
 *
 * @since 0.2.0
 * @category conversions
 */
export const inLiveSession = (kind: Kind): Kind => {
  switch (kind.kind) {
    case "refused":
      return kind
    case "retired":
      return kind.retry === "always" ? kind : refused(kind.tag, kind.retry)
    case "lost":
      return refused("Unclassified", "transaction")
    case "unopened": {
      const tag =
        kind.tag === "AuthenticationFailed"
          ? "PermissionDenied"
          : kind.tag === "TooManyConnections"
            ? "ResourceExhausted"
            : "Unclassified"
      return refused(tag, kind.retry === "never" ? "never" : "transaction")
    }
  }
}

/**
 * The kinds of the errors of the operating system and of Node, by code.
 *
 * @since 0.1.0
 * @category tables
 */
export const bySystem: Readonly<Record<string, Kind>> = {
  ECONNREFUSED: unopened(),
  EHOSTUNREACH: unopened(),
  ENETUNREACH: unopened(),
  EHOSTDOWN: unopened(),
  EADDRNOTAVAIL: unopened(),
  ENOTFOUND: unopened(),
  EAI_AGAIN: unopened(),
  ENOENT: unopened(),
  EACCES: unopened("ConnectFailed", "never"),
  ECONNRESET: lost(),
  ECONNABORTED: lost(),
  EPIPE: lost(),
  ETIMEDOUT: lost()
}

/**
 * Whether this is the code of an error of TLS: the server's certificate is not trusted, or there is no TLS connection to it.
 *
 * @since 0.1.0
 * @category guards
 */
export const isTls = (code: string): boolean =>
  /^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)

/**
 * The kind of an error that the server has not sent. The code is looked up first, then the text: `byText` is for errors without
 * a code. `byCode` has the codes of the library.
 *
 * @since 0.2.0
 * @category conversions
 */
export const ofClient = (
  { code, message }: { readonly code: string | undefined; readonly message: string },
  phase: Phase,
  byText: ReadonlyArray<readonly [RegExp, Kind]>,
  byCode: Readonly<Record<string, Kind>> = {}
): Kind => {
  if (code !== undefined) {
    const known = byCode[code] ?? bySystem[code]
    if (known !== undefined) return known
    if (isTls(code)) return unopened("ConnectFailed", "never")
  }
  const found = byText.find(([pattern]) => pattern.test(message))
  if (found !== undefined) return found[1]
  return phase === "connect" ? unopened() : refused("Unclassified")
}

/**
 * The reason of a failure of this kind in this phase.
 *
 * @since 0.1.0
 * @category conversions
 */
export const reason = (kind: Kind, phase: Phase, code: string | undefined, cause: unknown): SqlReason.SqlReason => {
  if (phase === "connect") {
    const [tag, retry] =
      kind.kind === "unopened" ? ([kind.tag, kind.retry] as const) : (["ConnectFailed", "always"] as const)
    return SqlReason.make(tag, { code, connection: "none", outcome: "none", retry, cause })
  }
  if (kind.kind === "refused" || kind.kind === "retired") {
    return SqlReason.make(kind.tag, {
      code,
      connection: kind.kind === "refused" ? "keep" : "destroy",
      outcome: kind.retry === "idempotent" && kind.kind === "retired" ? "unknown" : "rolledBack",
      retry: kind.retry,
      cause
    })
  }
  const tag = kind.kind === "lost" ? kind.tag : "ConnectionLost"
  const gone = (outcome: SqlReason.Outcome, retry: SqlReason.Retry, as: SqlReason.Tag = tag) =>
    SqlReason.make(as, { code, connection: "destroy", outcome, retry, cause })
  switch (phase) {
    case "unsent":
      return gone("none", "always")
    case "transaction":
      return gone("rolledBack", "transaction")
    case "commit":
      return gone("unknown", "idempotent", "CommitUnknown")
    case "statement":
      return gone("unknown", "idempotent")
  }
}

/**
 * The failure of options that cannot work. Its message has all problems, and so has `cause.problems`, as a list. `name` is the
 * module that was given the options, such as `PgSql`.
 *
 * @since 0.1.0
 * @category options
 */
export const invalidOptions = (name: string, problems: ReadonlyArray<string>): SqlError => {
  const message = `${name}: ${problems.length === 1 ? "an option is" : "options are"} invalid: ${problems.join("; ")}`
  return invalidOptionsOf(Object.assign(new Error(message), { problems }))
}

/**
 * The failure of options that cannot work, with the message of `cause`.
 *
 * @since 0.1.0
 * @category options
 */
export const invalidOptionsOf = (cause: Error): SqlError =>
  SqlReason.toError(SqlReason.make("InvalidOptions", { connection: "none", cause }), cause.message)

/**
 * The failure that a pipeline gives to a caller whose deadline has passed. The server may still be at work on the operation.
 *
 * @since 0.2.0
 * @category errors
 */
export class TimedOut extends Error {
  constructor(
    /** Whether the caller's deadline has passed, or the statement timeout of the connection. */
    readonly limit: "deadline" | "statementTimeout",
    /** Milliseconds; 0 is off. */
    readonly statementTimeout: number
  ) {
    super(limit === "deadline" ? "no answer within the deadline" : "no answer within the statement timeout")
  }
}

/**
 * The error of a statement whose deadline has passed. `database` is the product, `label` the endpoint.
 *
 * @since 0.2.0
 * @category conversions
 */
export const timedOut = (cause: TimedOut, phase: Phase, database: string, label: string): SqlError => {
  const where = `${database} at ${label}`
  if (phase === "commit") {
    return SqlReason.toError(
      SqlReason.make("CommitUnknown", { connection: "destroy", outcome: "unknown", retry: "idempotent", cause }),
      `${where}: no answer to COMMIT in time`
    )
  }
  const outcome = phase === "transaction" ? "rolledBack" : "unknown"
  return cause.limit === "deadline"
    ? SqlReason.toError(
        SqlReason.make("StatementTimeout", { outcome, cause }),
        `${where}: no answer within the deadline that the program has set, so the statement is cancelled. Give it more time, or find out what it waits for`
      )
    : SqlReason.toError(
        SqlReason.make("StatementTimeout", { connection: "destroy", outcome, cause }),
        `${where}: no answer within the statement timeout of ${cause.statementTimeout} ms and ${PATIENCE} ms more: the server does not enforce its limit for this statement, or the server or the way to it is stuck`
      )
}
