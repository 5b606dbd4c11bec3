/**
 * How the verbs of `Pool` lend a connection to a fiber: the masks, the wait, and what gives the connection back.
 */
import type { AsyncResource } from "node:async_hooks"
import { Context, Duration, Effect, Fiber, Option, RuntimeFlags, RuntimeFlagsPatch, Scope } from "effect"
import { async, capture } from "../../AsyncContext.js"
import * as Deadline from "../../Deadline.js"
import * as OptionTable from "../../OptionTable.js"
import type { Origin } from "../../Origin.js"
import { type AcquireError, InvalidOptions } from "../../PoolError.js"
import { type AcquireOptions, CurrentAcquireTimeout, elsewhere, type Register } from "../../PoolOptions.js"
import { CurrentPriority, isPriority, rank } from "../../Priority.js"
import type { Engine } from "../engine.js"
import type { Lease } from "../entry.js"
import { Waiter } from "../queue.js"
import { note, waited } from "./notes.js"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
type Resume<B, E> = (effect: Effect.Effect<B, E>) => void

/**
 * `use` and `share`. One mask around everything: nothing between taking and giving back can be interrupted, except the wait
 * and `f`. The connection is taken inside of the mask's body, so that the fast path needs no further step of the fiber.
 */
export const lend = <A, B, E, R>(
  engine: Engine<A>,
  f: (resource: A) => Effect.Effect<B, E, R>,
  shared: boolean,
  options: AcquireOptions | undefined,
  origin: Origin | undefined
): Effect.Effect<B, E | AcquireError, R> =>
  Effect.uninterruptibleMask((restore) => {
    const fiber = currentFiber()
    if (options !== undefined && !isValid(options)) return misuse(engine, fiber, options)
    const lease = shared ? engine.takeShared(fiber) : engine.take(fiber)
    if (lease !== undefined) {
      note(engine, lease, fiber, origin)
      return work(engine, lease, f, restore)
    }
    const waiter = waiterOf(engine, fiber, shared, options)
    if (waiter === undefined) return misuse(engine, fiber, options)
    engine.enter(waiter)
    // The frame of the work is made when there is work: what is parked is as small as can be.
    return Effect.matchCauseEffect(park(waiter, restore), {
      onFailure: (cause) => {
        engine.abandon(waiter)
        return Effect.failCause(cause)
      },
      onSuccess: () => {
        note(engine, waiter.lease!, fiber, origin)
        waited(waiter, fiber)
        return work(engine, waiter.lease!, f, restore)
      }
    })
  })

/** An exclusive lease that `keep` receives before anything can interrupt. If `keep` throws, the lease ends. */
export const hold = <A, B>(
  engine: Engine<A>,
  keep: (lease: Lease<A>) => Effect.Effect<B>,
  options: AcquireOptions | undefined,
  origin: Origin | undefined
): Effect.Effect<B, AcquireError> =>
  Effect.uninterruptibleMask((restore) => {
    const fiber = currentFiber()
    if (options !== undefined && !isValid(options)) return misuse(engine, fiber, options)
    const lease = engine.take(fiber)
    if (lease !== undefined) {
      note(engine, lease, fiber, origin)
      return kept(engine, lease, keep)
    }
    const waiter = waiterOf(engine, fiber, false, options)
    if (waiter === undefined) return misuse(engine, fiber, options)
    engine.enter(waiter)
    return Effect.matchCauseEffect(park(waiter, restore), {
      onFailure: (cause) => {
        engine.abandon(waiter)
        return Effect.failCause(cause)
      },
      onSuccess: () => {
        note(engine, waiter.lease!, fiber, origin)
        waited(waiter, fiber)
        return kept(engine, waiter.lease!, keep)
      }
    })
  })

/** An exclusive lease until the scope of the caller closes. */
export const acquire = <A>(
  engine: Engine<A>,
  options: AcquireOptions | undefined,
  origin: Origin | undefined
): Effect.Effect<A, AcquireError, Scope.Scope> =>
  hold(
    engine,
    (lease) => {
      const scope = Context.unsafeGet(currentFiber().currentContext as Context.Context<any>, Scope.Scope)
      const release = Effect.sync(() => engine.release(lease))
      return Effect.as(Scope.addFinalizer(scope, release), lease.entry.resource)
    },
    options,
    origin
  )

