/**
 * The async context of a caller (`AsyncLocalStorage`) across a wait.
 *
 * An answer arrives in the context of a socket, of a timer, or of another caller. A fiber that waits by `async` goes on in the context
 * in which it began to wait.
 *
 * What it does not do: it cannot change the waits of Effect itself. A fiber that waits for another one by a `Deferred`, a `Queue` or a
 * `Latch` goes on in the context of the fiber that has woken it, and a statement that begins there also goes on there. The services
 * in the `Context` of a fiber and its `FiberRef`s are never mixed up. Before version 3.20 Effect has one queue for all fibers, so
 * fibers that are resumed at the same moment go on in the context of one of them.
 *
 * @since 0.2.0
 */
import { AsyncResource } from "node:async_hooks"
import { Effect } from "effect"

/**
 * The async context of now. `runInAsyncScope` of it resumes a fiber in it: each fiber has a queue of its own in the scheduler of
 * Effect, and the queue is emptied in the context in which its fiber was resumed.
 *
 * @since 0.2.0
 * @category constructors
 */
// Not a subclass: its instances cost 2 microseconds more, a fifth of a short statement.
export const capture = (): AsyncResource => new AsyncResource("sluice")

/**
 * As `Effect.async`. The fiber goes on in the async context in which it has begun to wait.
 *
 * @since 0.2.0
 * @category constructors
 */
export const async = <A, E = never>(
  register: (resume: (effect: Effect.Effect<A, E>) => void) => void | Effect.Effect<void>
): Effect.Effect<A, E> =>
  Effect.async<A, E>((resume) => {
    const context = capture()
    return register((effect) => context.runInAsyncScope(resume, undefined, effect))
  })

/**
 * The fiber goes on in this async context. For what runs behind a wait of Effect itself.
 *
 * @since 0.2.0
 * @category combinators
 */
export const enter = (context: AsyncResource): Effect.Effect<void> =>
  Effect.async((resume) => {
    // Later, because a fiber that is resumed while it begins to wait simply goes on.
    queueMicrotask(() => context.runInAsyncScope(resume, undefined, Effect.void))
  })
