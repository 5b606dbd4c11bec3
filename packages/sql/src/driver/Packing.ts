/**
 * How short reads of several callers share a connection, for drivers whose server answers in the order of asking.
 *
 * @since 0.1.0
 */
import { SqlError } from "@effect/sql/SqlError"
import { never, type Timer } from "@sluice/pool/Deadline"
import { Cause, Effect, Exit, Fiber, FiberId, FiberRef } from "effect"
import * as SqlReason from "../SqlReason.js"
import { TimedOut } from "./Classify.js"
import { isPreparable, type PackedRequest, type Packing } from "./Driver.js"
import type { Held, Waiting } from "./Pipeline.js"
import { type Profile, Profiles } from "./Profile.js"
import { Watch, type Watchable } from "./Watch.js"

/** Reads on one connection at most. */
const DEPTH = 128

/**
 * Characters or bytes of a parameter. A read with a larger one is not packed: it would delay the reads behind it, and a server
 * that refuses it for its size may close the connection.
 */
const LARGE = 65_536

/**
 * What packing needs of a connection.
 *
 * @since 0.2.0
 * @category models
 */
export interface Packable extends Watchable {
  /** `undefined`: no reads are packed on this connection, and its statements are not measured. */
  readonly packer: Packer<any> | undefined
}

/**
 * What the connections of one client share: the profiles of texts, and the watch over packed reads.
 *
 * @since 0.2.0
 * @category models
 */
export class Packer<Conn extends Packable> {
  readonly texts: Profiles
  readonly watch: Watch<Conn>

  constructor(
    readonly limits: Limits,
    isHarmless: (sql: string) => boolean,
    relieve: (connection: Conn, bound: number) => Effect.Effect<void>
  ) {
    this.texts = new Profiles(isHarmless)
    this.watch = new Watch(limits.overdue, relieve)
  }
}

/**
 * What a driver does for a packed read.
 *
 * @since 0.2.0
 * @category models
 */
export interface Sender<Conn extends Packable, State> {
  /** What the driver needs to send the request, or why it cannot be sent. Nothing is sent yet. */
  readonly prepare: (connection: Conn, request: PackedRequest) => State | SqlError
  /**
   * Writes the read, behind those that are under way, and calls one of `answered`, `failed`, `refused`, `send`, `drop` and
   * `lost` of it, once.
   */
  readonly write: (read: Read<Conn, State>) => void
  /** The error of a read that has failed. */
  readonly error: (read: Read<Conn, State>, failure: unknown) => SqlError
}

/**
 * A read that shares its connection with others. It may be sent twice: the cancel of a neighbour may have hit it, or the server
 * may have forgotten the statement that it had prepared. A read that has failed has changed nothing.
 *
 * Behind a read that is late it is sent on another connection as well. The first answer of the two counts: the other one is
 * cancelled, or discarded when it comes. If this connection is lost first, the caller goes on waiting for the other answer.
 *
 * @since 0.2.0
 * @category models
 */
export class Read<Conn extends Packable, State> implements Held {
  readonly connection: Conn
  readonly request: PackedRequest
  readonly profile: Profile
  /** What the driver needs to send it. */
  readonly state: State
  private readonly sender: Sender<Conn, State>
  private isSecond: boolean
  /** The caller has an answer. */
  private isTold: boolean
  /** It was sent on another connection as well. */
  private isMoved: boolean
  /** Until its execution on another connection has ended. */
  private copy: Copy | undefined
  private timer: Timer | undefined

  // Assigned here, because initializers of fields cost each read some nanoseconds more.
  constructor(connection: Conn, request: PackedRequest, profile: Profile, state: State, sender: Sender<Conn, State>) {
    this.connection = connection
    this.request = request
    this.profile = profile
    this.state = state
    this.sender = sender
    this.isSecond = false
    this.isTold = false
    this.isMoved = false
    this.copy = undefined
    const { until } = request
    this.timer = until === never ? undefined : connection.pipeline.timers.set(until, () => this.late())
  }

  /** The caller is told that its deadline has passed. The lease goes on until the server has answered, as if it had left. */
  private late(): void {
    this.timer = undefined
    this.isTold = true
    this.stay()
    this.request.answer(Effect.fail(this.connection.error(new TimedOut("deadline", 0), "statement")))
  }

