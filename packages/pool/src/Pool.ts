/**
 * A bounded pool of connections, or of anything else that is dear to open and serves one user at a time.
 *
 * A caller takes the youngest idle connection. If there is none it waits in line, by priority, and the pool opens a
 * connection if that is worth its time; whichever comes first, a released or a new one, serves the first in line.
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
 * - A caller that leaves takes nothing with it: not its place in line, not a connection, not a connect under way.
 * - Every wait ends: with a connection, with a typed error, or because the caller left.
 * - When the pool's scope has closed, every connection is closed.
 *
 * @since 0.1.0
 */
import {
  Context,
  Deferred,
  Duration,
  Effect,
  Fiber,
  Function,
  Option,
  Pipeable,
  Predicate,
  RuntimeFlags,
  RuntimeFlagsPatch,
  Scope,
  Stream
} from "effect"
import * as Deadline from "./Deadline.js"
import * as config from "./internal/config.js"
import type { Engine } from "./internal/engine.js"
import type { Entry } from "./internal/entry.js"
import { Waiter } from "./internal/queue.js"
import * as skin from "./internal/skin.js"
import type { AcquireError, InvalidOptions } from "./PoolError.js"
import type { PoolEvent } from "./PoolEvent.js"
import type { PoolOptions } from "./PoolOptions.js"
import type { PoolStats } from "./PoolStats.js"
import { CurrentPriority, type Priority } from "./Priority.js"

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
 * A pool of `A`. Made by `make`; ends with the scope it was made in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pool<in out A> extends Pipeable.Pipeable {
  readonly [TypeId]: skin.Skin<A>
  /** The name that errors and metrics use. */
  readonly name: string
}

/**
 * What one acquire may say for itself; what it leaves out comes from the fiber's references.
 *
 * @since 0.1.0
 * @category models
 */
export interface AcquireOptions {
  /** Default `CurrentPriority`. */
  readonly priority?: Priority | undefined
  /** Default `CurrentAcquireTimeout`, then the pool's `acquireTimeout`. */
  readonly acquireTimeout?: Duration.DurationInput | undefined
}

/**
 * How the leases that were out when a drain began have ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface DrainReport {
  /** Ended by themselves, or after they were cancelled. */
  readonly released: number
  /** Had their work stopped after 80 % of the time. */
  readonly cancelled: number
  /** Were taken away when the time was over. */
  readonly aborted: number
  /** From the start of the drain until the last connection was closed. */
  readonly elapsedMs: number
}

/**
 * Acquire timeout of everything in this fiber, instead of the pool's. Default: the pool's.
 *
 * @since 0.1.0
 * @category references
 */
export class CurrentAcquireTimeout extends Context.Reference<CurrentAcquireTimeout>()(
  "@sluice/pool/CurrentAcquireTimeout",
  { defaultValue: (): Duration.DurationInput | undefined => undefined }
) {}

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
 * - Fails with `InvalidOptions`, which lists every problem.
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
    return yield* Effect.acquireRelease(
      Effect.map(skin.make(parsed, options), (running): Pool<A> => {
        running.engine.start()
        return Object.assign(Object.create(Proto), { [TypeId]: running, name: parsed.name })
      }),
      // Uninterruptible and still bounded: leases by `drainTimeout`, everything else by the bound of its own work.
      (pool) => drain(pool, { within: parsed.drainTimeout })
    )
  })

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
 * - Fails with an `AcquireError` if there is no connection, else as `f` does.
 * - Interruption: at once while it waits; while `f` runs, as soon as `f` is interrupted. The connection is looked at
 *   when it comes back, and cleaned, stopped or closed in the pool's own fiber if need be: the caller does not wait
 *   for that.
 * - Cost: no scope, no fiber and no timer; only a caller that must wait is suspended.
 *
 * @since 0.1.0
 * @category combinators
 */
