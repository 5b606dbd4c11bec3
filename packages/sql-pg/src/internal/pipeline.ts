import type { SqlError } from "@effect/sql/SqlError"
import type { Mode, Packing } from "@sluice/sql/SqlDriver"
import { Cause, Effect, type Fiber, FiberRef } from "effect"
import * as cancel from "./cancel.js"
import * as classify from "./classify.js"
import { isMistyped, isStale, type PgConnection, prepare } from "./connection.js"
import { Statement } from "./statement.js"
import { type Text, Texts } from "./texts.js"

/** Reads on one connection at most. */
const DEPTH = 128

export interface Limits {
  /** Milliseconds. A text that needs more is not packed: those behind it would notice. */
  readonly short: number
  /** Milliseconds of work that may lie before a read that joins. More packs better, and delays longer. */
  readonly ahead: number
}

export const limits: Limits = { short: 1, ahead: 2 }

/** How often connections are looked at for reads whose fiber has left. */
const INTERVAL = 5

/** How long the server may take to end a read that was cancelled, before its connection is given up. */
const STUCK = 2_000

/** What the connections of one client have in common: what is known about texts, and the watch over reads left behind. */
export class Pipelining {
  readonly texts = new Texts()
  private readonly watched = new Set<PgConnection>()
  private timer: ReturnType<typeof setInterval> | undefined

  /**
   * Looked at until it has nothing under way. No timer runs while nothing is.
   *
   * A plain timer, because this is called from the callbacks of the driver and not from a fiber, and measures what the
   * socket does: real time, whatever clock the program has. A fiber for it would cost each burst of reads its fork.
   */
  watch(connection: PgConnection): void {
    connection.isWatched = true
    this.watched.add(connection)
    this.timer ??= setInterval(() => this.look(performance.now()), INTERVAL)
  }

  private look(now: number): void {
    for (const connection of this.watched) {
      const { current } = connection
      if (current === undefined || connection.isDead) {
        connection.isWatched = false
        this.watched.delete(connection)
        continue
      }
      const since = connection.beganAt(current)
      if (now - since >= cancel.GRACE && connection.aborting === undefined && current.read?.hasLeft()) {
        Effect.runFork(cancel.relieve(connection, STUCK))
      }
      connection.expire(now - since)
    }
    if (this.watched.size === 0) {
      clearInterval(this.timer)
      this.timer = undefined
    }
  }
}

/**
 * A read that shares its connection with others. It may be sent twice: the cancel of a neighbour may hit it, and a name
 * that it relies on may turn out to be unknown to the server, or made for columns of another type. A read that has failed
 * has changed nothing.
 */
export class Read {
  private again = false
  private named = true

  constructor(
    private readonly connection: PgConnection,
    private readonly sql: string,
    private readonly params: ReadonlyArray<unknown>,
    private readonly values: ReadonlyArray<string | Buffer | null>,
    private readonly mode: Mode,
    private readonly text: Text,
    private readonly fiber: Fiber.RuntimeFiber<any, any>,
    /** Whether an interrupt ends the wait of the fiber. */
    private readonly interruptible: boolean,
    private readonly resume: (effect: Effect.Effect<any, SqlError>) => void
  ) {}

  /**
   * Nobody awaits the answer. Asked of the fiber when it matters: being told would cost each read several steps of its
   * fiber.
   */
  hasLeft(): boolean {
    return this.interruptible && !Cause.isEmpty(this.fiber.getFiberRef(FiberRef.interruptedCause))
  }

  send(): void {
    const { connection, mode, params, sql, values } = this
    if (connection.isDead) {
      this.lost(connection.fatal ?? new Error("Connection closed"))
      return
    }
    // While a cancel is under way nothing is sent that it could hit.
    if (connection.aborting !== undefined) {
      connection.held.push(this)
      return
    }
    const plan = this.named ? connection.plans.of(sql, params) : undefined
    const statement = new Statement(sql, values, mode, plan, connection.plans.takeForgotten(), connection.client)
    statement.profile = this.text
    statement.work = this.text.mean
    statement.read = this
    connection.corkForTick()
    if (connection.current === undefined && this.text.isDue()) connection.mark()
    connection.send(statement, (failure) => {
      if (failure === undefined) this.resume(Effect.succeed(statement.answer()))
      else this.failed(statement, failure)
    })
    if (!connection.isWatched) connection.pipelining?.watch(connection)
  }

  /** It was never sent. */
  lost(cause: unknown): void {
    this.resume(Effect.fail(this.connection.error(cause, "unsent")))
  }

  private failed(statement: Statement, failure: unknown): void {
    const { connection } = this
    if (statement.plan !== undefined && isOfThePlan(failure)) connection.plans.drop(statement.plan)
    if (!this.again && !connection.isDead && !this.hasLeft() && this.isInnocent(statement, failure)) {
      this.again = true
      this.send()
    } else this.resume(Effect.fail(connection.error(failure, "statement")))
  }

  private isInnocent(statement: Statement, failure: unknown): boolean {
    if (isOfThePlan(failure)) {
      if (statement.plan === undefined) return false
      // The one that was to prepare the name may have failed for a reason of its own, which then is ours too: without a
      // name the server says it.
      this.named = false
      return true
    }
    return this.connection.aborting !== undefined && !statement.condemned && classify.read(failure).code === "57014"
  }
}

/** It may be the plan that is wrong and not the statement. */
const isOfThePlan = (failure: unknown): boolean => isStale(failure) || isMistyped(failure)

const execute = (
  connection: PgConnection,
  sql: string,
  params: ReadonlyArray<unknown>,
  mode: Mode,
  text: Text,
  fiber: Fiber.RuntimeFiber<any, any>,
  interruptible: boolean
): Effect.Effect<any, SqlError> =>
  Effect.async((resume) => {
    const values = prepare(params)
    if (!Array.isArray(values)) return resume(Effect.fail(connection.unsendable(values.problem)))
    new Read(connection, sql, params, values, mode, text, fiber, interruptible, resume).send()
  })

/** What the driver says about packing, for the connections that were opened with `pipelining`. */
export const packing = ({ texts }: Pipelining, { ahead, short }: Limits): Packing<PgConnection> => ({
  depth: DEPTH,
  packs: (sql, mode) => mode !== "unprepared" && mode !== "command" && texts.of(sql).isShorter(short),
  admits: (connection) =>
    connection.aborting === undefined &&
    connection.depth < DEPTH &&
    connection.ahead <= ahead &&
    !connection.isDead &&
    // One that takes longer than its text has led us to expect: what joined now would wait for it.
    (connection.current === undefined || performance.now() - connection.beganAt(connection.current) <= 2 * ahead),
  execute: (connection, sql, params, mode, fiber, interruptible) =>
    execute(connection, sql, params, mode, texts.of(sql), fiber, interruptible)
})