  /**
   * Nobody awaits the answer. The fiber is asked when it matters, because a handler for its interruption would cost each read
   * several steps of its fiber.
   */
  hasLeft(): boolean {
    if (this.isTold) return true
    const { fiber, interruptible } = this.request
    return interruptible && !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause))
  }

  collect(reads: Array<Waiting>): void {
    reads.push(this)
  }

  mayMove(): boolean {
    return this.request.again !== undefined && !this.isMoved && !this.hasLeft()
  }

  move(told: () => void): void {
    this.isMoved = true
    const sent = (): void => {
      if (copy.isSent) return
      copy.isSent = true
      told()
    }
    const copy: Copy = { isSent: false, fiber: undefined }
    this.copy = copy
    copy.fiber = this.request.again!(this.request, sent, this.connection)
    if (copy.fiber === undefined) {
      this.copy = undefined
      sent()
      return
    }
    copy.fiber.addObserver((exit) => {
      sent()
      // Else the caller has got it already, or waits for the copy itself.
      if (this.copy !== copy) return
      this.copy = undefined
      if (this.hasLeft() || !isAnswer(exit)) return
      this.isTold = true
      this.timer?.cancel()
      this.request.answer(exit)
    })
  }

  stay(): void {
    const { copy } = this
    this.copy = undefined
    copy?.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  send(): void {
    const { connection } = this
    const { pipeline } = connection
    if (connection.isDead) this.lost(pipeline.fatal ?? new Error("Connection closed"))
    // A cancel that is under way could hit it.
    else if (pipeline.isAborting) pipeline.hold(this)
    else {
      pipeline.countPacked()
      this.sender.write(this)
      connection.packer?.watch.add(connection)
    }
  }

  answered(answer: unknown): void {
    this.end(Effect.succeed(answer))
  }

  /** It is not sent, for this reason. */
  refused(error: SqlError): void {
    const { copy } = this
    if (copy?.fiber === undefined || !copy.isSent || SqlReason.of(error).connection === "keep") {
      this.end(Effect.fail(error))
    } else {
      this.copy = undefined
      this.end(answerOf(copy.fiber, error))
    }
  }

  /** Nobody awaits it, so it is not sent. */
  drop(): void {
    this.end(Effect.interrupt)
  }

  /** It was never sent, because the connection is lost. */
  lost(cause: unknown): void {
    this.refused(this.connection.error(cause, "unsent"))
  }

  /** It has failed. If the read itself is not the reason (`isInnocent`), it is sent a second time. */
  failed(failure: unknown, isInnocent: boolean): void {
    if (isInnocent && !this.isSecond && !this.connection.isDead && !this.hasLeft()) {
      this.isSecond = true
      this.send()
    } else this.refused(this.sender.error(this, failure))
  }

  private end(effect: Effect.Effect<any, SqlError>): void {
    this.timer?.cancel()
    if (this.copy !== undefined) this.stay()
    this.request.resume(effect)
  }
}

/** A read on another connection. */
interface Copy {
  /** It has that connection. */
  isSent: boolean
  fiber: Fiber.RuntimeFiber<unknown, SqlError> | undefined
}

/** The server has answered: with rows, or with an error that the statement would have had here as well. */
const isAnswer = (exit: Exit.Exit<unknown, SqlError>): boolean => {
  if (Exit.isSuccess(exit)) return true
  const failure = Cause.failureOption(exit.cause)
  if (failure._tag === "None") return false
  const { connection, outcome } = SqlReason.of(failure.value)
  return connection === "keep" && outcome === "rolledBack"
}

/** The answer of the copy, or `error` if it gets none. */
const answerOf = (copy: Fiber.RuntimeFiber<unknown, SqlError>, error: SqlError): Effect.Effect<unknown, SqlError> =>
  Effect.onInterrupt(
    Effect.flatMap(Fiber.await(copy), (exit) => (isAnswer(exit) ? exit : Effect.fail(error))),
    () => Fiber.interruptFork(copy)
  )

/**
 * When reads are packed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  /** Milliseconds. A text that needs more time is not packed, because it would delay the reads behind it. */
  readonly short: number
  /** Milliseconds of work ahead of a read that joins. A larger number packs more reads and delays each longer. */
  readonly ahead: number
  /**
   * When the oldest read of a connection has been under way for so many milliseconds, no other read joins. With a smaller number
   * a machine that stalls for a moment spreads the reads over all connections, where they compete. With a larger number more
   * reads wait behind a slow one.
   */
  readonly late: number
  /**
   * When the oldest read of a connection has been under way for so many milliseconds, and for ten times its expected work, those
   * behind it are sent on other connections as well. With a smaller number a machine that stalls for a moment sends its reads twice.
   * With a larger number reads wait longer behind one that waits for a lock, or on a silent socket.
   */
  readonly overdue: number
}

/**
 * Reads of less than 1 millisecond, behind 4 milliseconds of work at most, of which the oldest is under way for less than 8. One
 * that is under way for 20 holds up nobody.
 *
 * @since 0.1.0
 * @category constants
 */
export const limits: Limits = { short: 1, ahead: 4, late: 8, overdue: 20 }

/** Not by `instanceof`, which a proxy may refuse to answer. */
const isLarge = (value: unknown): boolean =>
  typeof value === "string" ? value.length > LARGE : ArrayBuffer.isView(value) && value.byteLength > LARGE

/**
 * What a driver says about packing, for the connections that have this packer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Conn extends Packable, State>(
  { limits: { ahead, late, short }, texts }: Packer<Conn>,
  sender: Sender<Conn, State>
): Packing<Conn> => ({
  depth: DEPTH,
  packs: (sql, mode, params) => isPreparable(mode) && texts.of(sql).isShorter(short) && !params.some(isLarge),
  admits: (connection) => {
    const { pipeline } = connection
    const { current } = pipeline
    return (
      connection.packer !== undefined &&
      !pipeline.isAborting &&
      pipeline.depth < DEPTH &&
      pipeline.ahead <= ahead &&
      !connection.isDead &&
      !pipeline.isLate &&
      // The oldest read takes longer than its text did before, and would delay every read that joins now.
      (current === undefined || pipeline.timers.now() - pipeline.beganAt(current) <= late)
    )
  },
  stalls: ({ pipeline }) => pipeline.isLate,
  start: (connection, request) => {
    const state = sender.prepare(connection, request)
    if (state instanceof SqlError) request.resume(Effect.fail(state))
    else new Read(connection, request, texts.of(request.sql), state, sender).send()
  }
})
