/** The options of alerts, checked once. */
import * as OptionTable from "@sluice/pool/OptionTable"
import { Duration, Effect, Either, Redacted, Schedule } from "effect"
import {
  type AlertOptions,
  InvalidAlerts,
  type RuleOptions,
  type StreamOptions,
  type WebhookOptions
} from "../../Alert.js"
import { type InvalidThresholds, make, type Options as ThresholdOptions, type Thresholds } from "../../Thresholds.js"
import { waitBounds } from "../bounds.js"
import { type Alert, all } from "./definitions.js"
import type { Target } from "./signals.js"

export interface Config {
  readonly thresholds: Thresholds
  readonly alerts: ReadonlyArray<Alert>
  readonly target: Target
  readonly runbooks: string
  readonly scrapeIntervalMs: number
}

const RUNBOOKS = "https://github.com/sluice-db/sluice/blob/main/packages/observability/docs/alerts.md"

/** Prometheus needs four values in a span, so that one scrape may fail and there is still a difference. */
const SCRAPES = 4

const url: OptionTable.Check = OptionTable.that(
  "an address that begins with http:// or https://",
  (value) => typeof value === "string" && /^https?:\/\//.test(value) && URL.canParse(value)
)

const capacity: OptionTable.Check = OptionTable.that(
  "a whole number from 1 to 1,000,000",
  (value) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1_000_000
)

const duration = (least: number, most: number, words: string): OptionTable.Check =>
  OptionTable.that(words, (value) => {
    const ms = OptionTable.millisOf(value)
    return ms !== undefined && ms >= least && ms <= most
  })

const labelName: OptionTable.Check = OptionTable.that(
  "the name of a label: letters, digits and _",
  (value) => typeof value === "string" && /^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(value)
)

const alertTable: OptionTable.Table<AlertOptions> = { capacity, runbooks: url }

const streamTable: OptionTable.Table<StreamOptions<never>> = {
  ...alertTable,
  reports: OptionTable.that("an Effect", Effect.isEffect)
}

const ruleTable: OptionTable.Table<RuleOptions> = {
  ...alertTable,
  scrapeInterval: duration(1_000, 300_000, "a duration from 1 second to 5 minutes"),
  processLabels: (value, path) => [
    ...OptionTable.listOf(labelName)(value, path),
    ...(Array.isArray(value) && value.length === 0 ? [`${path} must have at least one label`] : [])
  ]
}

const webhookTable: OptionTable.Table<WebhookOptions> = {
  timeout: duration(1, 60_000, "a duration from 1 millisecond to 1 minute"),
  retry: OptionTable.that("a Schedule", Schedule.isSchedule),
  headers: OptionTable.that(
    "an object whose values are texts",
    (value) =>
      typeof value === "object" &&
      value !== null &&
      Object.values(value).every((one) => typeof (Redacted.isRedacted(one) ? Redacted.value(one) : one) === "string")
  )
}

const refuse = (problems: ReadonlyArray<string>): Either.Either<void, InvalidAlerts> =>
  problems.length === 0 ? Either.void : Either.left(new InvalidAlerts({ problems }))

/** The alerts of these thresholds, and what they are for. */
const parse = (
  thresholds: ThresholdOptions | undefined,
  options: AlertOptions,
  table: OptionTable.Table
): Either.Either<Config, InvalidThresholds | InvalidAlerts> =>
  Either.gen(function* () {
    const parsed = yield* make(thresholds)
    const slow = waitBounds.includes(parsed.waitP95Ms)
      ? []
      : [
          `the threshold waitP95Ms must be a bound of the buckets in which waits are counted (${waitBounds.join(", ")}), and is ${parsed.waitP95Ms}`
        ]
    yield* refuse([...OptionTable.problems(options, table), ...slow])
    const {
      capacity,
      processLabels = ["instance", "pod", "job"],
      runbooks = RUNBOOKS,
      scrapeInterval = 15_000
    } = options as RuleOptions
    const scrapeIntervalMs = Duration.toMillis(scrapeInterval)
    return {
      thresholds: parsed,
      alerts: all(parsed),
      target: { minuteMs: Math.max(60_000, SCRAPES * scrapeIntervalMs), processLabels, capacity },
      runbooks,
      scrapeIntervalMs
    }
  })

export const parseRules = (
  thresholds?: ThresholdOptions,
  options: RuleOptions = {}
): Either.Either<Config, InvalidThresholds | InvalidAlerts> => parse(thresholds, options, ruleTable)

export const parseStream = <R>(
  thresholds?: ThresholdOptions,
  options: StreamOptions<R> = {}
): Either.Either<Config, InvalidThresholds | InvalidAlerts> => parse(thresholds, options, streamTable)

/** What is wrong with the options of a webhook. The address is not shown, because it may contain a secret. */
export const webhookProblems = (address: string, options: WebhookOptions = {}): ReadonlyArray<string> => [
  ...(url(address, "url").length === 0 ? [] : ["url must be an address that begins with http:// or https://"]),
  ...OptionTable.problems(options, webhookTable)
]
