import * as AsyncContext from "@sluice/pool/AsyncContext"
import type { Instant, Timer, Timers } from "@sluice/pool/Deadline"
import { type Cause, Effect, type Scope } from "effect"
import type { Restore } from "../client/contexts.js"

/**
 * A lock that is handed on in the order of asking. A semaphore of one permit would do, at five times the cost: every
 * statement on a pinned connection takes one.
 *
 * 1. At most one fiber holds it. A waiter is still in the list when it is granted the lock, so a grant cannot be lost.
 * 2. A waiter that is interrupted leaves the list. If it was granted the lock in the same moment it runs `end` instead, as a
 *    holder would, because no other fiber will.
 * 3. A waiter whose bound has passed leaves the list and fails.
 */
export interface Lock {
  held: boolean
  readonly waiters: Array<Waiter>
}

interface Waiter {
  granted: boolean
  resume: ((effect: Effect.Effect<void>) => void) | undefined
  timer: Timer | undefined
}

/** How long a caller waits for the lock, and with what it fails then. */
export interface Bound<E> {
  readonly timers: Timers["Type"]
  readonly at: Instant
  readonly late: () => E
}

export const make = (): Lock => ({ held: false, waiters: [] })

/** Gives the lock to the fiber that has waited longest. */
export const release = (lock: Lock): void => {
  const next = lock.waiters.shift()
  if (next === undefined) {
    lock.held = false
    return
  }
  next.granted = true
  next.timer?.cancel()
  next.resume?.(Effect.void)
}

const leave = (lock: Lock, waiter: Waiter): void => {
  const index = lock.waiters.indexOf(waiter)
  if (index >= 0) lock.waiters.splice(index, 1)
}

/**
 * Waits for a lock that is held. To be run where nothing can interrupt; `restore` says whether the wait can be interrupted.
 * After success the caller holds the lock and must give it back.
 */
const take = <E>(
  lock: Lock,
  restore: Restore,
  end: (failure: Cause.Cause<E>) => Effect.Effect<void> | undefined,
  bound: Bound<E> | undefined
): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    if (!lock.held) {
      lock.held = true
      return Effect.void
    }
    const waiter: Waiter = { granted: false, resume: undefined, timer: undefined }
    lock.waiters.push(waiter)
    const wait = AsyncContext.async<void, E>((resume) => {
      if (waiter.granted) return resume(Effect.void)
      waiter.resume = resume
      if (bound === undefined) return
      waiter.timer = bound.timers.set(bound.at, () => {
        leave(lock, waiter)
        resume(Effect.fail(bound.late()))
      })
    })
    return Effect.onError(restore(wait), (cause) =>
      Effect.suspend(() => {
        if (waiter.granted) return end(cause) ?? Effect.void
        waiter.timer?.cancel()
        leave(lock, waiter)
        return Effect.void
      })
    )
  })

/**
 * Runs `body` while the caller holds the lock; only what it puts into `restore` can be interrupted. However the body ends,
 * `end` is called at once and must release the lock; the effect that it returns runs after that.
 */
export const run = <A, E, R>(
  lock: Lock,
  body: (restore: Restore) => Effect.Effect<A, E, R>,
  end: (failure: Cause.Cause<E> | undefined) => Effect.Effect<void> | undefined,
  bound?: Bound<E>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    if (lock.held) return Effect.flatMap(take(lock, restore, end, bound), () => ending(body(restore), end))
    lock.held = true
    return ending(body(restore), end)
  })

/** Runs `effect` while the caller holds the lock. */
export const use = <A, E, R>(lock: Lock, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  run(
    lock,
    (restore) => restore(effect),
    () => {
      release(lock)
      return undefined
    }
  )

const ending = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  end: (failure: Cause.Cause<E> | undefined) => Effect.Effect<void> | undefined
): Effect.Effect<A, E, R> =>
  Effect.matchCauseEffect(effect, {
    onFailure: (cause) => {
      const rest = end(cause)
      return rest === undefined ? Effect.failCause(cause) : Effect.zipRight(rest, Effect.failCause(cause))
    },
    onSuccess: (a) => {
      const rest = end(undefined)
      return rest === undefined ? Effect.succeed(a) : Effect.as(rest, a)
    }
  })

/** Holds the lock until the scope closes, then releases it and calls `after`. */
export const hold = <E = never>(
  lock: Lock,
  after: () => void,
  bound?: Bound<E>
): Effect.Effect<void, E, Scope.Scope> => {
  const end = () => {
    release(lock)
    after()
    return undefined
  }
  return Effect.uninterruptibleMask((restore) =>
    Effect.zipRight(
      take(lock, restore, end, bound),
      Effect.addFinalizer(() => Effect.sync(end))
    )
  )
}
