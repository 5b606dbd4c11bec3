import * as Net from "node:net"
import { Clock, Duration, Effect, Random, Schedule } from "effect"

const clock = Clock.make()

/**
 * Runs an effect on the real clock. Processes and sockets do not follow a `TestClock`: on that clock, a poll inside
 * `it.effect` would wait for an adjustment that never comes.
 */
export const live = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => Effect.withClock(effect, clock)

/**
 * Milliseconds on a clock that nobody sets, from an unknown beginning: only the difference of two readings has a
 * meaning.
 */
export const monotonicMillis: Effect.Effect<number> = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Looks every 10 milliseconds until the condition holds. The caller sets a bound on the time. */
export const until = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.repeat(condition, { until: (met) => met, schedule: Schedule.spaced(Duration.millis(10)) }).pipe(
    Effect.asVoid,
    live
  )

const canListen = (port: number): Effect.Effect<boolean> =>
  Effect.async<boolean>((resume) => {
    const server = Net.createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resume(Effect.succeed(true))))
    return Effect.sync(() => void server.close())
  })

/**
 * A port on which nothing listens at this moment. Another process may take it before the caller does; the caller then
 * has to ask for another port.
 *
 * The port lies below the range from which systems take ports for outgoing connections (Linux from 32768, macOS from
 * 49152). While its server is stopped, a port inside that range could be taken by an unrelated connection, and a client
 * that reconnects in a loop could even connect to itself.
 */
export const freePort: Effect.Effect<number> = Effect.suspend(() =>
  Random.nextIntBetween(15_000, 32_000).pipe(
    Effect.flatMap((port) => Effect.flatMap(canListen(port), (free) => (free ? Effect.succeed(port) : freePort)))
  )
)
