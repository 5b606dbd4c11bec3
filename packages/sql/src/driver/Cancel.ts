/**
 * How a driver cancels what runs on a connection, so that no cancel is left over to hit the statement that comes next.
 *
 * @since 0.1.0
 */
import { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import type { Timers } from "@sluice/pool/Deadline"
import { Effect } from "effect"
import type { Phase } from "./Driver.js"
import type { Operation, Pipeline } from "./Pipeline.js"

/**
 * Milliseconds that a packed read whose caller has left may go on as the oldest of its connection. Most end by themselves.
 *
 * @since 0.1.0
 * @category constants
 */
export const GRACE = 10

/** First pause before a cancel is repeated: a cancel that arrives before its statement has begun is lost. */
const FIRST_PAUSE = 50

const LONGEST_PAUSE = 400

/**
 * What cancelling needs of a connection.
 *
 * @since 0.2.0
 * @category models
 */
export interface Cancellable {
  readonly pipeline: Pipeline<any>
  readonly isDead: boolean
  readonly endpoint: { readonly roundTrip: { readonly ms: number } }
  readonly error: (cause: unknown, phase: Phase) => SqlError
}

/**
 * What a driver knows how to do.
 *
 * @since 0.1.0
 * @category models
 */
export interface Means<in Conn> {
  /** Asks the server, beside the connection, to stop what runs. Ends when the server has confirmed that, or has refused. */
  readonly request: (connection: Conn) => Effect.Effect<void, unknown>
  /** One empty round trip. A cancel that arrives late hits this, and not the next statement. */
  readonly sentinel: (connection: Conn) => Effect.Effect<void, unknown>
  /** Called when the server did not hear the request. The connection is closed already. Bounded. */
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
   * Cancels what the connection does when this is called, and makes sure that the cancel is over: the server has confirmed the
   * request, what ran has its answer, and one empty round trip has gone through. A late cancel would have hit that.
   *
   * The connection is `busy` until then. A second abort of the same operation joins the first. Interruption: at any moment; the
   * connection then stays busy, and its owner closes it.
   */
  readonly abort: (connection: Conn) => Effect.Effect<void, SqlError>
  /**
   * Cancels a packed read whose caller has left and which keeps its neighbours waiting. No work is added until the cancel is
   * over. The neighbours do not notice. If the server does not end the read within `bound` milliseconds the connection is closed.
   */
  readonly relieve: (connection: Conn, bound: number) => Effect.Effect<void>
}

const elapsed = (timers: Timers["Type"], millis: number): Effect.Effect<void> =>
  AsyncContext.async((resume) => {
    const timer = timers.set(timers.now() + millis, () => resume(Effect.void))
    return Effect.sync(timer.cancel)
  })

/**
 * Runs `effect` for `millis` milliseconds at most, and interrupts it then. Also where the fiber cannot be interrupted.
 *
 * @since 0.2.0
 * @category combinators
 */
export const atMost = <E>(
  timers: Timers["Type"],
  millis: number,
  effect: Effect.Effect<void, E>
): Effect.Effect<void, E> =>
  Effect.raceFirst(Effect.interruptible(effect), Effect.interruptible(elapsed(timers, millis)))

/** Until `operation` is no longer under way. */
const ended = (operation: Operation<any>): Effect.Effect<void> =>
  AsyncContext.async((resume) => {
    const { onEnd } = operation
    if (onEnd === undefined) return resume(Effect.void)
    operation.onEnd = (failure) => {
      resume(Effect.void)
      onEnd(failure)
    }
  })

const ready = ({ pipeline }: Cancellable): Effect.Effect<void> =>
  AsyncContext.async((resume) => {
    const leave = pipeline.whenReady(() => resume(Effect.void))
    return Effect.sync(leave)
  })

/** Packed reads are short: most end before a cancel could reach them. */
const grace = (connection: Cancellable): Effect.Effect<void> =>
  Effect.suspend(() => {
    return connection.pipeline.asked?.read === undefined
      ? Effect.void
      : atMost(connection.pipeline.timers, GRACE + connection.endpoint.roundTrip.ms, ready(connection))
  })

/** Waits for the end of the abort that is under way. */
const joined = (connection: Cancellable): Effect.Effect<void, SqlError> =>
  AsyncContext.async((resume) => {
    const leave = connection.pipeline.onAbortEnd((failure) =>
      resume(
        failure === undefined
          ? Effect.void
          : Effect.fail(connection.error(new Error("Connection terminated"), "unsent"))
      )
    )
    return Effect.sync(leave)
  })

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <Conn extends Cancellable>({ request, sentinel, unheard }: Means<Conn>): Abort<Conn> => {
  /**
   * Cancels the condemned operations, one after the other, until nothing is under way. Nothing is added meanwhile. Packed reads
   * that somebody awaits end by themselves.
   */
  const clear = (connection: Conn): Effect.Effect<void, unknown> => {
    const attempt = (pause: number, target: Operation<any> | undefined): Effect.Effect<void, unknown> =>
      Effect.suspend(() => {
        const current: Operation<any> | undefined = connection.pipeline.current
        if (current === undefined || connection.isDead) return Effect.void
        if (current.read?.hasLeft()) current.condemned = true
        if (!current.condemned) {
          return Effect.zipRight(
            atMost(connection.pipeline.timers, GRACE, ready(connection)),
            attempt(FIRST_PAUSE, undefined)
          )
        }
        const next = current === target ? Math.min(pause * 2, LONGEST_PAUSE) : FIRST_PAUSE
        return request(connection).pipe(
          Effect.zipRight(atMost(connection.pipeline.timers, next, ended(current))),
          Effect.zipRight(attempt(next, current))
        )
      })
    return attempt(FIRST_PAUSE, undefined)
  }

  const shut = (connection: Conn): Effect.Effect<void, SqlError> =>
    Effect.suspend(() => {
      const { pipeline } = connection
      if (pipeline.isAborting) return joined(connection)
      if (pipeline.current === undefined) return Effect.void
      pipeline.abortBegan()
      return Effect.zipRight(clear(connection), sentinel(connection)).pipe(
        Effect.catchAll((cause) =>
          Effect.suspend(() => {
            const error = cause instanceof SqlError ? cause : connection.error(cause, "unsent")
            pipeline.destroy()
            return Effect.zipRight(unheard(connection), Effect.fail(error))
          })
        ),
        Effect.onExit((exit) =>
          Effect.sync(() => pipeline.abortEnded(exit._tag === "Success" ? undefined : exit.cause))
        )
      )
    })

  const abort = (connection: Conn): Effect.Effect<void, SqlError> => {
    const { pipeline } = connection
    // Condemned by the call and not by the effect, which may run later, when other operations are under way.
    for (let operation = pipeline.current; operation !== undefined; operation = operation.next) {
      operation.condemned = true
    }
    return Effect.suspend(() => {
      if (pipeline.isAborting) return joined(connection)
      // The condemned operations are the oldest. If the oldest is not condemned they have all ended by themselves.
      if (!pipeline.current?.condemned) return Effect.void
      return Effect.zipRight(grace(connection), shut(connection))
    })
  }

  const relieve = (connection: Conn, bound: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { pipeline } = connection
      const target: Operation<any> | undefined = pipeline.current
      if (target === undefined) return Effect.void
      target.condemned = true
      const watchdog = atMost(pipeline.timers, bound, ended(target)).pipe(
        Effect.zipRight(
          Effect.sync(() => {
            if (pipeline.current === target) pipeline.destroy()
          })
        )
      )
      return Effect.ignore(Effect.all([shut(connection), watchdog], { concurrency: 2, discard: true }))
    })

  return { abort, relieve }
}
