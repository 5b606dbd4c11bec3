import * as AsyncContext from "@sluice/pool/AsyncContext"
import type { Instant, Timers } from "@sluice/pool/Deadline"
import { Effect, Exit, Fiber } from "effect"

/**
 * Effects that end at an instant. The effect runs in a fiber of its own, and one timer of `Timers` bounds it: there is no
 * sleeping fiber, and the wall clock plays no part.
 *
 * `Effect.timeout` would not do. Its two sides are children of the fiber, and an interruption reaches all children at once,
 * also while their parent cannot be interrupted.
 */
type Service = Timers["Type"]

/** The exit of `work`, or `undefined` once `at` has passed. */
const exitBefore = <A, E>(
  timers: Service,
  at: Instant,
  work: Fiber.RuntimeFiber<A, E>
): Effect.Effect<Exit.Exit<A, E> | undefined> =>
  AsyncContext.async((resume) => {
    const timer = timers.set(at, () => resume(Effect.succeed(undefined)))
    const ended = (exit: Exit.Exit<A, E>): void => {
      timer.cancel()
      resume(Effect.succeed(exit))
    }
    work.addObserver(ended)
    return Effect.sync(() => {
      timer.cancel()
      work.removeObserver(ended)
    })
  })

/**
 * `effect`, or `otherwise` once `at` has passed: for work that must run to its end although the fiber of the caller was
 * interrupted. An effect that is late is interrupted, and the caller does not wait for its end. Where the caller can be
 * interrupted, an interruption ends the wait and the effect.
 */
export const abandonAt = <A, E, B>(
  timers: Service,
  at: Instant,
  effect: Effect.Effect<A, E>,
  otherwise: Effect.Effect<B, E>
): Effect.Effect<A | B, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime((self) =>
      Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (work) => {
        const stop = () => work.unsafeInterruptAsFork(self.id())
        return Effect.matchCauseEffect(restore(exitBefore(timers, at, work)), {
          onFailure: (cause) => {
            stop()
            return Effect.failCause(cause)
          },
          onSuccess: (exit): Effect.Effect<A | B, E> => {
            if (exit !== undefined) return exit
            stop()
            return otherwise
          }
        })
      })
    )
  )

/**
 * `effect`, interrupted once `at` has passed: then the failure is `late`. The caller waits until the effect has ended, its
 * finalizers included. An effect that could not be interrupted and ended by itself keeps its own result.
 */
export const interruptAt = <A, E, R, E2>(
  timers: Service,
  at: Instant,
  effect: Effect.Effect<A, E, R>,
  late: () => E2
): Effect.Effect<A, E | E2, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(restore(effect)), (work) =>
      Effect.matchCauseEffect(restore(exitBefore(timers, at, work)), {
        onFailure: (cause) => Effect.zipRight(Fiber.interrupt(work), Effect.failCause(cause)),
        onSuccess: (exit): Effect.Effect<A, E | E2> =>
          exit !== undefined
            ? // As if it had run in the fiber of the caller: what it has set in references stays set.
              Effect.zipRight(Fiber.inheritAll(work), exit)
            : Effect.flatMap(
                Fiber.interrupt(work),
                (exit): Effect.Effect<A, E | E2> =>
                  Exit.isInterrupted(exit) ? Effect.fail(late()) : Effect.zipRight(Fiber.inheritAll(work), exit)
              )
      })
    )
  )
