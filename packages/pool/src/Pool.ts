/**
 * A bounded pool of connections, or of anything else that is dear to open and serves one user at a time.
 *
 * A caller gets the idle connection that was used last. If there is none it waits in a queue, by priority, and the pool opens
 * a connection if that is worth its time. Whichever comes first, a released connection or a new one, serves the first waiter.
 *
 * ```
 * connecting ──► idle ◄──────► leased ──► closed
 *                 │ ▲            │ ▲
 *                 ▼ │            ▼ │
 *              validating   resetting, quarantined
 * ```
 *
 * What holds at any moment, whatever is interrupted:
 *
 * - No more than `maxSize` connections exist, counting those being opened and closed.
 * - A connection has one user (or, shared, up to `concurrency`), and goes to the next one only when it is clean.
 * - A caller that leaves takes nothing with it: no place in the queue, no connection, no connect under way.
 * - Every wait ends: with a connection, with a typed error, or because the caller left.
 * - When the pool's scope has closed, every connection is closed.
 *
 * @since 0.1.0
 */
import {
  type Context,
  Deferred,
  type Duration,
  Effect,
  Function,
  Layer,
  Pipeable,
  Predicate,
  Scope,
  type Stream
} from "effect"
import * as Deadline from "./Deadline.js"
import { Gauge } from "./internal/gauge.js"
import * as config from "./internal/runtime/config.js"
import * as lending from "./internal/runtime/hooked.js"
import * as runtime from "./internal/runtime/runtime.js"
import type { AcquireError, InvalidOptions } from "./PoolError.js"
import type { PoolEvent } from "./PoolEvent.js"
import type { AcquireOptions, PoolOptions, Register } from "./PoolOptions.js"
import type { DrainReport, PoolGauge, PoolStats } from "./PoolStats.js"
import { rank } from "./Priority.js"

export { type AcquireOptions, CurrentAcquireTimeout, type Register } from "./PoolOptions.js"
export type { DrainReport } from "./PoolStats.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("@sluice/pool/Pool")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * A pool of `A`. Made by `make` or `layer`; ends with the scope it was made in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pool<in out A> extends Pipeable.Pipeable {
  readonly [TypeId]: runtime.Runtime<A> & { readonly gauge: PoolGauge }
  /** The name that errors use. */
  readonly name: string
}

/**
 * True for a pool.
 *
 * @since 0.1.0
 * @category guards
 */
export const isPool = (u: unknown): u is Pool<unknown> => Predicate.hasProperty(u, TypeId)

const Proto = {
  pipe() {
    // biome-ignore lint/complexity/noArguments: the shape of every pipe method
    return Pipeable.pipeArguments(this, arguments)
  },
  toString(this: Pool<unknown>) {
    return `Pool(${this.name})`
  }
}

