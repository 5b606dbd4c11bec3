/**
 * How many retries a `Sql` can afford. Counted in tenths of a retry, so that ten acquires are one retry exactly.
 *
 * The sum is brought up to date only when a retry is asked for: an acquire pays nothing for it.
 */
export interface Budget {
  readonly take: () => boolean
}

const RETRY = 10

/** What a program that has just begun may spend. Less would let one lost connection be felt in the first second. */
const INITIAL = 10 * RETRY

/** As many as a burst may cost. More would let a whole busy second be asked twice of a server that is failing. */
const MOST = 100 * RETRY

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
