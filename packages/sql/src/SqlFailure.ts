/**
 * What the errors of a database mean, for drivers: a code stands for a kind of failure, and a kind says in each phase what
 * becomes of the connection, what happened on the server, and what may be done again.
 *
 * @since 0.1.0
 */
import type { Phase } from "./SqlDriver.js"
import * as SqlReason from "./SqlReason.js"

/**
 * - `refused`: the server refused the statement and works on.
 * - `retired`: as `refused`, but the connection must not be used again.
 * - `lost`: the connection is gone; what that means depends on the phase.
 * - `unopened`: no connection came to be.
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
 * @since 0.1.0
 * @category constructors
 */
export const refused = (tag: SqlReason.Tag, retry: SqlReason.Retry = "N"): Kind => ({ kind: "refused", tag, retry })

/**
 * @since 0.1.0
 * @category constructors
 */
export const retired = (tag: SqlReason.Tag, retry: SqlReason.Retry = "N"): Kind => ({ kind: "retired", tag, retry })

/**
 * @since 0.1.0
 * @category constructors
 */
export const lost = (tag: SqlReason.Tag = "ConnectionLost"): Kind => ({ kind: "lost", tag })

/**
 * @since 0.1.0
 * @category constructors
 */
export const unopened = (tag: SqlReason.Tag = "ConnectFailed", retry: SqlReason.Retry = "A"): Kind => ({
  kind: "unopened",
  tag,
  retry
})

/**
 * By the code of the operating system or of Node.
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
  EACCES: unopened("ConnectFailed", "N"),
  ECONNRESET: lost(),
  ECONNABORTED: lost(),
  EPIPE: lost(),
  ETIMEDOUT: lost()
}

/**
 * Whether a code says that the other side's certificate is not trusted, or that TLS cannot be spoken with it.
 *
 * @since 0.1.0
 * @category guards
 */
export const isTls = (code: string): boolean =>
  /^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)

/**
 * The reason of a failure of this kind in this phase.
 *
 * @since 0.1.0
 * @category conversions
 */
export const reason = (kind: Kind, phase: Phase, code: string | undefined, cause: unknown): SqlReason.SqlReason => {
  if (phase === "connect") {
    const [tag, retry] =
      kind.kind === "unopened" ? ([kind.tag, kind.retry] as const) : (["ConnectFailed", "A"] as const)
    return SqlReason.make(tag, { code, connection: "none", outcome: "none", retry, cause })
  }
  if (kind.kind === "refused" || kind.kind === "retired") {
    return SqlReason.make(kind.tag, {
      code,
      connection: kind.kind === "refused" ? "keep" : "destroy",
      outcome: kind.retry === "R" && kind.kind === "retired" ? "unknown" : "rolledBack",
      retry: kind.retry,
      cause
    })
  }
  const tag = kind.kind === "lost" ? kind.tag : "ConnectionLost"
  const gone = (outcome: SqlReason.Outcome, retry: SqlReason.Retry, as: SqlReason.Tag = tag) =>
    SqlReason.make(as, { code, connection: "destroy", outcome, retry, cause })
  switch (phase) {
    case "unsent":
      return gone("none", "A")
    case "transaction":
      return gone("rolledBack", "T")
    case "commit":
      return gone("unknown", "R", "CommitUnknown")
    case "statement":
      return gone("unknown", "R")
  }
}