export const use: Use = (first: any, second?: any, third?: any): any =>
  // Not `dual`: looking at all arguments costs a fifth of an uncontended lease.
  typeof first === "function"
    ? (self: Pool<any>) => lend(self[TypeId].engine, first, false, second)
    : lend(first[TypeId].engine, second, false, third)

/**
 * As `use`, but others may use the same connection at the same time, up to `concurrency` of them: for work that the
 * connection can interleave, such as pipelined statements. Work is packed on as few connections as will take it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const share: Use = (first: any, second?: any, third?: any): any =>
  typeof first === "function"
    ? (self: Pool<any>) => lend(self[TypeId].engine, first, true, second)
    : lend(first[TypeId].engine, second, true, third)

/**
 * Begins work for `shareAsync`: see there. `answer` tells the caller before the work has ended; the lease goes on until
 * `resume` is called, and what `resume` is given then is ignored.
 *
 * @since 0.2.0
 * @category models
 */
export type Register<in A, out B, out E> = (
  resource: A,
  resume: (effect: Effect.Effect<B, E>) => void,
  answer: (effect: Effect.Effect<B, E>) => void
) => void

/**
 * As `share`, for work that says by a callback when it has ended, such as a statement in a pipeline: `register` begins it,
 * and calls `resume` once, at any time, with the result.
 *
 * - The lease ends when `resume` is called, and not when the caller leaves: the work of one who has left still has its place.
 *   So `register` must see to it that `resume` is called, also when the connection is lost.
 * - Fails with an `AcquireError` if there is no connection, else with what `resume` is given. A `register` that throws is a
 *   defect, and gives the connection back.
 * - Interruption: at once. Work that has begun goes on, unless `register` knows better.
 * - Cost: two thirds of `share`, because nothing has to be undone when the caller leaves.
 *
 * @since 0.1.0
 * @category combinators
 */
export const shareAsync = <A, B, E>(
  self: Pool<A>,
  register: Register<A, B, E>,
  options?: AcquireOptions
): Effect.Effect<B, E | AcquireError> =>
  Effect.async((resume) => {
    const { engine } = self[TypeId]
    const fiber = currentFiber()
    const entry = engine.takeShared(fiber)
    if (entry === undefined) resume(lineUp(engine, fiber, register, options))
    else start(engine, entry, entry.leaseId, register, resume)
  })

/**
 * A connection until the scope closes: for work that is not one effect. `use` costs a tenth of it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const acquire = <A>(self: Pool<A>, options?: AcquireOptions): Effect.Effect<A, AcquireError, Scope.Scope> => {
  const { engine } = self[TypeId]
  return Effect.uninterruptibleMask((restore) => {
    const fiber = currentFiber()
    const scope = Context.unsafeGet(fiber.currentContext as Context.Context<any>, Scope.Scope)
    return lent(engine, fiber, restore, options, (entry, leaseId) => {
      const release = Effect.sync(() => engine.release(entry, leaseId))
      return Effect.as(Scope.addFinalizer(scope, release), entry.resource)
    })
  })
}

/**
 * As `acquire`, for those who keep leases in a record of their own instead of a scope: `keep` is called once, at the moment
 * the lease is granted, with the connection and the way to give it back. What `keep` gives is the result.
 *
 * - Nobody else gives the connection back. `release` returns at once, and does nothing the second time.
 * - Interruption: of the wait, at any moment. An interrupt that strikes after `keep` was called ends the effect all the
 *   same, so whoever owns the record must look into it then.
 *
 * @since 0.1.0
 * @category combinators
 */
export const hold = <A, B>(
  self: Pool<A>,
  keep: (resource: A, release: () => void) => B,
  options?: AcquireOptions
): Effect.Effect<B, AcquireError> => {
  const { engine } = self[TypeId]
  return Effect.uninterruptibleMask((restore) =>
    lent(engine, currentFiber(), restore, options, (entry, leaseId) =>
      Effect.succeed(keep(entry.resource, () => engine.release(entry, leaseId)))
    )
  )
}

