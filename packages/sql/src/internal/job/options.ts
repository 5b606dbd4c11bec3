import * as OptionTable from "@sluice/pool/OptionTable"
import { type Priority, rank } from "@sluice/pool/Priority"
import { type Duration, Effect, Schedule } from "effect"

/** The options of a job, as programs write them. */
export interface Input {
  readonly name: string
  readonly schedule: Schedule.Schedule<any, void, any>
  readonly timeout?: Duration.DurationInput | undefined
  readonly priority?: Priority | undefined
  readonly acquireTimeout?: Duration.DurationInput | undefined
  readonly overlap?: Overlap | undefined
  readonly jitter?: Duration.DurationInput | undefined
}

/** What becomes of a run that is due while another one is under way. */
export type Overlap = "skip" | "wait"

/** The same, checked. Durations are milliseconds. */
export interface Settings {
  readonly name: string
  readonly schedule: Schedule.Schedule<any, void, any>
  readonly timeout: number | undefined
  readonly priority: Priority
  readonly acquireTimeout: number
  readonly overlap: Overlap
  readonly jitter: number
}

/**
 * Milliseconds. Shorter than the default of the pool, because nobody waits for a job: a run that gets no connection fails, and the
 * schedule brings the next one. Much less would fail runs in every busy second.
 */
const ACQUIRE_TIMEOUT = 1_000

const DAY = 86_400_000

const duration = (least: number, most: number, range: string): OptionTable.Check =>
  OptionTable.that(`a duration ${range}`, (value) => {
    const millis = OptionTable.millisOf(value)
    return millis !== undefined && millis >= least && millis <= most
  })

const table: OptionTable.Table<Input> = {
  name: OptionTable.that("a text of 1 to 200 characters", (value) => {
    return typeof value === "string" && value.trim() !== "" && value.length <= 200
  }),
  schedule: OptionTable.that("a Schedule, such as Schedule.spaced or Schedule.cron", Schedule.isSchedule),
  timeout: duration(1, 7 * DAY, "from 1 millisecond to 7 days"),
  priority: OptionTable.oneOf(...Object.keys(rank)),
  acquireTimeout: duration(0, 3_600_000, "from 0 to 1 hour"),
  overlap: OptionTable.oneOf("skip", "wait"),
  jitter: duration(0, DAY, "from 0 to 1 day")
}

/** What other schedulers call these. */
const elsewhere: OptionTable.Elsewhere = {
  cron: "use schedule: Schedule.cron",
  cronTime: "use schedule: Schedule.cron",
  pattern: "use schedule: Schedule.cron",
  rule: "use schedule: Schedule.cron",
  interval: "use schedule: Schedule.spaced",
  every: "use schedule: Schedule.spaced",
  delay: "use schedule: Schedule.spaced",
  limit: "use schedule, together with Schedule.recurs",
  id: "use name",
  concurrency: "leave it out, a job is never run twice at once",
  noOverlap: "leave it out, a job is never run twice at once",
  preventOverrun: "leave it out, a job is never run twice at once",
  waitForCompletion: 'use overlap: "wait"',
  retry: "use Sql.retry inside of the effect",
  retries: "use Sql.retry inside of the effect",
  onError: "use Effect.tapErrorCause inside of the effect",
  runOnInit: "use Job.runNow",
  execute: "give the effect as the second argument",
  effect: "give the effect as the second argument"
}

/** Everything that is wrong with what `Job.layer` was given. Empty if nothing is. */
export const problems = (input: unknown, effect: unknown): ReadonlyArray<string> => {
  const found = [...OptionTable.problems(input, table, { elsewhere })]
  if (typeof input === "object" && input !== null && !Array.isArray(input)) {
    for (const needed of ["name", "schedule"] as const) {
      if ((input as Partial<Input>)[needed] === undefined) found.push(`${needed} is missing`)
    }
  }
  if (!Effect.isEffect(effect)) {
    found.push(`the second argument must be the effect of the job, and is ${OptionTable.shown(effect)}`)
  }
  return found
}

/** To be called with options that have no problem. */
export const settings = ({
  acquireTimeout = ACQUIRE_TIMEOUT,
  jitter = 0,
  name,
  overlap = "skip",
  priority = "background",
  schedule,
  timeout
}: Input): Settings => ({
  name,
  schedule,
  timeout: timeout === undefined ? undefined : OptionTable.millisOf(timeout),
  priority,
  acquireTimeout: OptionTable.millisOf(acquireTimeout)!,
  overlap,
  jitter: OptionTable.millisOf(jitter)!
})
