/**
 * Fibers that belong to a scope, for callbacks that have to start one.
 *
 * @since 0.2.0
 */
import { Effect, type Fiber, Runtime, RuntimeFlags, type Scope } from "effect"

/**
 * A function that runs an effect in a fiber of its own, which is interrupted when the scope closes. That works also if this is
 * made in an uninterruptible region.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make: Effect.Effect<(effect: Effect.Effect<void>) => void, never, Scope.Scope> = Effect.gen(function* () {
  const scope = yield* Effect.scope
  const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
  return (effect) => {
    Runtime.runFork(runtime, effect, { scope })
  }
})

/**
 * Runs an effect in a fiber of its own, which has the context of `fiber`, can be interrupted, and is interrupted when the scope
 * closes. Works also while `fiber` waits for something.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forkAs = <A, E>(
  scope: Scope.Scope,
  fiber: Fiber.RuntimeFiber<any, any>,
  effect: Effect.Effect<A, E>
): Fiber.RuntimeFiber<A, E> => {
  const runtime = Runtime.make({
    context: fiber.currentContext,
    fiberRefs: fiber.getFiberRefs(),
    runtimeFlags: Runtime.defaultRuntimeFlags
  })
  return Runtime.runFork(runtime, effect, { scope })
}
