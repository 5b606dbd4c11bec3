/**
 * How many retries an `Sql` can afford, so that a failing server is not asked twice by everybody. Counted in tenths of a
 * retry: ten acquires are worth one retry exactly.
 *
 * The sum is brought up to date only when a retry is asked for, so it costs an acquire nothing.
 */
export interface Budget {
  /**
   * Takes one retry, if there is one. All failures that one lost connection has caused take one together: `lost` is what has ended
   * that connection.
   */
  readonly take: (lost: object | undefined) => boolean
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
  const paid = new WeakSet<object>()
  return {
    take: (lost) => {
      if (lost !== undefined && paid.has(lost)) return true
      const now = acquired()
      tenths = Math.min(MOST, tenths + now - seen)
      seen = now
      if (tenths < RETRY) return false
      tenths -= RETRY
      if (lost !== undefined) paid.add(lost)
      return true
    }
  }
}
