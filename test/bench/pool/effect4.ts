import { Cause, Effect, Exit, Pool, Scope } from "effect4"
import { fiberSubjects, parkedFibers, type Runtime } from "./fibers.js"
import { Resource } from "./settings.js"

const runtime: Runtime = {
  void: Effect.void,
  whileLoop: Effect.whileLoop,
  async: (register) =>
    Effect.callback<void>((resume) => {
      register(() => resume(Effect.void))
    }),
  tap: (effect, then) => Effect.tap(effect, () => Effect.sync(then)),
  fork: (effect, onExit) =>
    Effect.runFork(effect as Effect.Effect<unknown>).addObserver((exit) =>
      onExit(Exit.isSuccess(exit) ? undefined : Cause.pretty(exit.cause))
    )
}

const pool = (bracket: (pool: Pool.Pool<Resource>, body: () => any) => any) => (size: number) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const made = yield* Scope.provide(Pool.make({ acquire: Effect.sync(() => new Resource()), size }), scope)
      return {
        use: (body: () => any) => bracket(made, body),
        waiting: () => made.state.waiters.size,
        close: () => Effect.runPromise(Scope.close(scope, Exit.void))
      }
    })
  )

export const emptyLoop = fiberSubjects(runtime, () => ({
  use: (body) => body(),
  waiting: () => 0,
  close: () => undefined
})).uncontended

export const acquireUseRelease = fiberSubjects(runtime, () => ({
  use: (body) => Effect.acquireUseRelease(Effect.void, body, () => Effect.void),
  waiting: () => 0,
  close: () => undefined
})).uncontended

export const parked = fiberSubjects(runtime, parkedFibers(runtime))

export const poolUse = fiberSubjects(
  runtime,
  pool((made, body) => Pool.use(made, body))
)

export const poolGet = fiberSubjects(
  runtime,
  pool((made, body) => Effect.scoped(Effect.flatMap(Pool.get(made), body)))
)
