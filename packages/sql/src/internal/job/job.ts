import * as Deadline from "@sluice/pool/Deadline"
import { CurrentAcquireTimeout } from "@sluice/pool/PoolOptions"
import { CurrentPriority } from "@sluice/pool/Priority"
import {
  Cause,
  type Clock,
  DateTime,
  Deferred,
  Effect,
  Exit,
  type Fiber,
  FiberId,
  Random,
  Schedule,
  ScheduleDecision,
  ScheduleIntervals
} from "effect"
import type { Settings } from "./options.js"
import * as Reports from "./reports.js"
import type { Outcome, Run, Status } from "./status.js"

/** Milliseconds that a job which ends waits for its run, once that was interrupted. Longer would hold up the end of the program. */
const SHUTDOWN = 5_000

/**
 * Milliseconds between two times of a schedule at least. With none, a schedule without pauses, of a job that does nothing or is
 * paused, would let nothing else run.
 */
const SHORTEST = 1

/** A run that is under way. */
interface Current {
  /** The moment at which it began, on the wall clock and on the monotonic one. */
  readonly at: number
  readonly since: Deadline.Instant
  readonly ended: Deferred.Deferred<Run>
}

/**
 * One job: its schedule, and at most one run at a time.
 *
 * 1. There is at most one run. Who asks for another one meanwhile gets that one (`runNow`), or is counted (`due`).
 * 2. A run has ended when its fiber has: also after its timeout, and also where it cannot be interrupted.
 * 3. Runs are fibers of the job. They know nothing of the fiber that asked for them: neither its transaction nor its deadline.
 */
export class Job {
  /** The run under way. Set by `begin`, cleared by `end`. */
  private current: Current | undefined
  /** The fiber of the last run. Set by `begin`. */
  private fiber: Fiber.RuntimeFiber<void> | undefined
  /** With `overlap: "wait"`: a run was due while another one was under way. Set by `due`, cleared by `end` and `pause`. */
  private isOwed = false
  private isPaused = false
  /** The schedule has no more times. Set by `follow`. */
  private hasEnded = false
  /** The Layer of the job has begun to close: what ends now was interrupted, and nothing begins. Set by `close`. */
  private isClosing = false
  /** The time of the next run on the wall clock. Set by the schedule. */
  private nextAt: number | undefined

  private runs = 0
  private failures = 0
  private failuresInARow = 0
  private timeouts = 0
  private skipped = 0
  private totalMs = 0
  private last: Run | undefined

  private readonly now: () => Deadline.Instant
  private readonly reports: Reports.Reports

  /** `fork` starts a fiber that has the context of the Layer and cannot be interrupted. */
  constructor(
    private readonly settings: Settings,
    private readonly work: Effect.Effect<unknown, unknown>,
    private readonly clock: Clock.Clock,
    private readonly fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
  ) {
    this.now = Deadline.nowOf(clock)
    this.reports = Reports.make(settings.name, settings.timeout)
  }

  status(): Status {
    const { current, nextAt } = this
    const schedule = this.hasEnded ? "ended" : this.isPaused ? "paused" : "active"
    return {
      name: this.settings.name,
      schedule,
      nextAt: schedule === "active" && nextAt !== undefined ? DateTime.unsafeMake(nextAt) : undefined,
      running: current && { at: DateTime.unsafeMake(current.at), elapsedMs: this.now() - current.since },
      runs: this.runs,
      failures: this.failures,
      failuresInARow: this.failuresInARow,
      timeouts: this.timeouts,
      skipped: this.skipped,
      totalMs: this.totalMs,
      last: this.last
    }
  }

  pause(): void {
    this.isPaused = true
    this.isOwed = false
  }

  resume(): void {
    this.isPaused = false
  }

  /** Begins a run, unless one is under way, and waits for its end. A caller that is interrupted does not end the run. */
  runNow(): Effect.Effect<Run> {
    return Deferred.await((this.current ?? this.begin()).ended)
  }

  /** Follows the schedule until it ends. Never fails. */
  follow(): Effect.Effect<void> {
    const schedule = Schedule.onDecision(this.settings.schedule, (_, decision) =>
      Effect.sync(() => {
        this.nextAt = ScheduleDecision.isContinue(decision) ? ScheduleIntervals.start(decision.intervals) : undefined
      })
    )
    const jitter = Effect.suspend(() =>
      this.settings.jitter === 0
        ? Effect.void
        : Effect.flatMap(Random.next, (part) => Effect.sleep(part * this.settings.jitter))
    )
    const loop = Effect.flatMap(Schedule.driver(schedule), (driver) =>
      Effect.forever(
        Effect.suspend(() => {
          const asked = this.now()
          return driver
            .next(undefined)
            .pipe(
              Effect.zipRight(jitter),
              Effect.zipRight(Effect.suspend(() => this.due())),
              Effect.zipRight(Effect.suspend(() => (this.now() - asked < SHORTEST ? this.pauseOfOurs() : Effect.void)))
            )
        })
      )
    )
    return Effect.catchAllCause(loop as Effect.Effect<never, unknown>, (cause) => {
      this.hasEnded = true
      // The driver of a schedule that has ended fails, with nothing to say. A defect is one of the schedule's own effects.
      return Cause.isFailType(cause) ? this.reports.ended(this.runs) : this.reports.scheduleFailed(cause)
    })
  }

