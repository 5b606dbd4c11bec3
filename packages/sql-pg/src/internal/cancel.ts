import { isIP } from "node:net"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import type { PgConnection } from "./connection.js"
import type { Endpoint } from "./endpoint.js"
import * as Pg from "./pg.js"
import { isMark, type Operation } from "./statement.js"

/** Milliseconds that a packed read whose fiber has left may go on as the oldest of its connection. Most end by themselves. */
export const GRACE = 10

/** First pause before a cancel is repeated: one that arrives before its statement has begun is lost. */
const FIRST_PAUSE = 50

const LONGEST_PAUSE = 400

/**
 * Asks the server, over a socket of its own, to stop what a session does. The server closes that socket after it has
 * signalled the session: from then on the cancel is under way or already over, and cannot come later.
 *
 * The address is the one the session is connected to: behind a name with several servers another one would not know it.
 */
const request = (connection: PgConnection): Effect.Effect<void, unknown> =>
  Effect.async((resume) => {
    const { client, endpoint, wire } = connection
    const { processID, secretKey } = client
    if (processID === null || secretKey === null) return resume(Effect.fail(new Error("the server gave no cancel key")))
    const side = new Pg.Connection({ ssl: sideTls(endpoint), stream: endpoint.stream })
    const send = () => side.cancel(processID, secretKey)
    let failure: unknown
    side.on("error", (error: unknown) => {
      failure ??= error
    })
    side.on("end", () => resume(failure === undefined ? Effect.void : Effect.fail(failure)))
    if (endpoint.ssl) {
      side.on("connect", () => side.requestSsl())
      side.on("sslconnect", send)
    } else side.on("connect", send)
    if (endpoint.host.startsWith("/")) side.connect(`${endpoint.host}/.s.PGSQL.${endpoint.port}` as never)
    else side.connect(endpoint.port, wire.stream.remoteAddress ?? endpoint.host)
    return Effect.sync(() => side.stream.destroy())
  })

/** The certificate is for the name, and the side socket goes to the number. */
const sideTls = ({ host, ssl }: Endpoint): unknown =>
  ssl ? { ...(typeof ssl === "object" ? ssl : {}), host, ...(isIP(host) === 0 ? { servername: host } : {}) } : false

/** Until `operation` is no longer under way. */
const ended = (operation: Operation): Effect.Effect<void> =>
  Effect.async((resume) => {
    const { settled } = operation
    if (settled === undefined) return resume(Effect.void)
    operation.settled = (failure) => {
      resume(Effect.void)
      settled(failure)
    }
  })

const ready = (connection: PgConnection): Effect.Effect<void> =>
  Effect.async((resume) => {
    const leave = connection.whenReady(() => resume(Effect.void))
    return Effect.sync(leave)
  })

/**
 * Cancels, one after the other, what runs and shall end, until nothing is under way. Nothing is added meanwhile. Reads that
 * somebody awaits are left to end by themselves.
 */
const clear = (connection: PgConnection): Effect.Effect<void, unknown> => {
  const attempt = (pause: number, target: Operation | undefined): Effect.Effect<void, unknown> =>
    Effect.suspend(() => {
      const { current } = connection
      if (current === undefined || connection.isDead) return Effect.void
      if (current.read?.hasLeft()) current.condemned = true
      if (!current.condemned) {
        return Effect.zipRight(
          Effect.raceFirst(ready(connection), Effect.sleep(GRACE)),
          attempt(FIRST_PAUSE, undefined)
        )
      }
      current.abandon(connection.wire)
      const next = current === target ? Math.min(pause * 2, LONGEST_PAUSE) : FIRST_PAUSE
      return request(connection).pipe(
        Effect.zipRight(Effect.raceFirst(ended(current), Effect.sleep(next))),
        Effect.zipRight(attempt(next, current))
      )
    })
  return attempt(FIRST_PAUSE, undefined)
}

/** Packed reads are short: most end before a cancel could reach them. */
const grace = (connection: PgConnection): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { current } = connection
    const oldest = isMark(current) ? current?.next : current
    return oldest?.read === undefined
      ? Effect.void
      : Effect.raceFirst(ready(connection), Effect.sleep(GRACE + connection.endpoint.roundTrip.ms))
  })

/**
 * Cancels what the connection does when this is called, and makes sure that the cancel is over: the side socket has closed,
 * the server has said that it is ready, and one empty round trip has gone through, which takes the blow if one was still
 * to come.
 *
 * The connection is `busy` until then. A second abort of the same operation joins the first. Interruption: at any moment;
 * the connection then stays as it is, and whoever set the bound closes it.
 */
export const abort = (connection: PgConnection): Effect.Effect<void, SqlError> => {
  // Settled here, by the call. They are the oldest, so if the oldest is not one of them all have ended.
  for (let operation = connection.current; operation !== undefined; operation = operation.next) {
    operation.condemned = true
  }
  return Effect.suspend(() => {
    if (connection.aborting !== undefined) return joined(connection, connection.aborting)
    // They have ended by themselves, and what runs now is somebody else's.
    if (!connection.current?.condemned) return Effect.void
    return Effect.zipRight(grace(connection), shut(connection))
  })
}

const shut = (connection: PgConnection): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    if (connection.aborting !== undefined) return joined(connection, connection.aborting)
    if (connection.current === undefined) return Effect.void
    const others = new Set<(failure: unknown) => void>()
    connection.aborting = others
    return clear(connection).pipe(
      Effect.zipRight(sentinel(connection)),
      Effect.mapError((cause) => {
        const error = connection.error(cause, "unsent")
        connection.destroy()
        return error
      }),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          connection.reopen(exit._tag === "Success")
          for (const settle of others) settle(exit._tag === "Success" ? undefined : exit.cause)
        })
      )
    )
  })

/**
 * A packed read whose fiber has left keeps its neighbours waiting: it is cancelled, and no work is added until that is
 * over. Its neighbours do not notice. If the server does not end it within `bound` milliseconds the connection is closed.
 */
export const relieve = (connection: PgConnection, bound: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const target = connection.current
    if (target === undefined) return Effect.void
    target.condemned = true
    const watchdog = Effect.raceFirst(ended(target), Effect.sleep(bound)).pipe(
      Effect.zipRight(
        Effect.sync(() => {
          if (connection.current === target) connection.destroy()
        })
      )
    )
    return Effect.ignore(Effect.all([shut(connection), watchdog], { concurrency: 2, discard: true }))
  })

/** The cancel may hit the sentinel itself: then that is where it has gone. */
const sentinel = (connection: PgConnection): Effect.Effect<void, SqlError> =>
  Effect.catchIf(
    Effect.asVoid(connection.execute("", [], "command")),
    () => !connection.isDead,
    () => Effect.void
  )

const joined = (connection: PgConnection, others: Set<(failure: unknown) => void>): Effect.Effect<void, SqlError> =>
  Effect.async((resume) => {
    const settle = (failure: unknown) =>
      resume(
        failure === undefined
          ? Effect.void
          : Effect.fail(connection.error(new Error("Connection terminated"), "unsent"))
      )
    others.add(settle)
    return Effect.sync(() => others.delete(settle))
  })

/** For a connection that is closed while busy: the server would go on with the statement, for nobody. */
export const fireAndForget = (connection: PgConnection): Effect.Effect<void> =>
  Effect.ignore(Effect.timeout(Effect.interruptible(request(connection)), 500))
