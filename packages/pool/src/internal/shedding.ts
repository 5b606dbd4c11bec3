/**
 * When there are too many waiters, and which of them are too old: pure functions of the state, the age of the oldest waiter
 * and the time.
 *
 * The rule is CoDel (K. Nichols, V. Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012) as it is used for requests
 * ("Fail at Scale", ACM Queue 13(8), 2015): a queue that was never younger than `target` for all of `interval` does not hold a
 * burst, but more work than can be done. Then whoever has waited for twice the target is sent away, so that those who are
 * served are served in time.
 *
 * A target that is too long for the callers would never be reached before they give up, and the pool would serve only those
 * whose time is nearly over. So the target of a waiter is at most a quarter of the time that it has.
 */

export interface Settings {
  readonly mode: "off" | "shadow" | "on"
  readonly target: number
  readonly interval: number
}

export interface Shedding {
  /** Since when every look has found the oldest waiter older than its target; `Infinity` if the last one has not. */
  readonly lateSince: number
  readonly isOverloaded: boolean
}

export const initial: Shedding = { lateSince: Infinity, isOverloaded: false }

/**
 * Waiters that are never shed, so that released connections find somebody: one for each connection, at least 4. Smaller: where the
 * process runs in fits and starts, many connections come back together and only the first ones are used. Larger: they wait for longer
 * than they should. Reasoned, not measured.
 */
export const floorOf = (maxSize: number): number => Math.max(4, maxSize)

/** The age from which a waiter that has `timeout` is late. */
export const targetOf = (settings: Settings, timeout: number): number => Math.min(settings.target, timeout / 4)

/** The age from which it is shed while the pool is overloaded. */
export const limitOf = (settings: Settings, timeout: number): number => 2 * targetOf(settings, timeout)

/** The oldest waiter was looked at. `isLate`: it is older than its target. */
export const looked = (s: Shedding, settings: Settings, isLate: boolean, now: number): Shedding => {
  if (!isLate) return s.lateSince === Infinity ? s : initial
  if (s.lateSince === Infinity) return { lateSince: now, isOverloaded: false }
  if (s.isOverloaded || now - s.lateSince < settings.interval) return s
  return { lateSince: s.lateSince, isOverloaded: true }
}

/**
 * When to look again if nothing is released before. `age` and `timeout` are those of the oldest waiter. While the pool is
 * overloaded a waiter becomes old enough to be shed at any moment, so a look every half a target is enough.
 */
export const nextLook = (s: Shedding, settings: Settings, age: number, timeout: number, now: number): number => {
  const target = targetOf(settings, timeout)
  // Old, but not late: not every connection is there. Nothing is to be done until that changes.
  if (s.lateSince === Infinity) return now + Math.max(1, age < target ? target - age : target)
  if (!s.isOverloaded) return Math.max(now + 1, s.lateSince + settings.interval)
  return now + Math.max(1, target / 2)
}
