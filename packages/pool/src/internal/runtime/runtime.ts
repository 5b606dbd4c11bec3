/**
 * The host of an engine, in Effect: fibers for what takes time, and the clock, the timers, the random source and the services
 * of the fiber that made the pool. All work here has a bound, and ends by telling the engine how it went.
 */
import {
  Cause,
  Clock,
  Data,
  Deferred,
  Effect,
  Either,
  Exit,
  Option,
  Random,
  RuntimeFlags,
  Runtime as Runtimes,
  type Schedule,
  ScheduleDecision,
  ScheduleIntervals,
  Scope,
  Stream
} from "effect"
import { PCGRandom } from "effect/Utils"
import * as Backoff from "../../Backoff.js"
import * as Deadline from "../../Deadline.js"
import * as Origin from "../../Origin.js"
import type { Snapshot } from "../../PoolError.js"
import * as PoolError from "../../PoolError.js"
import type { PoolEvent } from "../../PoolEvent.js"
import type { ConnectFailureKind, PoolOptions, ResourceStatus, Signals } from "../../PoolOptions.js"
import type { Holder, LeakKind, Lease } from "../../PoolStats.js"
import { isFailing } from "../backoff.js"
import { text } from "../diagnosis.js"
import { Engine } from "../engine.js"
import type { Entry } from "../entry.js"
import type { Config, DrainCounts, Host, Refusal } from "../host.js"
import { Bounded } from "./bounded.js"
import type { Lender } from "./hooked.js"
import { Hooks } from "./hooks.js"
import * as Notes from "./notes.js"
import { openPools } from "./openPools.js"

/** A running pool: its engine, and what the verbs of `Pool` need besides it. */
export interface Runtime<A> extends Lender<A> {
  readonly now: () => number
  readonly drained: Deferred.Deferred<DrainCounts>
  readonly listen: (listener: (event: PoolEvent) => void) => () => void
  readonly holders: (count: number) => ReadonlyArray<Lease>
  readonly uses: (idleAfter: number) => Readonly<Record<LeakKind, number>>
  /** The pool is one of the process until it has closed. */
  readonly register: (pool: object) => void
}

type ConnectError<E> = E | PoolError.InvalidOptions

/** A connect that is under way, and how to stop it. */
interface Attempt {
  stop: (() => void) | undefined
}

/** Events that a listener may be behind before it misses the oldest ones. */
const BEHIND = 4_096

export const events = <A>({ drained, listen }: Runtime<A>): Stream.Stream<PoolEvent> =>
  Stream.asyncPush<PoolEvent>(
    (emit) =>
      Effect.acquireRelease(
        // As values that can be compared. Who listens without a stream does not pay for that.
        Effect.sync(() => listen((event) => emit.single(Data.struct(event)))),
        (stop) => Effect.sync(stop)
      ),
    { bufferSize: BEHIND, strategy: "sliding" }
  ).pipe(Stream.interruptWhen(Deferred.await(drained)))

/** The oldest leases that an error names. */
const HOLDERS = 3

/** Milliseconds for the logger of the program. */
const LOGGING = 1_000

/** The pause after a failure, if the schedule has ended before it gave one. */
const FIRST_PAUSE = 50

/** The longest pause. Larger is of no use: nobody waits for so long, and the timers look again after it anyway. */
const LONGEST_PAUSE = 3_600_000

/** The status of a resource is asked in the middle of a transition. A function that throws must not leave it half done. */
const safely = <A, B>(f: (a: A) => B, otherwise: B): ((a: A) => B) => {
  const fallback = () => otherwise
  return (a) =>
    Either.getOrElse(
      Either.try(() => f(a)),
      fallback
    )
}

const hookThrew = (pool: string, cause: unknown): PoolError.InvalidOptions =>
  new PoolError.InvalidOptions({ pool, problems: [`the hook onConnect has thrown: ${text(cause)}`], cause })

