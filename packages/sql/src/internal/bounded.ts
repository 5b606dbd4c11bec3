import { type Duration, Effect, type Exit, Fiber } from "effect"

/**
 * `effect`, or `otherwise` when `duration` has passed: for what must run to its end although its fiber was interrupted, and
 * must not run for ever either.
 *
 * `Effect.timeout` will not do: its two sides are children of the fiber, and an interruption reaches all children at once,
 * also while their parent cannot be interrupted. So these two are nobody's children. Where the caller can be interrupted,
 * an interruption ends the wait, and both.
 */
export const bounded = <A, E, B>(
  effect: Effect.Effect<A, E>,
  duration: Duration.DurationInput,
  otherwise: Effect.Effect<B, E>
): Effect.Effect<A | B, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.all([
        Effect.forkDaemon(Effect.interruptible(effect)),
        Effect.forkDaemon(Effect.interruptible(Effect.sleep(duration)))
      ]),
      ([work, timer]) =>
        restore(
          Effect.async<Exit.Exit<A, E> | undefined>((resume) => {
            work.addObserver((exit) => resume(Effect.succeed(exit)))
            timer.addObserver(() => resume(Effect.succeed(undefined)))
          })
        ).pipe(
          Effect.ensuring(Effect.zipRight(Fiber.interruptFork(work), Fiber.interruptFork(timer))),
          Effect.flatMap((exit): Effect.Effect<A | B, E> => exit ?? otherwise)
        )
    )
  )
