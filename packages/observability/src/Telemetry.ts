/**
 * Metrics of every pool and of every `Sql` of the program, in the registry of Effect.
 *
 * From there they go wherever the program sends its metrics: to Prometheus by `Prometheus.layer`, or to a collector by
 * `@effect/opentelemetry`. What each of them means says `Catalog`.
 *
 * @since 0.2.0
 */
import * as Deadline from "@sluice/pool/Deadline"
import { Clock, Effect, Layer, Schedule, type Scope } from "effect"
import { EVERY, hub } from "./internal/telemetry/hub.js"

/**
 * What is measured.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /**
   * - `basic`: the pools: connections, waits, holds, connects, leaks.
   * - `full`: the statements as well, by operation, endpoint and error, and routes, retries, replicas, and stalls of the process.
   *
   * Default `full`, which costs pooled point reads about a tenth of their throughput; `basic` costs them next to nothing.
   */
  readonly level?: "basic" | "full" | undefined
}

/**
 * Measures everything until the scope closes.
 *
 * @see `layer`, which says what it does.
 * @since 0.2.0
 * @category constructors
 */
export const make = ({ level = "full" }: Options = {}): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.clockWith(Effect.succeed)
    const now = Deadline.nowOf(clock)
    yield* Effect.acquireRelease(
      Effect.sync(() => hub.attach(level, now)),
      (detach) => Effect.sync(detach)
    )
    let last = now()
    const second = Effect.sync(() => {
      const at = now()
      hub.second(at, Math.max(0, at - last - EVERY))
      last = now()
    })
    // A Layer may be built where nothing can be interrupted, and the fibers that are started here must not inherit that.
    const eachSecond = (work: Effect.Effect<void>) =>
      Effect.forkScoped(Effect.interruptible(Effect.repeat(work, Schedule.spaced(EVERY))))
    yield* eachSecond(second)
    if (level === "full") yield* eachSecond(Effect.suspend(() => hub.asked(now())))
  })

/**
 * Attaches metrics to every pool and every `Sql` of the program, to those that are there and to those that are made later, by
 * whatever part of the program.
 *
 * **When to use:** once, in the main Layer. It need not be beside the Layers of the databases, nor above or below them.
 *
 * - Without it nothing is measured and nothing is paid. Two of them measure once, at the higher level.
 * - Counts and times are exact. What there is now (connections, queues, ages) is at most a second old; a scrape of
 *   `Prometheus` brings it up to date.
 * - **Two pools of one name** share their series: counts and numbers of connections are their sum, as the server sees it, and of two ages
 *   the greater one is shown. Give them names (`pool: { name }`) to tell them apart.
 * - With `full` the server that takes the writes is asked once a minute how many connections it has, on the control connection.
 * - A pool that has closed leaves its counts, and its numbers of connections become 0.
 * - Names of pools are values of an attribute. After 1,000 different ones further pools share the name `(others)`.
 *
 * @example
 * ```ts
 * import { Telemetry } from "@sluice/observability"
 * import { Pool } from "@sluice/pool"
 * import { Effect, Metric } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const pool = yield* Pool.make({ name: "printers", maxSize: 2, connect: () => Effect.succeed("a printer") })
 *   yield* Pool.use(pool, () => Effect.void)
 *   for (const { metricKey, metricState } of yield* Metric.snapshot) {
 *     if (metricKey.name === "db.client.connection.use_time" && "count" in metricState) {
 *       console.log(`${metricState.count} lease has ended`)
 *     }
 *   }
 * }).pipe(Effect.scoped, Effect.provide(Telemetry.layer({ level: "basic" })))
 *
 * Effect.runPromise(program)
 * // 1 lease has ended
 * ```
 *
 * @see `Prometheus.layer` to have them scraped.
 * @see `Catalog` for what there is.
 * @since 0.2.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<never> => Layer.scopedDiscard(make(options))
