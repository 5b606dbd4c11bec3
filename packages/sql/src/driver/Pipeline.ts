/**
 * The operations under way on one connection, for drivers whose server answers in the order of asking.
 *
 * A connection of a driver owns one `Pipeline` and tells it what it sends and what the server has answered. The pipeline knows
 * which operation an answer belongs to, how long the server worked on it, who is told of it, and until when they wait.
 *
 * 1. Either one operation is under way, or several packed reads. The oldest is `current`, from its first byte until the server
 *    has answered all of it or the connection has ended.
 * 2. `fatal` is the first failure of the connection. Later failures say less, so they do not replace it.
 * 3. A fiber that leaves does not end its operation: the connection stays busy until it was aborted.
 * 4. When the deadline of an operation passes, its caller is told with a `TimedOut`. The operation keeps its place in the pipeline
 *    until the server has answered it.
 *
 * @since 0.2.0
 */
import type { Socket } from "node:net"
import type { SqlError } from "@effect/sql/SqlError"
import { type Instant, never, type Timer, type Timers } from "@sluice/pool/Deadline"
import { PATIENCE, TimedOut } from "./Classify.js"
import type { Observer, Phase } from "./Driver.js"
import type { Counts, Profile, RoundTrip } from "./Profile.js"

/**
 * One operation on a connection, from its first byte until the server is ready for the next. The driver makes it; the fields of
 * the first group belong to the pipeline.
 *
 * @since 0.1.0
 * @category models
 */
export interface Operation<Self> {
  /** Called once, when the operation has ended or its deadline has passed. `undefined` after the end. */
  onEnd: ((failure: unknown) => void) | undefined
  /** The operation that was sent after this one, while this one was under way. */
  next: Self | undefined
  sentAt: Instant
  /** Fires at the deadline of the operation. `undefined`: it has none. */
  timer: Timer | undefined
  /** A mark was sent directly before it. */
  isMarked: boolean
  /** An abort cancels it, so its failure is expected. */
  condemned: boolean

  /** The server's error, which the driver has read. */
  failure: unknown
  /** Milliseconds that the server is expected to work on it. */
  readonly work: number
  /** Where the server's time for such operations is kept. */
  readonly profile: Profile | undefined
  /** The server only answers it, and has no work to do for it. */
  readonly isEmpty: boolean
  /** It was sent only to learn when the server begins with the operation after it. */
  readonly isMark: boolean
  /** The server prepares a statement for it. This is done once, so its time is not counted as that of the statement. */
  readonly prepares: boolean
  /** Set for what packed reads wait for: one itself, or the preparation of a statement for several. */
  readonly read: Awaited | undefined
  /** The server has sent all that it was asked for, and nobody awaits more. */
  readonly isResting?: boolean
}

/**
 * What packed reads wait for.
 *
 * @since 0.2.0
 * @category models
 */
export interface Awaited {
  /** Nobody waits for it. */
  readonly hasLeft: () => boolean
  /** Adds the reads that wait for it, in the order of asking. */
  readonly collect: (reads: Array<Waiting>) => void
}

/**
 * A packed read that has not ended.
 *
 * @since 0.2.0
 * @category models
 */
export interface Waiting extends Awaited {
  readonly profile: Profile
  /** Whether it may be sent on another connection as well. From each connection it is sent on one other at most. */
  readonly mayMove: () => boolean
  /** Sends it on another connection as well. `told` is called when it was sent there, or will not be. */
  readonly move: (told: () => void) => void
  /** Its caller has left: it is not executed on the other connection, or cancelled there. */
  readonly stay: () => void
}

/**
 * What a pipeline needs of the connection that owns it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Owner<in Op> {
  readonly socket: Socket
  /** The connection will never be ready again. */
  readonly isDead: boolean
  readonly endpoint: {
    readonly roundTrip: RoundTrip
    readonly counts: Counts
    /** Milliseconds; 0 is off. */
    readonly statementTimeout: number
  }
  /** Sends an operation that asks the server for nothing. */
  sendMark(): void
  error(cause: unknown, phase: Phase): SqlError
  /** Called when an operation has ended, before its caller is told. */
  ended(operation: Op, failure: unknown): void
  /** The connection is lost, for this reason. */
  end(error: unknown): void
}