/** An exclusive lease, given to `keep` before anything can interrupt. */
const lent = <A, B>(
  engine: Engine<A>,
  fiber: Fiber.RuntimeFiber<any, any>,
  restore: Restore,
  options: AcquireOptions | undefined,
  keep: (entry: Entry<A>, leaseId: number) => Effect.Effect<B>
): Effect.Effect<B, AcquireError> => {
  const entry = engine.take(fiber)
  if (entry !== undefined) return keep(entry, entry.leaseId)
  const waiter = stand(engine, fiber, false, options)
  return Effect.matchCauseEffect(park(waiter, restore), {
    onFailure: (cause) => {
      engine.abandon(waiter)
      return Effect.failCause(cause)
    },
    onSuccess: () => keep(waiter.entry!, waiter.leaseId)
  })
}

/**
 * The one mask of a lease: what is between taking and giving back cannot be interrupted, except `f` and the wait. The
 * body of the mask runs inside it, so that the fast path needs no further step of the fiber to take its connection.
 */
const lend = <A, B, E, R>(
  engine: Engine<A>,
  f: (resource: A) => Effect.Effect<B, E, R>,
  shared: boolean,
  options: AcquireOptions | undefined
): Effect.Effect<B, E | AcquireError, R> =>
  Effect.uninterruptibleMask((restore) => {
    const fiber = currentFiber()
    const entry = shared ? engine.takeShared(fiber) : engine.take(fiber)
    if (entry !== undefined) return work(engine, entry, entry.leaseId, f, restore)
    const waiter = stand(engine, fiber, shared, options)
    // The frame of the work is made when there is work: what is parked is as small as can be.
    return Effect.matchCauseEffect(park(waiter, restore), {
      onFailure: (cause) => {
        engine.abandon(waiter)
        return Effect.failCause(cause)
      },
      onSuccess: () => work(engine, waiter.entry!, waiter.leaseId, f, restore)
    })
  })

const work = <A, B, E, R>(
  engine: Engine<A>,
  entry: Entry<A>,
  leaseId: number,
  f: (resource: A) => Effect.Effect<B, E, R>,
  restore: Restore
): Effect.Effect<B, E, R> =>
  Effect.matchCauseEffect(within(restore, begin(f, entry.resource)), {
    onFailure: (cause) => {
      engine.release(entry, leaseId)
      return Effect.failCause(cause)
    },
    onSuccess: (value) => {
      engine.release(entry, leaseId)
      return Effect.succeed(value)
    }
  })

const start = <A, B, E>(
  engine: Engine<A>,
  entry: Entry<A>,
  leaseId: number,
  register: Register<A, B, E>,
  resume: (effect: Effect.Effect<B, E>) => void
): void => {
  let isOver = false
  const end = (effect: Effect.Effect<B, E>): void => {
    if (isOver) return
    isOver = true
    engine.release(entry, leaseId)
    resume(effect)
  }
  try {
    register(entry.resource, end, resume)
  } catch (defect) {
    end(Effect.die(defect))
  }
}

/** Waits for a shared lease. The work begins before anything can interrupt, and then gives the connection back by itself. */
const lineUp = <A, B, E>(
  engine: Engine<A>,
  fiber: Fiber.RuntimeFiber<any, any>,
  register: Register<A, B, E>,
  options: AcquireOptions | undefined
): Effect.Effect<B, E | AcquireError> =>
  Effect.uninterruptibleMask((restore) => {
    const waiter = stand(engine, fiber, true, options)
    return Effect.matchCauseEffect(park(waiter, restore), {
      onFailure: (cause) => {
        engine.abandon(waiter)
        return Effect.failCause(cause)
      },
      onSuccess: () => {
        let resume: ((effect: Effect.Effect<B, E>) => void) | undefined
        let result: Effect.Effect<B, E> | undefined
        start<A, B, E>(engine, waiter.entry!, waiter.leaseId, register, (effect) => {
          result ??= effect
          resume?.(effect)
        })
        return within(
          restore,
          Effect.async<B, E>((callback) => {
            resume = callback
            if (result !== undefined) callback(result)
          })
        )
      }
    })
  })

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const interruptible = RuntimeFlagsPatch.enable(RuntimeFlags.Interruption)

