/**
 * The watch over connections on which reads are packed: nobody waits for a read that takes much longer than expected, or that nobody
 * awaits.
 *
 * @since 0.2.0
 */
import type { Instant, Timers } from "@sluice/pool/Deadline"
import type { Effect } from "effect"
import { type Cancellable, GRACE } from "./Cancel.js"
import type { Operation, Waiting } from "./Pipeline.js"

/** Milliseconds between two looks at the connections on which something is under way. */
const INTERVAL = 5

/** Milliseconds that the server has to end a cancelled read. Then the connection is closed. */
const STUCK = 2_000

/** A read is overdue after so many times the work that was expected. */
const OVERDUE_TIMES = 10

/**
 * What the watch needs of a connection.
 *
 * @since 0.2.0
 * @category models
 */
export interface Watchable extends Cancellable {
  /** Runs an effect in a fiber of its own, which ends with the connection. */
  readonly fork: (effect: Effect.Effect<void>) => void
}

/** An oldest operation that is overdue. */
interface Late {
  readonly head: Operation<any>
  /** It was still the oldest at the next look. Between two looks this process has read what lay in its sockets. */
  isSure: boolean
  /** The reads behind it that are to be sent on other connections. */
  behind: Array<Waiting>
  /** One of them waits for another connection. */
  isMoving: boolean
}

/**
 * Two things happen to an oldest operation that keeps others waiting.
 *
 * 1. If nobody awaits it, it is cancelled.
 * 2. If it is overdue, the reads behind it are sent on other connections as well, and the first answer counts. They ask for a
 *    connection one after the other, so that the pool opens no more connections than are needed.
 *
 * @since 0.2.0
 * @category models
 */
export class Watch<Conn extends Watchable> {
  private readonly watched = new Map<Conn, Late | undefined>()
  private isWatching = false

  constructor(
    /** Milliseconds after which the oldest operation is overdue, at least. */
    private readonly overdue: number,
    /** Cancels the oldest read, whose caller has left. Closes the connection if the server does not end it within `bound` milliseconds. */
    private readonly relieve: (connection: Conn, bound: number) => Effect.Effect<void>
  ) {}

  /** Watches the connection until no operation is under way on it. No timer is set while no connection is watched. */
  add(connection: Conn): void {
    if (this.watched.has(connection)) return
    this.watched.set(connection, undefined)
    if (!this.isWatching) this.lookLater(connection.pipeline.timers)
  }

  private lookLater(timers: Timers["Type"]): void {
    this.isWatching = true
    timers.set(timers.now() + INTERVAL, () => this.look(timers))
  }

  private look(timers: Timers["Type"]): void {
    const now = timers.now()
    for (const [connection, late] of this.watched) {
      const { pipeline } = connection
      const current: Operation<any> | undefined = pipeline.current
      const isOver = current === undefined || connection.isDead
      if (late !== undefined && late.head !== current) this.watched.set(connection, undefined)
      if (isOver) this.watched.delete(connection)
      else this.lookAt(connection, current, now)
    }
    this.isWatching = false
    if (this.watched.size > 0) this.lookLater(timers)
  }

  private lookAt(connection: Conn, current: Operation<any>, now: Instant): void {
    const { pipeline } = connection
    const elapsed = now - pipeline.beganAt(current)
    if (elapsed >= GRACE && !pipeline.isAborting && current.read?.hasLeft()) {
      connection.fork(this.relieve(connection, STUCK))
    }
    const late = this.watched.get(connection)
    if (late !== undefined) this.goOn(connection, late)
    else if (this.isOverdue(connection, current, elapsed)) {
      const noted: Late = { head: current, isSure: false, behind: [], isMoving: false }
      this.watched.set(connection, noted)
    }
    pipeline.expire(elapsed)
  }

  /** A long way varies by more than a short one. */
  private isOverdue({ endpoint }: Conn, { isMark, next, read, work }: Operation<any>, elapsed: number): boolean {
    const isPacked = read !== undefined || (isMark && next?.read !== undefined)
    return isPacked && elapsed >= Math.max(this.overdue, OVERDUE_TIMES * work, endpoint.roundTrip.ms)
  }

  private goOn(connection: Conn, late: Late): void {
    const { pipeline } = connection
    const waiting = pipeline.waiting()
    // A mark has no work, so it is the server or the way to it that is late, and not the read behind it.
    const first = late.head.isMark ? undefined : waiting.shift()
    if (!late.isSure) {
      late.isSure = true
      pipeline.late(late.head)
    }
    const behind: Array<Waiting> = []
    // Reads of the same text come last, because what keeps the first may keep them as well.
    const last: Array<Waiting> = []
    for (const read of waiting) {
      if (read.hasLeft()) read.stay()
      else if (read.mayMove()) (read.profile === first?.profile ? last : behind).push(read)
    }
    late.behind = behind.concat(last).reverse()
    this.move(connection, late)
  }

  private move(connection: Conn, late: Late): void {
    while (!late.isMoving && connection.pipeline.current === late.head) {
      const read = late.behind.pop()
      if (read === undefined) return
      if (!read.mayMove()) continue
      let isLoop = true
      late.isMoving = true
      read.move(() => {
        late.isMoving = false
        if (!isLoop) this.move(connection, late)
      })
      isLoop = false
    }
  }
}
