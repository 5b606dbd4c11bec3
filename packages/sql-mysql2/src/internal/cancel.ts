import type { SqlError } from "@effect/sql/SqlError"
import type { Side } from "@sluice/sql/SqlDriver"
import { Clock, Effect } from "effect"
import * as classify from "./classify.js"
import type { MysqlConnection } from "./connection.js"

/** First pause before a KILL is repeated: one that arrives before its statement has begun is lost. */
const FIRST_PAUSE = 50

const LONGEST_PAUSE = 400

/**
 * Longest time that the server is asked to end what a connection does that is closed anyway. It counts from the first question
 * without an answer: whoever closes has as a rule waited for one already, and its place in the pool must not wait twice.
 */
const FAREWELL = 500

/**
 * Asks the server, over the side connection, to stop what a session does, or to end it. A number of a session means something
 * on its own server alone: behind an address with several servers it would be the number of somebody else.
 */
const kill = (
  connection: MysqlConnection,
  side: Side<MysqlConnection>,
  what: "KILL QUERY" | "KILL CONNECTION"
): Effect.Effect<void, SqlError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    connection.askedAt ??= now
    return told(connection, side, what)
  }).pipe(
    Effect.tap(() => {
      connection.askedAt = undefined
    })
  )

const told = (connection: MysqlConnection, side: Side<MysqlConnection>, what: string): Effect.Effect<void, SqlError> =>
  side((other) => {
    const { identity, thread } = connection.server
    if (thread === undefined || other.server.identity !== identity) {
      return Effect.fail(
        connection.error(
          new Error("Connection closed: it cannot be told which session of which server has to be cancelled"),
          "unsent",
          false
        )
      )
    }
    return Effect.asVoid(other.execute(`${what} ${thread}`, [], "command"))
  })

const ready = (connection: MysqlConnection): Effect.Effect<void> =>
  Effect.async((resume) => {
    const leave = connection.whenReady(() => resume(Effect.void))
    return Effect.sync(leave)
  })

/** Kills the statement until nothing is under way. */
const clear = (connection: MysqlConnection, side: Side<MysqlConnection>): Effect.Effect<void, SqlError> => {
  const attempt = (pause: number): Effect.Effect<void, SqlError> =>
    Effect.suspend(() => {
      const { current } = connection
      if (current === undefined || connection.isDead) return Effect.void
      // Rows that nobody reads would keep the server from noticing.
      current.abandon()
      return kill(connection, side, "KILL QUERY").pipe(
        Effect.zipRight(Effect.raceFirst(ready(connection), Effect.sleep(pause))),
        Effect.zipRight(attempt(Math.min(pause * 2, LONGEST_PAUSE)))
      )
    })
  return attempt(FIRST_PAUSE)
}

/**
 * Cancels what the connection does when this is called, and makes sure that the cancel is over: the server has confirmed the
 * KILL, the statement has its answer, and one empty statement has gone through, which takes the blow if the KILL came when
 * that had ended.
 *
 * The connection is `busy` until then. A second abort of the same operation joins the first. Interruption: at any moment;
 * the connection then stays as it is, and whoever set the bound closes it.
 */
export const abort = (connection: MysqlConnection, side: Side<MysqlConnection>): Effect.Effect<void, SqlError> => {
  // Settled here, by the call.
  if (connection.current !== undefined) connection.current.condemned = true
  connection.side = side
  return Effect.suspend(() => {
    if (connection.aborting !== undefined) return joined(connection, connection.aborting)
    // It has ended by itself, and what runs now is somebody else's.
    if (!connection.current?.condemned) return Effect.void
    const others = new Set<(failure: unknown) => void>()
    connection.aborting = others
    return clear(connection, side).pipe(
      Effect.zipRight(sentinel(connection)),
      Effect.tapError(() => Effect.zipRight(Effect.forkDaemon(farewell(connection)), ended(connection))),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          connection.aborting = undefined
          for (const settle of others) settle(exit._tag === "Success" ? undefined : exit.cause)
        })
      )
    )
  })
}

const ended = (connection: MysqlConnection): Effect.Effect<void> => Effect.sync(() => connection.destroy())

/** The KILL may hit the sentinel itself: then that is where it has gone. */
const sentinel = (connection: MysqlConnection): Effect.Effect<void, SqlError> =>
  Effect.catchIf(
    Effect.asVoid(connection.execute("DO 0", [], "command")),
    (error) => !connection.isDead && classify.read(error.cause).errno === 1317,
    () => Effect.void
  )

const joined = (connection: MysqlConnection, others: Set<(failure: unknown) => void>): Effect.Effect<void, SqlError> =>
  Effect.async((resume) => {
    const settle = (failure: unknown) =>
      resume(
        failure === undefined
          ? Effect.void
          : Effect.fail(connection.error(new Error("Connection terminated"), "unsent", false))
      )
    others.add(settle)
    return Effect.sync(() => others.delete(settle))
  })

/**
 * For a connection that is closed while busy: the server would go on with the statement, for nobody, and keep its locks.
 */
export const farewell = (connection: MysqlConnection): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { askedAt = now, side } = connection
    const left = askedAt + FAREWELL - now
    return side === undefined || left <= 0
      ? Effect.void
      : Effect.ignore(Effect.timeout(Effect.interruptible(kill(connection, side, "KILL CONNECTION")), left))
  })
