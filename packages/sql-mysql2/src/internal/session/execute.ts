import { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import { type Instant, never } from "@sluice/pool/Deadline"
import { isPreparable, type Mode } from "@sluice/sql/driver/Driver"
import { Effect } from "effect"
import { Operation } from "../wire/operation.js"
import type { MysqlConnection } from "./connection.js"

/**
 * Executes a statement: see `Driver.execute`. `begin` is sent ahead of it in the same write. That needs `mayFollow`, because the
 * server executes the statement also if it refuses `begin`.
 */
export const execute = (
  connection: MysqlConnection,
  sql: string,
  params: ReadonlyArray<unknown>,
  mode: Mode,
  begin?: string,
  until: Instant = never
): Effect.Effect<any, SqlError> =>
  // No canceller: the fiber of an interrupted statement does not wait. The next user of the connection aborts the statement.
  AsyncContext.async((resume) => start(connection, sql, params, mode, until, resume, false, begin))

/** Whether it is a text of `driver.begin`. No other command has these words. */
const isBegin = (sql: string): boolean =>
  /\bSTART TRANSACTION(?: READ ONLY)?$|^SET TRANSACTION ISOLATION LEVEL [A-Z ]+$/.test(sql)

const start = (
  connection: MysqlConnection,
  sql: string,
  params: ReadonlyArray<unknown>,
  mode: Mode,
  until: Instant,
  resume: (effect: Effect.Effect<any, SqlError>) => void,
  again: boolean,
  begin?: string
): void => {
  const text = connection.texts.of(sql)
  const refusal = connection.refusal(text)
  if (refusal !== undefined) {
    resume(Effect.fail(refusal))
    return
  }
  const prepared = connection.prepares(text, params, mode)
  const operation = new Operation(connection, text)
  operation.begins = mode === "command" && isBegin(sql)
  const asArrays = mode === "values"
  const commits = mode === "command" && sql === "COMMIT"
  let written = commits ? connection.server.commit : sql
  operation.leavesNothing = commits
  const sent = connection.parameters(params, !prepared)
  if (sent instanceof SqlError) {
    resume(Effect.fail(sent))
    return
  }
  if (!prepared && params.length > 0) {
    const text = connection.write(sql, sent)
    if (typeof text !== "string") {
      resume(Effect.fail(text))
      return
    }
    written = text
  }
  if (connection.packer !== undefined && isPreparable(mode)) {
    const profile = connection.packer.texts.of(sql)
    operation.profile = profile
    const isKept = !prepared || connection.wire._statements.get(text.key) !== undefined
    const isAlone = !operation.inside && begin === undefined
    // The mark before the first statement measures the round trip: without it no statement is known to be short.
    if (isAlone && (!connection.endpoint.roundTrip.isKnown || (isKept && profile.isDue()))) connection.pipeline.mark()
  }
  if (begin !== undefined) connection.beginWith(begin, operation)
  const onEnd = (failure: unknown): void => {
    if (operation.notBegun !== undefined) {
      resume(Effect.fail(connection.error(operation.notBegun, "statement", { sql: begin! })))
      return
    }
    if (failure === undefined) {
      resume(Effect.succeed(operation.takeAnswer(mode)))
      return
    }
    if (operation.unsent) {
      const unsendable = Effect.fail(connection.unsendable(failure))
      // The BEGIN that was sent ahead of it may be under way.
      connection.pipeline.whenReady(() => resume(unsendable))
      return
    }
    // Nothing was executed, so the statement can run again inside a transaction, too.
    if (prepared && connection.isPreparationAtFault(text, operation, failure, again)) {
      start(connection, sql, params, mode, until, resume, true)
      return
    }
    const phase = commits ? "commit" : operation.inside ? "transaction" : "statement"
    // A statement whose deadline has passed is still under way: the next user of the connection aborts it.
    resume(
      Effect.fail(connection.error(failure, phase, { sql, params, goesOn: connection.pipeline.current === operation }))
    )
  }
  // COMMIT is bounded by `until` alone. The statement timeout would make the fate of a transaction unknown that is being written.
  connection.send(operation, onEnd, until, !commits)
  if (prepared) operation.executePrepared(sent, asArrays)
  else operation.query(written, asArrays)
}