/**
 * A packed read that is kept back while a cancel is under way.
 *
 * @since 0.2.0
 * @category models
 */
export interface Held extends Waiting {
  readonly send: () => void
  /** Its caller has left: it is not sent. */
  readonly drop: () => void
  /** It was never sent, because the connection is lost. */
  readonly lost: (cause: unknown) => void
}

/**
 * See the head of this module.
 *
 * @since 0.2.0
 * @category models
 */
export class Pipeline<Op extends Operation<Op>> {
  /** Changed by `send` and `finish`. */
  private oldest: Op | undefined = undefined
  private newest: Op | undefined = undefined
  private count = 0
  private expected = 0
  /** When the server has last said that it is ready. */
  private readyAt: Instant = 0
  /** Packed reads that are sent when the cancel under way is over. */
  private held: Array<Held> = []
  /** Writes wait until the running callbacks have ended. */
  private corked = false
  private failure: unknown = undefined
  /** An oldest operation that is overdue. `Watch` sets it. */
  private overdue: Op | undefined = undefined
  private executed = false
  /** Who is told when the abort under way is over; `undefined` while none is. */
  private aborting: Set<(failure: unknown) => void> | undefined = undefined
  /** Who watches the connection for silence. */
  observer: Observer | undefined = undefined
  /** Milliseconds from the sending of the operation that has ended last until its answer was there: no less than the server took. */
  took = 0
  /** Called once each, when nothing is under way. */
  private readonly waiters: Array<() => void> = []

  constructor(
    private readonly owner: Owner<Op>,
    readonly timers: Timers["Type"]
  ) {}

  /** The oldest operation under way. */
  get current(): Op | undefined {
    return this.oldest
  }

  /** The oldest one that a caller has sent. A mark ahead of it is the driver's own. */
  get asked(): Op | undefined {
    const { oldest } = this
    return oldest?.isMark ? oldest.next : oldest
  }

  /** The operation under way that was sent last. */
  get latest(): Op | undefined {
    return this.newest
  }

  /** Operations under way. */
  get depth(): number {
    return this.count
  }

  /** Milliseconds that the server is expected to work on what is under way. */
  get ahead(): number {
    return this.expected
  }

  /** Why the connection has ended; `undefined` until then. */
  get fatal(): unknown {
    return this.failure
  }

  /** Something was executed since the last `renew`. */
  get isUsed(): boolean {
    return this.executed
  }

  get isAborting(): boolean {
    return this.aborting !== undefined
  }

  /** The oldest operation takes much longer than expected, so no work is added. */
  get isLate(): boolean {
    return this.overdue !== undefined && this.overdue === this.oldest
  }

  /** Notes that this operation, if it is the oldest, is overdue. */
  late(operation: Op): void {
    this.overdue = operation
    this.observer?.late(this.beganAt(operation))
  }

  /** When the server has last said that it is ready; 0 before that. */
  get answeredAt(): Instant {
    return this.readyAt
  }

  /** The packed reads that have not ended, those of the oldest operation first, those that are kept back last. */
  waiting(): Array<Waiting> {
    const reads: Array<Waiting> = []
    for (let operation = this.oldest; operation !== undefined; operation = operation.next) {
      operation.read?.collect(reads)
    }
    for (const read of this.held) read.collect(reads)
    return reads
  }

  /** Packed reads that are kept back. */
  get heldBack(): number {
    return this.held.length
  }

  /** The session is as new. */
  renew(): void {
    this.executed = false
  }

  /**
   * The operation belongs to the connection from here on; the driver writes it right after this. `onEnd` is called once: when
   * the operation has ended, or with a `TimedOut` when `until` has passed.
   */
  send(operation: Op, onEnd: (failure: unknown) => void, until: Instant = never): void {
    const { newest } = this
    operation.isMarked = newest?.isMark === true
    if (newest !== undefined && !operation.isMarked && (operation.read === undefined || newest.read === undefined)) {
      throw new Error("a statement was sent on a connection that is still busy with another one")
    }
    if (newest === undefined) {
      this.oldest = operation
      const { observer } = this
      if (observer !== undefined && !observer.isWatching) observer.began()
    } else newest.next = operation
    this.newest = operation
    this.count++
    this.expected += operation.work
    this.executed = true
    operation.onEnd = onEnd
    operation.sentAt = this.timers.now()
    if (until !== never) this.setTimer(operation, until, "deadline")
  }

