/**
 * Background work on the connections of the requests.
 *
 * A job is an effect and a schedule. It runs in the scope of its Layer, on the pool that the whole program shares: a job that makes
 * a pool of its own takes connections that nobody has planned for. Its statements are of class `background`, so requests come
 * first, and they wait for a connection only for a second: a run that gets none fails, and the schedule brings the next one.
 *
 * A schedule and its run:
 *
 * ```
 *   active ⇄ paused        waiting ── due, runNow ──> running ── ends, timeout, Layer closes ──> waiting
 *        └─> ended                    due while running: skipped, or begun right after it
 * ```
 *
 * 1. A job is never run twice at once in one process.
 * 2. Neither a failure nor a defect nor a timeout ends the schedule. The log says it when the first run fails, and when a run
 *    succeeds again, not for each run.
 * 3. The schedule goes on while a run is under way, so its pauses lie between the beginnings of runs. A schedule without a pause
 *    waits for the end of the run.
 * 4. When the Layer closes, the run under way is interrupted, and its connection comes back. Its end is awaited for 5 seconds at most.
 *
 * The first run begins when the schedule says so, and not at the start: `Schedule.spaced("30 seconds")` begins after 30 seconds. For
 * one run at the start put `Schedule.once` before it, with `Schedule.andThen`.
 *
 * Each process that builds the Layer runs the job. To run it in one of them, use the same effect in `ClusterCron` of
 * `@effect/cluster`: the README shows how.
 *
 * @since 0.2.0
 */
import { nearest } from "@sluice/pool/OptionTable"
import type { Priority } from "@sluice/pool/Priority"
import { Context, Data, type Duration, Effect, Layer, Runtime, RuntimeFlags, type Schedule, type Scope } from "effect"
import { Job } from "./internal/job/job.js"
import * as JobOptions from "./internal/job/options.js"
import type { Run, Status } from "./internal/job/status.js"

export type { Run, Status } from "./internal/job/status.js"

/**
 * The options of `layer`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options<R = never> {
  /**
   * What the verbs of this module, the log and the spans call it. 1 to 200 characters; another job of the program must not have it, or the
   * Layer fails with `InvalidJob`.
   */
  readonly name: string
  /**
   * When runs begin. It may go on for ever. When it ends, `status` and the log say so, and only `runNow` runs the job. Effects in it
   * get the services of the Layer; a defect of one ends the schedule.
   */
  readonly schedule: Schedule.Schedule<any, void, R>
  /**
   * Longest time of one run. It is interrupted then, and its statements end by then also where it cannot be interrupted.
   *
   * - Unit: duration. Default none: a run that hangs keeps every other one from beginning. Range 1 millisecond to 7 days.
   * - Worst case: longer by the time that the finalizers of the effect take. No other run begins before they have ended.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /** The class of its acquires. Default `background`. */
  readonly priority?: Priority | undefined
  /**
   * Longest wait for a connection, for each statement.
   *
   * - Unit: duration. Default 1 second. Range 0 (only a connection that is free) to 1 hour.
   * - The run fails with `AcquireTimeout`, unless the effect handles that.
   */
  readonly acquireTimeout?: Duration.DurationInput | undefined
  /**
   * What becomes of a run that is due while another one is under way. Default `skip`.
   *
   * - `skip`: it does not take place. `Status.skipped` counts it, and the log says so the first time.
   * - `wait`: it begins when the other one has ended. Several that are due meanwhile are one.
   */
  readonly overlap?: "skip" | "wait" | undefined
  /**
   * Longest time, taken at random, by which each run begins later than its schedule says, so that many processes with one schedule do
   * not begin at the same moment.
   *
   * - Unit: duration. Default 0. Range 0 to 1 day.
   */
  readonly jitter?: Duration.DurationInput | undefined
}

/**
 * A job that cannot work, or whose name another one has. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidJob extends Data.TaggedError("InvalidJob")<{
  readonly job: string
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `Job.layer: job "${this.job}" is invalid: ${this.problems.join("; ")}`
  }
}

/**
 * There is no job of this name in the program, or its Layer has closed.
 *
 * @since 0.2.0
 * @category errors
 */
export class UnknownJob extends Data.TaggedError("UnknownJob")<{
  readonly job: string
  readonly known: ReadonlyArray<string>
}> {
  override get message(): string {
    const meant = nearest(this.job, this.known)
    const remedy =
      meant !== undefined
        ? `did you mean "${meant}"?`
        : this.known.length === 0
          ? "there is none"
          : `there are ${this.known.map((name) => `"${name}"`).join(", ")}`
    return `there is no job "${this.job}": ${remedy}`
  }
}

/**
 * The jobs of a program, by their names.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  readonly list: Effect.Effect<ReadonlyArray<Status>>
  readonly status: (name: string) => Effect.Effect<Status, UnknownJob>
  readonly runNow: (name: string) => Effect.Effect<Run, UnknownJob>
  readonly pause: (name: string) => Effect.Effect<void, UnknownJob>
  readonly resume: (name: string) => Effect.Effect<void, UnknownJob>
}

/**
 * The tag. Every `layer` of this module provides it. Jobs whose Layers are built together share one service, because Layers are
 * memoized.
 *
 * @since 0.2.0
 * @category tags
 */
export class Jobs extends Context.Tag("@sluice/sql/Jobs")<Jobs, Service>() {}

class Registry implements Service {
  private readonly jobs = new Map<string, Job>()

