import type { SqlError } from "@effect/sql/SqlError"
import type { PackedRequest } from "@sluice/sql/driver/Driver"
import * as Packing from "@sluice/sql/driver/Packing"
import type { Profile } from "@sluice/sql/driver/Profile"
import { Effect } from "effect"
import { relieve } from "./cancel.js"
import * as classify from "./classify.js"
import { isStale, isUnpreparable, type MysqlConnection, type PreparedRead } from "./session/connection.js"
import { Operation } from "./wire/operation.js"
import { isHarmless, type Text } from "./wire/texts.js"
import * as values from "./wire/values.js"

export type Pipelining = Packing.Pipelining<MysqlConnection>

export const makePipelining = (): Pipelining => new Packing.Pipelining(isHarmless, relieve)

/**
 * A packed read. What is prepared has to be prepared before it can be sent: then it waits, with all others of its text, and
 * goes to the end of the line.
 */
class Read extends Packing.Read<MysqlConnection> implements PreparedRead {
  private interpolated = false

  constructor(
    connection: MysqlConnection,
    request: PackedRequest,
    profile: Profile,
    private readonly text: Text
  ) {
    super(connection, request, profile)
  }

  protected write(): void {
    const { connection, profile, text } = this
    const { mode, params, resume } = this.request
    const asArrays = mode === "values"
    const prepared = connection.prepares(text, params, mode)
    const statement = prepared ? connection.wire._statements.get(text.key) : undefined
    if (prepared && statement === undefined) {
      connection.prepareFor(this, text)
      return
    }
    const written = prepared || params.length === 0 ? text.sql : connection.write(text.sql, params, mode)
    if (typeof written !== "string") {
      resume(Effect.fail(written))
      return
    }
    this.interpolated = !prepared && params.length > 0
    const operation = new Operation(connection, text, this.interpolated)
    operation.profile = profile
    operation.work = profile.work
    operation.read = this
    if (connection.current === undefined && profile.isDue()) connection.mark()
    connection.send(operation, (failure) => {
      if (failure !== undefined) {
        this.refused(operation, failure)
        return
      }
      resume(Effect.succeed(operation.takeAnswer(mode)))
    })
    if (statement === undefined) operation.query(written, asArrays)
    else operation.execute(statement, params, asArrays)
  }

  prepared(operation: Operation, failure: unknown): void {
    if (failure === undefined) {
      if (this.hasLeft()) this.drop()
      else this.send()
    } else if (this.connection.isDead) this.lost(failure)
    else this.refused(operation, failure)
  }

  private refused(operation: Operation, failure: unknown): void {
    if (operation.unsent) {
      this.request.resume(Effect.fail(this.connection.unsendable(classify.read(failure).message)))
    } else this.failed(failure, this.isInnocent(operation, failure))
  }

  private isInnocent(operation: Operation, failure: unknown): boolean {
    const { connection, text } = this
    const { errno } = classify.read(failure)
    if (isUnpreparable(errno)) {
      text.unpreparable = true
      return true
    }
    if (isStale(errno)) {
      connection.wire._statements.delete(text.key)
      return true
    }
    return errno === 1317 && connection.aborting !== undefined && !operation.condemned
  }

  protected override errorOf(failure: unknown): SqlError {
    return this.connection.error(failure, "statement", this.interpolated)
  }
}

/** What the driver says about packing. */
export const packing = (pipelining: Pipelining, limits: Packing.Limits) =>
  Packing.make<MysqlConnection>(pipelining, limits, (connection, request, profile) => {
    const problem = values.check(request.params)
    return problem === undefined
      ? new Read(connection, request, profile, connection.texts.of(request.sql))
      : connection.unsendable(problem.problem)
  })