  /** Interrupts the run under way, and waits for its end, within a bound. */
  close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isClosing = true
      const { current, fiber } = this
      if (current === undefined || fiber === undefined) return Effect.void
      fiber.unsafeInterruptAsFork(FiberId.none)
      return Deferred.await(current.ended).pipe(
        Effect.timeoutTo({ duration: SHUTDOWN, onTimeout: () => false, onSuccess: () => true }),
        // Finalizers are uninterruptible, and there a timeout has no effect.
        Effect.interruptible,
        Effect.flatMap((hasEnded) => (hasEnded ? Effect.void : this.reports.abandoned(SHUTDOWN)))
      )
    })
  }

  /** The schedule says that a run is to begin. */
  private due(): Effect.Effect<void> {
    const { current } = this
    if (this.isPaused) return Effect.void
    if (current === undefined) {
      this.begin()
      return Effect.void
    }
    if (this.settings.overlap === "wait") {
      this.isOwed = true
      return Effect.void
    }
    this.skipped++
    return this.reports.skipped(this.now() - current.since)
  }

  /** For a schedule without a pause: its next run is due when this one has ended. */
  private pauseOfOurs(): Effect.Effect<void> {
    return Effect.zipRight(
      this.current === undefined ? Effect.void : Deferred.await(this.current.ended),
      Effect.sleep(SHORTEST)
    )
  }

  private begin(): Current {
    const current: Current = {
      at: this.clock.unsafeCurrentTimeMillis(),
      since: this.now(),
      ended: Deferred.unsafeMake(FiberId.none)
    }
    // Before the fiber is started, because a run that needs no time ends at once.
    this.current = current
    // Only the work can be interrupted, so that the run is taken off the books however it ends, and also before it has begun.
    this.fiber = this.fork(
      Effect.flatMap(Effect.exit(Effect.interruptible(this.bounded())), (exit) => this.end(current, exit))
    )
    return current
  }

  /** The work, as a run of this job executes it. */
  private bounded(): Effect.Effect<unknown, unknown> {
    const { acquireTimeout, name, priority, timeout } = this.settings
    const work = Effect.scoped(this.work).pipe(
      Effect.provideService(CurrentPriority, priority),
      Effect.provideService(CurrentAcquireTimeout, acquireTimeout),
      // Errors of the pool name the holders of its connections by their spans.
      Effect.withSpan(name, { root: true, captureStackTrace: false, attributes: { "sluice.job": name } })
    )
    // The deadline ends the waits of statements also where the work cannot be interrupted.
    return timeout === undefined
      ? work
      : Effect.timeoutFail(Deadline.within(timeout)(work), { duration: timeout, onTimeout: () => "timed out" })
  }

  private end({ at, ended, since }: Current, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const elapsedMs = this.now() - since
      const outcome = this.outcomeOf(exit, elapsedMs)
      const run: Run = {
        at: DateTime.unsafeMake(at),
        elapsedMs,
        outcome,
        failure: Exit.isSuccess(exit)
          ? undefined
          : outcome === "timedOut"
            ? `not done within ${this.settings.timeout} ms`
            : Reports.textOf(exit.cause)
      }
      const before = this.failuresInARow
      this.current = undefined
      this.runs++
      this.totalMs += elapsedMs
      this.last = run
      this.failuresInARow = outcome === "succeeded" ? 0 : before + 1
      if (outcome !== "succeeded") this.failures++
      if (outcome === "timedOut") this.timeouts++
      if (this.isOwed && !this.isClosing) this.begin()
      this.isOwed = false
      return Effect.zipRight(this.report(exit, outcome, before), Deferred.succeed(ended, run))
    })
  }

  private outcomeOf(exit: Exit.Exit<unknown, unknown>, elapsed: number): Outcome {
    if (Exit.isSuccess(exit)) return "succeeded"
    const { timeout } = this.settings
    // By the time, because the failure may be that of a statement whose wait the deadline has ended.
    if (timeout !== undefined && elapsed >= timeout) return "timedOut"
    if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
    return Cause.isFailure(exit.cause) ? "failed" : "died"
  }

  /** Says what has changed. `before`: failures in a row until this run. */
  private report(exit: Exit.Exit<unknown, unknown>, outcome: Outcome, before: number): Effect.Effect<void> {
    if (this.isClosing) return Effect.void
    if (Exit.isSuccess(exit)) return before > 0 ? this.reports.worksAgain(before) : Effect.void
    return before > 0 ? Effect.void : this.reports.failed(outcome, exit.cause)
  }
}
