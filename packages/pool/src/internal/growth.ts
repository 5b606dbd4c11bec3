/**
 * Whether one more connection is worth its connect, and how many are opened at once.
 */
import type { Admission } from "./admission.js"
import * as Backoff from "./backoff.js"
import type { State } from "./state.js"

/** The weight of the newest sample. Larger: one slow statement opens connections. Smaller: a change is seen late. */
const WEIGHT = 0.1

/** With fewer leases that have ended, their average says nothing. */
const SAMPLES = 8

/** Connects under way at once. Larger: a storm of logins. Smaller: a pool follows a rising load too slowly. */
const AT_ONCE = 4

/**
 * Connects under way at once while nothing is known but that the present leases are slow. Measured: with 8, ten statements of
 * 1 s over a round trip of 60 ms take 1.3 times what ten connects at once take, because the tenth connect begins after the
 * first.
 */
const AT_ONCE_SLOW = Backoff.WIDTH

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

export class Growth<A> {
  readonly load = new Load()

  constructor(
    private readonly state: State<A>,
    private readonly admission: Admission<A>
  ) {}

  /** Starts the connects that are worth it now, and asks for the next moment at which one may be. */
  grow(now: number): void {
    const { state } = this
    if (state.isEnding) return
    while (state.total < state.config.maxSize && this.wantsConnect(now) && this.permits(now)) this.startConnect(now)
    if (state.total < state.config.maxSize) this.planNext(now)
  }

  /** Whether back-off allows one more connect now. */
  permits(now: number): boolean {
    const { backoff, connecting, open } = this.state
    const limit = this.load.isKnown ? AT_ONCE : AT_ONCE_SLOW
    return Backoff.permits(backoff, now, open, connecting, limit)
  }

  startConnect(now: number): void {
    const { state } = this
    state.connecting++
    this.admission.noteConnect(now)
    state.later(() => state.host.connect(now))
  }

  private planNext(now: number): void {
    const { backoff, connecting, leases, validating } = this.state
    const waits = this.admission.size > validating + connecting
    if (now < backoff.notBefore) {
      // `Infinity` until the pause is known; `backedOff` comes back here.
      const wants = waits || this.isBelowMinimum() || this.isDown()
      if (wants && backoff.notBefore !== Infinity) this.state.wakeBy(backoff.notBefore)
      return
    }
    if (!waits) return
    const patience = this.admission.busySince + this.load.connect
    if (patience > now) this.state.wakeBy(patience)
    const age = leases.meanShare(now)
    // Nothing else happens at the moment at which the present leases turn out to be slow.
    if (!this.load.isKnown && leases.size > 0 && age < this.load.slowFrom) {
      // A millisecond at least: a rest that is lost in the rounding of `now` would wake the pool again and again.
      this.state.wakeBy(now + Math.max(1, this.load.slowFrom - age))
    }
  }

  private isBelowMinimum(): boolean {
    return this.state.open + this.state.connecting < this.state.config.minIdle
  }

  /**
   * Nothing is open and the last connect failed. The pool must find out when the host is back, also when every caller has
   * left meanwhile, because callers that come later may be refused at once.
   */
  private isDown(): boolean {
    const { backoff, open } = this.state
    return open === 0 && backoff.phase !== "up" && backoff.downSince !== Infinity
  }

  /** Never more connects than waiters that nothing else is on its way to. */
  private wantsConnect(now: number): boolean {
    const { connecting, host, leases, open, phase, validating } = this.state
    if (connecting === 0 && (this.isBelowMinimum() || this.isDown())) return true
    const waiting = this.admission.size - validating
    if (phase !== "running" || waiting <= connecting) return false
    const busyFor = now - this.admission.busySince
    const servers = open + connecting - leases.countStalled(host.stalls)
    return this.load.wantsOneMore(waiting, servers, connecting, leases.meanShare(now), busyFor)
  }
}
