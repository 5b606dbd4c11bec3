/**
 * Schedules for the pause after a failed connect: the option `backoff` of a pool.
 *
 * @since 0.2.0
 */
import { Duration, Effect, Random, Schedule, ScheduleDecision, ScheduleInterval } from "effect"

/**
 * Decorrelated jitter: the first pause is `base`; each further one is drawn between `base` and three times the one before,
 * and is at most `cap`. Pools that lost the same host at the same moment soon ask at different moments.
 *
 * **When to use**
 *
 * For a host that is found again sooner or later than the default finds it: `cap` is about the longest time between the
 * moment at which the host is back and the next connect.
 *
 * - `base`: the first pause. At least 1 millisecond.
 * - `cap`: the longest pause. At least `base`.
 * - The schedule never ends. Its output is the pause in milliseconds. The random source is Effect's `Random`.
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
 *     backoff: Backoff.decorrelated({ base: "1 millis", cap: "5 millis" }),
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
export const decorrelated = (options: {
  readonly base: Duration.DurationInput
  readonly cap: Duration.DurationInput
}): Schedule.Schedule<number> => {
  const base = Math.max(1, Duration.toMillis(options.base))
  const cap = Math.max(base, Duration.toMillis(options.cap))
  return Schedule.makeWithState(0, (now, _, last) =>
    Effect.map(Random.next, (random) => {
      const pause = last === 0 ? base : Math.min(cap, base + random * (last * 3 - base))
      return [pause, pause, ScheduleDecision.continueWith(ScheduleInterval.after(now + pause))] as const
    })
  )
}

/**
 * What a pool does without a `backoff` option: 50 milliseconds to 1 second, so that a host that is back is found within a
 * second.
 *
 * @see `decorrelated` for other bounds.
 *
 * @since 0.2.0
 * @category schedules
 */
export const standard: Schedule.Schedule<number> = decorrelated({ base: 50, cap: 1_000 })
