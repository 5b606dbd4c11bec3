/**
 * The state of one pool and every transition of it. Synchronous: no Effect, no promise, no timer.
 *
 * Invariants, checked by the tests after every transition:
 *
 * - I1 `idle + leased + validating + resetting + quarantined + connecting + closing ≤ maxSize`.
 * - I2 An entry has one exclusive holder, or 1..concurrency shared ones, or none.
 * - I3 A waiter is resumed exactly once: with a lease, or with an error, or it has left.
 * - I4 Nothing is idle while a waiter that could use it waits. (A check under way is on its way to a waiter; the last one
 *   may be kept for those who share: lane.ts.)
 * - I5 A waiter is never given a lease after its deadline, and none that has left is given one.
 * - I6 A failed connect never occupies a place and never becomes an entry.
 * - I7 `leaseId` rises at each hand-out; a release with an old one does nothing but count.
 * - I8 Connecting belongs to the pool: what comes first, a release or a connect, serves the first waiter.
 * - I9 After the pool has closed: opened = closed, leased = 0, waiting = 0.
 *
 * No code of anybody else runs inside a transition: fibers to resume and work to start are collected in `ready` and
 * `todo`, and `flush` runs them when the state is consistent again. What they do may call the engine again.
 */
import type { RuntimeFiber } from "effect/Fiber"
import { PoolEvent } from "../PoolEvent.js"
import type { ConnectFailureKind, ResourceStatus } from "../PoolOptions.js"
import type { CloseReason, PoolStats } from "../PoolStats.js"
import type { Priority } from "../Priority.js"
import { Books } from "./books.js"
import type { Config } from "./config.js"
import { Drain } from "./drain.js"
import { Entry, EntryList, State } from "./entry.js"
import * as Governor from "./governor.js"
import type { Host, Refusal } from "./host.js"
import { Lane } from "./lane.js"
import { Leases } from "./leases.js"
import { Load } from "./load.js"
import { type Waiter, WaiterQueue } from "./queue.js"
import { snapshot } from "./snapshot.js"

/** How often idle connections are looked after. A tick that comes later than this on top of its time is a stall. */
const TICK = 1_000

export class Engine<A> {
  readonly idle = new EntryList<A>()
  readonly leased = new Leases<A>()
  readonly queue = new WaiterQueue<A>()
  /** The entries that are in neither list. */
  readonly elsewhere = new Set<Entry<A>>()
  connecting = 0
  validating = 0
  resetting = 0
  quarantined = 0
  closing = 0
  phase: PoolStats["phase"] = "running"
  governor: Governor.Governor = Governor.initial
  /** Rises with each fatal event. */
  epoch = 0

  readonly books = new Books()
  readonly load = new Load()
  private ids = 0
  private wakeAt = Infinity
  private nextTick = Infinity
  private resumeAt = Infinity
  private retiredAt = -Infinity
  private keepAliveEntry: Entry<A> | undefined
  private readonly ending = new Drain()
  private readonly lane = new Lane()
  private readonly ready: Array<Waiter<A>> = []
  private readonly todo: Array<() => void> = []
  private flushing = false

  constructor(
    readonly config: Config,
    readonly host: Host<A>
  ) {}

  /** Open connections. */
  get open(): number {
    return this.idle.size + this.leased.size + this.validating + this.resetting + this.quarantined
  }

  /** Everything that counts towards `maxSize`. */
  get total(): number {
    return this.open + this.connecting + this.closing
  }

  // Acquire and release -----------------------------------------------------------------------------------------

  /** The fast path: the youngest idle entry, if nobody waits and it needs no check. Else use `enter`. */
  take(fiber: RuntimeFiber<any, any> | undefined): Entry<A> | undefined {
    if (this.queue.size !== 0 || this.phase !== "running") return undefined
    const entry = this.idle.head
    if (entry === undefined) return undefined
    const now = this.host.now()
    if (!this.isFresh(entry, now) || this.isForSharers(now)) return undefined
    this.idle.remove(entry)
    this.lease(entry, fiber, false, now)
    if (this.host.emit !== undefined) {
      this.granted(entry, 0, undefined)
      this.flush()
    }
    return entry
  }

