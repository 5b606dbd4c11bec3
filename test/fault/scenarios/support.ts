/** What the scenarios measure with: statements that may never end, and callers that come again and again. */

import { Sql } from "@sluice/sql"
import { Context, Duration, Effect, Fiber, Option, type Scope } from "effect"
import type { Client, Measured } from "../scoreboard/model.js"

export const now = (): number => performance.now()

export const times = <A>(n: number, f: (i: number) => A): ReadonlyArray<A> => Array.from({ length: n }, (_, i) => f(i))

/** How the work of callers has ended so far. */
export interface Outcome {
  readonly answered: number
  readonly failed: number
  readonly errors: ReadonlyArray<unknown>
  readonly hanging: number
  /** Milliseconds of the slowest that has ended; `never` if one has not. */
  readonly slowest: Measured
}

/** Callers that were started, each with work of its own. */
export interface Batch {
  /** When all have ended, or after so many milliseconds. */
  readonly within: (limit: number) => Effect.Effect<Outcome>
  /** Their callers leave. What cannot be interrupted goes on, and nobody waits for it. */
  readonly leave: Effect.Effect<void>
}

/**
 * How many times as long as it says a scenario waits for a condition. A test waits longer, because it must hold on any machine, and
 * a condition that comes true ends the wait at once.
 */
export class Patience extends Context.Reference<Patience>()("test/fault/Patience", { defaultValue: () => 1 }) {}

type Condition = () => boolean | Effect.Effect<boolean, unknown>

/** Waits for a condition; whether it came true within so many milliseconds. */
export const until = (limit: number, condition: Condition): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    limit *= yield* Patience
    const end = now() + limit
    for (;;) {
      const found = condition()
      const is = Effect.isEffect(found)
        ? yield* Effect.orElseSucceed(
            Effect.map(
              Effect.timeoutOption(Effect.disconnect(found), limit),
              Option.getOrElse(() => false)
            ),
            () => false
          )
        : found
      if (is) return true
      if (now() >= end) return false
      yield* Effect.sleep(5)
    }
  })

/** Milliseconds until a condition is true. */
export const untilTrue = (limit: number, condition: Condition, since: number = now()): Effect.Effect<Measured> =>
  Effect.map(until(limit, condition), (is): Measured => (is ? now() - since : "never"))

/** Starts the work of each caller. */
export const start = (works: ReadonlyArray<Effect.Effect<unknown, unknown>>): Effect.Effect<Batch> =>
  Effect.gen(function* () {
    const began = now()
    const errors: Array<unknown> = []
    let answered = 0
    let last = 0
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
    for (const work of works) {
      // Daemons: one that hangs must not keep the scope of a run from closing.
      fibers.push(
        yield* Effect.forkDaemon(
          Effect.matchCause(work, {
            onSuccess: () => {
              answered++
              last = now() - began
            },
            onFailure: (cause) => {
              errors.push(cause)
              last = now() - began
            }
          })
        )
      )
    }
    return {
      within: (limit) =>
        Effect.map(
          until(limit, () => answered + errors.length === works.length),
          (): Outcome => {
            const hanging = works.length - answered - errors.length
            return { answered, failed: errors.length, errors, hanging, slowest: hanging > 0 ? "never" : last }
          }
        ),
      leave: Effect.forEach(fibers, Fiber.interruptFork, { discard: true })
    }
  })

/** Runs them, for at most so many milliseconds. */
export const settle = (limit: number, works: ReadonlyArray<Effect.Effect<unknown, unknown>>) =>
  Effect.flatMap(start(works), (batch) => Effect.zipLeft(batch.within(limit), batch.leave))

/** Milliseconds of one piece of work, however it ends. */
export const took = (limit: number, work: Effect.Effect<unknown, unknown>) =>
  Effect.map(settle(limit, [work]), ({ slowest }) => slowest)

interface Done {
  readonly at: number
  readonly took: number
  readonly error: unknown
}

/** The window in which full throughput is looked for, in milliseconds. */
const WINDOW = 250

/** The part of the throughput before that is full throughput. */
const FULL = 0.8