  /** As `send`, for a statement that the connection's own statement timeout bounds as well. */
  sendBounded(operation: Op, onEnd: (failure: unknown) => void, until: Instant): void {
    this.send(operation, onEnd)
    this.bound(operation, until)
  }

  /** The wait for an operation ends at `until`, or when the statement timeout, counted from now, has passed. */
  bound(operation: Op, until: Instant): void {
    this.unbound(operation)
    const { statementTimeout } = this.owner.endpoint
    const limit = statementTimeout === 0 ? never : this.timers.now() + statementTimeout + PATIENCE
    if (until < limit) this.setTimer(operation, until, "deadline")
    else if (limit !== never) this.setTimer(operation, limit, "statementTimeout")
  }

  /** The wait for an operation has no end until the next `bound`. */
  unbound(operation: Op): void {
    operation.timer?.cancel()
    operation.timer = undefined
  }

  private setTimer(operation: Op, at: Instant, limit: TimedOut["limit"]): void {
    operation.timer = this.timers.set(at, () => {
      const { onEnd } = operation
      operation.timer = undefined
      if (onEnd === undefined) return
      operation.onEnd = () => {}
      onEnd(new TimedOut(limit, this.owner.endpoint.statementTimeout))
    })
  }

  /**
   * The next operation will be measured. The server answers the mark at once, and the operation when its work is done, so the
   * time between the two answers is the work. The network delays both answers alike. Mark and operation leave in one write.
   */
  mark(): void {
    this.corkForTick()
    this.owner.sendMark()
  }

  /** What is written until the running callbacks have ended leaves in one write. True if that begins now. */
  corkForTick(): boolean {
    if (this.corked) return false
    this.corked = true
    const { socket } = this.owner
    socket.cork()
    queueMicrotask(() => {
      this.corked = false
      socket.uncork()
    })
    return true
  }

  /** A packed read is written next. It leaves together with what follows until the running callbacks have ended. */
  countPacked(): void {
    const { counts } = this.owner.endpoint
    counts.packed++
    if (this.corkForTick()) counts.batches++
  }

  /** The earliest instant at which the server can have begun with the oldest operation. */
  beganAt(operation: Op): Instant {
    return Math.max(operation.sentAt + this.owner.endpoint.roundTrip.ms, this.readyAt)
  }

  /**
   * Ends the connection if the server has not answered the oldest packed read long after its statement timeout. That read has
   * timed out. The reads behind it are lost: their callers may run them again.
   */
  expire(elapsed: number): void {
    const { oldest, owner } = this
    const { statementTimeout } = owner.endpoint
    if (statementTimeout === 0 || elapsed < statementTimeout + PATIENCE || oldest?.read === undefined) return
    this.tell(oldest, new TimedOut("statementTimeout", statementTimeout))
    owner.end(
      new Error(
        `Connection terminated: no answer within the statement timeout of ${statementTimeout} ms and ${PATIENCE} ms more`
      )
    )
    owner.socket.destroy()
  }

  /** Keeps a read back until the abort under way is over. */
  hold(read: Held): void {
    this.held.push(read)
  }

  /** An abort begins. Until `abortEnded` no work is added. */
  abortBegan(): void {
    this.owner.endpoint.counts.cancels++
    this.aborting = new Set()
  }

  /** `told` is called when the abort under way is over, with its failure if it has failed. Gives a way to stop waiting. */
  onAbortEnd(told: (failure: unknown) => void): () => void {
    const { aborting } = this
    aborting?.add(told)
    return () => aborting?.delete(told)
  }

