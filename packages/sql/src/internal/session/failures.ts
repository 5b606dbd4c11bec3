import type { SqlError } from "@effect/sql/SqlError"
import * as SqlReason from "../../SqlReason.js"
import { invalidUse } from "../client/errors.js"

/** What became of a transaction or a pin whose connection is gone. */
export const lostInside = (what: string, by?: SqlError): SqlError => {
  const { _tag, code, retry } = SqlReason.of(by)
  const known = _tag === "ServerShutdown" || _tag === "StatementTimeout"
  return SqlReason.toError(
    SqlReason.make(known ? _tag : "ConnectionLost", {
      code,
      connection: "destroy",
      outcome: "rolledBack",
      // A time limit that ended it once would end it again.
      retry: known && retry === "never" ? "never" : "transaction",
      cause: by?.cause
    }),
    `the connection was lost inside ${what}${by === undefined ? "" : ` (${by.message})`}, and what it held is lost with it: run ${what} again from its beginning`
  )
}

export const lostBeforeCommit = (by?: SqlError): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", {
      connection: "destroy",
      outcome: "rolledBack",
      retry: "transaction",
      cause: by?.cause
    }),
    "the connection was lost before COMMIT: nothing was written. Run the transaction again from its beginning"
  )

export const transactionHasEnded = (): SqlError =>
  invalidUse(
    "this transaction has ended: a fiber that was started inside it went on after its end. Join such fibers before the transaction ends, or start them outside"
  )

/** The deadline of a statement passed while another statement, or what is left of one, kept its connection. */
export const deadlineWhileWaiting = (): SqlError =>
  SqlReason.toError(
    SqlReason.make("StatementTimeout"),
    "the deadline passed while the statement waited for the statements before it on the same pinned connection: it was not sent. Do less on one connection, or set a later deadline"
  )
