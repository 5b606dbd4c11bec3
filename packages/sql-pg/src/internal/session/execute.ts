import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import { type Instant, never } from "@sluice/pool/Deadline"
import { isPreparable, type Mode } from "@sluice/sql/driver/Driver"
import { Unsendable } from "@sluice/sql/driver/Unsendable"
import { Effect } from "effect"
import { problemOf } from "../wire/message.js"
import { CLEAN } from "../wire/operation.js"
import { prepare } from "../wire/params.js"
import type { Plan } from "../wire/plans.js"
import { Statement } from "../wire/statement.js"
import { asksForAllColumns, isSeveral } from "../wire/texts.js"
import type { PgConnection } from "./connection.js"
import { type PlanFault, planFaultOf } from "./faults.js"

/** A statement and who awaits its answer. */
interface Request {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
  readonly mode: Mode
  readonly before: ReadonlyArray<string>
  readonly until: Instant
  readonly resume: (effect: Effect.Effect<any, SqlError>) => void
}

/** How a statement that has failed because of its prepared statement runs again. */
interface Again {
  /** Without a prepared statement. */
  readonly unnamed: boolean
  /** Dropped if the statement succeeds without it. If it fails again the value was at fault, and the plan stays. */
  readonly suspect: Plan | undefined
  readonly runs: number
}

/** Once with a statement that is prepared anew, and once without a prepared statement. */
const MOST_RUNS = 2

/** See `Driver.execute`. */
export const execute = (
  connection: PgConnection,
  sql: string,
  params: ReadonlyArray<unknown>,
  mode: Mode,
  before: ReadonlyArray<string> = nothing,
  until: Instant = never
): Effect.Effect<any, SqlError> =>
  // No canceller: the fiber of an interrupted statement does not wait. The next user of the connection aborts the statement.
  AsyncContext.async((resume) => start(connection, { sql, params, mode, before, until, resume }, undefined))

const nothing: ReadonlyArray<string> = []

const start = (connection: PgConnection, request: Request, again: Again | undefined): void => {
  const { before, mode, params, resume, sql, until } = request
  if (connection.isDead) {
    resume(Effect.fail(connection.unsent()))
    return
  }
  const values = prepare(params)
  if (values instanceof Unsendable) {
    resume(Effect.fail(connection.unsendable(values)))
    return
  }
  const { packer, pipeline, plans } = connection
  const inside = connection.inTransaction
  if (connection.mustClean && sql !== "") {
    if (params.length === 0 && isSeveral(sql)) {
      // The server cleans no session in the middle of several statements.
      connection.clean()
      pipeline.whenReady(() => start(connection, request, again))
      return
    }
    connection.takeCleaning()
    start(connection, { ...request, before: [CLEAN, ...before] }, again)
    return
  }
  const begins = before.some((sql) => sql !== CLEAN)
  const isNamed =
    connection.endpoint.named &&
    again?.unnamed !== true &&
    isPreparable(mode) &&
    !((inside || begins) && asksForAllColumns(sql))
  const plan = isNamed ? plans.of(sql, params) : undefined
  const isKept = plan !== undefined && plans.isParsed(plan)
  const problem = isKept ? undefined : problemOf(sql)
  if (problem !== undefined) {
    resume(Effect.fail(connection.unsendable(problem)))
    return
  }
  let statement: Statement
  try {
    statement = new Statement(sql, values, mode, plan, plans.takeForgotten(), connection.parsers, before)
  } catch (problem) {
    resume(Effect.fail(connection.unsendable(problem)))
    return
  }
  if (plan !== undefined && packer !== undefined) {
    const text = packer.texts.of(sql)
    statement.profile = text
    const isAlone = !inside && !begins
    // The mark before the first statement measures the round trip: without it no statement is known to be short.
    if (isAlone && (!connection.endpoint.roundTrip.isKnown || (isKept && text.isDue()))) pipeline.mark()
  }
  const commits = mode === "command" && sql === "COMMIT"
  const onEnd = (failure: unknown): void => {
    if (statement.isUncleaned) {
      resume(Effect.fail(connection.uncleaned()))
      return
    }
    if (failure === undefined) {
      if (again?.suspect !== undefined) plans.drop(again.suspect)
      resume(Effect.succeed(statement.answer()))
      return
    }
    if (plan !== undefined) {
      const fault = planFaultOf(failure, plan)
      if (
        fault !== undefined &&
        runAgain(
          connection,
          { ...request, before: before.filter((sql) => sql !== CLEAN) },
          again,
          plan,
          fault,
          isKept,
          inside
        )
      )
        return
    }
    const isWithin = inside || (begins && statement.hasBegun)
    const phase = commits ? "commit" : isWithin ? "transaction" : "statement"
    // A statement whose deadline has passed is still under way: the next user of the connection aborts it.
    const onlyReads = isReadOnly(sql) || before.some(isReadOnly)
    resume(
      Effect.fail(connection.error(failure, phase, { sql, params, goesOn: pipeline.current === statement, onlyReads }))
    )
  }
  // COMMIT is bounded by `until` alone. The statement timeout would make the fate of a transaction unknown that is being written.
  connection.send(statement, onEnd, until, !commits)
}

/** The BEGIN of a transaction that writes nothing. */
const isReadOnly = (sql: string): boolean => sql.startsWith("BEGIN") && sql.includes(" READ ONLY")

/** Gives whether the statement runs again. Nothing of it was executed. */
const runAgain = (
  connection: PgConnection,
  request: Request,
  again: Again | undefined,
  plan: Plan,
  fault: PlanFault,
  isKept: boolean,
  inside: boolean
): boolean => {
  // A plan that was prepared for this run has the present types of the columns.
  if (fault === "mistyped" && !isKept) return false
  if (fault === "lost") connection.planSurprised("26000")
  if (fault === "foreign") connection.planSurprised("42P05")
  const runs = again?.runs ?? 0
  // The failure has ended the transaction, so only all of it can run again.
  const mayRun = !inside && runs < MOST_RUNS && !connection.pipeline.isAborting && !connection.isDead
  if (fault !== "mistyped" || !mayRun) connection.plans.drop(plan)
  if (!mayRun) return false
  const next: Again = {
    unnamed: fault === "mistyped" || fault === "foreign" || runs > 0,
    suspect: fault === "mistyped" ? plan : undefined,
    runs: runs + 1
  }
  const { until } = request
  const restart = () => start(connection, request, next)
  // The BEGIN that was sent ahead of it has succeeded.
  if (connection.inTransaction) {
    start(connection, { sql: "ROLLBACK", params: [], mode: "command", before: nothing, until, resume: restart }, next)
  } else restart()
  return true
}
