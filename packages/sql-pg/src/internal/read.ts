import type { PackedRequest } from "@sluice/sql/driver/Driver"
import * as Packing from "@sluice/sql/driver/Packing"
import { relieve } from "./cancel.js"
import * as classify from "./classify.js"
import { isMistyped, isStale, type PgConnection, prepare } from "./session/connection.js"
import { Statement } from "./wire/statement.js"

const reads = /^\s*(?:select|values|table)\b/i

/** Locks rows, makes a table, or is more than one statement. That one of these words may stand in a literal does no harm. */
const harms = /\b(?:into|temp|temporary|for\s+(?:no\s+key\s+update|key\s+share|update|share))\b|;\s*\S/i

export const isHarmless = (sql: string): boolean => reads.test(sql) && !harms.test(sql)

export type Packer = Packing.Packer<PgConnection>

export const makePacker = (): Packer => new Packing.Packer(isHarmless, relieve)

/** What a packed read knows besides its request. */
interface State {
  readonly values: ReadonlyArray<string | Buffer | null>
  /** Whether it uses a prepared statement. */
  named: boolean
}

type Read = Packing.Read<PgConnection, State>

const prepareRead = (connection: PgConnection, { params }: PackedRequest) => {
  const values = prepare(params)
  return Array.isArray(values) ? { values, named: true } : connection.unsendable(values.problem)
}

const write = (read: Read): void => {
  const { connection, profile, request, state } = read
  const { pipeline, plans } = connection
  const { mode, params, sql } = request
  const plan = state.named ? plans.of(sql, params) : undefined
  const statement = new Statement(sql, state.values, mode, plan, plans.takeForgotten(), connection.client)
  statement.profile = profile
  statement.work = profile.work
  statement.read = read
  if (pipeline.current === undefined && profile.isDue()) pipeline.mark()
  connection.send(statement, (failure) => {
    if (failure === undefined) read.answered(statement.answer())
    else read.failed(failure, isInnocent(read, statement, failure))
  })
}

/**
 * The server may not know the prepared statement any more, or may have made it for columns of another type: then the read is
 * sent again without one.
 */
const isInnocent = ({ connection, state }: Read, statement: Statement, failure: unknown): boolean => {
  if (isOfThePlan(failure)) {
    if (statement.plan === undefined) return false
    connection.plans.drop(statement.plan)
    // Another read may have failed to prepare the statement, for a reason that this read shares. Without a prepared statement
    // the server tells this read its own reason.
    state.named = false
    return true
  }
  return connection.pipeline.isAborting && !statement.condemned && classify.read(failure).code === "57014"
}

/** The prepared statement may be at fault, and not the read. */
const isOfThePlan = (failure: unknown): boolean => isStale(failure) || isMistyped(failure)

/** What the driver says about packing, for the connections that have this packer. */
export const packing = (packer: Packer, limits: Packing.Limits) =>
  Packing.make<PgConnection, State>(packer, limits, {
    prepare: prepareRead,
    write,
    error: ({ connection }, failure) => connection.error(failure, "statement")
  })
