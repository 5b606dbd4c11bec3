/**
 * How short reads of several callers share a connection, for drivers whose server answers in the order of asking.
 *
 * @since 0.1.0
 */
import { SqlError } from "@effect/sql/SqlError"
import { never, type Timer } from "@sluice/pool/Deadline"
import { Cause, Effect, FiberRef } from "effect"
import { type Cancellable, GRACE } from "./Cancel.js"
import { TimedOut } from "./Classify.js"
import type { PackedRequest, Packing } from "./Driver.js"
import { type Profile, Profiles } from "./Profile.js"

/** Reads on one connection at most. */
const DEPTH = 128

/**
 * Characters or bytes of a parameter. A read with a larger one is not packed: it would delay the reads behind it, and a server
 * that refuses it for its size may close the connection.
 */
const LARGE = 65_536

/** Milliseconds between two looks at the connections for reads whose caller has left. */
const INTERVAL = 5

/** Milliseconds that the server has to end a cancelled read. Then the connection is closed. */
const STUCK = 2_000

/**
 * What packing needs of a connection.
 *
 * @since 0.2.0
 * @category models
 */
export interface Packable extends Cancellable {
  /** `undefined`: no reads are packed on this connection, and its statements are not measured. */
  readonly packer: Packer<any> | undefined
  /** Runs an effect in a fiber of its own, which ends with the connection. */
  readonly fork: (effect: Effect.Effect<void>) => void
}

/**
 * What the connections of one client share: the profiles of texts, and the watch over reads whose caller has left.
 *
 * @since 0.2.0
 * @category models
 */
export class Packer<Conn extends Packable> {
  readonly texts: Profiles
  private readonly watched = new Set<Conn>()
  private isWatching = false

  constructor(
    isHarmless: (sql: string) => boolean,
    /** Cancels the oldest read, whose caller has left. Closes the connection if the server does not end it within `bound` milliseconds. */
    private readonly relieve: (connection: Conn, bound: number) => Effect.Effect<void>
  ) {
    this.texts = new Profiles(isHarmless)
  }

  /** Watches the connection until no operation is under way on it. No timer is set while no connection is watched. */
  watch(connection: Conn): void {
    if (this.watched.has(connection)) return
    this.watched.add(connection)
    if (!this.isWatching) this.lookLater(connection)
  }

  private lookLater({ pipeline: { timers } }: Conn): void {
    this.isWatching = true
    timers.set(timers.now() + INTERVAL, () => this.look(timers.now()))
  }

  private look(now: number): void {
    this.isWatching = false
    for (const connection of this.watched) {
      const { pipeline } = connection
      const { current } = pipeline
      if (current === undefined || connection.isDead) {
        this.watched.delete(connection)
        continue
      }
      const elapsed = now - pipeline.beganAt(current)
      if (elapsed >= GRACE && !pipeline.isAborting && current.read?.hasLeft()) {
        connection.fork(this.relieve(connection, STUCK))
      }
      pipeline.expire(elapsed)
    }
    const [next] = this.watched
    if (next !== undefined) this.lookLater(next)
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
 * @since 0.2.0
 * @category models
 */
export class Read<Conn extends Packable, State> {
  readonly connection: Conn
  readonly request: PackedRequest
  readonly profile: Profile
  /** What the driver needs to send it. */
  readonly state: State
  private readonly sender: Sender<Conn, State>
  private isSecond: boolean
  private isLate: boolean
  private timer: Timer | undefined

  // Assigned here, because initializers of fields cost each read some nanoseconds more.
  constructor(connection: Conn, request: PackedRequest, profile: Profile, state: State, sender: Sender<Conn, State>) {
    this.connection = connection
    this.request = request
    this.profile = profile
    this.state = state
    this.sender = sender
    this.isSecond = false
    this.isLate = false
    const { until } = request
    this.timer = until === never ? undefined : connection.pipeline.timers.set(until, () => this.late())
  }

  /** The caller is told that its deadline has passed. The lease goes on until the server has answered, as if it had left. */
  private late(): void {
    this.timer = undefined
    this.isLate = true
    this.request.answer(Effect.fail(this.connection.error(new TimedOut("deadline", 0), "statement")))
  }

  /**
   * Nobody awaits the answer. The fiber is asked when it matters, because a handler for its interruption would cost each read
   * several steps of its fiber.
   */
  hasLeft(): boolean {
    if (this.isLate) return true
    const { fiber, interruptible } = this.request
    return interruptible && !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause))
  }

  send(): void {
    const { connection } = this
    const { pipeline } = connection
    if (connection.isDead) this.lost(pipeline.fatal ?? new Error("Connection closed"))
    // A cancel that is under way could hit it.
    else if (pipeline.isAborting) pipeline.hold(this)
    else {
      pipeline.corkForTick()
      this.sender.write(this)
      connection.packer?.watch(connection)
    }
  }

  answered(answer: unknown): void {
    this.end(Effect.succeed(answer))
  }

  /** It is not sent, for this reason. */
  refused(error: SqlError): void {
    this.end(Effect.fail(error))
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
    this.request.resume(effect)
  }
}

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
}

/**
 * Reads of less than 1 millisecond, behind 4 milliseconds of work at most, of which the oldest is under way for less than 8.
 *
 * @since 0.1.0
 * @category constants
 */
export const limits: Limits = { short: 1, ahead: 4, late: 8 }

const isLarge = (value: unknown): boolean =>
  (typeof value === "string" || value instanceof Uint8Array) && value.length > LARGE

/**
 * What a driver says about packing, for the connections that have this packer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Conn extends Packable, State>(
  { texts }: Packer<Conn>,
  { ahead, late, short }: Limits,
  sender: Sender<Conn, State>
): Packing<Conn> => ({
  depth: DEPTH,
  packs: (sql, mode, params) =>
    mode !== "unprepared" && mode !== "command" && texts.of(sql).isShorter(short) && !params.some(isLarge),
  admits: (connection) => {
    const { pipeline } = connection
    const { current } = pipeline
    return (
      connection.packer !== undefined &&
      !pipeline.isAborting &&
      pipeline.depth < DEPTH &&
      pipeline.ahead <= ahead &&
      !connection.isDead &&
      // The oldest read takes longer than its text did before, and would delay every read that joins now.
      (current === undefined || pipeline.timers.now() - pipeline.beganAt(current) <= late)
    )
  },
  start: (connection, request) => {
    const state = sender.prepare(connection, request)
    if (state instanceof SqlError) request.resume(Effect.fail(state))
    else new Read(connection, request, texts.of(request.sql), state, sender).send()
  }
})