/**
 * Makes a pool that lives as long as the scope. Returns at once: connections are opened in the background up to
 * `minIdle`, and then when callers need them.
 *
 * When the scope closes the pool drains: leases have `drainTimeout` to end, after which they are taken away.
 *
 * **When to use** For a pool that one effect makes and uses. Several parts of a program share a service: `layer`.
 *
 * - Fails with `InvalidOptions`, which lists every problem.
 * - Does not fail when the host is down: the callers find that out. To find it out at the start, `use` the pool once.
 *
 * @example
 * ```ts
 * import { Pool } from "@sluice/pool"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const pool = yield* Pool.make({
 *     maxSize: 2,
 *     connect: () =>
 *       Effect.acquireRelease(Effect.succeed({ greet: (name: string) => `hello ${name}` }), () => Effect.void)
 *   })
 *   return yield* Pool.use(pool, (connection) => Effect.succeed(connection.greet("world")))
 * }).pipe(Effect.scoped)
 *
 * Effect.runPromise(program).then(console.log)
 * // hello world
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A, E, R>(
  options: PoolOptions<A, E, R>
): Effect.Effect<Pool<A>, InvalidOptions, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    const parsed = yield* config.parse(options)
    // Before the pool, so that they end after it: the end of the pool is bounded by them.
    const timers = yield* Deadline.ofContext
    const scope = yield* Effect.scope
    const running = yield* runtime.make(parsed, options, timers)
    const inside = { ...running, gauge: new Gauge(running.engine, rank) }
    const pool: Pool<A> = Object.assign(Object.create(Proto), { [TypeId]: inside, name: parsed.name })
    // Uninterruptible and still bounded: leases by `drainTimeout`, everything else by the bound of its own work.
    yield* Scope.addFinalizer(scope, Effect.uninterruptible(drain(pool, { within: parsed.drainTimeout })))
    // After that, so that nothing is open that nobody closes.
    running.register(pool)
    running.engine.start()
    return pool
  })

/**
 * A pool as a service of the program, under a tag of your own. It opens with the layer and drains when the layer ends.
 *
 * **When to use** For a pool that several parts of a program share, such as requests and background jobs.
 *
 * - Fails with `InvalidOptions`, which lists every problem.
 *
 * @example
 * ```ts
 * import { Pool } from "@sluice/pool"
 * import { Context, Effect } from "effect"
 *
 * class Printers extends Context.Tag("Printers")<Printers, Pool.Pool<{ print: (text: string) => string }>>() {}
 *
 * const PrintersLive = Pool.layer(Printers, {
 *   name: "printers",
 *   maxSize: 2,
 *   connect: () => Effect.succeed({ print: (text: string) => `printed ${text}` })
 * })
 *
 * const program = Effect.flatMap(Printers, (printers) =>
 *   Pool.use(printers, (printer) => Effect.succeed(printer.print("a page")))
 * )
 *
 * Effect.runPromise(Effect.provide(program, PrintersLive)).then(console.log)
 * // printed a page
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = <I, A, E, R>(
  tag: Context.Tag<I, Pool<A>>,
  options: PoolOptions<A, E, R>
): Layer.Layer<I, InvalidOptions, Exclude<R, Scope.Scope>> => Layer.scoped(tag, make(options))

/**
 * The shape of `use` and `share`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Use {
  <A, B, E, R>(
    f: (resource: A) => Effect.Effect<B, E, R>,
    options?: AcquireOptions
  ): (self: Pool<A>) => Effect.Effect<B, E | AcquireError, R>
  <A, B, E, R>(
    self: Pool<A>,
    f: (resource: A) => Effect.Effect<B, E, R>,
    options?: AcquireOptions
  ): Effect.Effect<B, E | AcquireError, R>
}

/**
 * Runs `f` with a connection that nobody else uses meanwhile, and gives it back whatever happens.
 *
 * **When to use** Whenever the work with a connection is one effect.
 *
 * - Fails with an `AcquireError` if there is no connection, else as `f` does.
 * - Interruption: at once while it waits; while `f` runs, as soon as `f` is interrupted. A caller that leaves does not stop a
 *   connect that has begun for it.
 * - The connection is cleaned, stopped or closed after `f`, if it must be, in the pool's own fiber. The caller does not wait
 *   for that.
 * - Cost: no scope, no fiber and no timer; only a caller that must wait is suspended.
 *
 * @see `share` for work that several callers can do on one connection at once.
 * @see `acquire` for a connection that a scope holds.
 *
 * @since 0.1.0
 * @category combinators
 */
export const use: Use = (first: any, second?: any, third?: any): any =>
  // Not `dual`: looking at all arguments costs a fifth of an uncontended lease.
  typeof first === "function"
    ? (self: Pool<any>) => lending.lend(self[TypeId], first, false, second)
    : lending.lend(first[TypeId], second, false, third)

/**
 * As `use`, but other callers may use the same connection at the same time, up to `concurrency` of them. Callers are packed on
 * as few connections as will take them.
 *
 * **When to use** For short work that a connection can interleave, such as pipelined statements.
 *
 * @see `use` for work that needs the connection alone, such as a transaction.
 * @see `shareAsync` for work that says by a callback when it has ended.
 *
 * @since 0.1.0
 * @category combinators
 */
export const share: Use = (first: any, second?: any, third?: any): any =>
  typeof first === "function"
    ? (self: Pool<any>) => lending.lend(self[TypeId], first, true, second)
    : lending.lend(first[TypeId], second, true, third)

/**
 * As `share`, for work that calls back when it has ended: `register` begins the work, and calls `resume` once, at any time,
 * with the result.
 *
 * **When to use** In a driver, for a statement in a pipeline.
 *
 * - The lease ends when `resume` is called, not when the caller leaves: the statement of a caller that has left still occupies
 *   its place in the pipeline. So `register` must see to it that `resume` is called, also when the connection is lost.
 * - Fails with an `AcquireError` if there is no connection, else with what `resume` is given. A `register` that throws is a
 *   defect, and gives the connection back.
 * - Interruption: at once. It does not stop work that has begun.
 * - Cost: two thirds of `share`, because nothing has to be undone when the caller leaves.
 *
 * @see `share` for work that is an effect.
 *
 * @since 0.1.0
 * @category combinators
 */