/** Callers that ask again as soon as they are answered, and 20 ms after they have failed. */
export class Load {
  readonly done: Array<Done> = []
  private readonly asking = new Map<number, number>()
  private isOver = false

  static start(workers: number, work: (worker: number, turn: number) => Effect.Effect<unknown, unknown>) {
    const load = new Load()
    return Effect.acquireRelease(
      Effect.gen(function* () {
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        for (let worker = 0; worker < workers; worker++) {
          fibers.push(yield* Effect.forkDaemon(load.loop(worker, work)))
        }
        return { load, fibers }
      }),
      ({ fibers }) =>
        Effect.zipRight(
          Effect.sync(() => {
            load.isOver = true
          }),
          Effect.forEach(fibers, Fiber.interruptFork, { discard: true })
        )
    ).pipe(Effect.as(load)) as Effect.Effect<Load, never, Scope.Scope>
  }

  private loop(worker: number, work: (worker: number, turn: number) => Effect.Effect<unknown, unknown>) {
    const load = this
    return Effect.gen(function* () {
      for (let turn = 0; !load.isOver; turn++) {
        const began = now()
        load.asking.set(worker, began)
        const exit = yield* Effect.exit(work(worker, turn))
        const at = now()
        load.asking.delete(worker)
        const error = exit._tag === "Failure" ? exit.cause : undefined
        load.done.push({ at, took: at - began, error })
        if (error !== undefined) yield* Effect.sleep(20)
      }
    })
  }

  /** Callers end their present work, and ask no more. */
  readonly end = Effect.sync(() => {
    this.isOver = true
  })

  private between(from: number, to: number): ReadonlyArray<Done> {
    return this.done.filter(({ at }) => at >= from && at < to)
  }

  /** Milliseconds of work that has been answered between two moments. */
  answers(from: number, to: number = now()): ReadonlyArray<number> {
    return this.between(from, to).flatMap(({ error, took }) => (error === undefined ? [took] : []))
  }

  errors(from: number, to: number = now()): ReadonlyArray<unknown> {
    return this.between(from, to).flatMap(({ error }) => (error === undefined ? [] : [error]))
  }

  /** When the first answer since this moment has come; `Infinity` if none has. */
  firstAnswer(since: number): number {
    return Math.min(...this.between(since, Infinity).flatMap(({ at, error }) => (error === undefined ? [at] : [])))
  }

  /** Answers in a millisecond. */
  rate(from: number, to: number = now()): number {
    return this.answers(from, to).length / (to - from)
  }

  /** Callers whose work has taken so long already, and has not ended. */
  hanging(millis: number): number {
    const limit = now() - millis
    return [...this.asking.values()].filter((began) => began <= limit).length
  }

  /** Longest time without an answer between two moments, in milliseconds. */
  longestPause(from: number, to: number = now()): number {
    const answers = this.between(from, to).flatMap(({ at, error }) => (error === undefined ? [at] : []))
    const moments = [from, ...answers.sort((a, b) => a - b), to]
    return Math.max(...moments.slice(1).map((at, i) => at - moments[i]!))
  }

  /** Milliseconds from `since` to the first moment at which throughput is as before again. */
  fullAgain(since: number, before: number, limit: number): Effect.Effect<Measured> {
    const needed = before * FULL * WINDOW
    let found: number | undefined
    return Effect.map(
      until(limit, () => {
        const ends = this.between(since, Infinity)
          .flatMap(({ at, error }) => (error === undefined ? [at] : []))
          .sort((a, b) => a - b)
        const many = Math.max(1, Math.ceil(needed))
        for (let i = 0; i + many <= ends.length; i++) {
          if (ends[i + many - 1]! - ends[i]! <= WINDOW) {
            found = ends[i]! - since
            return true
          }
        }
        return false
      }),
      (): Measured => found ?? "never"
    )
  }
}

/** The value below which this part of the values lies. */
export const percentile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

export const millis = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([duration]) => Duration.toMillis(duration))

/** Of ours: the books of the pool that writes. */
export const statsOf = ({ sluice }: Client) =>
  sluice === undefined
    ? Effect.succeed(undefined)
    : Effect.provide(
        Effect.map(Sql.stats, ({ write }) => write),
        sluice
      )