  /** The fast path of a shared lease: the fullest shared entry that has room, else as `take`. */
  takeShared(fiber: RuntimeFiber<any, any> | undefined): Entry<A> | undefined {
    if (this.phase !== "running") return undefined
    const now = this.host.now()
    if (this.queue.size !== 0 && (this.queue.sharers.size !== 0 || !this.keepsLane(now))) return undefined
    const entry = this.joinable() ?? this.idle.head
    if (entry === undefined) return undefined
    if (entry.holders === 0) {
      if (!this.isFresh(entry, now)) return undefined
      this.idle.remove(entry)
    }
    this.lease(entry, fiber, true, now)
    if (this.host.emit !== undefined) {
      this.granted(entry, 0, undefined)
      this.flush()
    }
    return entry
  }

  /**
   * The slow path. Afterwards the waiter has an entry, or an error, or stands in line and will be resumed.
   */
  enter(waiter: Waiter<A>): void {
    const now = waiter.since
    const refusal = this.refusal(waiter, now)
    if (refusal === undefined) this.line(waiter, now)
    else this.fail(waiter, refusal, now)
    this.flush()
  }

  private line(waiter: Waiter<A>, now: number): void {
    this.queue.push(waiter)
    this.leased.mark(waiter, true)
    this.dispatch(now)
    if (waiter.queued && this.isDeadlocked(waiter)) {
      this.leave(waiter)
      this.fail(waiter, { _tag: "NestedAcquire" }, now)
    }
    if (waiter.queued) this.wantWake(waiter.deadline)
  }

  /**
   * The caller is gone: out of the queue, or, if the lease was given but not yet received, back with it. Nothing can
   * be lost between the two, because the waiter record itself holds the lease.
   */
  abandon(waiter: Waiter<A>): void {
    if (waiter.queued) {
      this.leave(waiter)
      // The one who stood behind may be served by what this one could not use: a connection that is shared.
      this.dispatch(this.host.now())
      this.flush()
    } else if (waiter.entry !== undefined) this.release(waiter.entry, waiter.leaseId)
  }

  release(entry: Entry<A>, leaseId: number): void {
    if (entry.leaseId !== leaseId || entry.state !== State.Leased) {
      this.books.lateReleases++
      return
    }
    const now = this.host.now()
    if (entry.holders > 1) {
      entry.holders--
      if (this.queue.size !== 0) {
        this.dispatch(now)
        this.flush()
      }
      return
    }
    const { holder } = entry
    this.unlease(entry, now)
    entry.lastUsedAt = now
    if (this.phase === "draining") this.ending.report.released++
    this.settle(entry, now)
    if (entry.state > State.Validating) entry.holder = holder // Who cleans it wants to know.
    this.flush()
  }

  private lease(entry: Entry<A>, fiber: RuntimeFiber<any, any> | undefined, shared: boolean, now: number): void {
    this.books.acquired++
    if (shared) this.lane.used(now)
    this.leased.grant(entry, fiber, shared, now)
  }

  private granted(entry: Entry<A>, waitMs: number, priority: Priority | undefined): void {
    if (this.host.emit === undefined) return
    this.emit(PoolEvent.Acquired({ connection: entry.id, waitMs, priority }))
  }

  private unlease(entry: Entry<A>, now: number): void {
    const heldMs = this.leased.end(entry, now)
    this.load.held(heldMs)
    if (this.host.emit !== undefined) this.emit(PoolEvent.Released({ connection: entry.id, heldMs }))
  }

  /** An open entry that is in no list goes where it belongs: to a waiter, to the idle stack, to be cleaned, or away. */
  private settle(entry: Entry<A>, now: number): void {
    const reason = this.unfit(entry, this.open, now)
    if (reason !== undefined) {
      this.close(entry, reason, now)
      return
    }
    const status = this.statusOf(entry)
    if (status === "clean") {
      entry.state = State.Idle
      if (entry.lastUsedAt === now) this.idle.push(entry)
      else this.idle.insertByLastUse(entry)
      if (this.queue.size !== 0) this.dispatch(now)
      return
    }
    if (status === "dirty" && this.host.canReset) {
      entry.state = State.Resetting
      this.resetting++
      this.elsewhere.add(entry)
      this.todo.push(() => this.host.reset(entry))
    } else if (status === "busy" && this.host.canAbort) {
      entry.state = State.Quarantined
      this.quarantined++
      this.elsewhere.add(entry)
      this.todo.push(() => this.host.abort(entry))
    } else this.close(entry, status === "dirty" ? "reset" : "error", now)
  }

