/**
 * How short reads of several callers share a connection, for drivers whose server answers in the order of asking.
 *
 * @since 0.1.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import { Cause, Effect, FiberRef } from "effect"
import { GRACE } from "./Cancel.js"
import type { PackedRequest, Packing } from "./Driver.js"
import type { Pipeline } from "./Pipeline.js"
import { type Profile, Profiles } from "./Profile.js"

/** Reads on one connection at most. */
const DEPTH = 128

/**
 * Characters or bytes of a parameter. A larger one delays those behind it, and what the server refuses for its size may cost
 * all of them their connection.
 */
const LARGE = 65_536

/** How often connections are looked at for reads whose fiber has left. */
const INTERVAL = 5

/** How long the server may take to end a read that was cancelled, before its connection is given up. */
const STUCK = 2_000

/**
 * What the connections of one client have in common: what is known about texts, and the watch over reads left behind.
 *
 * @since 0.1.0
 * @category models
 */
export class Pipelining<Conn extends Pipeline<any>> {
  readonly texts: Profiles
  private readonly watched = new Set<Conn>()
  private isWatching = false

  constructor(
    isHarmless: (sql: string) => boolean,
    /** Cancels the oldest read, whose fiber has left. If the server does not end it in so many milliseconds, closes. */
    private readonly relieve: (connection: Conn, bound: number) => Effect.Effect<void>
  ) {
    this.texts = new Profiles(isHarmless)
  }

  /** Looked at until it has nothing under way. Nothing runs while nothing is. */
  watch(connection: Conn): void {
    connection.isWatched = true
    this.watched.add(connection)
    if (this.isWatching) return
    this.isWatching = true
    // A fiber of nobody: whose read began it may be gone long before the others.
    Effect.runFork(this.watching)
  }

  /** Ends by itself when there is nothing to watch, and says so in the same step; the next read begins another. */
  private readonly watching = Effect.sleep(INTERVAL).pipe(
    Effect.zipRight(Effect.sync(() => this.look(performance.now()))),
    Effect.repeat({ while: (goesOn) => goesOn })
  )

  private look(now: number): boolean {
    for (const connection of this.watched) {
      const { current } = connection
      if (current === undefined || connection.isDead) {
        connection.isWatched = false
        this.watched.delete(connection)
        continue
      }
      const elapsed = now - connection.beganAt(current)
      if (elapsed >= GRACE && connection.aborting === undefined && current.read?.hasLeft()) {
        Effect.runFork(this.relieve(connection, STUCK))
      }
      connection.expire(elapsed)
    }
    this.isWatching = this.watched.size > 0
    return this.isWatching
  }
}

/**
 * A read that shares its connection with others. It may be sent twice: the cancel of a neighbour may hit it, and what the
 * server was to keep for it may be gone. A read that has failed has changed nothing.
 *
 * @since 0.1.0
 * @category models
 */
export abstract class Read<Conn extends Pipeline<any>> {
  private again = false

  constructor(
    readonly connection: Conn,
    protected readonly request: PackedRequest,
    protected readonly profile: Profile
  ) {}

  /** Writes it, behind those that are under way. */
  protected abstract write(): void

  /**
   * Nobody awaits the answer. Asked of the fiber when it matters: being told would cost each read several steps of its
   * fiber.
   */
  hasLeft(): boolean {
    const { fiber, interruptible } = this.request
    return interruptible && !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause))
  }

  send(): void {
    const { connection } = this
    if (connection.isDead) this.lost(connection.fatal ?? new Error("Connection closed"))
    // While a cancel is under way nothing is sent that it could hit.
    else if (connection.aborting !== undefined) connection.held.push(this)
    else {
      connection.corkForTick()
      this.write()
      if (!connection.isWatched) connection.pipelining?.watch(connection)
    }
  }

  /** Nobody awaits it: it is not sent. */
  drop(): void {
    this.request.resume(Effect.interrupt)
  }

  /** It was never sent. */
  lost(cause: unknown): void {
    this.request.resume(Effect.fail(this.connection.error(cause, "unsent")))
  }

  /** It has failed, and runs again, once, if that was not its own fault. */
  protected failed(failure: unknown, isInnocent: boolean): void {
    const { connection } = this
    if (isInnocent && !this.again && !connection.isDead && !this.hasLeft()) {
      this.again = true
      this.send()
    } else this.request.resume(Effect.fail(this.errorOf(failure)))
  }

  protected errorOf(failure: unknown): SqlError {
    return this.connection.error(failure, "statement")
  }
}

/**
 * When reads are packed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  /** Milliseconds. A text that needs more is not packed: those behind it would notice. */
  readonly short: number
  /** Milliseconds of work that may lie before a read that joins. More packs better, and delays longer. */
  readonly ahead: number
  /**
   * Milliseconds for which the oldest read of a connection may be under way until no other joins. Shorter, and a machine that
   * stalls for a moment makes the reads spread over all connections, where they compete and stall each other. Longer, and
   * more of them wait behind one that is slow.
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
 * What a driver says about packing, for the connections that were opened with `pipelining`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Conn extends Pipeline<any>>(
  { texts }: Pipelining<Conn>,
  { ahead, late, short }: Limits,
  /** Nothing is sent yet; an error is what keeps it from being sent. */
  read: (connection: Conn, request: PackedRequest, profile: Profile) => Read<Conn> | SqlError
): Packing<Conn> => ({
  depth: DEPTH,
  packs: (sql, mode, params) =>
    mode !== "unprepared" && mode !== "command" && texts.of(sql).isShorter(short) && !params.some(isLarge),
  admits: (connection) =>
    connection.pipelining !== undefined &&
    connection.aborting === undefined &&
    connection.depth < DEPTH &&
    connection.ahead <= ahead &&
    !connection.isDead &&
    // One that takes longer than its text has led us to expect: what joined now would wait for it.
    (connection.current === undefined || performance.now() - connection.beganAt(connection.current) <= late),
  start: (connection, request) => {
    const made = read(connection, request, texts.of(request.sql))
    if (made instanceof Read) made.send()
    else request.resume(Effect.fail(made))
  }
})
