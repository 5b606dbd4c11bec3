/**
 * What drivers have in common whose server answers in the order of asking: the operations under way on one connection.
 *
 * @since 0.1.0
 */
import type { Socket } from "node:net"
import type { SqlError } from "@effect/sql/SqlError"
import type { Phase } from "./Driver.js"
import type { Pipelining, Read } from "./Packing.js"
import type { Profile, RoundTrip } from "./Profile.js"

/**
 * Milliseconds that the client waits for the server to enforce its statement timeout before it stops believing in it.
 *
 * @since 0.1.0
 * @category constants
 */
export const PATIENCE = 1_000

/**
 * One operation on a connection, from its first byte until the server is ready for the next.
 *
 * @since 0.1.0
 * @category models
 */
export interface Operation<Self> {
  failure: unknown
  /** Told once, when it has ended. `undefined` after that. */
  settled: ((failure: unknown) => void) | undefined
  /** The one that was sent after it, while it was under way. */
  next: Self | undefined
  sentAt: number
  /** Milliseconds of work that it is expected to be. */
  readonly work: number
  /** Where its time is kept. */
  readonly profile: Profile | undefined
  /** There is nothing to do for the server but to answer. */
  readonly isEmpty: boolean
  /** Sent together with the one after it, which others await: its answer shows when the server gets to that. */
  readonly isMark: boolean
  /** A mark went ahead of it. */
  isMarked: boolean
  /** The server was told to prepare it, which is work that is done once. */
  readonly prepares: boolean
  /** It shares the connection: whether somebody awaits it still. */
  readonly read: { readonly hasLeft: () => boolean } | undefined
  /** It was cancelled, so it may well fail. */
  condemned: boolean
}

/**
 * The operations of one connection.
 *
 * 1. One, or several packed reads, which the server answers in the order of sending. `current` is the oldest, from its first
 *    byte until the server has answered all of it or the connection has ended.
 * 2. `fatal` is the first thing that went wrong. What follows it says less.
 * 3. A fiber that leaves does not end its operation: the connection stays busy until `abort`.
 *
 * @since 0.1.0
 * @category models
 */
export abstract class Pipeline<Op extends Operation<Op>> {
  current: Op | undefined = undefined
  private last: Op | undefined = undefined
  /** Operations under way. */
  depth = 0
  /** Milliseconds of work that they are expected to be. */
  ahead = 0
  /** When the server has last said that it is ready. */
  private readyAt = 0
  /** Packed reads that are sent when the cancel under way is over. */
  held: Array<Read<any>> = []
  isWatched = false
  private corked = false
  fatal: unknown = undefined
  /** Something was executed since the last reset. */
  used = false
  /** Set while an abort is under way. */
  aborting: Set<(failure: unknown) => void> | undefined = undefined
  /** Called once each, when nothing is under way. */
  protected readonly waiters: Array<() => void> = []

  abstract readonly endpoint: { readonly roundTrip: RoundTrip; readonly statementTimeout: number }
  /** None: nothing is packed here, and nothing is learnt about texts. */
  abstract readonly pipelining: Pipelining<any> | undefined
  abstract get isDead(): boolean
  abstract get socket(): Socket
  /** Sends an operation that asks for nothing. */
  protected abstract sendMark(): void
  abstract error(cause: unknown, phase: Phase): SqlError
  /** The connection is lost. */
  protected abstract end(error: unknown): void

  /** The operation is the connection's from here on. `settled` is called once, when it has ended. */
  send(operation: Op, settled: (failure: unknown) => void): void {
    const { last } = this
    operation.isMarked = last?.isMark === true
    if (last !== undefined && !operation.isMarked && (operation.read === undefined || last.read === undefined)) {
      throw new Error("a statement was sent on a connection that is still busy with another one")
    }
    if (last === undefined) this.current = operation
    else last.next = operation
    this.last = operation
    this.depth++
    this.ahead += operation.work
    this.used = true
    operation.settled = settled
    operation.sentAt = performance.now()
  }

  /**
   * What is sent next will be measured. The server says at once that it is ready, and again when it is done: what lies
   * between is its work, whatever the network adds to both. Both leave in one write.
   */
  mark(): void {
    this.corkForTick()
    this.sendMark()
  }

