/** A wall clock that can be set while a test runs, as an operator or NTP does. The monotonic time does not notice. */
import type { TestClock } from "effect"
import { Clock, Effect } from "effect"

export interface WallClock {
  /** Sets the wall clock forward by so many milliseconds, or back. */
  readonly step: (millis: number) => Effect.Effect<void>
}

/** Runs `body`, and everything that it builds, on the clock of the test, with a wall clock that can be set. */
export const withWallClock = <A, E, R>(body: (wall: WallClock) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.clockWith(Effect.succeed), (clock) => {
    let offset = 0
    const wall = () => clock.unsafeCurrentTimeMillis() + offset
    const inner = clock as TestClock.TestClock
    const stepping: Clock.Clock = Object.assign(Object.create(inner), {
      unsafeCurrentTimeMillis: wall,
      currentTimeMillis: Effect.sync(wall),
      unsafeCurrentTimeNanos: () => inner.unsafeCurrentTimeNanos(),
      currentTimeNanos: Effect.sync(() => inner.unsafeCurrentTimeNanos())
    })
    const step = (millis: number) =>
      Effect.sync(() => {
        offset += millis
      })
    return Effect.withClock(body({ step }), stepping)
  })
