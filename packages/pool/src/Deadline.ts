/**
 * Time for everything that waits: one monotonic clock, instants on it, and one heap of timers.
 *
 * An instant is a number: milliseconds on the monotonic clock of the program, with a fraction. It has no relation to the wall
 * clock, so a wall clock that is set back or forward changes nothing. `TestClock` drives it.
 *
 * 1. A timer fires once, after its instant, unless it was cancelled before.
 * 2. All timers of one `Timers` share one sleeping fiber. Setting and cancelling a timer costs a number in a heap.
 * 3. A timer that is more than 50 milliseconds late was held up by a process that did not run. Then the answer that the timer
 *    bounds may lie in a socket already, so all due timers wait another 100 milliseconds, in which the event loop reads it. If
 *    these are late as well, the timers wait again, five times at most.
 * 4. After the scope of `Timers` has closed nothing fires.
 *
 * @since 0.2.0
 */
import {
  Clock,
  Context,
  DefaultServices,
  Duration,
  Effect,
  Exit,
  type Fiber,
  FiberId,
  Layer,
  Option,
  Runtime,
  RuntimeFlags,
  Scope
} from "effect"
import { Heap, type Placed } from "./internal/heap.js"

/**
 * A moment on the monotonic clock, in milliseconds. `Infinity` stands for never. Two instants are compared and subtracted as
 * numbers; the earlier of two is `Math.min`.
 *
 * @since 0.2.0
 * @category models
 */
export type Instant = number

/**
 * The instant that never comes.
 *
 * @since 0.2.0
 * @category constants
 */
export const never: Instant = Infinity

/**
 * Milliseconds from `now` until `instant`, at least 0.
 *
 * @since 0.2.0
 * @category getters
 */
export const rest = (instant: Instant, now: Instant): number => Math.max(0, instant - now)

const live = Context.get(DefaultServices.liveServices, Clock.Clock)

/** Looked up once: on the global object it is found anew at each call, which is an eighth of reading the time. */
const { performance } = globalThis

/** What the live clock adds to the time of the process, so that a clock that passes on the live one shows the same instants. */
const origin = Math.round(Number(live.unsafeCurrentTimeNanos() / 1_000n) / 1_000 - performance.now())

const liveNow = (): Instant => origin + performance.now()

/**
 * How to read the monotonic time of a clock.
 *
 * @since 0.2.0
 * @category constructors
 */
export const nowOf = (clock: Clock.Clock): (() => Instant) =>
  // Every live clock reads this time, and makes a bigint of it: that costs a twentieth of an uncontended lease.
  clock.constructor === live.constructor ? liveNow : () => Number(clock.unsafeCurrentTimeNanos() / 1_000n) / 1_000

/**
 * The instant of a moment of the wall clock, which is given in milliseconds since the epoch. The wall clock is read once, now.
 *
 * @since 0.2.0
 * @category constructors
 */
export const ofEpochMillis = (clock: Clock.Clock, millis: number): Instant =>
  nowOf(clock)() + millis - clock.unsafeCurrentTimeMillis()

/**
 * The moment of the wall clock, in milliseconds since the epoch, that an instant stands for now: for people to read.
 *
 * @since 0.2.0
 * @category getters
 */
export const toEpochMillis = (clock: Clock.Clock, instant: Instant): number =>
  Math.round(clock.unsafeCurrentTimeMillis() + instant - nowOf(clock)())

/**
 * The instant after which nobody awaits what this fiber does. Waits for a connection end by then, even if their timeout is
 * longer, and so do waits for an answer of the database. Set by `within`. Default `never`.
 *
 * @since 0.2.0
 * @category references
 */
export class CurrentDeadline extends Context.Reference<CurrentDeadline>()("@sluice/pool/CurrentDeadline", {
  defaultValue: (): Instant => never
}) {}

/**
 * The deadline of a fiber, read from its context without the cost of an effect.
 *
 * @since 0.2.0
 * @category getters
 */
export const currentIn = (context: Context.Context<never>): Instant =>
  (context.unsafeMap.get(CurrentDeadline.key) as Instant | undefined) ?? never

/**
 * Nobody awaits `effect` for longer than `duration`, counted from now. An earlier deadline around it stays in force. It ends
 * waits for connections and for answers of the database; other work goes on, unlike under `Effect.timeout`.
 *
 * @since 0.2.0
 * @category combinators
 */
export const within =
  (duration: Duration.DurationInput) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => until(nowOf(clock)() + Duration.toMillis(duration))(effect))

/**
 * As `within`, for an instant.
 *
 * @since 0.2.0
 * @category combinators
 */
export const until =
  (instant: Instant) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) =>
      Effect.provideService(effect, CurrentDeadline, Math.min(instant, currentIn(fiber.currentContext)))
    )

/** A timer that is later than this was held up by the process itself. Less would take a busy event loop for a blocked one. */
const LATE = 50

/** What a late timer waits for more. Less is too short for the round trips of a connect whose answers lie in the socket. */
const GRACE = 100

/** How often it waits more when it is late again, on a machine that hardly lets it run. Without a bound it might never fire. */
const GRACES = 5

