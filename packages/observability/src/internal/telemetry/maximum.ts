/** Looks that a maximum goes back: there is one each second. */
const LOOKS = 60

/** The greatest value of the last minute. It is told at each change, and forgets at each look, so that no change reads a clock. */
export class Maximum {
  private readonly seconds: Array<number> = []
  private second = 0

  /** The value is so much now. */
  note(value: number): void {
    if (value > this.second) this.second = value
  }

  get value(): number {
    return this.seconds.reduce((greatest, value) => Math.max(greatest, value), this.second)
  }

  /** A second is over, and the value is so much now. */
  next(value: number): void {
    this.seconds.push(this.second)
    if (this.seconds.length > LOOKS) this.seconds.shift()
    this.second = value
  }
}
