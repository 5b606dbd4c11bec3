import { type Context, Effect, FiberRef } from "effect"

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * `effect` with a changed context, as `Effect.provide`, at a third of its cost: whoever calls it has already seen to it that
 * nothing can interrupt but what is in `restore`.
 */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  change: (context: Context.Context<never>) => Context.Context<any>,
  restore: Restore
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const context = fiber.currentContext
    const before = FiberRef.set(FiberRef.currentContext, context)
    return Effect.zipRight(
      FiberRef.set(FiberRef.currentContext, change(context) as Context.Context<never>),
      Effect.matchCauseEffect(restore(effect), {
        onFailure: (cause) => Effect.zipRight(before, Effect.failCause(cause)),
        onSuccess: (a) => Effect.as(before, a)
      })
    )
  })
