/**
 * One connection for those who share, while they keep coming.
 *
 * When slow exclusive work takes every connection there is, short shared work would stand in line behind it, although one
 * connection could do all of it. So of four or more connections the last one goes to nobody alone while shared leases
 * are asked for, and those who share pass the ones who could not have it anyway. The price is at most a quarter of the
 * connections, for those who want one alone.
 */

/**
 * Milliseconds for which it is kept after the last shared lease. Shorter: a caller that comes back from slow work finds it
 * taken, and waits behind others of its kind. Longer: a connection stands idle in front of waiters.
 */
const KEPT = 100

/** With fewer connections, one of them would be too much of the whole. */
const LEAST = 4

export class Lane {
  private until = 0

  /** A shared lease was granted. */
  used(now: number): void {
    this.until = now + KEPT
  }

  /** When it may end. */
  get end(): number {
    return this.until
  }

  /** `open` connections are all that there can be, and `shared` of them are shared. */
  isKept(open: number, shared: number, now: number): boolean {
    return now < this.until && open >= LEAST && shared <= 1
  }
}