/** The timers of JavaScript go no further than 24 days; the sleeper looks again after an hour. */
const LONGEST_SLEEP = 3_600_000

/**
 * One timer of `Timers`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Timer {
  readonly at: Instant
  /** The timer will not fire. Does nothing when it has fired. */
  readonly cancel: () => void
}

/**
 * Timers that share one sleeping fiber. A program that makes a pool or an `Sql` need not provide them: each makes its own.
 *
 * @since 0.2.0
 * @category tags
 */
export class Timers extends Context.Tag("@sluice/pool/Timers")<
  Timers,
  {
    readonly now: () => Instant
    /** `late` is called once, in the fiber of the timers. It must not throw. `never` sets a timer that does not fire. */
    readonly set: (at: Instant, late: () => void) => Timer
    /** Whether timers that are due have been held up by a process that did not run, and will fire a little later. */
    readonly isLate: () => boolean
  }
>() {}

class Entry implements Timer, Placed {
  index = -1

  constructor(
    private readonly heap: Heap<Entry>,
    readonly at: Instant,
    readonly late: () => void
  ) {}

  cancel(): void {
    if (this.index >= 0) this.heap.remove(this)
  }
}

/**
 * Timers on the clock of the fiber that makes them, until the scope closes.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make: Effect.Effect<Timers["Type"], never, Scope.Scope> = Effect.gen(function* () {
  // Timers are made where a pool is made, which is uninterruptible, and their fiber must not inherit that.
  const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
  const clock = yield* Clock.clockWith(Effect.succeed)
  const scope = yield* Effect.scope
  const now = nowOf(clock)
  const heap = new Heap<Entry>()
  let sleeper: Fiber.RuntimeFiber<unknown> | undefined
  let wakesAt = never
  /** When the sleeper is to wake, in the real time of the process, which no clock of a test moves. */
  let expected = never
  let isClosed = false
  // The clock of a test stands still while the test works, which is no sign of a process that did not run.
  const isReal = clock.constructor === live.constructor

  const isLate = (): boolean => isReal && sleeper !== undefined && performance.now() - expected > LATE

  const grace = (times: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const until = performance.now() + GRACE
      const isLateAgain = () => times > 1 && performance.now() - until > LATE
      return Effect.flatMap(clock.sleep(Duration.millis(GRACE)), () => (isLateAgain() ? grace(times - 1) : Effect.void))
    })

  const stop = (): void => {
    const old = sleeper
    sleeper = undefined
    wakesAt = never
    old?.unsafeInterruptAsFork(FiberId.none)
  }

  /** Sleeps until `at`. What it does then belongs to the sleeper of that moment alone: an older one was interrupted. */
  const sleepUntil = (at: Instant): void => {
    stop()
    wakesAt = at
    // A part of a millisecond is rounded up, because a timer of JavaScript would round it down and fire too early.
    const duration = Math.ceil(Math.min(rest(at, now()), LONGEST_SLEEP))
    expected = performance.now() + duration
    const sleep = Effect.zipRight(
      // Without the yield a clock whose time has come would fire the timer inside of the call that sets it.
      Effect.zipRight(Effect.yieldNow(), clock.sleep(Duration.millis(duration))),
      Effect.suspend(() => (isLate() ? grace(GRACES) : Effect.void))
    )
    const fiber = Runtime.runFork(runtime, sleep)
    sleeper = fiber
    fiber.addObserver((exit) => {
      if (Exit.isSuccess(exit) && sleeper === fiber) fire()
    })
  }

  const fire = (): void => {
    sleeper = undefined
    wakesAt = never
    const time = now()
    for (let entry = heap.first; entry !== undefined && entry.at <= time; entry = heap.first) {
      heap.remove(entry)
      entry.late()
    }
    const next = heap.first
    if (next !== undefined && next.at < wakesAt && !isClosed) sleepUntil(next.at)
  }

  yield* Scope.addFinalizer(
    scope,
    Effect.sync(() => {
      isClosed = true
      stop()
    })
  )

  return {
    now,
    isLate,
    set: (at, late) => {
      const entry = new Entry(heap, at, late)
      if (at === never || isClosed) return entry
      heap.push(entry)
      if (at < wakesAt) sleepUntil(at)
      return entry
    }
  }
})

/**
 * One `Timers` for every pool and every `Sql` beneath.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<Timers> = Layer.scoped(Timers, make)

/**
 * The timers that the program has provided, else new ones.
 *
 * @since 0.2.0
 * @category constructors
 */
export const ofContext: Effect.Effect<Timers["Type"], never, Scope.Scope> = Effect.withFiberRuntime(
  ({ currentContext }) =>
    Option.match(Context.getOption(currentContext, Timers), { onNone: () => make, onSome: Effect.succeed })
)

/**
 * The effect and all that it makes have one `Timers`: those of the context, else new ones.
 *
 * @since 0.2.0
 * @category combinators
 */
export const shared = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Timers> | Scope.Scope> =>
  Effect.withFiberRuntime(({ currentContext }) =>
    Option.isSome(Context.getOption(currentContext, Timers))
      ? (effect as Effect.Effect<A, E, Exclude<R, Timers>>)
      : Effect.provideServiceEffect(effect, Timers, make)
  )
