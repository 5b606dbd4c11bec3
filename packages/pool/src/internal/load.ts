/**
 * How long leases and connects take, and whether one more connection is worth its connect.
 */

/** The weight of the newest sample. Larger: one slow statement opens connections. Smaller: a change is seen late. */
const WEIGHT = 0.1
/** Below this many samples the averages say nothing, and connects go one at a time. */
const SAMPLES = 8

export class Load {
  hold = 0
  connect = 0
  private holds = 0
  private connects = 0

  held(ms: number): void {
    this.hold += (ms - this.hold) * (this.holds++ === 0 ? 1 : WEIGHT)
  }

  connected(ms: number): void {
    this.connect += (ms - this.connect) * (this.connects++ === 0 ? 1 : WEIGHT)
  }

  /**
   * A connect is worth its time if the work ahead of the last of `waiting` callers takes longer, or if the queue has not
   * been empty for as long as a connect takes: then it will not be by itself. (By the age of the first waiter alone, a
   * queue that moves fast and never ends would be left as it is for ever.) `held` is the mean age of the present leases:
   * an average that moves only on release never sees ten leases stuck on a lock.
   */
  wantsOneMore(waiting: number, servers: number, connecting: number, held: number, busyFor: number): boolean {
    if (servers === 0) return true
    if (this.holds < SAMPLES || this.connects === 0) return connecting === 0
    return (waiting * Math.max(this.hold, held)) / servers > this.connect || busyFor >= this.connect
  }
}