  /** What is sent until the running callbacks have ended leaves in one write. */
  corkForTick(): void {
    if (this.corked) return
    this.corked = true
    const { socket } = this
    socket.cork()
    queueMicrotask(() => {
      this.corked = false
      socket.uncork()
    })
  }

  /** When the server can have begun with the oldest operation. */
  beganAt(operation: Op): number {
    return Math.max(operation.sentAt + this.endpoint.roundTrip.ms, this.readyAt)
  }

  /** The server should have ended the oldest packed read long ago: what enforces the statement timeout is stuck. */
  expire(elapsed: number): void {
    const { statementTimeout } = this.endpoint
    if (statementTimeout === 0 || elapsed < statementTimeout + PATIENCE || this.current?.read === undefined) return
    this.end(
      new Error(
        `Connection terminated: no answer within the statement timeout of ${statementTimeout} ms and ${PATIENCE} ms more`
      )
    )
    this.socket.destroy()
  }

  /** The cancel under way is over: what was kept back is sent, if the connection still works. */
  reopen(works: boolean): void {
    this.aborting = undefined
    const { held } = this
    if (held.length === 0) return
    this.held = []
    for (const read of held) {
      if (read.hasLeft()) read.drop()
      else if (works) read.send()
      else read.lost(new Error("Connection terminated"))
    }
  }

  /** Calls `f` when no operation is under way, or the connection has ended; gives a way to stop waiting. */
  whenReady(f: () => void): () => void {
    if (this.current === undefined) {
      f()
      return () => {}
    }
    this.waiters.push(f)
    return () => {
      const index = this.waiters.indexOf(f)
      if (index >= 0) this.waiters.splice(index, 1)
    }
  }

  /** The server has answered all of the oldest operation. */
  protected answered(): void {
    const operation = this.current
    if (operation === undefined) return
    this.measure(operation)
    this.settle(operation, operation.failure)
  }

  /** How long the server was at work on it: since it had it, and was done with those before. */
  private measure(operation: Op): void {
    const now = performance.now()
    const { profile, sentAt } = operation
    const { roundTrip } = this.endpoint
    if (operation.isEmpty) roundTrip.measured(now - sentAt)
    else if (profile !== undefined) {
      roundTrip.atMost(now - sentAt)
      // Only where the server is known to have begun when it was done with the one before: of the way there nobody knows
      // how long it takes this time. Preparing is work too, but done once.
      const began = operation.isMarked || this.readyAt >= sentAt + roundTrip.ms
      if (began && !operation.prepares) profile.observe(now - this.readyAt)
    }
    this.readyAt = now
  }

  private settle(operation: Op, failure: unknown): void {
    this.current = operation.next
    // Operations that know each other keep each other, and their rows, until the next full collection.
    operation.next = undefined
    this.depth--
    if (this.current === undefined) {
      this.last = undefined
      this.ahead = 0
    } else this.ahead -= operation.work
    this.ended(operation, failure)
    this.tell(operation, failure)
    if (this.current !== undefined || this.waiters.length === 0) return
    for (const waiter of this.waiters.splice(0)) waiter()
  }

  /** What a driver notes about an operation that has ended, before anybody is told. */
  protected ended(_operation: Op, _failure: unknown): void {}

  private tell(operation: Op, failure: unknown): void {
    const { settled } = operation
    operation.settled = undefined
    settled?.(failure)
  }

  /** Nothing of it has reached the server: it was never in the line. */
  withdraw(operation: Op): void {
    if (this.current === operation) {
      this.settle(operation, operation.failure)
      return
    }
    let before = this.current
    while (before !== undefined && before.next !== operation) before = before.next
    if (before === undefined) return
    before.next = operation.next
    operation.next = undefined
    if (this.last === operation) this.last = before
    this.depth--
    this.ahead -= operation.work
    this.tell(operation, operation.failure)
  }

  /** Closes without waiting for anything. Whoever awaits something is told: nothing that the socket still says will be. */
  destroy(): void {
    this.fatal ??= new Error("Connection terminated")
    this.settleAll(this.fatal)
    this.socket.destroy()
  }

  /** The connection has ended: everybody is told. */
  protected settleAll(failure: unknown): void {
    if (this.current === undefined) for (const waiter of this.waiters.splice(0)) waiter()
    while (this.current !== undefined) this.settle(this.current, failure)
    for (const read of this.held.splice(0)) read.lost(failure)
  }
}