/** Steps a schedule once for each failure, and turns its next interval into a pause. */
const backOffBy = (
  schedule: Schedule.Schedule<unknown, unknown>,
  now: () => number,
  run: (
    step: Effect.Effect<readonly [unknown, unknown, ScheduleDecision.ScheduleDecision]>,
    then: (exit: Exit.Exit<readonly [unknown, unknown, ScheduleDecision.ScheduleDecision]> | undefined) => void
  ) => void
) => {
  let state: unknown = schedule.initial
  let pause = FIRST_PAUSE
  let hasEnded = false
  return {
    next: (failure: unknown, then: (pause: number) => void): void => {
      if (hasEnded) {
        then(pause)
        return
      }
      const at = now()
      const step = Effect.suspend(() => schedule.step(at, failure, state))
      run(step, (exit) => {
        // A step that fails or hangs changes nothing.
        if (exit !== undefined && Exit.isSuccess(exit)) {
          const [next, , decision] = exit.value
          state = next
          if (ScheduleDecision.isDone(decision)) hasEnded = true
          else {
            const wanted = ScheduleIntervals.start(decision.intervals) - at
            if (!Number.isNaN(wanted)) pause = Math.min(LONGEST_PAUSE, Math.max(0, wanted))
          }
        }
        then(pause)
      })
    },
    startAnew: (): void => {
      state = schedule.initial
      pause = FIRST_PAUSE
      hasEnded = false
    }
  }
}

