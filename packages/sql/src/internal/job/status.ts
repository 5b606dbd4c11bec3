import type { DateTime } from "effect"

/** How a run has ended: see `Job.Run`. */
export type Outcome = "succeeded" | "failed" | "died" | "timedOut" | "interrupted"

/**
 * One run of a job that has ended.
 *
 * @since 0.2.0
 * @category models
 */
export interface Run {
  /** When it began. */
  readonly at: DateTime.Utc
  /** Milliseconds, with fractions. */
  readonly elapsedMs: number
  /**
   * - `failed`: the effect has failed. `died`: it had a defect.
   * - `timedOut`: it was stopped after the `timeout` of the job.
   * - `interrupted`: the effect has interrupted itself, or the Layer of the job has closed.
   */
  readonly outcome: Outcome
  /** What it failed with, for people. `undefined` after a success. */
  readonly failure: string | undefined
}

/**
 * A job, at one moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Status {
  readonly name: string
  /** `ended`: the schedule has no more times, or has failed. `Job.runNow` works in each of them. */
  readonly schedule: "active" | "paused" | "ended"
  /** When the schedule says that the next run begins, without the jitter. `undefined` while it is not active. */
  readonly nextAt: DateTime.Utc | undefined
  /** The run that is under way. */
  readonly running: { readonly at: DateTime.Utc; readonly elapsedMs: number } | undefined
  /** Runs that have ended, however they did. */
  readonly runs: number
  /** Those of them that did not succeed. */
  readonly failures: number
  /** Failures since the last success. */
  readonly failuresInARow: number
  /** Those failures that were stopped after the `timeout` of the job. */
  readonly timeouts: number
  /** How often a run was due while another one was under way, and was not begun therefore. */
  readonly skipped: number
  /** Milliseconds, with fractions, of all runs together. */
  readonly totalMs: number
  readonly last: Run | undefined
}
