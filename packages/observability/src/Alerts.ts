/**
 * Alerts about pools: as rules for Prometheus, and in the process itself for programs without Prometheus. Both are made of the same
 * definitions and the same thresholds.
 *
 * @since 0.2.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import { Effect, Either, Layer, Redacted, Stream } from "effect"
import type { AlertOptions, Receiver, RuleOptions, Transition, WebhookOptions } from "./Alert.js"
import { InvalidAlerts } from "./Alert.js"
import * as config from "./internal/alerts/options.js"
import { ruleOf } from "./internal/alerts/ruleFile.js"
import { transitions } from "./internal/alerts/stream.js"
import * as hook from "./internal/alerts/webhook.js"
import { time } from "./internal/promql.js"
import type { Report } from "./Report.js"
import type { InvalidThresholds, Options as ThresholdOptions } from "./Thresholds.js"

export {
  type AlertOptions,
  InvalidAlerts,
  type Receiver,
  type RuleOptions,
  type Transition,
  type WebhookOptions
} from "./Alert.js"

/**
 * The rule file for Prometheus with all alerts, as text. It is JSON, which is YAML too: Prometheus and `promtool` read it as it is.
 *
 * **When to use:** where Prometheus reads the metrics of the program. Write the text into a file that `rule_files` of Prometheus names.
 *
 * - Needs Prometheus 2.42 or later.
 * - Fails with `InvalidThresholds` or `InvalidAlerts`, which list every problem. `waitP95Ms` must be a bound of the buckets of
 *   `db.client.connection.wait_time`, because Prometheus knows of no other times how many acquires were faster.
 *
 * @example
 * ```ts
 * import { Alerts } from "@sluice/observability"
 * import { Either } from "effect"
 *
 * const rules = Either.getOrThrow(Alerts.rules({ utilization: { warning: 0.7 } }, { scrapeInterval: "30 seconds" }))
 *
 * console.log(JSON.parse(rules).groups[0].rules[0].expr)
 * // sum without (db_client_connection_state) (db_client_connection_count{db_client_connection_state="used"}) / db_client_connection_max > 0.7
 * ```
 *
 * @see `stream` for programs without Prometheus.
 * @since 0.2.0
 * @category rules
 */
export const rules = (
  thresholds?: ThresholdOptions,
  options?: RuleOptions
): Either.Either<string, InvalidThresholds | InvalidAlerts> =>
  Either.map(config.parseRules(thresholds, options), ({ alerts, runbooks, scrapeIntervalMs, target }) => {
    const group = {
      name: "sluice",
      // As often as there are new numbers: a counter that has grown between two spans would else be in neither.
      interval: time(scrapeIntervalMs),
      rules: alerts.map((alert) => ruleOf(alert, target, runbooks))
    }
    return `${JSON.stringify({ groups: [group] }, undefined, 2)}\n`
  })

export const stream = <R>(
  reports: Effect.Effect<ReadonlyArray<Report>, never, R>,
  thresholds?: ThresholdOptions,
  options?: AlertOptions
): Stream.Stream<Transition, InvalidThresholds | InvalidAlerts, R> =>
  Either.match(config.parse(thresholds, options), {
    onLeft: Stream.fail,
    onRight: (parsed) => transitions(parsed, reports)
  })

export const webhook = (
  url: string | Redacted.Redacted,
  options: WebhookOptions = {}
): Effect.Effect<Receiver, InvalidAlerts, HttpClient.HttpClient> => {
  const address = Redacted.isRedacted(url) ? Redacted.value(url) : url
  const problems = config.webhookProblems(address, options)
  return problems.length > 0 ? Effect.fail(new InvalidAlerts({ problems })) : hook.make(address, options)
}

/** A receiver that is broken ends no alert. */
const guarded = (work: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchAllCause(work, (cause) => Effect.logError("alerts: the receiver has failed", cause))

export const layer = <E, R, R2>(
  receiver: Effect.Effect<Receiver, E, R>,
  reports: Effect.Effect<ReadonlyArray<Report>, never, R2>,
  thresholds?: ThresholdOptions,
  options?: AlertOptions
): Layer.Layer<never, E | InvalidThresholds | InvalidAlerts, R | R2> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const receive = yield* receiver
      const parsed = yield* config.parse(thresholds, options)
      yield* Effect.forkScoped(
        Stream.runForEach(transitions(parsed, reports), (transition) => guarded(receive(transition)))
      )
    })
  )
