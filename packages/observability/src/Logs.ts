/**
 * What an operator reads in the log: one line for each change of state, and none for each event.
 *
 * Some lines are written without this module, because they must not be missed: by `@sluice/sql` that a replica is out or back, that the
 * roles have changed and that a second pool was made on one database; by `@sluice/pool` a leak; by `@sluice/sql-pg` that a proxy is
 * on the way. `layer` adds those that only some programs want.
 *
 * @since 0.2.0
 */
import * as Deadline from "@sluice/pool/Deadline"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as Pools from "@sluice/pool/Pools"
import * as Sources from "@sluice/sql/Sources"
import { Data, type Duration, Effect, Layer, Schedule } from "effect"
import { write } from "./internal/logs/line.js"
import { WatchedPool } from "./internal/logs/pool.js"
import { WatchedSource } from "./internal/logs/source.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /**
   * A statement that takes longer is written down, with its text. Literals and comments are left out of the text, and parameters are
   * never written.
   *
   * - Unit: duration. Default: no statement is written down. Range: from 1 millisecond.
   * - It counts from the call until the end, with the wait for a connection and all retries.
   * - At most ten lines a minute for each `Sql`; of the others the number is written.
   */
  readonly slowStatement?: Duration.DurationInput | undefined
}

/**
 * Options that cannot work. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidLogs extends Data.TaggedError("InvalidLogs")<{ readonly problems: ReadonlyArray<string> }> {
  override get message(): string {
    return `logs: ${this.problems.join("; ")}`
  }
}

/** How often the pools are looked at. A state that was over before is no news. */
const LOOK = "1 second"

const table: OptionTable.Table<Options> = {
  slowStatement: OptionTable.that("a duration of 1 millisecond or more", (value) => {
    const millis = OptionTable.millisOf(value)
    return millis !== undefined && millis >= 1
  })
}

/**
 * Writes with Effect's logger what becomes of all pools and databases of the process, those that are made later included:
 *
 * | state | level | line |
 * | --- | --- | --- |
 * | the host of a pool is down / up | ERROR, INFO | with what connecting fails / for how long, and how many acquires failed |
 * | a pool has no connection for its callers / has them | WARN, INFO | the diagnosis that the error of the acquire has / for how long, and how many acquires failed |
 * | a pool is suspended / resumed | INFO | for how long |
 * | the retry budget is used up / earns again | WARN, INFO | for which failures / how many were not repeated |
 * | slow statements | WARN | with the option `slowStatement` |
 *
 * - A pool that is down for an hour writes two lines. A state that comes and goes is written less and less often: each time it comes
 *   back within 20 minutes its end is believed only after twice the time, from 1 second (a host) or 10 seconds (the others) up to 10
 *   minutes. That is at most 30 lines in the first hour for each state of a pool, and at most 12 in each later one.
 * - The lines have annotations to sort by: `pool`, `endpoint`, `role`, `database`, `state`, `seconds`.
 * - They are written by a fiber that looks once a second, so a logger that is slow or fails keeps no pool from its work.
 * - Fails with `InvalidLogs`.
 *
 * **When to use:** in every program, once, with the Layer of its databases or anywhere else.
 *
 * @example
 * ```ts
 * import { Logs } from "@sluice/observability"
 * import { Pool } from "@sluice/pool"
 * import { Effect } from "effect"
 *
 * const program = Effect.scoped(Pool.make({ name: "orders", connect: () => Effect.succeed({}) })).pipe(
 *   Effect.provide(Logs.layer({ slowStatement: "1 second" }))
 * )
 *
 * Effect.runPromise(program)
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, InvalidLogs> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const problems = OptionTable.problems(options, table)
      if (problems.length > 0) return yield* new InvalidLogs({ problems })
      const slowMs = OptionTable.millisOf(options.slowStatement)
      const pools = new Set<WatchedPool>()
      const sources = new Set<WatchedSource>()
      const within = <A extends { readonly end: () => void }>(all: Set<A>, one: A) => {
        all.add(one)
        return () => {
          one.end()
          all.delete(one)
        }
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => [
          Pools.unsafeWatch((pool) => within(pools, new WatchedPool(pool))),
          Sources.unsafeWatch((source) => within(sources, new WatchedSource(source, slowMs)))
        ]),
        (stops) =>
          Effect.sync(() => {
            for (const stop of stops) stop()
          })
      )
      const look = Effect.clockWith((clock) => {
        const now = Deadline.nowOf(clock)()
        const ofPools = [...pools].flatMap((watched) => {
          for (const { source } of sources) {
            const target = source.targets.find(({ pool }) => pool === watched.pool)
            if (target !== undefined) return watched.look(now, target, source.targets.length > 1)
          }
          return watched.look(now, undefined, false)
        })
        const ofSources = [...sources].flatMap((watched) => watched.look(now))
        return Effect.forEach(
          [...ofPools, ...ofSources],
          (line) => Effect.catchAllDefect(write(line), () => Effect.void),
          {
            discard: true
          }
        )
      })
      // A Layer is built where nothing can be interrupted, and this fiber must not inherit that.
      yield* Effect.forkScoped(
        Effect.interruptible(
          Effect.repeat(
            Effect.catchAllCause(look, () => Effect.void),
            Schedule.spaced(LOOK)
          )
        )
      )
    })
  )
