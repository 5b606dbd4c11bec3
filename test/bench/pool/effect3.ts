import { Cause, Effect, Exit, Pool, Scope } from "effect"
import { type FiberPool, fiberSubjects, parkedFibers, type Runtime } from "./fibers.js"
import { Floor } from "./floor.js"
import { Resource } from "./settings.js"

export const runtime: Runtime = {
  void: Effect.void,
  whileLoop: Effect.whileLoop,
  async: (register) =>
    // Returns nothing: what it returned would be run as the canceller.
    Effect.async((resume) => {
      register(() => resume(Effect.void))
    }),
  tap: (effect, then) => Effect.tap(effect, () => Effect.sync(then)),
  fork: (effect, onExit) =>
    Effect.runFork(effect as Effect.Effect<unknown>).addObserver((exit) =>
      onExit(Exit.isSuccess(exit) ? undefined : Cause.pretty(exit.cause))
    )
}

const without = (use: FiberPool["use"]): (() => FiberPool) => {
  const pool: FiberPool = { use, waiting: () => 0, close: () => undefined }
  return () => pool
}

export const emptyLoop = fiberSubjects(
  runtime,
  without((body) => body())
).uncontended

const noop = () => Effect.void
const noBody = (body: () => any) => body()

export const acquireUseRelease = fiberSubjects(
  runtime,
  without((body) => Effect.acquireUseRelease(Effect.void, body, noop))
).uncontended

export const scopedAcquireRelease = fiberSubjects(
  runtime,
  without((body) => Effect.scoped(Effect.flatMap(Effect.acquireRelease(Effect.void, noop), () => noBody(body))))
).uncontended

export const acquireUseReleaseFloor = fiberSubjects(runtime, (size) => {
  const floor = new Floor(size)
  const take = Effect.sync(() => floor.take()!)
  const give = (resource: Resource) => Effect.sync(() => floor.give(resource))
  return {
    use: (body) => Effect.acquireUseRelease(take, body, give),
    waiting: () => 0,
    close: () => undefined
  }
}).uncontended

/**
 * One mask over the floor: the cheapest pool that Effect 3 allows, without deadlines, classes, checks, events or
 * counters, and not safe if a waiter is interrupted.
 */
export const oneMask = fiberSubjects(runtime, (size) => {
  const floor = new Floor(size)
  const give = (resource: Resource) => floor.give(resource)
  const bracket = (resource: Resource, restore: (effect: any) => any, body: () => any) =>
    Effect.matchCauseEffect(restore(body()), {
      onFailure: (cause) => {
        give(resource)
        return Effect.failCause(cause as Cause.Cause<never>)
      },
      onSuccess: (value) => {
        give(resource)
        return Effect.succeed(value)
      }
    })
  return {
    use: (body) =>
      Effect.uninterruptibleMask((restore) => {
        const resource = floor.take()
        if (resource !== undefined) return bracket(resource, restore, body)
        return Effect.flatMap(
          Effect.async<Resource>((resume) => {
            floor.park((given) => resume(Effect.succeed(given)))
          }),
          (given) => bracket(given, restore, body)
        )
      }),
    waiting: () => floor.waiting,
    close: () => undefined
  }
})

export const parked = fiberSubjects(runtime, parkedFibers(runtime))

/** Effect 3's own pool, as documented: `get` in a scope. */
export const scopedPool = fiberSubjects(runtime, (size) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const pool = yield* Scope.extend(Pool.make({ acquire: Effect.sync(() => new Resource()), size }), scope)
      return {
        use: (body: () => any) => Effect.scoped(Effect.flatMap(Pool.get(pool), body)),
        waiting: () => (pool as any).semaphore.waiters.size,
        close: () => Effect.runPromise(Scope.close(scope, Exit.void))
      }
    })
  )
)
