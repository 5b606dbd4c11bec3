/**
 * How a driver cancels what runs on a connection, so that no cancel is left over to hit what comes next.
 *
 * @since 0.1.0
 */
import { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import type { Operation, Pipeline } from "./Pipeline.js"

/**
 * Milliseconds that a packed read whose fiber has left may go on as the oldest of its connection. Most end by themselves.
 *
 * @since 0.1.0
 * @category constants
 */
export const GRACE = 10

/** First pause before a cancel is repeated: one that arrives before its statement has begun is lost. */
const FIRST_PAUSE = 50

const LONGEST_PAUSE = 400

/**
 * What a driver has for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Means<in Conn> {
  /** Asks the server, beside the connection, to stop what runs; ends when it has done so, or has failed to. */
  readonly request: (connection: Conn) => Effect.Effect<void, unknown>
  /** One empty round trip, which a cancel may hit that is still to come: then that is where it has gone. */
  readonly sentinel: (connection: Conn) => Effect.Effect<void, unknown>
  /** The server did not hear it, and the connection is closed right after this. */
  readonly unheard: (connection: Conn) => Effect.Effect<void>
}

/**
 * The two ways to cancel.
 *
 * @since 0.1.0
 * @category models
 */
export interface Abort<in Conn> {
  /**
   * Cancels what the connection does when this is called, and makes sure that the cancel is over: the server has confirmed
   * it, what ran has its answer, and one empty round trip has gone through, which takes the blow if one was still to come.
   *
   * The connection is `busy` until then. A second abort of the same operation joins the first. Interruption: at any moment;
   * the connection then stays as it is, and whoever set the bound closes it.
   */
  readonly abort: (connection: Conn) => Effect.Effect<void, SqlError>
  /**
   * A packed read whose fiber has left keeps its neighbours waiting: it is cancelled, and no work is added until that is
   * over. Its neighbours do not notice. If the server does not end it within `bound` milliseconds the connection is closed.
   */
  readonly relieve: (connection: Conn, bound: number) => Effect.Effect<void>
}

/** Until `operation` is no longer under way. */
const ended = (operation: Operation<any>): Effect.Effect<void> =>
  Effect.async((resume) => {
    const { settled } = operation
    if (settled === undefined) return resume(Effect.void)
    operation.settled = (failure) => {
      resume(Effect.void)
      settled(failure)
    }
  })

const ready = (connection: Pipeline<any>): Effect.Effect<void> =>
  Effect.async((resume) => {
    const leave = connection.whenReady(() => resume(Effect.void))
    return Effect.sync(leave)
  })

/** Packed reads are short: most end before a cancel could reach them. */
const grace = (connection: Pipeline<any>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { current } = connection
    const oldest = current?.isMark ? current.next : current
    return oldest?.read === undefined
      ? Effect.void
      : Effect.raceFirst(ready(connection), Effect.sleep(GRACE + connection.endpoint.roundTrip.ms))
  })

const joined = (connection: Pipeline<any>, others: Set<(failure: unknown) => void>): Effect.Effect<void, SqlError> =>
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

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <Conn extends Pipeline<any>>({ request, sentinel, unheard }: Means<Conn>): Abort<Conn> => {
  /**
   * Cancels, one after the other, what runs and shall end, until nothing is under way. Nothing is added meanwhile. Reads
   * that somebody awaits are left to end by themselves.
   */
  const clear = (connection: Conn): Effect.Effect<void, unknown> => {
    const attempt = (pause: number, target: Operation<any> | undefined): Effect.Effect<void, unknown> =>
      Effect.suspend(() => {
        const current: Operation<any> | undefined = connection.current
        if (current === undefined || connection.isDead) return Effect.void
        if (current.read?.hasLeft()) current.condemned = true
        if (!current.condemned) {
          return Effect.zipRight(
            Effect.raceFirst(ready(connection), Effect.sleep(GRACE)),
            attempt(FIRST_PAUSE, undefined)
          )
        }
        const next = current === target ? Math.min(pause * 2, LONGEST_PAUSE) : FIRST_PAUSE
        return request(connection).pipe(
          Effect.zipRight(Effect.raceFirst(ended(current), Effect.sleep(next))),
          Effect.zipRight(attempt(next, current))
        )
      })
    return attempt(FIRST_PAUSE, undefined)
  }

  const shut = (connection: Conn): Effect.Effect<void, SqlError> =>
    Effect.suspend(() => {
      if (connection.aborting !== undefined) return joined(connection, connection.aborting)
      if (connection.current === undefined) return Effect.void
      const others = new Set<(failure: unknown) => void>()
      connection.aborting = others
      return Effect.zipRight(clear(connection), sentinel(connection)).pipe(
        Effect.catchAll((cause) =>
          Effect.zipRight(
            unheard(connection),
            Effect.suspend(() => {
              const error = cause instanceof SqlError ? cause : connection.error(cause, "unsent")
              connection.destroy()
              return Effect.fail(error)
            })
          )
        ),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            connection.reopen(exit._tag === "Success")
            for (const settle of others) settle(exit._tag === "Success" ? undefined : exit.cause)
          })
        )
      )
    })

  const abort = (connection: Conn): Effect.Effect<void, SqlError> => {
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

  const relieve = (connection: Conn, bound: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const target: Operation<any> | undefined = connection.current
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

  return { abort, relieve }
}
