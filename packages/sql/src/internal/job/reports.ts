import { Cause, Effect, Option } from "effect"
import type { Outcome } from "./status.js"

/**
 * What the log says of one job. A job that fails each time would fill the log, so only changes are said; `Job.status` counts
 * the rest.
 */
export interface Reports {
  readonly failed: (outcome: Outcome, cause: Cause.Cause<unknown>) => Effect.Effect<void>
  readonly worksAgain: (failures: number) => Effect.Effect<void>
  /** A run was due while another one had been under way for so many milliseconds. Says it the first time only. */
  readonly skipped: (elapsed: number) => Effect.Effect<void>
  readonly ended: (runs: number) => Effect.Effect<void>
  readonly scheduleFailed: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  readonly abandoned: (bound: number) => Effect.Effect<void>
}

/** What a failed run failed with, for people. */
export const textOf = (cause: Cause.Cause<unknown>): string => {
  const failure = Option.orElse(Cause.failureOption(cause), () => Cause.dieOption(cause))
  if (Option.isNone(failure)) return "it was interrupted"
  const { value } = failure
  if (typeof value !== "object" || value === null) return String(value)
  const { _tag: tag, message } = value as { readonly _tag?: unknown; readonly message?: unknown }
  return typeof message === "string" && message !== "" ? message : typeof tag === "string" ? tag : "an unknown failure"
}

const ONCE =
  "Its schedule goes on. Failures that follow are counted by Job.status, and the log says when it works again"

export const make = (name: string, timeout: number | undefined): Reports => {
  let isSkippingSaid = false
  const job = `job "${name}"`
  return {
    failed: (outcome, cause) => {
      if (outcome === "died")
        return Effect.logError(`${job} has failed with a defect: ${textOf(cause)}. ${ONCE}`, cause)
      return Effect.logWarning(
        outcome === "timedOut"
          ? `${job} was stopped, because it was not done within its timeout of ${timeout} ms. ${ONCE}`
          : `${job} has failed: ${textOf(cause)}. ${ONCE}`
      )
    },
    worksAgain: (failures) =>
      Effect.logInfo(`${job} works again, after ${failures} ${failures === 1 ? "run that" : "runs that"} failed`),
    skipped: (elapsed) =>
      Effect.suspend(() => {
        if (isSkippingSaid) return Effect.void
        isSkippingSaid = true
        return Effect.logWarning(
          `${job} was due while it was still running, since ${Math.round(elapsed)} ms: it is never run twice at once, so a run is skipped. Make the job shorter or its schedule slower. This is said once, and Job.status counts what is skipped`
        )
      }),
    ended: (runs) => Effect.logInfo(`the schedule of ${job} has ended, after ${runs} ${runs === 1 ? "run" : "runs"}`),
    scheduleFailed: (cause) =>
      Effect.logError(
        `the schedule of ${job} has failed: ${textOf(cause)}. From now on the job is run by Job.runNow only`,
        cause
      ),
    abandoned: (bound) =>
      Effect.logWarning(
        `${job} was still running ${bound} ms after it was interrupted. Nobody waits for it any longer; what it does cannot be interrupted`
      )
  }
}