  /** Whether an open entry must not be used again, and why. `others` are open besides it. */
  private unfit(entry: Entry<A>, others: number, now: number): CloseReason | undefined {
    if (entry.doomed !== undefined) return entry.doomed
    // Those that are leased and doomed will go as well: without them it may be small enough already.
    if (others >= this.config.maxSize && others - this.leased.countDoomed() >= this.config.maxSize) return "shrink"
    if (entry.uses >= this.config.maxUses) return "lifetime"
    return this.retires(entry, now) ? entry.retireReason : undefined
  }

  /**
   * Past its lifetime, and not too soon after the last one that retired: connections that were opened together must
   * not all be missing together.
   */
  private retires(entry: Entry<A>, now: number): boolean {
    if (entry.retireAt > now) return false
    if (entry.retireReason !== "lifetime") return true
    const pause = this.config.maxLifetime / 30 / Math.max(1, Math.floor(this.open / 10))
    return now - this.retiredAt >= pause
  }

  private isFresh(entry: Entry<A>, now: number): boolean {
    return (
      entry.retireAt > now &&
      entry.uses < this.config.maxUses &&
      !this.needsCheck(entry, now) &&
      this.statusOf(entry) === "clean"
    )
  }

  private needsCheck(entry: Entry<A>, now: number): boolean {
    if (!this.host.canValidate) return false
    return entry.epoch !== this.epoch || now - lastSign(entry) > this.config.validateAfterIdle
  }

  // Serving waiters ---------------------------------------------------------------------------------------------

  private dispatch(now: number): void {
    this.serveAll(now)
    this.grow(now)
  }

  private serveAll(now: number): void {
    if (this.phase === "running") {
      for (let waiter = this.queue.peek(); waiter !== undefined; waiter = this.queue.peek()) {
        if (waiter.deadline <= now) {
          this.expire(waiter, now)
          continue
        }
        if (!waiter.shared && this.isForSharers(now)) {
          this.wantWake(this.lane.end)
          break
        }
        const entry = (waiter.shared ? this.joinable() : undefined) ?? this.takeIdle(now)
        if (entry === undefined) break
        this.queue.serve(waiter)
        this.serve(waiter, entry, now)
      }
      // Past those who want a connection alone.
      for (const waiter of this.queue.sharers) {
        if (waiter.deadline <= now) continue
        const entry = this.keepsLane(now) ? (this.joinable() ?? this.takeIdle(now)) : undefined
        if (entry === undefined) break
        this.queue.remove(waiter)
        this.serve(waiter, entry, now)
      }
    }
  }

  private serve(waiter: Waiter<A>, entry: Entry<A>, now: number): void {
    this.leased.mark(waiter, false)
    this.lease(entry, waiter.fiber, waiter.shared, now)
    this.granted(entry, now - waiter.since, waiter.priority)
    waiter.entry = entry
    waiter.leaseId = entry.leaseId
    if (waiter.resume !== undefined) this.ready.push(waiter)
  }

  keepsLane(now: number): boolean {
    return this.total >= this.config.maxSize && this.lane.isKept(this.open, this.leased.shared, now)
  }

  /** The last idle connection is kept for shared leases. */
  isForSharers(now: number): boolean {
    return this.idle.size === 1 && this.leased.shared === 0 && this.keepsLane(now)
  }

  /** The youngest idle entry that is fit; entries that need a check are sent to it, one for each waiter. */
  private takeIdle(now: number): Entry<A> | undefined {
    for (let entry = this.idle.head; entry !== undefined; entry = this.idle.head) {
      const reason = this.unfit(entry, this.open - 1, now) ?? (this.statusOf(entry) === "clean" ? undefined : "error")
      if (reason !== undefined) {
        this.shed(entry, reason, now)
      } else if (this.needsCheck(entry, now)) {
        if (this.validating >= this.queue.size) return undefined
        this.idle.remove(entry)
        this.startCheck(entry)
      } else {
        this.idle.remove(entry)
        return entry
      }
    }
    return undefined
  }

  private joinable(): Entry<A> | undefined {
    return this.leased.joinable(this.config.concurrency, this.host.admits)
  }

