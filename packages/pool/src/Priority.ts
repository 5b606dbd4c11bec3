/**
 * Classes of waiters. A higher class is served first; within one class, first in, first out.
 *
 * @since 0.1.0
 */
import { Context, Effect as Eff, type Effect } from "effect"

/**
 * Who is served first when nothing is idle.
 *
 * Strict between classes, except that the oldest waiter of all is served after it was passed over 8 times in a row,
 * so that background work progresses under a steady stream of requests.
 *
 * @since 0.1.0
 * @category models
 */
export type Priority = "critical" | "high" | "normal" | "low" | "background"

/**
 * The class that acquires of this fiber, and of the fibers it forks, belong to. Default `"normal"`.
 *
 * @since 0.1.0
 * @category references
 */
export class CurrentPriority extends Context.Reference<CurrentPriority>()("@sluice/pool/CurrentPriority", {
  defaultValue: (): Priority => "normal"
}) {}

/**
 * Every acquire inside `effect` belongs to class `priority`, unless its own options name another one.
 *
 * **When to use** For background work that shares a pool with requests: while connections are scarce, requests come first.
 *
 * @see `AcquireOptions` for the class of a single acquire.
 *
 * @example
 * ```ts
 * import { Priority } from "@sluice/pool"
 * import { Effect } from "effect"
 *
 * const nightly = Effect.log("syncing").pipe(Priority.withPriority("background"))
 *
 * Effect.runPromise(nightly)
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const withPriority =
  (priority: Priority) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Eff.provideService(effect, CurrentPriority, priority)

/**
 * The place of each class in the queue: 0 is served first. The gaps are for classes to come.
 *
 * @since 0.1.0
 * @category models
 */
export const rank: Readonly<Record<Priority, number>> = { critical: 0, high: 1, normal: 3, low: 5, background: 7 }

/**
 * True for one of the five names.
 *
 * @since 0.1.0
 * @category guards
 */
export const isPriority = (u: unknown): u is Priority => typeof u === "string" && Object.hasOwn(rank, u)
