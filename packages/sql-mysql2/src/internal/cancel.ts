import type { SqlError } from "@effect/sql/SqlError"
import * as Cancel from "@sluice/sql/driver/Cancel"
import { Effect } from "effect"
import * as classify from "./classify.js"
import type { MysqlConnection } from "./session/connection.js"
import { execute } from "./session/execute.js"

/**
 * Milliseconds for the attempt to end the session of a connection that is closed. They count from the first KILL that was not
 * answered, because the place of the connection in the pool waits for all of them together.
 */
const FAREWELL = 500

/**
 * Asks the server, over the control connection, to stop what a session does, or to end the session. The number of a session is
 * valid on its own server alone. An address may stand for several servers, and there it could be the number of another session.
 */
const kill = (connection: MysqlConnection, what: "KILL QUERY" | "KILL CONNECTION"): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    connection.askedAt ??= connection.pipeline.timers.now()
    return told(connection, what)
  }).pipe(
    Effect.tap(() => {
      connection.askedAt = undefined
    })
  )

const told = (connection: MysqlConnection, what: string): Effect.Effect<void, SqlError> => {
  const { control } = connection
  return control === undefined
    ? Effect.fail(unknown(connection))
    : control((other) => {
        const { identity, thread } = connection.server
        if (thread === undefined || other.server.identity !== identity) {
          return Effect.fail(unknown(connection))
        }
        return Effect.asVoid(execute(other, `${what} ${thread}`, [], "command"))
      })
}

const unknown = (connection: MysqlConnection): SqlError =>
  connection.error(
    new Error("Connection closed: it cannot be told which session of which server has to be cancelled"),
    "unsent"
  )

/** The rest of the answer is read, because a server that waits for its rows to be read does not notice a KILL. */
const request = (connection: MysqlConnection): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    connection.pipeline.current?.abandon()
    return kill(connection, "KILL QUERY")
  })

const sentinel = (connection: MysqlConnection): Effect.Effect<void, SqlError> =>
  Effect.catchIf(
    Effect.asVoid(execute(connection, "DO 0", [], "command")),
    (error) => !connection.isDead && classify.read(error.cause).errno === 1317,
    () => Effect.void
  )

export const { abort, relieve } = Cancel.make<MysqlConnection>({
  request,
  sentinel,
  unheard: (connection) => farewell(connection)
})

/**
 * For a connection that is closed although its statement was cancelled and has not ended. Without a KILL CONNECTION the server
 * would go on with the statement, and keep its locks.
 */
export const farewell = (connection: MysqlConnection): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { timers } = connection.pipeline
    const now = timers.now()
    const left = (connection.askedAt ?? now) + FAREWELL - now
    return left <= 0 ? Effect.void : Effect.ignore(Cancel.atMost(timers, left, kill(connection, "KILL CONNECTION")))
  })
