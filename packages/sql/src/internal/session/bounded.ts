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
    Effect.withFiberRuntime((self) =>
      Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (work) =>
        Effect.flatMap(Effect.forkDaemon(Effect.interruptible(Effect.sleep(duration))), (timer) => {
          const id = self.id()
          const wait = Effect.async<Exit.Exit<A, E> | undefined>((resume) => {
            work.addObserver((exit) => resume(Effect.succeed(exit)))
            timer.addObserver(() => resume(Effect.succeed(undefined)))
          })
          const end = Effect.zipRight(Fiber.interruptAsFork(work, id), Fiber.interruptAsFork(timer, id))
          return Effect.matchCauseEffect(restore(wait), {
            onFailure: (cause) => Effect.zipRight(end, Effect.failCause(cause)),
            onSuccess: (exit): Effect.Effect<A | B, E> => {
              const result: Effect.Effect<A | B, E> = exit ?? otherwise
              return Effect.zipRight(end, result)
            }
          })
        })
      )
    )
  )
