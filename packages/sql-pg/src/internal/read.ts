import type { PackedRequest } from "@sluice/sql/driver/Driver"
import * as Packing from "@sluice/sql/driver/Packing"
import type { Profile } from "@sluice/sql/driver/Profile"
import { Effect } from "effect"
import { relieve } from "./cancel.js"
import * as classify from "./classify.js"
import { isMistyped, isStale, type PgConnection, prepare } from "./session/connection.js"
import { Statement } from "./wire/statement.js"

const reads = /^\s*(?:select|values|table)\b/i

/** Locks rows, makes a table, or is more than one statement. That one of these may stand in a literal does no harm. */
const harms = /\b(?:into|temp|temporary|for\s+(?:no\s+key\s+update|key\s+share|update|share))\b|;\s*\S/i

export const isHarmless = (sql: string): boolean => reads.test(sql) && !harms.test(sql)

export type Pipelining = Packing.Pipelining<PgConnection>

export const makePipelining = (): Pipelining => new Packing.Pipelining(isHarmless, relieve)

/**
 * A packed read. A name that it relies on may turn out to be unknown to the server, or made for columns of another type:
 * then it is sent again without one.
 */
export class Read extends Packing.Read<PgConnection> {
  private named = true

  constructor(
    connection: PgConnection,
    request: PackedRequest,
    profile: Profile,
    private readonly values: ReadonlyArray<string | Buffer | null>
  ) {
    super(connection, request, profile)
  }

  protected write(): void {
    const { connection, profile, values } = this
    const { mode, params, resume, sql } = this.request
    const plan = this.named ? connection.plans.of(sql, params) : undefined
    const statement = new Statement(sql, values, mode, plan, connection.plans.takeForgotten(), connection.client)
    statement.profile = profile
    statement.work = profile.work
    statement.read = this
    if (connection.current === undefined && profile.isDue()) connection.mark()
    connection.send(statement, (failure) => {
      if (failure === undefined) resume(Effect.succeed(statement.answer()))
      else this.failed(failure, this.isInnocent(statement, failure))
    })
  }

  private isInnocent(statement: Statement, failure: unknown): boolean {
    const { connection } = this
    if (isOfThePlan(failure)) {
      if (statement.plan === undefined) return false
      connection.plans.drop(statement.plan)
      // The one that was to prepare the name may have failed for a reason of its own, which then is ours too: without a
      // name the server says it.
      this.named = false
      return true
    }
    return connection.aborting !== undefined && !statement.condemned && classify.read(failure).code === "57014"
  }
}

/** It may be the plan that is wrong and not the statement. */
const isOfThePlan = (failure: unknown): boolean => isStale(failure) || isMistyped(failure)

/** What the driver says about packing, for the connections that were opened with `pipelining`. */
export const packing = (pipelining: Pipelining, limits: Packing.Limits) =>
  Packing.make<PgConnection>(pipelining, limits, (connection, request, profile) => {
    const values = prepare(request.params)
    return Array.isArray(values)
      ? new Read(connection, request, profile, values)
      : connection.unsendable(values.problem)
  })