/** `shareAsync`: a shared lease that ends when the work calls back. */
export const lendAsync = <A, B, E>(
  engine: Engine<A>,
  register: Register<A, B, E>,
  options: AcquireOptions | undefined
): Effect.Effect<B, E | AcquireError> =>
  Effect.async((resume) => {
    const fiber = currentFiber()
    if (options !== undefined && !isValid(options)) return resume(misuse(engine, fiber, options))
    const lease = engine.takeShared(fiber)
    if (lease === undefined) return resume(waitAsync(engine, fiber, register, options))
    note(engine, lease, fiber, undefined)
    start(engine, lease, register, resume, capture())
  })

/** Waits for a shared lease. The work begins before anything can interrupt, and then gives the connection back by itself. */
const waitAsync = <A, B, E>(
  engine: Engine<A>,
  fiber: Fiber.RuntimeFiber<any, any>,
  register: Register<A, B, E>,
  options: AcquireOptions | undefined
): Effect.Effect<B, E | AcquireError> =>
  Effect.uninterruptibleMask((restore) => {
    const waiter = waiterOf(engine, fiber, true, options)
    if (waiter === undefined) return misuse(engine, fiber, options)
    engine.enter(waiter)
    return Effect.matchCauseEffect(park(waiter, restore), {
      onFailure: (cause) => {
        engine.abandon(waiter)
        return Effect.failCause(cause)
      },
      onSuccess: () => {
        let resume: Resume<B, E> | undefined
        let result: Effect.Effect<B, E> | undefined
        note(engine, waiter.lease!, fiber, undefined)
        waited(waiter, fiber)
        const told = (effect: Effect.Effect<B, E>): void => {
          result ??= effect
          resume?.(effect)
        }
        // The caller goes on in its own context by itself. Who listens is told of the end of the lease there, too.
        start(engine, waiter.lease!, register, told, engine.host.emit === undefined ? undefined : capture())
        return within(
          restore,
          async<B, E>((callback) => {
            resume = callback
            if (result !== undefined) callback(result)
          })
        )
      }
    })
  })

const work = <A, B, E, R>(
  engine: Engine<A>,
  lease: Lease<A>,
  f: (resource: A) => Effect.Effect<B, E, R>,
  restore: Restore
): Effect.Effect<B, E, R> =>
  Effect.matchCauseEffect(within(restore, begin(f, lease.entry.resource)), {
    onFailure: (cause) => {
      engine.release(lease)
      return Effect.failCause(cause)
    },
    onSuccess: (value) => {
      engine.release(lease)
      return Effect.succeed(value)
    }
  })

const kept = <A, B>(
  engine: Engine<A>,
  lease: Lease<A>,
  keep: (lease: Lease<A>) => Effect.Effect<B>
): Effect.Effect<B> => {
  try {
    return keep(lease)
  } catch (defect) {
    engine.release(lease)
    return Effect.die(defect)
  }
}

const start = <A, B, E>(
  engine: Engine<A>,
  lease: Lease<A>,
  register: Register<A, B, E>,
  resume: Resume<B, E>,
  /** The async context of the caller. */
  context: AsyncResource | undefined
): void => {
  let isOver = false
  const finish = (effect: Effect.Effect<B, E>): void => {
    if (isOver) return
    isOver = true
    engine.release(lease)
    resume(effect)
  }
  const end: Resume<B, E> =
    context === undefined ? finish : (effect) => context.runInAsyncScope(finish, undefined, effect)
  const answer: Resume<B, E> =
    context === undefined ? resume : (effect) => context.runInAsyncScope(resume, undefined, effect)
  try {
    register(lease.entry.resource, end, answer)
  } catch (defect) {
    end(Effect.die(defect))
  }
}

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

/**
 * Where Effect keeps the running fiber. `Fiber.getCurrentFiber` reads the same, and makes an `Option` of it, which takes as long
 * as the engine takes to grant a lease. It is asked where Effect keeps the fiber elsewhere.
 */
const running = globalThis as { readonly ["effect/FiberCurrent"]?: Fiber.RuntimeFiber<any, any> | null }

