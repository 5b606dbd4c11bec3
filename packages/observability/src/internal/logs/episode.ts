/**
 * A trouble that begins and ends, so that it writes two lines however often it is noticed meanwhile.
 *
 * ```
 * well ──bad──► in trouble ──not bad for `calm`──► well
 * ```
 *
 * 1. The first line comes when the trouble is noticed, the second one when it has been away for `calm`.
 * 2. A trouble that comes back within `MEMORY` after its end has to be away for twice as long the next time, up to `LONGEST`. So a
 *    trouble that comes and goes all the time writes fewer and fewer lines: at most 30 in the first hour, and 12 in each later one.
 */

/** The longest time for which a trouble has to be away, in milliseconds. */
export const LONGEST = 600_000

/** How long a trouble is remembered, in milliseconds. Less than `LONGEST` would forget the troubles that it is to slow down. */
const MEMORY = 2 * LONGEST

/** What has become of a trouble at a look. */
export type Change =
  | { readonly _tag: "Begun" }
  /** `lastedMs`: until it was noticed last. `times`: how often it was away for a while and came back. */
  | { readonly _tag: "Ended"; readonly lastedMs: number; readonly times: number }

export class Episode {
  /** In trouble, as far as it was written. */
  isOpen = false
  private since = 0
  /** When it was last noticed. */
  private lastBad = 0
  private wasBad = false
  private times = 0
  private calm: number
  private endedAt = -Infinity

  /** `calm`: how long it has to be away at first, in milliseconds. */
  constructor(private readonly least: number) {
    this.calm = least
  }

  /** A look: whether there is trouble now, or was since the look before. */
  look(isBad: boolean, now: number): Change | undefined {
    const returns = isBad && !this.wasBad
    this.wasBad = isBad
    if (isBad) {
      this.lastBad = now
      if (this.isOpen) {
        if (returns) this.times++
        return undefined
      }
      this.calm = now - this.endedAt < MEMORY ? Math.min(LONGEST, this.calm * 2) : this.least
      this.isOpen = true
      this.since = now
      this.times = 0
      return { _tag: "Begun" }
    }
    if (!this.isOpen || now - this.lastBad < this.calm) return undefined
    this.isOpen = false
    this.endedAt = now
    return { _tag: "Ended", lastedMs: this.lastBad - this.since, times: this.times }
  }
}
