/**
 * Fibers that belong to a scope, for callbacks that have to start one.
 *
 * @since 0.2.0
 */
import { Effect, Runtime, RuntimeFlags, type Scope } from "effect"

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
