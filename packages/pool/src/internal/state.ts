/**
 * Everything that one pool knows. The rooms around it (`Admission`, `Health`, `Growth`, `Acquire`, `Release`, `Connect`,
 * `Maintenance`, `Drain`) change it; `Engine` is the door. All of them are synchronous: no Effect, no promise, no timer.
 *
 * Invariants, which the tests check after every transition:
 *
 * - I1 `idle + leased + validating + resetting + quarantined + connecting + closing ≤ maxSize`.
 * - I2 An entry has one exclusive holder, or 1 to `concurrency` shared ones, or none.
 * - I3 A waiter is resumed exactly once: with a lease, or with an error, or it has left.
 * - I4 Nothing is idle while a waiter that could use it waits. (An entry that is being checked for a waiter is not idle. The
 *   last idle entry may be kept for shared leases: admission.ts.)
 * - I5 A waiter is never given a lease after its deadline, and one that has left is given none. (While timers are late,
 *   because the process did not run, a deadline passes when the timers say so.)
 * - I6 A failed connect never occupies a place and never becomes an entry.
 * - I7 A lease ends once. A second release of it changes nothing; it is counted.
 * - I8 Connecting belongs to the pool: a caller that leaves stops no connect, and whichever comes first, a released
 *   connection or a new one, serves the first waiter.
 * - I9 After the pool has closed: opened = closed, leased = 0, waiting = 0.
 * - I10 Every connect that ends without a connection that was used is followed by back-off: it was refused, or its connection
 *   was dead, could not be cleaned, or failed its check, before it was leased once.
 * - I11 No class holds more connections than `classLimits` and `reserved` leave it, and whoever is held back by them lets others
 *   pass. (After a `resize` to less it may, until it has given back what is too much.)
 * - I12 A waiter is shed only while the pool is overloaded, if it is not of class critical, if nobody of a lower class waits, if
 *   enough others wait, and if it or somebody of a higher class is old enough.
 *
 * No code of anybody else runs inside of a transition. A transition collects the waiters to resume in `ready` and the work to
 * start in `todo`; `Engine.flush` runs them when the state is consistent again. They may call the engine again.
 */
import type { PoolEvent } from "../PoolEvent.js"
import type { ConnectFailureKind, ResourceStatus } from "../PoolOptions.js"
import type { PoolStats } from "../PoolStats.js"
import * as Backoff from "./backoff.js"
import { Counters } from "./counters.js"
import { type Entry, EntryList } from "./entry.js"
import type { Config, Host } from "./host.js"
import { Leases } from "./leases.js"
import { Load } from "./load.js"
import type { Waiter } from "./queue.js"

export class State<A> {
  /** Open connections that nobody uses, ordered by last use. `Acquire`, `Health` and `Release` change it. */
  readonly idle = new EntryList<A>()
  /** Who holds what. `Acquire`, `Release`, `Leaks` and `Drain` change it. */
  readonly leases = new Leases<A>()
  /** Open connections that are being validated, reset or stopped. `Health`, `Release` and `Maintenance` change it. */
  readonly inTransit = new Set<Entry<A>>()
  /** Connects under way. Only `Growth` (up) and `Connect` (down) change it. */
  connecting = 0
  /** Checks under way. Only `Health` (up) and `Maintenance` (down) change it. */
  validating = 0
  /** Connections that are being cleaned. Only `Release` changes it. */
  resetting = 0
  /** Connections whose work is being stopped. Only `Release` changes it. */
  quarantined = 0
  /** Connections that are being closed. Only `Health` (up) and `Drain` (down) change it. */
  closing = 0
  /** Only `Engine` and `Drain` change it. */
  phase: PoolStats["phase"] = "running"
  /** Whether connects are allowed now. Only the methods below and `Connect` change it. */
  backoff: Backoff.Backoff = Backoff.initial
  /** What the last `Host` event said. */
  private toldPhase: Backoff.Backoff["phase"] = "up"
  /** The number of fatal events so far. `Engine.suspect` and `Maintenance` raise it. */
  epoch = 0
  /** When a connection last retired by age. Only `Health` and `Maintenance` change it. */
  retiredAt = -Infinity
  /** When a suspended pool goes on by itself. Only `Engine` changes it. */
  resumeAt = Infinity
  /**
   * `closeWhenIdle` has closed the connections, and nobody has asked for one since then. `Maintenance` sets it, `Acquire` unsets
   * it.
   */
  isResting = false
  /** What the timer of the pool is set to. Only `wakeBy` and `Maintenance.tick` change it. */
  wakeAt = Infinity
  /** How long leases and connects take. `Release` and `Connect` change it. */
  readonly load = new Load()
  /** Everybody counts; nobody decides by it. */
  readonly counters = new Counters()
  /** Waiters that have an answer. `Admission` and `Acquire` add, `Engine.flush` takes. */
  readonly ready: Array<Waiter<A>> = []
  /** Work for the host. Everybody adds by `later`, `Engine.flush` takes. */
  readonly todo: Array<() => void> = []