/** `restore(effect)`; where that means interruptible, without the step in which `Effect.interruptible` makes itself. */
const within = <B, E, R>(restore: Restore, effect: Effect.Effect<B, E, R>): Effect.Effect<B, E, R> =>
  restore === Effect.interruptible ? Effect.withRuntimeFlagsPatch(effect, interruptible) : restore(effect)

/**
 * An `f` that throws must give its connection back like one that fails. Caught here, because the step of the fiber that
 * `Effect.suspend` takes for it is a tenth of an uncontended lease.
 */
const begin = <A, B, E, R>(f: (resource: A) => Effect.Effect<B, E, R>, resource: A): Effect.Effect<B, E, R> => {
  try {
    return f(resource)
  } catch (defect) {
    return Effect.die(defect)
  }
}

/** Inside a running effect there always is one. */
const currentFiber = (): Fiber.RuntimeFiber<any, any> => Option.getOrThrow(Fiber.getCurrentFiber())

/** Puts the fiber in line; it may be served, or refused, at once. */
const stand = <A>(
  engine: Engine<A>,
  fiber: Fiber.RuntimeFiber<any, any>,
  shared: boolean,
  options: AcquireOptions | undefined
): Waiter<A> => {
  const waiter = waiterOf<A>(engine, fiber, shared, options)
  engine.enter(waiter)
  return waiter
}

/**
 * Waits until the waiter is served or refused. The lease never exists only as a value on its way to the fiber: the
 * record holds it. An interrupt may strike after the lease was granted and before the fiber runs again; then the handler
 * around this finds it in the record and gives it back.
 */
const park = <A>(waiter: Waiter<A>, restore: Restore): Effect.Effect<void, AcquireError> =>
  within(
    restore,
    Effect.async<void, AcquireError>((resume) => {
      waiter.resume = resume
      // Served or refused before it came to wait: at once, or while the fiber had yielded on the way here.
      if (!waiter.queued) resume(waiter.error === undefined ? Effect.void : Effect.fail(waiter.error))
    })
  )

/** References are read only here, where the caller is about to wait: the fast path does not need them. */
const waiterOf = <A>(
  engine: Engine<A>,
  fiber: Fiber.RuntimeFiber<any, any>,
  shared: boolean,
  options: AcquireOptions | undefined
): Waiter<A> => {
  const context = fiber.currentContext
  const priority = options?.priority ?? Context.get(context, CurrentPriority)
  const asked = options?.acquireTimeout ?? Context.get(context, CurrentAcquireTimeout)
  const since = engine.host.now()
  const allowed = asked === undefined ? engine.config.acquireTimeout : Duration.toMillis(asked)
  const left = Math.max(0, Deadline.currentIn(context) - since)
  // Rounded down, so that waiters with many different deadlines share a few lines of the queue.
  const timeout = left >= allowed ? allowed : left > 100 ? Math.floor(left / 10) * 10 : left
  return new Waiter(priority, shared, fiber, since, timeout)
}

/**
 * Closes the connection: now if it is idle, when it is released if it is leased. False if the pool does not have it.
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
      for (const entry of engine.entries()) if (entry.resource === resource) return engine.evict(entry, "evicted")
      return false
    })
)

/**
 * Says that something happened to the host after which no open connection can be trusted: each must prove that it
 * works before it is handed out again, and the first one that does not closes all the idle ones.
 *
 * @since 0.1.0
 * @category control
 */
export const suspect = <A>(self: Pool<A>, cause?: unknown): Effect.Effect<void> =>
  Effect.sync(() => self[TypeId].engine.suspect(cause))