  /** The abort is over. If it has not failed the connection still works, and the reads that were kept back are sent. */
  abortEnded(failure: unknown): void {
    const others = this.aborting
    this.aborting = undefined
    const { held } = this
    this.held = []
    // One for all of them, because they are lost together.
    const cause = this.failure ?? new Error("Connection terminated")
    for (const read of held) {
      if (read.hasLeft()) read.drop()
      else if (failure === undefined) read.send()
      else read.lost(cause)
    }
    if (others !== undefined) for (const told of others) told(failure)
  }

  /** Calls `f` when no operation is under way, or the connection has ended. Gives a way to stop waiting. */
  whenReady(f: () => void): () => void {
    if (this.oldest === undefined) {
      f()
      return () => {}
    }
    this.waiters.push(f)
    return () => {
      const index = this.waiters.indexOf(f)
      if (index >= 0) this.waiters.splice(index, 1)
    }
  }

  /** Calls `f` when the server has answered the oldest packed read, or the connection has ended; at once if none is under way. */
  whenAnswered(f: () => void): void {
    const { oldest } = this
    if (oldest === undefined) {
      f()
      return
    }
    const { onEnd } = oldest
    oldest.onEnd = (failure) => {
      onEnd?.(failure)
      f()
    }
  }

  /** The server has answered all of the oldest operation. */
  answered(): void {
    const operation = this.oldest
    if (operation === undefined) return
    this.measure(operation)
    this.finish(operation, operation.failure)
  }

  /** The server begins with an operation when it has received it and has answered the operation before it. */
  private measure(operation: Op): void {
    const now = this.timers.now()
    const { profile, sentAt } = operation
    const { roundTrip } = this.owner.endpoint
    if (operation.isEmpty) roundTrip.measured(now - sentAt)
    else if (profile !== undefined) {
      roundTrip.atMost(now - sentAt)
      // Counted only if the server had the operation before it had answered the one before. Else the time would include the way
      // to the server, which varies. The time of a preparation is not counted, because it is spent once.
      const began = operation.isMarked || this.readyAt >= sentAt + roundTrip.ms
      if (began && !operation.prepares) profile.observe(now - this.readyAt)
    }
    this.took = now - sentAt
    roundTrip.answered(this.took, now)
    this.readyAt = now
  }

  private finish(operation: Op, failure: unknown): void {
    this.oldest = operation.next
    // A chain of operations would keep all their rows in memory until the next full garbage collection.
    operation.next = undefined
    this.count--
    if (this.oldest === undefined) {
      this.newest = undefined
      this.expected = 0
    } else this.expected -= operation.work
    this.owner.ended(operation, failure)
    this.tell(operation, failure)
    if (this.oldest === undefined) this.tellWaiters()
  }

  private tell(operation: Op, failure: unknown): void {
    const { onEnd, timer } = operation
    operation.onEnd = undefined
    if (timer !== undefined) {
      timer.cancel()
      operation.timer = undefined
    }
    onEnd?.(failure)
  }

  private tellWaiters(): void {
    if (this.waiters.length > 0) for (const waiter of this.waiters.splice(0)) waiter()
  }

  /** Nothing of the operation has reached the server: it is taken out as if it had never been sent. */
  withdraw(operation: Op): void {
    if (this.oldest === operation) {
      this.finish(operation, operation.failure)
      return
    }
    let before = this.oldest
    while (before !== undefined && before.next !== operation) before = before.next
    if (before === undefined) return
    before.next = operation.next
    operation.next = undefined
    if (this.newest === operation) this.newest = before
    this.count--
    this.expected -= operation.work
    this.tell(operation, operation.failure)
  }

  /** The connection has failed for this reason, or was closed on purpose. Nobody is told yet. The first reason counts. */
  fail(reason: unknown): void {
    this.failure ??= reason
  }

  /** The connection has ended: everybody who awaits something of it is told why. */
  ended(failure: unknown): void {
    this.fail(failure)
    if (this.oldest === undefined) this.tellWaiters()
    while (this.oldest !== undefined) this.finish(this.oldest, failure)
    for (const read of this.held.splice(0)) read.lost(failure)
  }

  /** Closes the connection without waiting for anything, and tells everybody who awaits something of it. */
  destroy(): void {
    this.fail(new Error("Connection terminated"))
    this.ended(this.failure)
    this.owner.socket.destroy()
  }
}