  private refusal(waiter: Waiter<A>, now: number): Refusal | undefined {
    if (this.phase === "draining" || this.phase === "closed") return { _tag: "PoolClosed" }
    if (Governor.refuses(this.governor, this.config, now, this.open)) return this.hostRefusal()
    if (waiter.timeout <= 0) return { _tag: "AcquireTimeout", timeout: waiter.timeout, phase: "waiting" }
    if (this.queue.size < this.config.maxWaiters) return undefined
    this.books.saturated++
    const victim = this.queue.youngestBelow(waiter.rank)
    if (victim === undefined) return { _tag: "PoolSaturated" }
    this.leave(victim)
    this.fail(victim, { _tag: "PoolSaturated" }, now)
    return undefined
  }

  private hostRefusal(): Refusal {
    return { _tag: this.governor.kind === "rejected" ? "ConnectFailed" : "ConnectUnavailable" }
  }

  /** Takes a waiter out of the queue without serving it. */
  private leave(waiter: Waiter<A>): void {
    this.queue.remove(waiter)
    this.leased.mark(waiter, false)
  }

  private fail(waiter: Waiter<A>, refusal: Refusal, now: number): void {
    const waited = now - waiter.since
    if (refusal._tag === "AcquireTimeout") this.books.timeouts++
    waiter.error = this.host.refuse(refusal, waited, now)
    if (waiter.resume !== undefined) this.ready.push(waiter)
    if (this.host.emit !== undefined) this.emit(PoolEvent.AcquireFailed({ error: refusal._tag, waitMs: waited }))
  }

  private expire(waiter: Waiter<A>, now: number): void {
    if (waiter.queued) this.leave(waiter)
    else this.leased.mark(waiter, false)
    const phase = this.validating > 0 ? "validating" : this.isConnecting() ? "connecting" : "waiting"
    this.fail(waiter, { _tag: "AcquireTimeout", timeout: waiter.timeout, phase }, now)
  }

  private isConnecting(): boolean {
    return this.connecting > 0 || (this.governor.attempts > 0 && this.total < this.config.maxSize)
  }

  private failAll(refusal: Refusal, now: number): void {
    for (let waiter = this.queue.oldest(); waiter !== undefined; waiter = this.queue.oldest()) {
      this.leave(waiter)
      this.fail(waiter, refusal, now)
    }
  }

  /** Every connection is held by a fiber that waits for one, this waiter's among them. */
  private isDeadlocked(waiter: Waiter<A>): boolean {
    const { maxSize } = this.config
    if (!waiter.holds || this.leased.size !== this.total || this.total < maxSize) return false
    return this.leased.allParked((entry) => this.statusOf(entry) === "busy")
  }

  // Growth ------------------------------------------------------------------------------------------------------

  private grow(now: number): void {
    if (this.phase === "draining" || this.phase === "closed") return
    while (
      this.total < this.config.maxSize &&
      this.wantsConnect(now) &&
      Governor.permits(this.governor, now, this.open, this.connecting)
    ) {
      this.startConnect(now)
    }
    if (this.total >= this.config.maxSize) return
    const waits = this.queue.size > this.validating + this.connecting
    if (now < this.governor.notBefore) {
      if (waits || this.isBelowMinimum() || this.isDown()) this.wantWake(this.governor.notBefore)
    } else if (waits) {
      const patience = this.queue.busySince + this.load.connect
      if (patience > now) this.wantWake(patience)
    }
  }

  private isBelowMinimum(): boolean {
    return this.open + this.connecting < this.config.minIdle
  }

  /**
   * Nothing is open and the last connect failed: somebody must find out when the host is back, also when every caller
   * has left meanwhile, because those who come later may be refused at once.
   */
  private isDown(): boolean {
    return this.open === 0 && this.governor.downSince !== Infinity
  }

  /** Opens what the waiters need and no more: never more connects than waiters that nothing else is on its way to. */
  private wantsConnect(now: number): boolean {
    if (this.connecting === 0 && (this.isBelowMinimum() || this.isDown())) return true
    const { connecting, queue } = this
    const waiting = queue.size - this.validating
    if (this.phase !== "running" || waiting <= connecting) return false
    const age = this.leased.meanAge(now)
    return this.load.wantsOneMore(waiting, this.open + connecting, connecting, age, now - queue.busySince)
  }

  private startConnect(now: number): void {
    this.connecting++
    this.queue.busySince = now
    this.setGovernor(Governor.attempted(this.governor))
    this.todo.push(() => this.host.connect(now))
  }

