import { Effect, type Scope } from "effect"

/**
 * A lock that is handed on in the order of asking. A semaphore of one permit would do, at five times the cost: every
 * statement on a pinned connection takes one.
 *
 * 1. Held by at most one; a grant is made while its waiter is still in the list, so it cannot be lost.
 * 2. A waiter that is interrupted either leaves the list, or, if it was granted the lock meanwhile, hands it on; then it is
 *    the last one who can do what comes `after`, as its holder would have been.
 */
export interface Lane {
  held: boolean
  readonly waiters: Array<Waiter>
}

interface Waiter {
  granted: boolean
  resume: ((effect: Effect.Effect<void>) => void) | undefined
}

export const make = (): Lane => ({ held: false, waiters: [] })

const release = (lane: Lane): void => {
  const next = lane.waiters.shift()
  if (next === undefined) {
    lane.held = false
    return
  }
  next.granted = true
  next.resume?.(Effect.void)
}

const leave = (lane: Lane, waiter: Waiter, after: (() => Effect.Effect<void>) | undefined): Effect.Effect<void> => {
  if (waiter.granted) {
    release(lane)
    return after === undefined ? Effect.void : after()
  }
  const index = lane.waiters.indexOf(waiter)
  if (index >= 0) lane.waiters.splice(index, 1)
  return Effect.void
}

/** Interruptible wherever `restore` is. After it the caller holds the lock, and nobody else will give it back. */
const take = (
  lane: Lane,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  after: (() => Effect.Effect<void>) | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!lane.held) {
      lane.held = true
      return Effect.void
    }
    const waiter: Waiter = { granted: false, resume: undefined }
    lane.waiters.push(waiter)
    const wait = Effect.async<void>((resume) => {
      if (waiter.granted) resume(Effect.void)
      else waiter.resume = resume
    })
    return Effect.onError(restore(wait), () => Effect.suspend(() => leave(lane, waiter, after)))
  })

/** Runs `effect` alone; the lock is handed on when it ends, however it ends, after `after` has run. */
export const run = <A, E, R>(
  lane: Lane,
  effect: Effect.Effect<A, E, R>,
  after?: () => Effect.Effect<void>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    const end = Effect.suspend(() => {
      release(lane)
      return after === undefined ? Effect.void : after()
    })
    const alone = Effect.onExit(restore(effect), () => end)
    if (!lane.held) {
      lane.held = true
      return alone
    }
    return Effect.flatMap(take(lane, restore, after), () => alone)
  })

/** Holds the lock until the scope closes, then hands it on and runs `after`. */
export const hold = (lane: Lane, after: () => Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.zipRight(
      take(lane, restore, after),
      Effect.addFinalizer(() =>
        Effect.suspend(() => {
          release(lane)
          return after()
        })
      )
    )
  )
