import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import * as SqlReason from "../../SqlReason.js"
import { invalidUse } from "../client/errors.js"
import { use } from "../routing/route.js"
import * as Bounded from "./bounded.js"
import { isUnopened, whyDead } from "./connection.js"
import { isReclaimed, lostBeforeCommit } from "./failures.js"
import type { Call } from "./options.js"
import type { Block } from "./pin.js"
import * as Verify from "./verify.js"

/** Ends a transaction that has succeeded. To be run by the holder of its lock, where nothing can interrupt. */
export const commit = <Conn>(block: Block<Conn>, call: Call): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const { pin } = block
    const connection = pin.lease?.connection
    block.closed = true
    const nothingSent = isUnopened(pin)
    pin.opening = undefined
    // BEGIN is still to be sent, so there is nothing that could be committed.
    if (nothingSent) return Effect.void
    if (connection === undefined) return Effect.fail(lostBeforeCommit())
    switch (pin.cluster.driver.status(connection)) {
      case "dead":
        return Effect.flatMap(whyDead(pin, connection), (by) => Effect.fail(isReclaimed(by) ? by : lostBeforeCommit()))
      case "busy":
        // A statement that another fiber has left could not be ended: in time, or at all.
        return Effect.fail(call.deadline <= pin.cluster.timers.now() ? outOfTime(call) : lostBeforeCommit())
      case "failed":
        return Effect.fail(aborted(block))
      case "idle":
      case "session":
        return failNoted(
          block,
          connection,
          invalidUse(
            "a statement inside this transaction ended it (COMMIT, ROLLBACK or a command that commits implicitly): what came before may be written. Leave begin and end to withTransaction"
          )
        )
    }
    return call.options.verifyCommit
      ? Effect.flatMap(transactionId(block, connection, call), (verify) => send(block, connection, call, verify))
      : send(block, connection, call, undefined)
  })

/** A statement had failed, so that COMMIT is or would be answered with a rollback. */
export const aborted = <Conn>(block: Block<Conn>): SqlError => {
  const by = block.transaction?.failedBy
  const reason = SqlReason.of(by)
  return SqlReason.toError(
    SqlReason.make("TransactionAborted", {
      outcome: "rolledBack",
      code: reason.code,
      // What made it fail decides whether it is worth another run.
      retry: reason.retry === "transaction" && reason._tag !== "LockTimeout" ? "transaction" : "never",
      cause: by?.cause
    }),
    `nothing was written: a statement inside the transaction had failed${
      by === undefined ? "" : ` (${reason._tag}: ${by.message})`
    }, and a transaction that has failed can only be rolled back. Let the failure pass, or put the statement that may fail into a withTransaction of its own`
  )
}

/** The time of a transaction is over, or too little is left for its COMMIT. Its caller rolls it back. */
export const outOfTime = ({ options: { timeout } }: Call): SqlError =>
  SqlReason.toError(
    SqlReason.make("StatementTimeout", { outcome: "rolledBack" }),
    timeout === undefined
      ? "the transaction was not done by its deadline (Sql.withDeadline), and is rolled back. Do less in it, or set a later deadline"
      : `the transaction was not done within its timeout of ${timeout} ms or by an earlier deadline, and is rolled back. Do less in it, or raise the timeout of withTransaction`
  )

/** Asks for what `verify` will need. If that fails, so does the transaction: COMMIT was not sent. */
const transactionId = <Conn>(
  block: Block<Conn>,
  connection: Conn,
  call: Call
): Effect.Effect<Effect.Effect<SqlReason.CommitFate> | undefined, SqlError> => {
  const { cluster } = block.pin
  const { driver, timers } = cluster
  if (driver.transactionId === undefined) return Effect.succeed(undefined)
  const longest = timers.now() + call.options.commitTimeout
  return Effect.map(
    Bounded.abandonAt(
      timers,
      Math.min(longest, call.deadline),
      driver.transactionId(connection),
      Effect.suspend(() => Effect.fail(call.deadline < longest ? outOfTime(call) : lostBeforeCommit()))
    ),
    (ask) => Verify.make(timers, (connection) => use(cluster, "write", connection), ask)
  )
}

/** Nothing can have been written. */
const isReading = <Conn>({ pin, transaction }: Block<Conn>): boolean =>
  transaction?.readOnly === true || pin.lease?.intent === "read"

/** `error`, after something may have been written. */
const failNoted = <Conn>({ pin }: Block<Conn>, connection: Conn, error: SqlError): Effect.Effect<never, SqlError> => {
  const failed = Effect.fail(error)
  return pin.cluster.consistency?.marks.around(connection, failed) ?? failed
}

const send = <Conn>(
  block: Block<Conn>,
  connection: Conn,
  call: Call,
  verify: Effect.Effect<SqlReason.CommitFate> | undefined
): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const { consistency, driver, timers, totals } = block.pin.cluster
    const now = timers.now()
    if (call.deadline - now <= call.floor) return Effect.fail(outOfTime(call))
    const until = Math.min(now + call.options.commitTimeout, call.deadline)
    const end = driver.execute(connection, "COMMIT", [], "command", undefined, until)
    const noted = isReading(block) ? end : (consistency?.marks.around(connection, end) ?? end)
    const failed = (error: SqlError) => {
      totals.failedBy(SqlReason.of(error))
      return Effect.fail(error)
    }
    return Effect.matchEffect(noted, {
      // The server says ROLLBACK when it could not commit; to the driver that is no error.
      onSuccess: (tag) => (tag === "ROLLBACK" ? failed(aborted(block)) : Effect.void),
      onFailure: (error) => {
        // The driver waits no longer, and the server has not answered.
        if (driver.status(connection) === "busy") return failed(unknownCommit(undefined, verify))
        const { _tag, connection: fate, outcome } = SqlReason.of(error)
        // The server has refused, so nothing is written. A server that only reads has answered too, although its connection
        // is of no more use.
        if (fate !== "destroy" || _tag === "NotWritable") return failed(error)
        if (outcome === "none") return failed(lostBeforeCommit(error))
        // The connection was lost, and the answer with it.
        return failed(unknownCommit(error, verify))
      }
    })
  })

const unknownCommit = (by?: SqlError, verify?: Effect.Effect<SqlReason.CommitFate>): SqlError => {
  const { cause, code } = SqlReason.of(by)
  return SqlReason.toError(
    SqlReason.make("CommitUnknown", {
      code,
      connection: "destroy",
      outcome: "unknown",
      retry: "idempotent",
      cause: by && cause,
      ...(verify === undefined ? {} : { verify })
    }),
    `COMMIT was sent and its answer did not come${by === undefined ? " in time" : ` (${by.message})`}: the transaction is either written or not. ${
      verify === undefined
        ? "Look before you run it again; withTransaction({ verifyCommit: true }) can ask the server"
        : "The `verify` of its reason asks the server"
    }`
  )
}
