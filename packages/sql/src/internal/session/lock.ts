import { type Cause, Effect, type Scope } from "effect"
import type { Restore } from "../client/contexts.js"

/**
 * A lock that is handed on in the order of asking. A semaphore of one permit would do, at five times the cost: every
 * statement on a pinned connection takes one.
 *
 * 1. Held by at most one; a grant is made while its waiter is still in the list, so it cannot be lost.
 * 2. A waiter that is interrupted either leaves the list, or, if it was granted the lock meanwhile, hands it on; then it is
 *    the last one who can do what comes `after`, as its holder would have been.
 */
export interface Lock {
  held: boolean
  readonly waiters: Array<Waiter>
}

interface Waiter {
  granted: boolean
  resume: ((effect: Effect.Effect<void>) => void) | undefined
}

export const make = (): Lock => ({ held: false, waiters: [] })

/** Gives the lock to whoever has waited longest. */
export const release = (lock: Lock): void => {
  const next = lock.waiters.shift()
  if (next === undefined) {
    lock.held = false
    return
  }
  next.granted = true
  next.resume?.(Effect.void)
}

/**
 * For a lock that is held; where it is free, setting `held` is all. To be run where nothing can interrupt; the wait can be
 * interrupted where `restore` says so. After it the caller holds the lock, and nobody else will give it back; but one that
 * is interrupted just as its turn has come gives it back with `end` (2).
 */
const take = (
  lock: Lock,
  restore: Restore,
  end: (failure: Cause.Cause<never>) => Effect.Effect<void> | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!lock.held) {
      lock.held = true
      return Effect.void
    }
    const waiter: Waiter = { granted: false, resume: undefined }
    lock.waiters.push(waiter)
    const wait = Effect.async<void>((resume) => {
      if (waiter.granted) resume(Effect.void)
      else waiter.resume = resume
    })
    return Effect.onError(restore(wait), (cause) =>
      Effect.suspend(() => {
        if (waiter.granted) return end(cause) ?? Effect.void
        lock.waiters.splice(lock.waiters.indexOf(waiter), 1)
        return Effect.void
      })
    )
  })

/**
 * Runs `body` while the caller holds the lock; only what it puts into `restore` can be interrupted. However it ends, `end`
 * is told, at once, and gives the lock back (`release`); what it returns runs after that.
 */
export const run = <A, E, R>(
  lock: Lock,
  body: (restore: Restore) => Effect.Effect<A, E, R>,
  end: (failure: Cause.Cause<E> | undefined) => Effect.Effect<void> | undefined
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    if (lock.held) return Effect.flatMap(take(lock, restore, end), () => alone(body(restore), end))
    lock.held = true
    return alone(body(restore), end)
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

const alone = <A, E, R>(
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

/** Holds the lock until the scope closes, then hands it on and runs `after`. */
export const hold = (lock: Lock, after: () => void): Effect.Effect<void, never, Scope.Scope> => {
  const end = () => {
    release(lock)
    after()
    return undefined
  }
  return Effect.uninterruptibleMask((restore) =>
    Effect.zipRight(
      take(lock, restore, end),
      Effect.addFinalizer(() => Effect.sync(end))
    )
  )
}
