import { Clock, Effect, type Scope } from "effect"

/**
 * Deadlines of what must not be interrupted: who adds one and takes it away in time, as nearly all do, pays for a number in
 * a set, not for a fiber and a timer. One fiber sleeps until the earliest of them.
 *
 * 1. `late` is called once, after the deadline, unless it was taken away before.
 * 2. While there are deadlines, a fiber is on watch that wakes by the earliest of them.
 */
export interface Deadlines {
  readonly scope: Scope.Scope
  readonly entries: Set<Deadline>
  /** When the fiber on watch wakes. `Infinity`: nobody is on watch. A new one relieves the one before. */
  watch: { readonly at: number }
}

const nobody = { at: Infinity }

interface Deadline {
  readonly at: number
  readonly late: () => void
}

export const make = (scope: Scope.Scope): Deadlines => ({ scope, entries: new Set(), watch: nobody })

/** `effect`; if it is not done after `millis`, `late` is called and has to end it. To be run where nothing can interrupt. */
export const bound = <A, E>(
  self: Deadlines,
  millis: number,
  late: () => void,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => {
    const at = clock.unsafeCurrentTimeMillis() + millis
    const entry = { at, late }
    self.entries.add(entry)
    const run = Effect.matchCauseEffect(effect, {
      onFailure: (cause) => {
        self.entries.delete(entry)
        return Effect.failCause(cause)
      },
      onSuccess: (a) => {
        self.entries.delete(entry)
        return Effect.succeed(a)
      }
    })
    return at < self.watch.at ? Effect.zipRight(watch(self, at), run) : run
  })

const watch = (self: Deadlines, at: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const watch = { at }
    self.watch = watch
    const sleep = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.zipRight(
        Effect.sleep(Math.max(0, at - now)),
        Effect.suspend(() => (self.watch === watch ? wake(self) : Effect.void))
      )
    )
    return Effect.asVoid(Effect.forkIn(Effect.interruptible(sleep), self.scope))
  })

const wake = (self: Deadlines): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    let next = Infinity
    for (const entry of self.entries) {
      if (entry.at > now) next = Math.min(next, entry.at)
      else {
        self.entries.delete(entry)
        entry.late()
      }
    }
    self.watch = nobody
    return next === Infinity ? Effect.void : watch(self, next)
  })
