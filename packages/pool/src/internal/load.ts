/**
 * How long leases and connects take, and whether one more connect is worth its time.
 */

/** The weight of the newest sample. Larger: one slow statement opens connections. Smaller: a change is seen late. */
const WEIGHT = 0.1

/** With fewer leases that have ended, their average says nothing. */
const SAMPLES = 8

/**
 * Leases that are as old as this part of a connect are slow, and at least as old as `SLOW_LEAST` milliseconds. Smaller: a
 * spike of statements of 2 ms opens connections that are idle before they are open, also where a process that has just begun
 * is slow itself. Larger: the connects begin late.
 */
const SLOW_PART = 1 / 32
const SLOW_LEAST = 20

/** How long leases and connects take, as far as it was seen. */
export class Load {
  hold = 0
  connect = 0
  private holds = 0
  private connects = 0

  /** A lease has ended. A shared lease counts with its share of the connection: the time, divided by the holders. */
  held(ms: number): void {
    this.hold += (ms - this.hold) * (this.holds++ === 0 ? 1 : WEIGHT)
  }

  connected(ms: number): void {
    this.connect += (ms - this.connect) * (this.connects++ === 0 ? 1 : WEIGHT)
  }

  get isKnown(): boolean {
    return this.holds >= SAMPLES && this.connects > 0
  }

  /** The mean age of the present leases from which they are slow; `Infinity` while no connect was seen. */
  get slowFrom(): number {
    return this.connects === 0 ? Infinity : Math.max(SLOW_LEAST, this.connect * SLOW_PART)
  }

  /**
   * Whether one more connect is worth its time.
   *
   * - Nothing is open: yes.
   * - Averages are known: yes if the work ahead of the last of `waiting` callers takes longer than a connect, or if the queue
   *   has not been empty for as long as a connect takes: then it will not become empty by itself. (The age of the first waiter
   *   would not do: a queue that moves fast and never ends would be left as it is for ever.)
   * - Averages are not known: one at a time; for every waiter if the present leases are slow.
   *
   * `held` is the mean age of the present leases. It counts beside the average, which moves only when a lease ends and would
   * never see ten leases that hang on a lock.
   */
  wantsOneMore(waiting: number, servers: number, connecting: number, held: number, busyFor: number): boolean {
    if (servers === 0) return true
    if (!this.isKnown) return connecting === 0 || held >= this.slowFrom
    return (waiting * Math.max(this.hold, held)) / servers > this.connect || busyFor >= this.connect
  }
}
