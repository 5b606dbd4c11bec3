/**
 * The engine's host in Effect: fibers for what takes time, one timer, the clock and the random source of the fiber that
 * made the pool. Every piece of work here has a bound, and ends by telling the engine how it went.
 */
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  type Fiber,
  FiberId,
  Option,
  Random,
  Runtime,
  RuntimeFlags,
  Scope
} from "effect"
import { PCGRandom } from "effect/Utils"
import * as Deadline from "../Deadline.js"
import type { AcquireError, Snapshot } from "../PoolError.js"
import * as PoolError from "../PoolError.js"
import type { PoolEvent } from "../PoolEvent.js"
import type { ConnectFailureKind, PoolOptions, ResourceStatus, Signals } from "../PoolOptions.js"
import type { Holder } from "../PoolStats.js"
import type { Config } from "./config.js"
import { Engine } from "./engine.js"
import type { Entry } from "./entry.js"
import type { DrainCounts, Host, Refusal } from "./host.js"
import type { Waiter } from "./queue.js"

/** A running pool: its engine, and what the verbs of `Pool` need besides it. */
export interface Skin<A> {
  readonly engine: Engine<A>
  readonly now: () => number
  readonly drained: Deferred.Deferred<DrainCounts>
  readonly listen: (listener: (event: PoolEvent) => void) => () => void
}

/** A connection and the scope whose end closes it. */
interface Opened<A> {
  readonly resource: A
  readonly scope: Scope.CloseableScope
}

/** The oldest leases that an error names. */
const HOLDERS = 3

const wake = (waiter: Waiter<any>): void =>
  waiter.resume!(waiter.error === undefined ? Effect.void : Effect.fail(waiter.error))

/**
 * Runs `effect` for at most `ms`; what does not stop when it is interrupted is left behind. Interruptible even where it
 * is called in an uninterruptible region, or the bound would not hold there.
 */
const within = <A, E, R>(effect: Effect.Effect<A, E, R>, ms: number): Effect.Effect<A, E | Cause.TimeoutException, R> =>
  Effect.timeout(Effect.interruptible(Effect.disconnect(effect)), ms)

/**
 * The questions about a resource are asked in the middle of a transition: one that throws must not leave it half done.
 */
const total = <A, B>(f: (a: A) => B, otherwise: B): ((a: A) => B) => {
  const fallback = () => otherwise
  return (a) =>
    Either.getOrElse(
      Either.try(() => f(a)),
      fallback
    )
}