  constructor(
    /** Only `Engine.resize` changes it. */
    readonly config: Config,
    readonly host: Host<A>
  ) {}

  /** Open connections. */
  get open(): number {
    return this.idle.size + this.leases.connections + this.inTransit.size
  }

  /** Shared connections whose work goes on. */
  get flowing(): number {
    const { host, leases } = this
    return leases.sharedEntries.size - leases.countStalled(host.stalls)
  }

  /** Everything that counts towards `maxSize`. */
  get total(): number {
    return this.open + this.connecting + this.closing
  }

  get isEnding(): boolean {
    return this.phase === "draining" || this.phase === "closed"
  }

  /** Every open connection. */
  *entries(): Generator<Entry<A>> {
    yield* this.idle
    yield* this.leases.entries()
    yield* this.inTransit
  }

  statusOf(entry: Entry<A>): ResourceStatus {
    return this.host.status === undefined ? "clean" : this.host.status(entry.resource)
  }

  /** Runs `work` after the transition. */
  later(work: () => void): void {
    this.todo.push(work)
  }

  emit(event: PoolEvent): void {
    if (this.host.emit !== undefined) this.later(() => this.host.emit?.(event))
  }

  /** `tick` is to be called at `at`, if nothing asks for it before. */
  wakeBy(at: number): void {
    if (at >= this.wakeAt) return
    this.wakeAt = at
    this.later(() => this.host.wake(at))
  }

  /** A connect has failed, or has ended without a connection that could be used. */
  backOff(cause: unknown, kind: ConnectFailureKind, now: number): void {
    this.setBackoff(Backoff.failed(this.backoff, this.config, { cause, kind, open: this.open }, now))
    this.later(() => this.host.backOff(cause, kind))
  }

  /** A connection is leased, or has passed a check, for the first time. */
  prove(entry: Entry<A>): void {
    entry.isProven = true
    if (!this.backoff.isUnproven) return
    this.setBackoff(Backoff.proven(this.backoff))
    this.later(() => this.host.endBackOff())
  }

  /** An unused connection has ended during the pause after another one. If it was the last one, connecting still fails. */
  disprove(): void {
    if (!this.backoff.isUnproven) return
    for (const entry of this.entries()) if (!entry.isProven) return
    this.setBackoff(Backoff.disproven(this.backoff))
  }

  /** A connect has succeeded, and its connection is clean. */
  connectSucceeded(): void {
    this.setBackoff(Backoff.succeeded(this.backoff, this.open))
  }

  private setBackoff(next: Backoff.Backoff): void {
    const changes = next.phase !== this.backoff.phase
    this.backoff = next
    if (changes) this.later(this.tellPhase)
  }

  /** After the transition, because one transition may open a connection and find it dead: then nothing has changed. */
  private readonly tellPhase = (): void => {
    const { phase } = this.backoff
    if (phase !== this.toldPhase) this.host.emit?.({ _tag: "Host", state: phase })
    this.toldPhase = phase
  }
}
