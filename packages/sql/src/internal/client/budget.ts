/**
 * How often an `Sql` can afford to execute a statement once more, so that a server that fails or is slow is not asked twice by
 * everybody. Each successful acquire earns a share of one such execution.
 *
 * The sum is brought up to date only when it is asked for, so it costs an acquire nothing.
 */
export interface Budget {
  /**
   * Takes one execution, if there is one. All failures that one lost connection has caused take one together: `lost` is what has
   * ended that connection.
   */
  readonly take: (lost?: object) => boolean
}

export interface Limits {
  /** Acquires that earn one execution. */
  readonly acquires: number
  /** What a program that has just begun may spend. */
  readonly initial: number
  /** What can be saved at most. */
  readonly most: number
}

/**
 * For failures. With a smaller `initial` one lost connection would be felt in the first second; with a larger `most` a failing server
 * would be asked twice for a whole busy second.
 */
export const retries: Limits = { acquires: 10, initial: 10, most: 100 }

/**
 * For packed reads that are held up. A late read may hold up a hundred and more at once; a server on which every read is late must
 * not be asked twice for long.
 */
export const held: Limits = { acquires: 4, initial: 1_000, most: 1_000 }

/** `acquired`: successful acquires since the beginning. */
export const make = (acquired: () => number, { acquires, initial, most }: Limits): Budget => {
  // Counted in acquires, so that all sums are whole.
  let sum = initial * acquires
  let seen = acquired()
  const paid = new WeakSet<object>()
  return {
    take: (lost) => {
      if (lost !== undefined && paid.has(lost)) return true
      const now = acquired()
      sum = Math.min(most * acquires, sum + now - seen)
      seen = now
      if (sum < acquires) return false
      sum -= acquires
      if (lost !== undefined) paid.add(lost)
      return true
    }
  }
}
