/** Makes a session new ahead of its next user, who does not wait for it: see `resetOnRelease`. */
import * as Commands from "../wire/commands.js"
import { Operation } from "../wire/operation.js"
import { read, type Text } from "../wire/texts.js"
import type { MysqlConnection } from "./connection.js"

/** The server reads the next statement behind the reset, and nothing else has to be done after it. */
export const mayCleanAhead = ({ endpoint, hasBaseline, moved, packer, pipeline }: MysqlConnection): boolean =>
  endpoint.resetOnRelease === "always" &&
  packer !== undefined &&
  !hasBaseline &&
  !moved &&
  pipeline.current === undefined &&
  !pipeline.isAborting

/**
 * Sends what makes the session new in one write, and waits for nothing. If the server refuses it the connection is closed, so that
 * nobody is given what a statement behind it has answered.
 */
export const cleanAhead = (connection: MysqlConnection): void => {
  const { pipeline, server, texts, wire } = connection
  if (connection.isDead) return
  pipeline.corkForTick()
  Commands.sendBehind(wire, new Commands.Reset(send(connection, resetting)))
  send(connection, texts.of(server.settings)).query(server.settings, false)
  // What was prepared is gone, also for a statement that is sent before the server has answered.
  wire._statements.clear()
  connection.renewed()
}

const resetting = read("RESET CONNECTION")

const send = (connection: MysqlConnection, text: Text): Operation => {
  const operation = new Operation(connection, text)
  operation.isMark = true
  operation.leavesNothing = true
  connection.cleanings++
  connection.send(operation, (failure) => {
    connection.cleanings--
    if (failure === undefined || connection.isDead) return
    connection.end(new Error("Connection terminated: its session could not be cleaned"))
    connection.wire.stream.destroy()
  })
  return operation
}
