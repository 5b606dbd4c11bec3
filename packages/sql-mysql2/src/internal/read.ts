import { SqlError } from "@effect/sql/SqlError"
import type { PackedRequest } from "@sluice/sql/driver/Driver"
import * as Packing from "@sluice/sql/driver/Packing"
import { relieve } from "./cancel.js"
import * as classify from "./classify.js"
import type { MysqlConnection } from "./session/connection.js"
import { isRepreparationRefused } from "./wire/faults.js"
import { Operation } from "./wire/operation.js"
import { isHarmless, type Text } from "./wire/texts.js"
import type { Value } from "./wire/values.js"

export type Packer = Packing.Packer<MysqlConnection>

export const makePacker = (limits: Packing.Limits): Packer => new Packing.Packer(limits, isHarmless, relieve)

/** What a packed read knows besides its request. */
interface State {
  readonly text: Text
  /** The values as they can be sent. */
  readonly sent: ReadonlyArray<Value>
}

type Read = Packing.Read<MysqlConnection, State>

const prepareRead = (connection: MysqlConnection, { params, sql }: PackedRequest) => {
  const text = connection.texts.of(sql)
  const refusal = connection.refusal(text)
  if (refusal !== undefined) return refusal
  const sent = connection.parameters(params, false)
  return sent instanceof SqlError ? sent : { text, sent }
}

/**
 * Sends a read. If its statement is not prepared yet, it is prepared first, once for all reads of its text. Then they are sent
 * behind the operations that are under way.
 */
const write = (read: Read): void => {
  const { connection, profile, request, state } = read
  const { sent, text } = state
  const { mode, params } = request
  const asArrays = mode === "values"
  const prepared = connection.prepares(text, params, mode)
  const statement = prepared ? connection.wire._statements.get(text.key) : undefined
  if (prepared && statement === undefined) {
    connection.prepareFor({ read, prepared: (operation, failure) => isPrepared(read, operation, failure) }, text)
    return
  }
  const written = prepared || params.length === 0 ? text.sql : connection.write(text.sql, sent)
  if (typeof written !== "string") {
    read.refused(written)
    return
  }
  const operation = new Operation(connection, text)
  operation.profile = profile
  operation.work = profile.work
  operation.read = read
  if (connection.pipeline.current === undefined && profile.isDue()) connection.pipeline.mark()
  connection.send(operation, (failure) => {
    if (failure === undefined) read.answered(operation.takeAnswer(mode))
    else failed(read, operation, failure)
  })
  if (statement === undefined) operation.query(written, asArrays)
  else operation.execute(statement, sent, asArrays)
}

const isPrepared = (read: Read, operation: Operation, failure: unknown): void => {
  if (failure === undefined) {
    if (read.hasLeft()) read.drop()
    else read.send()
  } else if (read.connection.isDead) read.lost(failure)
  else failed(read, operation, failure)
}

const failed = (read: Read, operation: Operation, failure: unknown): void => {
  const { connection } = read
  if (operation.unsent) read.refused(connection.unsendable(failure))
  // The answer to the read behind it says whether the connection works.
  else if (classify.mayEndSession(failure)) connection.pipeline.whenAnswered(() => read.failed(failure, false))
  else read.failed(failure, isInnocent(read, operation, failure))
}

/**
 * Whether the read has failed for a reason that is not its own, and is sent again: the server has lost the prepared statement or
 * cannot prepare it, or the cancel of another read has hit this one.
 */
const isInnocent = ({ connection, state }: Read, operation: Operation, failure: unknown): boolean => {
  const { errno } = classify.read(failure)
  // A packed read is sent twice at most, so the second time it is sent as text.
  if (connection.isPreparationAtFault(state.text, operation, failure, isRepreparationRefused(errno))) return true
  return errno === 1317 && connection.pipeline.isAborting && !operation.condemned
}

/** What the driver says about packing, for the connections that have this packer. */
export const packing = (packer: Packer) =>
  Packing.make<MysqlConnection, State>(packer, {
    prepare: prepareRead,
    write,
    error: ({ connection, request }, failure) => connection.error(failure, "statement", request)
  })
