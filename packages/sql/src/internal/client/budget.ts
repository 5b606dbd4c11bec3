/**
 * How many retries an `Sql` can afford, so that a failing server is not asked twice by everybody. Counted in tenths of a
 * retry: ten acquires are worth one retry exactly.
 *
 * The sum is brought up to date only when a retry is asked for, so it costs an acquire nothing.
 */
export interface Budget {
  /** Takes one retry, if there is one. */
  readonly take: () => boolean
}

const RETRY = 10

/** What a program that has just begun may spend. Less would let one lost connection be felt in the first second. */
const INITIAL = 10 * RETRY

/** What can be saved at most. More would let a failing server be asked twice for a whole busy second. */
const MOST = 100 * RETRY

/** `acquired`: successful acquires since the beginning. */
export const make = (acquired: () => number): Budget => {
  let tenths = INITIAL
  let seen = acquired()
  return {
    take: () => {
      const now = acquired()
      tenths = Math.min(MOST, tenths + now - seen)
      seen = now
      if (tenths < RETRY) return false
      tenths -= RETRY
      return true
    }
  }
}