  /** Only here for `layer`, which is why it is not a part of `Service`. */
  add(name: string, job: Job): Effect.Effect<void, InvalidJob, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.suspend(() => {
        if (this.jobs.has(name)) {
          return Effect.fail(new InvalidJob({ job: name, problems: ["name is that of another job of this program"] }))
        }
        this.jobs.set(name, job)
        return Effect.void
      }),
      () => Effect.sync(() => void this.jobs.delete(name))
    )
  }

  private on<A>(name: string, f: (job: Job) => Effect.Effect<A>): Effect.Effect<A, UnknownJob> {
    return Effect.suspend((): Effect.Effect<A, UnknownJob> => {
      const job = this.jobs.get(name)
      return job === undefined
        ? Effect.fail(new UnknownJob({ job: String(name), known: Array.from(this.jobs.keys()) }))
        : f(job)
    })
  }

  readonly list = Effect.sync(() => Array.from(this.jobs.values(), (job) => job.status()))
  readonly status = (name: string) => this.on(name, (job) => Effect.succeed(job.status()))
  readonly runNow = (name: string) => this.on(name, (job) => job.runNow())
  readonly pause = (name: string) => this.on(name, (job) => Effect.succeed(job.pause()))
  readonly resume = (name: string) => this.on(name, (job) => Effect.succeed(job.resume()))
}

/** One value, so that all jobs that are built together get the same registry. */
const registry: Layer.Layer<Jobs> = Layer.sync(Jobs, () => new Registry())

/**
 * Runs `effect` by a schedule, for as long as the Layer lives.
 *
 * **When to use:** for every work that no caller waits for: syncing, cleaning up, sending what is due. It shares the pool with the
 * requests because it is built on the same Layer.
 *
 * - Fails with `InvalidJob`, which lists every problem, before anything is run.
 * - Each run has a scope of its own, and a span of the name of the job. Nothing of the fiber that called `runNow` is in it.
 * - Statements inside that name a priority or an acquire timeout of their own keep it.
 * - Interruption: the effect is interrupted at its timeout and when the Layer closes. A transaction is rolled back then.
 *
 * @example
 * ```ts
 * import { Job, PgSql, Sql } from "@sluice/sql-pg"
 * import { Layer, Redacted, Schedule } from "effect"
 *
 * const SqlLive = PgSql.layer({ url: Redacted.make("postgres://app@db-1/pay") })
 *
 * const SyncJob = Job.layer(
 *   { name: "sync", schedule: Schedule.spaced("30 seconds"), timeout: "10 seconds", jitter: "5 seconds" },
 *   Sql.query("update payments set synced = true where not synced")
 * )
 *
 * const Main = SyncJob.pipe(Layer.provide(SqlLive)) // together with the Layer of the requests: one pool
 * ```
 *
 * @see `runNow` to run it beside its schedule.
 * @since 0.2.0
 * @category layers
 */
export const layer = <A, E, R, RS = never>(
  options: Options<RS>,
  effect: Effect.Effect<A, E, R>
): Layer.Layer<Jobs, InvalidJob, Exclude<R, Scope.Scope> | RS> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const problems = JobOptions.problems(options, effect)
      if (problems.length > 0) return yield* new InvalidJob({ job: String(options?.name), problems })
      const settings = JobOptions.settings(options)
      const runtime = yield* Effect.runtime<Exclude<R, Scope.Scope> | RS>()
      const ofRuns = Runtime.disableRuntimeFlag(runtime, RuntimeFlags.Interruption)
      const fork = (run: Effect.Effect<void>) => Runtime.runFork(ofRuns, run)
      const job = new Job(settings, effect as Effect.Effect<A, E>, yield* Effect.clock, fork)
      // In reverse order when the Layer closes: the schedule ends, nobody finds the job any more, the run ends.
      yield* Effect.addFinalizer(() => job.close())
      yield* ((yield* Jobs) as Registry).add(settings.name, job)
      // A Layer is built where nothing can be interrupted, and the schedule must not inherit that.
      yield* Effect.forkScoped(Effect.interruptible(job.follow()))
    })
  ).pipe(Layer.provideMerge(registry))

/**
 * All jobs of the program.
 *
 * **When to use:** for a health page, or a page for operators.
 *
 * @see `status` for one of them.
 * @since 0.2.0
 * @category observability
 */
export const list: Effect.Effect<ReadonlyArray<Status>, never, Jobs> = Effect.flatMap(Jobs, (jobs) => jobs.list)

/**
 * What the job does now, how its last run has ended, and how many there were.
 *
 * @see `list` for all jobs.
 * @since 0.2.0
 * @category observability
 */
export const status = (name: string): Effect.Effect<Status, UnknownJob, Jobs> =>
  Effect.flatMap(Jobs, (jobs) => jobs.status(name))

/**
 * Runs the job now, beside its schedule, and gives how that run has ended. It never fails because the run has failed.
 *
 * - While a run is under way no other one begins: the end of that one is awaited.
 * - Works also while the job is paused, and after its schedule has ended. It moves no time of the schedule, and has no jitter.
 * - Interruption: the caller leaves, and the run goes on.
 *
 * @since 0.2.0
 * @category control
 */
export const runNow = (name: string): Effect.Effect<Run, UnknownJob, Jobs> =>
  Effect.flatMap(Jobs, (jobs) => jobs.runNow(name))

/**
 * No run begins by the schedule until `resume`. The run under way goes on. What is due meanwhile is not made up for.
 *
 * @since 0.2.0
 * @category control
 */
export const pause = (name: string): Effect.Effect<void, UnknownJob, Jobs> =>
  Effect.flatMap(Jobs, (jobs) => jobs.pause(name))

/**
 * Ends a `pause`. The next run begins when the schedule says so.
 *
 * @since 0.2.0
 * @category control
 */
export const resume = (name: string): Effect.Effect<void, UnknownJob, Jobs> =>
  Effect.flatMap(Jobs, (jobs) => jobs.resume(name))