export const shareAsync = <A, B, E>(
  self: Pool<A>,
  register: Register<A, B, E>,
  options?: AcquireOptions
): Effect.Effect<B, E | AcquireError> => lending.lendAsync(self[TypeId], register, options)

/**
 * A connection until the scope closes. `use` costs a tenth of it.
 *
 * **When to use** For work that is not one effect, such as a stream or a service that holds its connection.
 *
 * @see `use` for work that is one effect.
 * @see `hold` for a caller that keeps leases in a record of its own.
 *
 * @since 0.1.0
 * @category combinators
 */
export const acquire = <A>(self: Pool<A>, options?: AcquireOptions): Effect.Effect<A, AcquireError, Scope.Scope> =>
  lending.acquire(self[TypeId], options)

/**
 * A connection until `release` is called: `keep` is called once, at the moment the lease is granted, with the connection and
 * with `release`. What `keep` gives is the result.
 *
 * **When to use** For a library that keeps leases in a record of its own, where a scope would cost too much.
 *
 * - Nobody else gives the connection back, except when `keep` throws: that is a defect, and the lease ends. `release` returns
 *   at once, and does nothing the second time.
 * - Interruption: of the wait, at any moment. An interrupt that strikes after `keep` was called ends the effect all the
 *   same, so the owner of the record must look into it then.
 *
 * @see `acquire` for the same in a scope, which gives the connection back by itself.
 *
 * @since 0.1.0
 * @category combinators
 */
export const hold = <A, B>(
  self: Pool<A>,
  keep: (resource: A, release: () => void) => B,
  options?: AcquireOptions
): Effect.Effect<B, AcquireError> => lending.hold(self[TypeId], keep, options)

/**
 * Closes the connection: now if it is idle, when it is released if it is leased. False if the pool does not have it.
 *
 * **When to use** When the program has found out that one connection is broken and the connection does not know it itself.
 *
 * @see `suspect` if every connection may be broken.
 * @see `reset` to replace all of them.
 *
 * @since 0.1.0
 * @category control
 */
export const evict: {
  <A>(resource: A): (self: Pool<A>) => Effect.Effect<boolean>
  <A>(self: Pool<A>, resource: A): Effect.Effect<boolean>
} = Function.dual(
  2,
  <A>(self: Pool<A>, resource: A): Effect.Effect<boolean> =>
    Effect.sync(() => {
      const { engine } = self[TypeId]
      for (const entry of engine.state.entries()) if (entry.resource === resource) return engine.evict(entry, "evicted")
      return false
    })
)

/**
 * Tells the pool that no open connection can be trusted any more: each must pass a check before it is handed out again, and
 * the first one that does not closes all the idle ones. Does nothing to the leases, nor if there is no option `validate`.
 *
 * **When to use** After an event on the host, such as a failover, that the connections may not have noticed.
 *
 * @see `reset` to replace the connections in any case.
 *
 * @since 0.1.0
 * @category control
 */
export const suspect = <A>(self: Pool<A>, cause?: unknown): Effect.Effect<void> =>
  Effect.sync(() => self[TypeId].engine.suspect(cause))

/**
 * Fails every caller that waits now with `Dismissed`. Does nothing to leases, to connects, and to callers that come later.
 *
 * **When to use** When another pool has taken the place of this one, so that its waiters go there.
 *
 * @see `suspend` to let callers wait.
 *
 * @since 0.2.0
 * @category control
 */
export const dismiss = <A>(self: Pool<A>): Effect.Effect<void> => Effect.sync(() => self[TypeId].engine.dismiss())

/**
 * What the pool holds now, and what it has done.
 *
 * @see `gauge` for code that looks at every call.
 * @see `events` for what happens between two looks.
 *
 * @since 0.1.0
 * @category observability
 */
export const stats = <A>(self: Pool<A>): Effect.Effect<PoolStats> => Effect.sync(() => unsafeStats(self))

/**
 * As `stats`, for code that is no effect, such as a callback.
 *
 * @since 0.1.0
 * @category observability
 */
export const unsafeStats = <A>(self: Pool<A>): PoolStats => {
  const { engine, now } = self[TypeId]
  return engine.stats(now())
}

/**
 * A few numbers of the pool that are always those of the present moment. Every call gives the same object, and reading it
 * makes none.
 *
 * **When to use** For a router that compares pools at every call.
 *
 * @since 0.2.0
 * @category observability
 */
export const gauge = <A>(self: Pool<A>): PoolGauge => self[TypeId].gauge