  connected(resource: A, handle: unknown, startedAt: number): Entry<A> {
    const now = this.host.now()
    const took = now - startedAt
    this.connecting--
    this.load.connected(took)
    this.books.connects++
    const lifetime = this.config.maxLifetime * (1 - this.host.random() * 0.2)
    const entry = new Entry(++this.ids, resource, handle, now, lifetime, this.epoch)
    // One that must be cleaned first has yet to show that it can be used.
    if (this.statusOf(entry) === "clean") this.setGovernor(Governor.succeeded(this.governor, this.open))
    if (this.host.emit !== undefined) this.emit(PoolEvent.Connected({ connection: entry.id, elapsedMs: took }))
    if (this.phase === "draining") entry.doomed = "drain"
    this.settle(entry, now)
    // Not before: the first connection of all counts only now.
    this.wantTick(now)
    this.grow(now)
    this.flush()
    return entry
  }

  connectFailed(cause: unknown, kind: ConnectFailureKind): void {
    const now = this.host.now()
    this.connecting--
    this.books.connectFailures++
    this.backOff(cause, kind, now)
    if (this.host.emit !== undefined) {
      const { attempts, notBefore } = this.governor
      this.emit(PoolEvent.ConnectFailed({ cause, attempts, retryInMs: notBefore - now }))
    }
    if (kind === "rejected" && this.open === 0) this.failAll(this.hostRefusal(), now)
    this.grow(now)
    this.finishDrain()
    this.flush()
  }

  private backOff(cause: unknown, kind: ConnectFailureKind, now: number): void {
    const failure = { cause, kind, open: this.open }
    this.setGovernor(Governor.failed(this.governor, this.config, failure, now, this.host.random()))
  }

  private setGovernor(next: Governor.Governor): void {
    if (next.phase !== this.governor.phase) this.emit(PoolEvent.Host({ state: next.phase }))
    this.governor = next
  }

  // Checks, cleaning, closing -----------------------------------------------------------------------------------

  private startCheck(entry: Entry<A>): void {
    entry.state = State.Validating
    entry.checkEpoch = this.epoch
    this.validating++
    this.elsewhere.add(entry)
    this.todo.push(() => this.host.validate(entry))
  }

  validated(entry: Entry<A>, works: boolean): void {
    const now = this.host.now()
    this.validating--
    this.elsewhere.delete(entry)
    if (this.keepAliveEntry === entry) this.keepAliveEntry = undefined
    if (works) {
      entry.lastCheckedAt = now
      entry.epoch = entry.checkEpoch
      this.settle(entry, now)
    } else {
      this.closeSuspects(entry, now)
      this.close(entry, "validation", now)
    }
    // Whatever became of it, this check is no longer on its way to a waiter: an idle entry may have to be.
    this.dispatch(now)
    this.flush()
  }

  /**
   * What one check found out holds for every idle entry that has been silent for as long, or that is older than the
   * last fatal event: the next callers must not each discover it again.
   */
  private closeSuspects(failed: Entry<A>, now: number): void {
    const silentSince = lastSign(failed)
    for (let entry = this.idle.tail; entry !== undefined; ) {
      const { prev } = entry
      if (entry.epoch !== this.epoch || lastSign(entry) <= silentSince) {
        this.shed(entry, "validation", now)
      }
      entry = prev
    }
  }

  wasReset(entry: Entry<A>, works: boolean): void {
    this.resetting--
    this.cleaned(entry, works && this.statusOf(entry) === "clean", "reset")
  }

  aborted(entry: Entry<A>, works: boolean): void {
    this.quarantined--
    this.cleaned(entry, works && this.statusOf(entry) !== "busy", "error")
  }

  private cleaned(entry: Entry<A>, works: boolean, reason: CloseReason): void {
    const now = this.host.now()
    this.elsewhere.delete(entry)
    if (entry.uses === 0 && works) this.setGovernor(Governor.succeeded(this.governor, this.open))
    else if (entry.uses === 0) this.backOff(new Error("a new connection could not be cleaned"), "unreachable", now)
    if (works) this.settle(entry, now)
    else this.close(entry, entry.doomed ?? reason, now)
    this.flush()
  }

  private statusOf(entry: Entry<A>): ResourceStatus {
    return this.host.status === undefined ? "clean" : this.host.status(entry.resource)
  }

  /** The connection is broken, or somebody wants it gone. False if it is gone already. */
  evict(entry: Entry<A>, reason: CloseReason): boolean {
    if (entry.state >= State.Closing) return false
    const now = this.host.now()
    if (entry.state === State.Idle) {
      this.shed(entry, reason, now)
    } else entry.doomed ??= reason
    this.flush()
    return true
  }

