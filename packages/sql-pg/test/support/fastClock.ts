/** A clock that runs faster than time, for what happens after half a minute of silence on a real connection. */
import { Clock, Duration, Effect } from "effect"

/** Runs `effect`, and everything that it builds, on a clock that is so many times as fast. */
export const fast =
  (times: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Clock.clockWith(Effect.succeed), (clock) => {
      const millis = clock.unsafeCurrentTimeMillis()
      const nanos = clock.unsafeCurrentTimeNanos()
      const unsafeCurrentTimeMillis = () => millis + (clock.unsafeCurrentTimeMillis() - millis) * times
      const unsafeCurrentTimeNanos = () => nanos + (clock.unsafeCurrentTimeNanos() - nanos) * BigInt(times)
      return Effect.withClock(effect, {
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeMillis,
        unsafeCurrentTimeNanos,
        currentTimeMillis: Effect.sync(unsafeCurrentTimeMillis),
        currentTimeNanos: Effect.sync(unsafeCurrentTimeNanos),
        sleep: (duration) => clock.sleep(Duration.times(duration, 1 / times))
      })
    })
