import type { SqlError } from "@effect/sql/SqlError"
import * as Cancel from "@sluice/sql/driver/Cancel"
import { Effect } from "effect"
import * as classify from "./classify.js"
import type { MysqlConnection } from "./session/connection.js"
import { execute } from "./session/execute.js"

/**
 * Longest time that the server is asked to end what a connection does that is closed anyway. It counts from the first question
 * without an answer: whoever closes has as a rule waited for one already, and its place in the pool must not wait twice.
 */
const FAREWELL = 500

/**
 * Asks the server, over the control connection, to stop what a session does, or to end it. A number of a session means something
 * on its own server alone: behind an address with several servers it would be the number of somebody else.
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

/** Rows that nobody reads would keep the server from noticing. */
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
 * For a connection that is closed while busy with what was cancelled: the server would go on with the statement, for nobody,
 * and keep its locks.
 */
export const farewell = (connection: MysqlConnection): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { timers } = connection.pipeline
    const now = timers.now()
    const left = (connection.askedAt ?? now) + FAREWELL - now
    return left <= 0 ? Effect.void : Effect.ignore(Cancel.atMost(timers, left, kill(connection, "KILL CONNECTION")))
  })