  /** A fatal event on the host: everything that is open must prove itself once before it is handed out again. */
  suspect(cause: unknown): void {
    this.epoch++
    this.emit(PoolEvent.Suspected({ cause }))
    this.flush()
  }

  /** Closes an idle one. */
  private shed(entry: Entry<A>, reason: CloseReason, now: number): void {
    this.idle.remove(entry)
    this.close(entry, reason, now)
  }

  private close(entry: Entry<A>, reason: CloseReason, now: number): void {
    if (reason === "lifetime") this.retiredAt = now
    entry.state = State.Closing
    entry.doomed = reason
    this.closing++
    this.todo.push(() => this.host.close(entry))
  }

  /** The connection is really closed, or the bound of closing it has passed: only now its place is free. */
  wasClosed(entry: Entry<A>): void {
    const now = this.host.now()
    entry.state = State.Gone
    this.closing--
    this.books.closed[entry.doomed!]++
    this.emit(PoolEvent.Closed({ connection: entry.id, reason: entry.doomed! }))
    this.grow(now)
    this.finishDrain()
    this.flush()
  }

  // Time --------------------------------------------------------------------------------------------------------

  /** To be called at `start`, and then whenever `host.wake` says. */
  tick(): void {
    const now = this.host.now()
    const late = this.nextTick === Infinity ? 0 : now - this.nextTick
    this.wakeAt = Infinity
    if (late > TICK) {
      this.epoch++
      this.emit(PoolEvent.Stall({ lateMs: late }))
    }
    if (now >= this.resumeAt) this.resume()
    // Those who can be served come before those who are too late: the process may have slept on both.
    this.dispatch(now)
    for (let waiter = this.queue.expired(now); waiter !== undefined; waiter = this.queue.expired(now)) {
      this.expire(waiter, now)
    }
    if (now >= this.nextTick) {
      this.nextTick = Infinity
      this.maintain(now)
    }
    this.hurryDrain(now)
    this.grow(now)
    this.wantTick(now)
    this.wantWake(this.queue.firstDeadline())
    this.wantWake(Math.min(this.resumeAt, this.ending.next()))
    this.flush()
  }

  private maintain(now: number): void {
    for (const entry of this.idle) {
      if (this.retires(entry, now)) this.retire(entry, now)
      else if (this.open > this.config.minIdle && now - entry.lastUsedAt >= this.config.idleTimeout) {
        this.shed(entry, "idle", now)
      }
    }
    this.leased.retireShared((entry) => {
      const reason = this.unfit(entry, this.open - 1, now)
      if (reason === "lifetime") this.retiredAt = now
      return reason
    })
    this.keepAlive(now)
  }

  /** Replaced first where there is room for one more, else closed first: the size must not fall by more than one. */
  private retire(entry: Entry<A>, now: number): void {
    const keepsMinimum = this.open > this.config.minIdle
    if (!keepsMinimum && this.total < this.config.maxSize) {
      if (this.connecting === 0 && Governor.permits(this.governor, now, this.open, this.connecting)) {
        this.startConnect(now)
      }
      return
    }
    if (!keepsMinimum && this.connecting + this.closing > 0) return
    this.shed(entry, entry.retireReason, now)
  }

  /** Proves the longest silent connection, one at a time. Moves `lastCheckedAt` only, or nothing would idle out. */
  private keepAlive(now: number): void {
    if (!this.host.canValidate || this.keepAliveEntry !== undefined) return
    const silence = this.config.keepAlive * (1 - this.host.random() * 0.1)
    for (let entry = this.idle.tail; entry !== undefined; entry = entry.prev) {
      if (now - lastSign(entry) < silence) continue
      this.idle.remove(entry)
      this.keepAliveEntry = entry
      this.startCheck(entry)
      return
    }
  }

  private wantTick(now: number): void {
    if (this.nextTick === Infinity && this.phase !== "closed" && this.total > 0) this.nextTick = now + TICK
    this.wantWake(this.nextTick)
  }

  private wantWake(at: number): void {
    if (at >= this.wakeAt) return
    this.wakeAt = at
    this.todo.push(() => this.host.wake(at))
  }

  // Control -----------------------------------------------------------------------------------------------------