/**
 * What the pool holds now.
 *
 * @since 0.1.0
 * @category observability
 */
export const stats = <A>(self: Pool<A>): Effect.Effect<PoolStats> => Effect.sync(() => unsafeStats(self))

/**
 * As `stats`, for callbacks.
 *
 * @since 0.1.0
 * @category observability
 */
export const unsafeStats = <A>(self: Pool<A>): PoolStats => {
  const { engine, now } = self[TypeId]
  return engine.stats(now())
}

/**
 * What happens in the pool from now on; ends when the pool is closed. Costs nothing while nobody listens. A listener
 * that is more than 4,096 events behind misses the oldest ones.
 *
 * @since 0.1.0
 * @category observability
 */
export const events = <A>(self: Pool<A>): Stream.Stream<PoolEvent> => {
  const { drained, listen } = self[TypeId]
  return Stream.asyncPush<PoolEvent>(
    (emit) =>
      Effect.acquireRelease(
        Effect.sync(() => listen(emit.single)),
        (stop) => Effect.sync(stop)
      ),
    { bufferSize: 4_096, strategy: "sliding" }
  ).pipe(Stream.interruptWhen(Deferred.await(drained)))
}

/**
 * Changes `maxSize`, and `minIdle` to at most that. Idle connections above it close at once, leased ones on release.
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
    Effect.flatMap(config.parse({ name: self.name, maxSize, minIdle: 0 }), () =>
      Effect.sync(() => self[TypeId].engine.resize(maxSize))
    )
)

/**
 * No lease is granted until `resume`; acquires wait, each up to its own deadline. Leases that exist go on.
 *
 * - `atMost`: the pool resumes by itself after it. Default 1 minute, at most 1 hour.
 *
 * @since 0.1.0
 * @category control
 */
export const suspend = <A>(
  self: Pool<A>,
  options?: { readonly atMost?: Duration.DurationInput | undefined }
): Effect.Effect<void> =>
  Effect.sync(() => self[TypeId].engine.suspend(Math.min(3_600_000, Duration.toMillis(options?.atMost ?? 60_000))))

/**
 * Ends a `suspend`; does nothing to a running pool.
 *
 * @since 0.1.0
 * @category control
 */
export const resume = <A>(self: Pool<A>): Effect.Effect<void> => Effect.sync(() => self[TypeId].engine.resume())

/**
 * Replaces every connection that is open now, for example after a change of the host's settings: idle ones close, the
 * others when they are released.
 *
 * - `spread`: how long that may take; connections are replaced one after the other, evenly. Default 0: at once.
 *
 * @since 0.1.0
 * @category control
 */
export const reset = <A>(
  self: Pool<A>,
  options?: { readonly spread?: Duration.DurationInput | undefined }
): Effect.Effect<void> => Effect.sync(() => self[TypeId].engine.reset(Duration.toMillis(options?.spread ?? 0)))

/**
 * Closes the pool for good: waiters and new acquires fail with `PoolClosed` at once; leases may go on for `within`; after
 * 80 % of it what they run is stopped; after all of it they are taken away. Returns when every connection is closed.
 *
 * - `within`: default the pool's `drainTimeout`. Worst case: `within + connectTimeout + closeTimeout`.
 * - A second drain joins the first, and may shorten it.
 *
 * @since 0.1.0
 * @category control
 */
export const drain = <A>(
  self: Pool<A>,
  options?: { readonly within?: Duration.DurationInput | undefined }
): Effect.Effect<DrainReport> =>
  Effect.suspend(() => {
    const { drained, engine, now } = self[TypeId]
    const startedAt = now()
    engine.drain(Duration.toMillis(options?.within ?? engine.config.drainTimeout))
    return Effect.map(Deferred.await(drained), (counts): DrainReport => ({ ...counts, elapsedMs: now() - startedAt }))
  })
