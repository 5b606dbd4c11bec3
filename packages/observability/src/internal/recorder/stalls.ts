/** How long the process did not run. Node itself measures it, by a timer that is not in the way of the program. */
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Clock, Context, DefaultServices, Effect, type Scope } from "effect"

/** Milliseconds between two firings of the timer of Node, which its delays contain. */
const RESOLUTION = 20

/** The delays of how many looks are kept: those of a minute. */
const LOOKS = 60

export interface Stalls {
  /** Called about once a second. */
  readonly look: () => void
  /** Milliseconds, the longest of the last minute. */
  readonly longest: () => number
}

const live = Context.get(DefaultServices.liveServices, Clock.Clock)

export const make: Effect.Effect<Stalls, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Clock.clockWith(Effect.succeed)
  // Under a clock that a test moves, the real time of the process says nothing.
  if (clock.constructor !== live.constructor) return { look: () => {}, longest: () => 0 }
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION })
  yield* Effect.acquireRelease(
    Effect.sync(() => delays.enable()),
    () => Effect.sync(() => delays.disable())
  )
  const recent: Array<number> = []
  const worst = () => (delays.count === 0 ? 0 : Math.max(0, delays.max / 1e6 - RESOLUTION))
  return {
    look: () => {
      recent.push(worst())
      delays.reset()
      if (recent.length > LOOKS) recent.shift()
    },
    longest: () => Math.round(Math.max(worst(), ...recent))
  }
})
