import type { SqlError } from "@effect/sql/SqlError"
import type { Leak } from "@sluice/pool/PoolStats"
import * as SqlReason from "../../SqlReason.js"
import { invalidUse } from "../client/errors.js"

/** The pool has taken the connection away from a holder that did nothing with it. */
export const leaseReclaimed = (database: string, label: string, leak: Leak): SqlError => {
  const wasInside = leak.kind === "idleInTransaction"
  return SqlReason.toError(
    SqlReason.make("LeaseReclaimed", {
      connection: "destroy",
      outcome: wasInside ? "rolledBack" : "none",
      cause: new Reclaimed(leak)
    }),
    `${database} at ${label}: the pool has taken this connection away, because nothing was done on it for ${Math.round(leak.idleMs / 1_000)} s (leakThreshold, reclaim)${
      wasInside ? ", and its transaction is rolled back" : ""
    }. Release a connection before slow work that needs none, or allow for a longer time in leakThreshold`
  )
}

/** The cause of that error: the pool's report. */
class Reclaimed extends Error {
  override readonly name = "LeaseReclaimed"

  constructor(readonly leak: Leak) {
    super("the lease was held too long, and was taken away")
  }
}

export const isReclaimed = (by: SqlError | undefined): by is SqlError => SqlReason.is("LeaseReclaimed")(by)

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