/**
 * What happens in the pool from now on; ends when the pool is closed. Costs nothing while nobody listens. A listener
 * that is more than 4,096 events behind misses the oldest ones.
 *
 * @see `stats` for totals.
 *
 * @since 0.1.0
 * @category observability
 */
export const events = <A>(self: Pool<A>): Stream.Stream<PoolEvent> => runtime.events(self[TypeId])

/**
 * As `events`, for code that is no effect. `listener` is called in the middle of what the pool does, until the function that
 * this gives is called: it must not throw, and must not call the pool.
 *
 * @since 0.2.0
 * @category observability
 */
export const unsafeListen = <A>(self: Pool<A>, listener: (event: PoolEvent) => void): (() => void) =>
  self[TypeId].listen(listener)

/**
 * Changes `maxSize`, and `minIdle` to at most that. Idle connections above it close at once, leased ones on release. Does not
 * open connections before callers need them.
 *
 * **When to use** To move connections of a fleet from one process to another while both run.
 *
 * @see `suspend` to stop new leases for a while.
 *
 * @since 0.1.0
 * @category control
 */
export const resize: {
  (maxSize: number): <A>(self: Pool<A>) => Effect.Effect<void, InvalidOptions>
  <A>(self: Pool<A>, maxSize: number): Effect.Effect<void, InvalidOptions>
} = Function.dual(
  2,
  <A>(self: Pool<A>, maxSize: number): Effect.Effect<void, InvalidOptions> =>
    Effect.flatMap(config.parseConfig({ name: self.name, maxSize, minIdle: 0 }), () =>
      Effect.sync(() => self[TypeId].engine.resize(maxSize))
    )
)

/**
 * No lease is granted until `resume`; acquires wait, each up to its own deadline. Leases that exist go on.
 *
 * **When to use** During a short maintenance of the host that callers can wait for.
 *
 * - `atMost`: the pool resumes by itself after it. Default 1 minute, at most 1 hour.
 *
 * @see `resume` ends it.
 * @see `drain` to end the pool for good.
 *
 * @since 0.1.0
 * @category control
 */
export const suspend = <A>(
  self: Pool<A>,
  options?: { readonly atMost?: Duration.DurationInput | undefined }
): Effect.Effect<void> =>
  Effect.map(config.duration(self.name, "atMost", options), (atMost = 60_000) =>
    self[TypeId].engine.suspend(Math.min(3_600_000, atMost))
  )

/**
 * Ends a `suspend`; does nothing to a running pool.
 *
 * @see `suspend` begins it.
 *
 * @since 0.1.0
 * @category control
 */
export const resume = <A>(self: Pool<A>): Effect.Effect<void> => Effect.sync(() => self[TypeId].engine.resume())

/**
 * Replaces every connection that is open now: idle ones close, the others when they are released. Callers wait for none of
 * that.
 *
 * **When to use** After a change of the host's settings or address that only new connections see.
 *
 * - `spread`: how long that may take; connections are replaced one after the other, evenly. Default 0: at once.
 *
 * @see `suspect` to keep the connections that still work.
 *
 * @since 0.1.0
 * @category control
 */
export const reset = <A>(
  self: Pool<A>,
  options?: { readonly spread?: Duration.DurationInput | undefined }
): Effect.Effect<void> =>
  Effect.map(config.duration(self.name, "spread", options), (spread = 0) => self[TypeId].engine.reset(spread))

/**
 * Closes the pool for good: waiters and new acquires fail with `PoolClosed` at once; leases may go on for `within`; after
 * 80 % of it what they run is stopped; after all of it they are taken away. Returns when every connection is closed.
 *
 * - `within`: default the pool's `drainTimeout`. Worst case: `within + connectTimeout + closeTimeout`.
 * - A second drain joins the first, and may shorten it.
 *
 * **When to use** To end a pool before its scope ends, or with another bound. The scope drains by itself.
 *
 * @see `suspend` for a pause that ends.
 *
 * @since 0.1.0
 * @category control
 */
export const drain = <A>(
  self: Pool<A>,
  options?: { readonly within?: Duration.DurationInput | undefined }
): Effect.Effect<DrainReport> =>
  Effect.flatMap(config.duration(self.name, "within", options), (within) => {
    const { drained, engine, now } = self[TypeId]
    const startedAt = now()
    engine.drain(within ?? engine.config.drainTimeout)
    return Effect.map(
      Deferred.await(drained),
      (counts): DrainReport => ({ ...counts, elapsedMs: Math.round(now() - startedAt) })
    )
  })
