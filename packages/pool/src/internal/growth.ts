/**
 * Whether one more connection is worth its connect, and how many are opened at once.
 */
import type { Admission } from "./admission.js"
import * as Backoff from "./backoff.js"
import type { State } from "./state.js"

/** Connects under way at once. Larger: a storm of logins. Smaller: a pool follows a rising load too slowly. */
const AT_ONCE = 4

/**
 * Connects under way at once while nothing is known but that the present leases are slow. Measured: with 8, ten statements of
 * 1 s over a round trip of 60 ms take 1.3 times what ten connects at once take, because the tenth connect begins after the
 * first.
 */
const AT_ONCE_SLOW = Backoff.WIDTH

export class Growth<A> {
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
    const { backoff, connecting, load, open } = this.state
    const limit = load.isKnown ? AT_ONCE : AT_ONCE_SLOW
    return Backoff.permits(backoff, now, open, connecting, limit)
  }

  startConnect(now: number): void {
    const { state } = this
    state.connecting++
    this.admission.noteConnect(now)
    state.later(() => state.host.connect(now))
  }

  private planNext(now: number): void {
    const { backoff, connecting, leases, load, validating } = this.state
    const waits = this.admission.wanting > validating + connecting
    if (now < backoff.notBefore) {
      // `Infinity` until the pause is known; `backedOff` comes back here.
      const wants = waits || this.isBelowMinimum() || this.isDown()
      if (wants && backoff.notBefore !== Infinity) this.state.wakeBy(backoff.notBefore)
      return
    }
    if (!waits) return
    const patience = this.admission.busySince + load.connect
    if (patience > now) this.state.wakeBy(patience)
    const age = leases.meanShare(now)
    // Nothing else happens at the moment at which the present leases turn out to be slow.
    if (!load.isKnown && leases.size > 0 && age < load.slowFrom) {
      // A millisecond at least: a rest that is lost in the rounding of `now` would wake the pool again and again.
      this.state.wakeBy(now + Math.max(1, load.slowFrom - age))
    }
  }

  private isBelowMinimum(): boolean {
    const { config, connecting, isResting, open } = this.state
    return !isResting && open + connecting < config.minIdle
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
    const { connecting, host, leases, load, open, phase, validating } = this.state
    if (connecting === 0 && (this.isBelowMinimum() || this.isDown())) return true
    const waiting = this.admission.wanting - validating
    if (phase !== "running" || waiting <= connecting) return false
    const busyFor = now - this.admission.busySince
    const servers = open + connecting - leases.countStalled(host.stalls)
    return load.wantsOneMore(waiting, servers, connecting, leases.meanShare(now), busyFor)
  }
}