/** Inside a running effect there always is one. */
const currentFiber = (): Fiber.RuntimeFiber<any, any> =>
  running["effect/FiberCurrent"] ?? Option.getOrThrow(Fiber.getCurrentFiber())

/**
 * Waits until the waiter is served or refused. The lease never exists only as a value on its way to the fiber: the record
 * holds it. An interrupt may strike after the lease was granted and before the fiber runs again. Then the handler around this
 * effect finds the lease in the record and gives it back.
 */
const park = <A>(waiter: Waiter<A>, restore: Restore): Effect.Effect<void, AcquireError> =>
  within(
    restore,
    async<void, AcquireError>((resume) => {
      waiter.resume = resume
      // The waiter may have been served or refused before: at once, or while the fiber had yielded on the way here.
      if (!waiter.queued) resume(waiter.error === undefined ? Effect.void : Effect.fail(waiter.error as AcquireError))
    })
  )

/** `undefined` where the options or the references of the fiber make no sense. */
const waiterOf = <A>(
  engine: Engine<A>,
  fiber: Fiber.RuntimeFiber<any, any>,
  shared: boolean,
  options: AcquireOptions | undefined
): Waiter<A> | undefined => {
  // References are read only here, where the caller is about to wait: the fast path does not need them.
  const context = fiber.currentContext
  const priority = options?.priority ?? Context.get(context, CurrentPriority)
  const asked = options?.acquireTimeout ?? Context.get(context, CurrentAcquireTimeout)
  const since = engine.host.now()
  const allowed = asked === undefined ? engine.config.acquireTimeout : millisOf(asked)
  const left = Math.max(0, Deadline.currentIn(context) - since)
  if (!isPriority(priority) || Number.isNaN(allowed) || Number.isNaN(left)) return undefined
  // Rounded down, so that waiters with many different deadlines share a few lists of the queue.
  const timeout = left >= allowed ? allowed : left > 100 ? Math.floor(left / 10) * 10 : left
  return new Waiter(priority, rank[priority], shared, fiber, since, timeout, since + left)
}

/** Milliseconds, 0 and more; `NaN` for what is no duration or less than nothing, which `Duration` would take for zero. */
export const millisOf = (input: Duration.DurationInput): number => {
  if (typeof input === "number") return input >= 0 ? input : Number.NaN
  if (typeof input === "string" && input.trim().startsWith("-")) return Number.NaN
  return Option.match(Duration.decodeUnknown(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })
}

const table: OptionTable.Table<AcquireOptions> = {
  priority: OptionTable.anything,
  acquireTimeout: OptionTable.anything
}

const isValid = (options: AcquireOptions): boolean => {
  for (const name in options) if (!Object.hasOwn(table, name)) return false
  const { acquireTimeout, priority } = options
  return (
    (acquireTimeout === undefined || !Number.isNaN(millisOf(acquireTimeout))) &&
    (priority === undefined || isPriority(priority))
  )
}

/** A wrong call is a mistake in the program, so it is a defect. It must not wait for ever and must not be ignored. */
const misuse = <A>(
  engine: Engine<A>,
  fiber: Fiber.RuntimeFiber<any, any>,
  options: AcquireOptions | undefined
): Effect.Effect<never> => {
  const context = fiber.currentContext
  const priority: unknown = options?.priority ?? Context.get(context, CurrentPriority)
  const timeout = options?.acquireTimeout ?? Context.get(context, CurrentAcquireTimeout)
  const problems = [...OptionTable.problems(options ?? {}, table, { elsewhere: elsewhere() })]
  if (!isPriority(priority)) {
    problems.push(`priority must be one of ${Object.keys(rank).join(", ")}, not ${String(priority)}`)
  }
  if (timeout !== undefined && Number.isNaN(millisOf(timeout))) {
    problems.push(`acquireTimeout must be a duration of 0 or more, not ${String(timeout)}`)
  }
  if (Number.isNaN(Deadline.currentIn(context))) {
    problems.push("Deadline.CurrentDeadline must be an instant, not NaN")
  }
  return Effect.die(new InvalidOptions({ pool: engine.config.name, problems }))
}
