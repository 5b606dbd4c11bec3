import type { PackedRequest } from "@sluice/sql/driver/Driver"
import * as Packing from "@sluice/sql/driver/Packing"
import { Unsendable } from "@sluice/sql/driver/Unsendable"
import { relieve } from "./cancel.js"
import * as classify from "./classify.js"
import { isSeenInText } from "./session/changes.js"
import type { PgConnection } from "./session/connection.js"
import { planFaultOf } from "./session/faults.js"
import { onlyReads } from "./wire/functions.js"
import { problemOf } from "./wire/message.js"
import { CLEAN } from "./wire/operation.js"
import { prepare, type Values } from "./wire/params.js"
import type { Plan } from "./wire/plans.js"
import { Statement } from "./wire/statement.js"
import { isRead } from "./wire/texts.js"

/**
 * It may share a connection with others, and may be executed twice: it leaves nothing behind, in the database or in the session,
 * and it calls no function that the program has made, which could.
 */
export const isHarmless = (sql: string): boolean => isRead(sql) && !isSeenInText(sql) && onlyReads(sql)

export type Packer = Packing.Packer<PgConnection>

export const makePacker = (limits: Packing.Limits): Packer => new Packing.Packer(limits, isHarmless, relieve)

/** What a packed read knows besides its request. */
interface State {
  readonly values: Values
  /** Whether it uses a prepared statement. */
  isNamed: boolean
  /** The prepared statement that it has failed with. Dropped if the read succeeds without it. */
  suspect: Plan | undefined
}

type Read = Packing.Read<PgConnection, State>

const prepareRead = (connection: PgConnection, { params }: PackedRequest) => {
  const values = prepare(params)
  return values instanceof Unsendable ? connection.unsendable(values) : { values, isNamed: true, suspect: undefined }
}

const nothing: ReadonlyArray<string> = []

const write = (read: Read): void => {
  const { connection, profile, request, state } = read
  const { pipeline, plans } = connection
  const { mode, params, sql } = request
  const before = connection.takeCleaning() ? [CLEAN] : nothing
  const plan = state.isNamed ? plans.of(sql, params) : undefined
  const problem = plan !== undefined && plans.isParsed(plan) ? undefined : problemOf(sql)
  if (problem !== undefined) {
    read.refused(connection.unsendable(problem))
    return
  }
  let statement: Statement
  try {
    statement = new Statement(sql, state.values, mode, plan, plans.takeForgotten(), connection.parsers, before)
  } catch (problem) {
    read.refused(connection.unsendable(problem))
    return
  }
  statement.profile = profile
  statement.work = profile.work
  statement.read = read
  if (pipeline.current === undefined && profile.isDue()) pipeline.mark()
  connection.send(statement, (failure) => {
    if (statement.isUncleaned) read.lost(failure)
    else if (failure === undefined) {
      if (state.suspect !== undefined) plans.drop(state.suspect)
      read.answered(statement.answer())
    } else read.failed(failure, isInnocent(read, statement, failure))
  })
}

/**
 * Whether the read has failed for a reason that is not its own: because of its prepared statement, or because a cancel of another
 * read has hit it. Then it is sent once more, without a prepared statement: another read may have failed to prepare that, for a
 * reason that this read shares, and without it the server tells this read its own reason.
 */
const isInnocent = ({ connection, state }: Read, statement: Statement, failure: unknown): boolean => {
  const { plan } = statement
  const fault = plan === undefined ? undefined : planFaultOf(failure, plan)
  if (plan !== undefined && fault !== undefined) {
    state.isNamed = false
    if (fault === "mistyped") state.suspect = plan
    else {
      // When the read that prepares the statement fails, the reads behind it find no statement. That is expected.
      if (fault === "foreign") connection.planSurprised("42P05")
      else if (fault === "lost" && connection.plans.isParsed(plan)) connection.planSurprised("26000")
      connection.plans.drop(plan)
    }
    return true
  }
  return connection.pipeline.isAborting && !statement.condemned && classify.read(failure).code === "57014"
}

/** What the driver says about packing, for the connections that have this packer. */
export const packing = (packer: Packer) =>
  Packing.make<PgConnection, State>(packer, {
    prepare: prepareRead,
    write,
    error: ({ connection, request }, failure) => connection.error(failure, "statement", request)
  })