export const make = <A, E, R>(
  config: Config,
  options: PoolOptions<A, E, R>,
  timers: Deadline.Timers["Type"]
): Effect.Effect<Runtime<A>, never, Exclude<R, Scope.Scope>> =>
  Effect.gen(function* () {
    // A pool may be made in an uninterruptible region. Its fibers must not inherit that, because then no bound could end them.
    const runtime = Runtimes.enableRuntimeFlag(
      yield* Effect.runtime<Exclude<R, Scope.Scope>>(),
      RuntimeFlags.Interruption
    )
    const clock = yield* Clock.clockWith(Effect.succeed)
    const seed = yield* Random.nextIntBetween(1, 2 ** 31 - 1)
    const random = new PCGRandom(seed)
    const { now } = timers

    const bounded = new Bounded(timers)
    const runWithin = <B, F>(
      effect: Effect.Effect<B, F, Exclude<R, Scope.Scope>>,
      ms: number,
      then: (exit: Exit.Exit<B, F> | undefined) => void
    ): (() => void) => bounded.run(runtime, effect, ms, then)

    const closeScope = (scope: Scope.CloseableScope, then: () => void): void => {
      runWithin(Scope.close(scope, Exit.void), config.closeTimeout, then)
    }

    const open = (signals: Signals, onOpen: () => void): Effect.Effect<A, ConnectError<E>, R | Scope.Scope> =>
      Effect.suspend((): Effect.Effect<A, ConnectError<E>, R | Scope.Scope> => {
        const connecting: unknown = options.connect(signals)
        if (Effect.isEffect(connecting)) {
          const opened = connecting as Effect.Effect<A, E, R | Scope.Scope>
          if (hooks === undefined) return opened
          return Effect.tap(opened, (resource) => {
            onOpen()
            return hooks.prepare<E>(resource)
          })
        }
        const problem = `connect must give an effect, but it gave ${typeof connecting}: write \`connect: () => Effect.…\``
        return Effect.fail(new PoolError.InvalidOptions({ pool: config.name, problems: [problem] }))
      })

    const kindOf = (error: Option.Option<ConnectError<E>>): ConnectFailureKind => {
      if (Option.isNone(error)) return "unreachable"
      // Nothing but a change of the program helps, so callers must not wait.
      if (error.value instanceof PoolError.InvalidOptions) return "rejected"
      return classify(error.value as E)
    }

    /** The connects that are under way. */
    const connects = new Set<Attempt>()

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
        },
        isEnding: () => engine.state.isEnding
      }
      const scope = Effect.runSync(Scope.make())
      // The connection is closed here until the engine owns it; from then on only by `host.close`. A resource that comes
      // after the scope has closed is closed at once by its own finalizer.
      const fail = (cause: unknown, kind: ConnectFailureKind): void => {
        broken ??= { cause }
        closeScope(scope, () => engine.connectFailed(cause, kind))
      }
      const attempt: Attempt = { stop: undefined }
      connects.add(attempt)
      let isOpen = false
      const onOpen = () => {
        isOpen = true
      }
      const inScope = Runtimes.provideService(runtime, Scope.Scope, scope) as Runtimes.Runtime<R | Scope.Scope>
      attempt.stop = bounded.run(inScope, open(signals, onOpen), config.connectTimeout, (exit) => {
        connects.delete(attempt)
        if (exit === undefined) {
          const what = isOpen ? "connecting together with the hook onConnect" : "connecting"
          const late = `${what} took longer than ${config.connectTimeout} ms (connectTimeout)`
          fail(new Cause.TimeoutException(engine.state.isEnding ? "the pool closes" : late), "unreachable")
          return
        }
        if (Exit.isFailure(exit)) {
          const cause = Cause.squash(exit.cause)
          const failure = Cause.failureOption(exit.cause)
          // Nothing but a change of the program helps.
          if (isOpen && Option.isNone(failure)) fail(hookThrew(config.name, cause), "rejected")
          else fail(cause, kindOf(failure))
          return
        }
        // A host that lets in and hangs up must be backed off from like one that does not answer.
        if (host.status?.(exit.value) === "dead") breaks(new Error("the connection was dead as soon as it was open"))
        if (broken === undefined) entry = engine.connected(exit.value, scope, startedAt)
        else fail(broken.cause, "unreachable")
      })
    }

    let timer: Deadline.Timer | undefined
    const wake = (at: number): void => {
      timer?.cancel()
      timer = timers.set(at, () => engine.tick())
    }

    let unwant: (() => void) | undefined
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

    const describe = options.describe === undefined ? () => undefined : safely(options.describe, undefined)
    const holders = Notes.holders<A>(describe, options.ownSpans)

    /** The lease that has left this connection to be cleaned. The entry keeps the note and forgets who it was. */
    const leftBy = (entry: Entry<A>): Holder => {
      const { left, leftBy: lease } = entry
      entry.leftBy = undefined
      if (left !== undefined) return left
      if (lease !== undefined) return holders.present(lease, now())
      return { connection: entry.id, heldMs: 0, activity: describe(entry.resource), span: undefined }
    }

    const task =
      (
        work: ((resource: A) => Effect.Effect<unknown, unknown, R>) | undefined,
        ms: number,
        then: (entry: Entry<A>, works: boolean) => void
      ) =>
      (entry: Entry<A>): void => {
        const effect = Effect.scoped(Effect.suspend(() => work!(entry.resource)))
        runWithin(effect, ms, (exit) => then(entry, exit !== undefined && Exit.isSuccess(exit)))
      }

    let noted: { at: number; acquired: number; size: number; holders: ReadonlyArray<Holder> } | undefined
    /** The oldest leases. Many callers may be refused at the same moment, and to describe what holders do is not cheap. */
    const holdersAt = (at: number): ReadonlyArray<Holder> => {
      const { counters, leases } = engine.state
      const { acquired } = counters
      if (noted === undefined || noted.at !== at || noted.acquired !== acquired || noted.size !== leases.size) {
        const oldest = leases.longest(HOLDERS).map((lease) => holders.present(lease, at))
        noted = { at, acquired, size: leases.size, holders: oldest }
      }
      return noted.holders
    }

    let held: { at: number; timeout: number; uses: Record<LeakKind, number> } | undefined
    /** What those leases are used for that a caller has waited for all the time. As `holdersAt`. */
    const heldAt = (at: number, timeout: number): Record<LeakKind, number> => {
      if (held === undefined || held.at !== at || held.timeout !== timeout) {
        held = { at, timeout, uses: engine.leaks.usesSince(at, timeout) }
      }
      return held.uses
    }

    const snapshotOf = (waited: number, at: number): Snapshot => {
      const { attempts, cause, since } = engine.state.backoff
      return {
        pool: config.name,
        elapsedMs: Math.round(waited),
        stats: engine.stats(at),
        holders: holdersAt(at),
        lastConnectFailure: isFailing(engine.state.backoff)
          ? { attempts, cause, since: Deadline.toEpochMillis(clock, since) }
          : undefined
      }
    }

    const refuse = (refusal: Refusal, waited: number, at: number): PoolError.AcquireError => {
      const { attempts, cause, since: failedAt } = engine.state.backoff
      const since = Deadline.toEpochMillis(clock, failedAt)
      const snapshot = snapshotOf(waited, at)
      switch (refusal._tag) {
        case "AcquireTimeout": {
          const { _tag, timeout, rest, ...why } = refusal
          const restMs = rest === undefined ? undefined : Math.floor(rest)
          const held = heldAt(at, timeout)
          return new PoolError.AcquireTimeout({ ...snapshot, ...why, held, timeoutMs: Math.round(timeout), restMs })
        }
        case "PoolShed":
          return new PoolError.PoolShed({ ...snapshot, targetMs: config.shedding.target })
        case "PoolSaturated":
          return new PoolError.PoolSaturated({ ...snapshot, maxWaiters: config.maxWaiters })
        case "PoolClosed":
          return new PoolError.PoolClosed(snapshot)
        case "Dismissed":
          return new PoolError.Dismissed(snapshot)
        case "NestedAcquire":
          return new PoolError.NestedAcquire(snapshot)
        case "ConnectFailed":
          return new PoolError.ConnectFailed({ ...snapshot, cause })
        case "ConnectUnavailable":
          return new PoolError.ConnectUnavailable({ ...snapshot, since, attempts, cause })
      }
    }

    const drained = yield* Deferred.make<DrainCounts>()
    let unregister: (() => void) | undefined
    const classify = safely<E, ConnectFailureKind>(options.classify ?? (() => "unreachable"), "unreachable")
    // A schedule sees a time that looks like the wall clock and never jumps: some of them compute with it.
    const offset = clock.unsafeCurrentTimeMillis() - now()
    const chance = Random.make(seed)
    const backoff = backOffBy(
      options.backoff ?? Backoff.standard,
      () => offset + now(),
      (step, then) => runWithin(Effect.withRandom(step, chance), config.connectTimeout, then)
    )
    const abort = task(options.abort, config.abortTimeout, (entry, works) => engine.aborted(entry, works))
    const host: Host<A> = {
      now,
      isLate: timers.isLate,
      random: () => random.number(),
      status: options.status === undefined ? undefined : safely<A, ResourceStatus>(options.status, "dead"),
      admits: options.admits === undefined ? undefined : safely(options.admits, false),
      stalls: options.stalls === undefined ? undefined : safely(options.stalls, false),
      inspect: options.inspect === undefined ? () => undefined : safely(options.inspect, undefined),
      leaking: Notes.leaking(config.name, holders, {
        now,
        emit: (event) => host.emit?.(event),
        log: (message) => void runWithin(message, LOGGING, () => {}),
        reclaimed: options.reclaimed
      }),
      refuse,
      canValidate: options.validate !== undefined,
      canReset: options.reset !== undefined,
      canAbort: options.abort !== undefined,
      resume: (waiter) => {
        const resume = waiter.resume as (effect: Effect.Effect<void, unknown>) => void
        resume(waiter.error === undefined ? Effect.void : Effect.fail(waiter.error))
      },
      connect,
      interruptConnects: () => {
        for (const { stop } of connects) stop?.()
      },
      backOff: (cause) => backoff.next(cause, (pause) => engine.backedOff(pause)),
      endBackOff: backoff.startAnew,
      validate: task(options.validate, config.validateTimeout, (entry, works) => engine.validated(entry, works)),
      reset: (entry) => {
        const left = leftBy(entry)
        const clean = (resource: A) => {
          const cleaned = options.reset!(resource, left)
          return hooks === undefined ? cleaned : Effect.zipRight(cleaned, hooks.prepare<unknown>(resource))
        }
        task(clean, config.resetTimeout, (entry, works) => engine.wasReset(entry, works))(entry)
      },
      abort: (entry) => {
        // If the connection must be cleaned afterwards as well, that is because of the same lease.
        entry.left = leftBy(entry)
        abort(entry)
      },
      cancel: task(options.abort, config.abortTimeout, () => undefined),
      close: (entry) => {
        const close = () => closeScope(entry.handle as Scope.CloseableScope, () => engine.wasClosed(entry))
        if (hooks?.closes === true) hooks.close(entry, close)
        else close()
      },
      wake,
      rested: () => options.rested?.(),
      drained: (counts) => {
        timer?.cancel()
        unwant?.()
        // What is still under way concerns no connection that exists: work that was to stop a lease, a step of the schedule.
        bounded.stop()
        Deferred.unsafeDone(drained, Exit.succeed(counts))
        unregister?.()
      },
      emit: undefined
    }
    const hooks =
      options.hooks === undefined
        ? undefined
        : new Hooks<A>(options.hooks, {
            engine: () => engine,
            runtime,
            bounded,
            now,
            refuse: (cause, waited) => {
              engine.state.counters.failed.HookFailed++
              const failed = new PoolError.HookFailed({ ...snapshotOf(waited, now()), hook: "beforeAcquire", cause })
              host.emit?.({
                _tag: "AcquireFailed",
                error: "HookFailed",
                cause: failed,
                waitMs: waited,
                priority: undefined
              })
              return failed
            }
          })
    const engine: Engine<A> = new Engine(config, host)
    if (config.leakStack) unwant = Origin.want()
    return {
      engine,
      hooks: hooks?.areAround === true ? hooks : undefined,
      now,
      drained,
      listen,
      holders: (count) => {
        const at = now()
        return engine.state.leases.longest(count).map((lease) => {
          const { idleFor, kind, remoteId } = engine.leaks.inspect(lease, at)
          return { ...holders.present(lease, at), kind, idleMs: kind === "busy" ? 0 : Math.round(idleFor), remoteId }
        })
      },
      uses: (idleAfter) => engine.leaks.uses(now(), idleAfter),
      register: (pool) => {
        unregister = openPools.add(pool)
      }
    }
  })