export const make = <A, E, R>(
  config: Config,
  options: PoolOptions<A, E, R>
): Effect.Effect<Skin<A>, never, Exclude<R, Scope.Scope>> =>
  Effect.gen(function* () {
    // A pool is made in an uninterruptible region, which its fibers must not inherit: no bound of theirs would hold.
    const runtime = Runtime.enableRuntimeFlag(
      yield* Effect.runtime<Exclude<R, Scope.Scope>>(),
      RuntimeFlags.Interruption
    )
    const clock = yield* Clock.clockWith(Effect.succeed)
    const random = new PCGRandom(yield* Random.nextIntBetween(1, 2 ** 31 - 1))
    const now = Deadline.nowOf(clock)

    const run = <B, F>(
      effect: Effect.Effect<B, F, Exclude<R, Scope.Scope>>,
      onExit: (exit: Exit.Exit<B, F>, fiber: Fiber.RuntimeFiber<B, F>) => void
    ): Fiber.RuntimeFiber<B, F> => {
      const fiber = Runtime.runFork(runtime, effect)
      fiber.addObserver((exit) => onExit(exit, fiber))
      return fiber
    }

    const closeScope = (scope: Scope.CloseableScope): Effect.Effect<void> =>
      Effect.ignore(within(Scope.close(scope, Exit.void), config.closeTimeout))

    // The scope is closed here until the engine owns the connection; from then on only by `close`.
    const open = (signals: Signals): Effect.Effect<Opened<A>, E | Cause.TimeoutException, Exclude<R, Scope.Scope>> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Scope.make(), (scope) =>
          Effect.matchCauseEffect(
            restore(
              Effect.timeoutFail(
                Effect.disconnect(
                  Scope.extend(
                    Effect.suspend(() => options.connect(signals)),
                    scope
                  )
                ),
                {
                  duration: config.connectTimeout,
                  onTimeout: () =>
                    new Cause.TimeoutException(
                      `connecting took longer than ${config.connectTimeout} ms (connectTimeout)`
                    )
                }
              )
            ),
            {
              onFailure: (cause) => Effect.zipRight(closeScope(scope), Effect.failCause(cause)),
              onSuccess: (resource) => Effect.succeed({ resource, scope })
            }
          )
        )
      )

    const connects = new Set<Fiber.RuntimeFiber<unknown, unknown>>()

    const connect = (startedAt: number): void => {
      let entry: Entry<A> | undefined
      let broken: { readonly cause: unknown } | undefined
      const breaks = (cause: unknown): void => {
        if (broken !== undefined) return
        broken = { cause }
        if (entry !== undefined) engine.evict(entry, "error")
      }
      const signals: Signals = {
        broken: breaks,
        fatal: (cause) => {
          if (broken === undefined) engine.suspect(cause)
          breaks(cause)
        }
      }
      const fiber = run(open(signals), (exit, fiber) => {
        connects.delete(fiber)
        if (Exit.isFailure(exit)) {
          const error = Cause.failureOption(exit.cause)
          const kind =
            Option.isSome(error) && !Cause.isTimeoutException(error.value) ? classify(error.value) : "unreachable"
          engine.connectFailed(Cause.squash(exit.cause), kind)
          return
        }
        const { resource, scope } = exit.value
        // A host that lets in and hangs up must be backed off from like one that does not answer.
        if (host.status?.(resource) === "dead") breaks(new Error("the connection was dead as soon as it was open"))
        if (broken === undefined) entry = engine.connected(resource, scope, startedAt)
        else {
          const { cause } = broken
          run(closeScope(scope), () => engine.connectFailed(cause, "unreachable"))
        }
      })
      if (fiber.unsafePoll() === null) connects.add(fiber)
    }

    let timer: Fiber.RuntimeFiber<unknown, unknown> | undefined
    const stopTimer = (): void => {
      timer?.unsafeInterruptAsFork(FiberId.none)
      timer = undefined
    }
    const armTimer = (at: number): void => {
      stopTimer()
      const due = Duration.millis(Math.ceil(Math.max(0, at - now())))
      // Yielding first keeps a due tick out of the transition's own call, and `timer` set before it can fire.
      timer = run(Effect.zipRight(Effect.yieldNow(), clock.sleep(due)), (exit, fiber) => {
        if (Exit.isFailure(exit) || timer !== fiber) return
        timer = undefined
        engine.tick()
      })
    }

    const listeners = new Set<(event: PoolEvent) => void>()
    const emit = (event: PoolEvent): void => {
      for (const listener of listeners) listener(event)
    }
    const listen = (listener: (event: PoolEvent) => void) => {
      listeners.add(listener)
      host.emit = emit
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) host.emit = undefined
      }
    }

    const holderOf = (entry: Entry<A>, at: number): Holder => ({
      connection: entry.id,
      heldMs: at - entry.leasedAt,
      activity: describe(entry.resource),
      span: spanOf(entry.holder)
    })

    /** The lease that has left this entry to be cleaned; whose it was the entry need not keep. */
    const leftBy = (entry: Entry<A>): Holder => {
      const left = entry.left ?? holderOf(entry, now())
      entry.holder = undefined
      return left
    }

    const task =
      (
        work: ((resource: A) => Effect.Effect<unknown, unknown, R>) | undefined,
        ms: number,
        then: (entry: Entry<A>, works: boolean) => void
      ) =>
      (entry: Entry<A>): void => {
        const effect = Effect.scoped(Effect.suspend(() => work!(entry.resource)))
        run(within(effect, ms), (exit) => then(entry, Exit.isSuccess(exit)))
      }

    const holders = (at: number): ReadonlyArray<Holder> => {
      const oldest: Array<Holder> = []
      for (let e = engine.leased.tail; e !== undefined && oldest.length < HOLDERS; e = e.prev) {
        oldest.push(holderOf(e, at))
      }
      return oldest
    }

    const refuse = (refusal: Refusal, waited: number, at: number): AcquireError => {
      const { attempts, cause } = engine.governor
      const since = Deadline.toEpochMillis(clock, engine.governor.since)
      const snapshot: Snapshot = {
        pool: config.name,
        elapsedMs: waited,
        stats: engine.stats(at),
        holders: holders(at),
        lastConnectFailure: attempts === 0 ? undefined : { attempts, cause, since }
      }
      switch (refusal._tag) {
        case "AcquireTimeout":
          return new PoolError.AcquireTimeout({ ...snapshot, timeoutMs: refusal.timeout, phase: refusal.phase })
        case "PoolSaturated":
          return new PoolError.PoolSaturated({ ...snapshot, maxWaiters: config.maxWaiters })
        case "PoolClosed":
          return new PoolError.PoolClosed(snapshot)
        case "NestedAcquire":
          return new PoolError.NestedAcquire(snapshot)
        case "ConnectFailed":
          return new PoolError.ConnectFailed({ ...snapshot, cause })
        case "ConnectUnavailable":
          return new PoolError.ConnectUnavailable({ ...snapshot, since, attempts, cause })
      }
    }

    const drained = yield* Deferred.make<DrainCounts>()
    const describe = options.describe === undefined ? () => undefined : total(options.describe, undefined)
    const classify = total<E, ConnectFailureKind>(options.classify ?? (() => "unreachable"), "unreachable")
    const stop = task(options.abort, config.abortTimeout, (entry, works) => {
      // What is to be cleaned now is cleaned for the same lease.
      engine.aborted(entry, works)
      entry.left = undefined
    })
    const host: Host<A> = {
      now,
      random: () => random.number(),
      status: options.status === undefined ? undefined : total<A, ResourceStatus>(options.status, "dead"),
      admits: options.admits === undefined ? undefined : total(options.admits, false),
      refuse,
      canValidate: options.validate !== undefined,
      canReset: options.reset !== undefined,
      canAbort: options.abort !== undefined,
      resume: wake,
      connect,
      interruptConnects: () => {
        for (const fiber of connects) fiber.unsafeInterruptAsFork(FiberId.none)
      },
      validate: task(options.validate, config.validateTimeout, (entry, works) => engine.validated(entry, works)),
      reset: (entry) => {
        const left = leftBy(entry)
        const clean = (resource: A) => options.reset!(resource, left)
        task(clean, config.resetTimeout, (entry, works) => engine.wasReset(entry, works))(entry)
      },
      abort: (entry) => {
        entry.left = leftBy(entry)
        stop(entry)
      },
      cancel: task(options.abort, config.abortTimeout, () => undefined),
      close: (entry) => {
        run(closeScope(entry.handle as Scope.CloseableScope), () => engine.wasClosed(entry))
      },
      wake: armTimer,
      drained: (counts) => {
        stopTimer()
        Deferred.unsafeDone(drained, Exit.succeed(counts))
      },
      emit: undefined
    }
    const engine: Engine<A> = new Engine(config, host)
    return { engine, now, drained, listen }
  })

const spanOf = (fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined): string | undefined => {
  const span = fiber?.currentSpan
  return span?._tag === "Span" ? span.name : undefined
}