  /** Begins to fill up to `minIdle`. */
  start(): void {
    this.grow(this.host.now())
    this.flush()
  }

  resize(maxSize: number): void {
    const now = this.host.now()
    this.config.maxSize = maxSize
    this.config.minIdle = Math.min(this.config.minIdle, maxSize)
    for (const entry of this.idle) if (this.total - this.closing > maxSize) this.shed(entry, "shrink", now)
    this.emit(PoolEvent.Resized({ max: maxSize }))
    this.dispatch(now)
    this.flush()
  }

  suspend(atMost: number): void {
    if (this.phase !== "running" && this.phase !== "suspended") return
    this.phase = "suspended"
    this.resumeAt = this.host.now() + atMost
    this.wantWake(this.resumeAt)
    this.emit(PoolEvent.Suspended())
    this.flush()
  }

  resume(): void {
    this.resumeAt = Infinity
    if (this.phase !== "suspended") return
    this.phase = "running"
    this.emit(PoolEvent.Resumed())
    this.dispatch(this.host.now())
    this.flush()
  }

  /** Everything open now is to be replaced, evenly over `spread` milliseconds. */
  reset(spread: number): void {
    const now = this.host.now()
    const entries = [...this.entries()]
    entries.forEach((entry, i) => {
      entry.retireAt = Math.min(entry.retireAt, now + (spread * i) / entries.length)
      entry.retireReason = "generation"
    })
    for (const entry of this.idle) if (entry.retireAt <= now) this.shed(entry, "generation", now)
    this.emit(PoolEvent.Reset({ connections: entries.length }))
    this.grow(now)
    this.flush()
  }

  /** No new leases; those that exist have until `now + within`; the last fifth of it is for cancelling them. */
  drain(within: number): void {
    if (this.phase === "closed") return
    const now = this.host.now()
    if (this.phase !== "draining") {
      this.phase = "draining"
      this.failAll({ _tag: "PoolClosed" }, now)
      for (const entry of this.entries()) entry.doomed ??= "drain"
      for (const entry of this.idle) this.shed(entry, "drain", now)
      if (this.connecting > 0) this.todo.push(() => this.host.interruptConnects())
    }
    this.ending.hurry(now, within)
    this.hurryDrain(now)
    this.wantWake(this.ending.next())
    this.finishDrain()
    this.flush()
  }

  private hurryDrain(now: number): void {
    if (this.ending.cancels(now) && this.host.canAbort) {
      for (let entry = this.leased.head; entry !== undefined; entry = entry.next) {
        const leased = entry
        this.ending.report.cancelled++
        this.todo.push(() => this.host.cancel(leased))
      }
    }
    if (!this.ending.forces(now)) return
    for (let entry = this.leased.head; entry !== undefined; entry = this.leased.head) {
      this.ending.report.aborted++
      this.unlease(entry, now)
      this.close(entry, "drain", now)
    }
  }

  private finishDrain(): void {
    if (this.phase !== "draining" || this.total !== 0) return
    this.phase = "closed"
    this.todo.push(() => this.host.drained(this.ending.report))
  }

  *entries(): Generator<Entry<A>> {
    yield* this.idle
    yield* this.leased
    yield* this.elsewhere
  }

  stats(now: number): PoolStats {
    return snapshot(this, now)
  }

  // After a transition ------------------------------------------------------------------------------------------

  private emit(event: PoolEvent): void {
    if (this.host.emit === undefined) return
    this.todo.push(() => this.host.emit?.(event))
  }

  /** Runs what the transitions have collected. What runs may cause further ones; the outermost call does them all. */
  private flush(): void {
    // What the last idle connection was kept for may be over by this transition, or by the time of it: lane.ts.
    if (this.idle.size === 1 && this.queue.size !== 0) this.serveAll(this.host.now())
    if (this.flushing || (this.ready.length === 0 && this.todo.length === 0)) return
    this.flushing = true
    while (this.ready.length !== 0 || this.todo.length !== 0) {
      for (let i = 0; i < this.ready.length; i++) this.host.resume(this.ready[i]!)
      this.ready.length = 0
      for (let i = 0; i < this.todo.length; i++) this.todo[i]!()
      this.todo.length = 0
    }
    this.flushing = false
  }
}

/** When the connection last gave a sign of life. */
const lastSign = <A>(entry: Entry<A>): number => Math.max(entry.lastUsedAt, entry.lastCheckedAt)
