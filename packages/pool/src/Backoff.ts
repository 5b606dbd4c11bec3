/**
 * Schedules for the pause after a failed connect: the option `backoff` of a pool.
 *
 * @since 0.2.0
 */
import { Duration, Effect, Random, Schedule, ScheduleDecision, ScheduleInterval } from "effect"

/**
 * Exponential pauses with jitter: the bound of the first pause is `base`, the bound of each further one three times the bound before, at
 * most `cap`. Each pause is drawn from the upper half of its bound. Pools that lost the same host at the same moment soon ask at
 * different moments, and none of them can draw a row of short pauses: a host that stays down is asked at most every half of `cap`.
 *
 * **When to use**
 *
 * For a host that is found again sooner or later than the default finds it: `cap` is about the longest time between the
 * moment at which the host is back and the next connect.
 *
 * - `base`: the bound of the first pause. At least 1 millisecond.
 * - `cap`: the longest pause. At least `base`.
 * - The schedule never ends. Its output is the pause in milliseconds. The random source is Effect's `Random`.
 *
 * Source of the rule: "equal jitter" in "Exponential Backoff And Jitter" (AWS Architecture Blog).
 *
 * @see `standard` for the default of a pool.
 *
 * @example
 * ```ts
 * import { Backoff, Pool } from "@sluice/pool"
 * import { Effect } from "effect"
 *
 * let attempts = 0
 *
 * const program = Effect.gen(function* () {
 *   const pool = yield* Pool.make({
 *     backoff: Backoff.jittered({ base: "1 millis", cap: "5 millis" }),
 *     connect: () => (++attempts < 4 ? Effect.fail("refused") : Effect.succeed("a connection"))
 *   })
 *   return yield* Pool.use(pool, (connection) => Effect.succeed(`${connection} after ${attempts} attempts`))
 * }).pipe(Effect.scoped)
 *
 * Effect.runPromise(program).then(console.log)
 * // a connection after 4 attempts
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const jittered = (options: {
  readonly base: Duration.DurationInput
  readonly cap: Duration.DurationInput
}): Schedule.Schedule<number> => {
  const base = Math.max(1, Duration.toMillis(options.base))
  const cap = Math.max(base, Duration.toMillis(options.cap))
  return Schedule.makeWithState(base, (now, _, bound) =>
    Effect.map(Random.next, (random) => {
      const pause = Math.max(1, (bound * (1 + random)) / 2)
      const next = Math.min(cap, bound * 3)
      return [next, pause, ScheduleDecision.continueWith(ScheduleInterval.after(now + pause))] as const
    })
  )
}

/**
 * What a pool does without a `backoff` option: bounds from 50 milliseconds to 1 second, so that a host that is back is found within a
 * second, and a host that is down is asked less than twice a second by each pool.
 *
 * @see `jittered` for other bounds.
 *
 * @since 0.2.0
 * @category schedules
 */
export const standard: Schedule.Schedule<number> = jittered({ base: 50, cap: 1_000 })
