/**
 * What an alert of this process says, and what `Alerts` can be told beside the thresholds.
 *
 * @since 0.2.0
 */
import { Data, type Duration, type Effect, type Redacted, type Schedule } from "effect"
import type { Reason } from "./Reason.js"
import type { Report } from "./Report.js"

/**
 * An alert has begun, or has ended.
 *
 * @since 0.2.0
 * @category models
 */
export interface Transition {
  readonly state: "fired" | "resolved"
  /** The name of the alert, as in the rules for Prometheus. */
  readonly alert: string
  readonly severity: "warning" | "critical"
  /** What people call the process. `undefined`: the alert is about a server, and all processes that have pools to it. */
  readonly pod: string | undefined
  /** `undefined`: the alert is about the process, or about a server. */
  readonly database: string | undefined
  /** `undefined`: the alert is about the process, or about a server. */
  readonly pool: string | undefined
  /** Host, port and database. `undefined`: the alert is about the process. */
  readonly endpoint: string | undefined
  /** The number that was above the threshold: now, or when it was so last. */
  readonly value: number
  readonly threshold: number
  /** What both numbers are. A share of 1 is 100 %. */
  readonly unit: "share" | "seconds" | "count"
  /** When it began to be above the threshold, in milliseconds since the epoch. */
  readonly since: number
  /** When this transition was found, in milliseconds since the epoch. */
  readonly at: number
  /** One line. */
  readonly summary: string
  /**
   * The worst thing that a verdict has found in the pool when the alert began: what has made callers wait. `undefined`: it has found
   * nothing, the alert has ended, or it is about no pool.
   */
  readonly reason: Reason | undefined
  /** What has caused it and what to do: by `reason`, or else what such an alert means in general. */
  readonly description: string
  /** The page with what to do. */
  readonly runbook: string
}

/**
 * Takes transitions, one after the other.
 *
 * @since 0.2.0
 * @category models
 */
export type Receiver = (transition: Transition) => Effect.Effect<void>

/**
 * The options of all alerts.
 *
 * @since 0.2.0
 * @category models
 */
export interface AlertOptions {
  /**
   * How many connections the database has for the pools: more than that in the sum of `maxSize` is an alert.
   *
   * - Unit: connections. Default: `max_connections` of the server, as the processes have read it. Range 1 to 1,000,000.
   */
  readonly capacity?: number | undefined
  /**
   * The page with what to do about each alert. `#` and the name of the alert are added.
   *
   * - Default: the page of this package.
   */
  readonly runbooks?: string | undefined
}

/**
 * The options of alerts that the process raises itself.
 *
 * @since 0.2.0
 * @category models
 */
export interface StreamOptions<R> extends AlertOptions {
  /**
   * What is looked at each second. With the reports of several processes, alerts about a server are about all of their pools.
   *
   * - Default: the report of this process, by its `Recorder`.
   */
  readonly reports?: Effect.Effect<ReadonlyArray<Report>, never, R> | undefined
}

/**
 * The options of the rules for Prometheus.
 *
 * @since 0.2.0
 * @category models
 */
export interface RuleOptions extends AlertOptions {
  /**
   * How often Prometheus reads the metrics. The rules are evaluated as often, and "the last minute" in them is four times as long if
   * that is more than a minute.
   *
   * - Unit: duration. Default 15 seconds. Range 1 second to 5 minutes.
   */
  readonly scrapeInterval?: Duration.DurationInput | undefined
  /**
   * The labels in which the processes of one fleet differ. Labels that are not named here, such as `namespace`, tell fleets apart: their
   * sums are not added up.
   *
   * - Default `instance`, `pod` and `job`. Range: at least one.
   */
  readonly processLabels?: ReadonlyArray<string> | undefined
}

/**
 * The options of a webhook.
 *
 * @since 0.2.0
 * @category models
 */
export interface WebhookOptions {
  /**
   * How long the receiver may take for one answer.
   *
   * - Unit: duration. Default 10 seconds. Range 1 millisecond to 1 minute.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * When to try again, while the receiver does not answer, or answers with a status of 5xx, 408 or 429. Default: after half a second,
   * then twice as long each time up to 30 seconds, 20 times: about 11 minutes. Then the alert is lost.
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Headers of each request, for example `authorization`. They are not logged. */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
}

/**
 * Options that cannot work. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidAlerts extends Data.TaggedError("InvalidAlerts")<{
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `alerts: ${this.problems.join("; ")}`
  }
}
