/**
 * Alerts about pools: as rules for Prometheus, and in the process itself for programs without Prometheus. Both are made of the same
 * definitions and the same thresholds.
 *
 * @since 0.2.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import { Effect, Either, Layer, Redacted, Stream } from "effect"
import type { Receiver, RuleOptions, StreamOptions, Transition, WebhookOptions } from "./Alert.js"
import { InvalidAlerts } from "./Alert.js"
import * as config from "./internal/alerts/options.js"
import { ruleOf } from "./internal/alerts/ruleFile.js"
import { transitions } from "./internal/alerts/stream.js"
import * as hook from "./internal/alerts/webhook.js"
import { time } from "./internal/promql.js"
import { Recorder } from "./Recorder.js"
import type { Report } from "./Report.js"
import type { InvalidThresholds, Options as ThresholdOptions } from "./Thresholds.js"

export {
  type AlertOptions,
  InvalidAlerts,
  type Receiver,
  type RuleOptions,
  type StreamOptions,
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

/** The report of this process. */
const own: Effect.Effect<ReadonlyArray<Report>, never, Recorder> = Effect.flatMap(Recorder, ({ report }) =>
  Effect.map(report(), (report) => [report])
)

/**
 * The same alerts, raised by the process itself: a stream of the transitions, each when an alert begins and when it has ended. The
 * reports are looked at once a second.
 *
 * **When to use:** where no Prometheus reads the metrics, to log alerts or to send them with a handler of your own.
 *
 * - An alert begins after the time that its rule says, and ends when its conditions have not held for a minute: a number that comes and
 *   goes is one alert.
 * - A process sees its own pools. Whether those of all processes are too many for a server is known where all reports are: see the
 *   option `reports`.
 * - Does not wait for its reader: when 1,000 transitions wait, the oldest are given up.
 * - Holds for each pool sixty values of each counter for each span of time, about 20 kilobytes.
 * - A time in which the process did not run counts for a minute at most. The monotonic clock is used, so a clock that is set back or
 *   forward raises and ends nothing.
 * - Fails with `InvalidThresholds` or `InvalidAlerts`, as `rules` does.
 *
 * @example
 * ```ts
 * import { Alerts, Recorder } from "@sluice/observability"
 * import { Effect, Stream } from "effect"
 *
 * const program = Alerts.stream({ waitP95Ms: 250 }).pipe(
 *   Stream.runForEach(({ alert, state, summary }) => Effect.log(`${alert} ${state}: ${summary}`)),
 *   Effect.provide(Recorder.layer())
 * )
 *
 * // The program runs as long as it is not interrupted.
 * Effect.runPromise(Effect.timeoutOption(program, "10 millis")).then(console.log)
 * // { _id: 'Option', _tag: 'None' }
 * ```
 *
 * @see `layer` to run it beside the program.
 * @see `rules` for Prometheus.
 * @since 0.2.0
 * @category streams
 */
export const stream = <R = Recorder>(
  thresholds?: ThresholdOptions,
  options?: StreamOptions<R>
): Stream.Stream<Transition, InvalidThresholds | InvalidAlerts, R> =>
  Either.match(config.parseStream(thresholds, options), {
    onLeft: Stream.fail,
    // Without the option, R is its default.
    onRight: (parsed) =>
      transitions(parsed, options?.reports ?? (own as Effect.Effect<ReadonlyArray<Report>, never, R>))
  })

/**
 * A receiver that posts each transition to an address, in the form in which Alertmanager does (version 4, one alert in each request), so
 * that whatever takes alerts of Alertmanager takes these.
 *
 * **When to use:** with `layer`.
 *
 * - A request that fails, or is answered with 5xx, 408 or 429, is repeated: see `WebhookOptions`. Another status is final: the alert is
 *   lost. Transitions wait for each other, so that their order stays; `stream` bounds how many wait.
 * - Logs one line when the receiver does not take alerts, and one when it does again, with how many were lost: neither has more of the
 *   address than the host.
 * - Fails with `InvalidAlerts`, which lists every problem and does not show the address.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Alerts, Recorder } from "@sluice/observability"
 * import { Effect, Layer, Redacted } from "effect"
 *
 * const AlertsLive = Alerts.layer(Alerts.webhook(Redacted.make("https://hooks.example/T0/s3cret"))).pipe(
 *   Layer.provide([Recorder.layer(), FetchHttpClient.layer])
 * )
 *
 * Effect.runPromise(Effect.scoped(Layer.build(AlertsLive))).then(() => console.log("the alerts have ended with the program"))
 * // the alerts have ended with the program
 * ```
 *
 * @since 0.2.0
 * @category receivers
 */
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

/**
 * Raises alerts as long as the program runs, and gives them to a receiver, one after the other.
 *
 * **When to use:** once, where the program is put together.
 *
 * - A receiver that is slow holds up no look at the pools: see `stream`. One that dies is logged, and gets the next alert.
 * - Fails with `InvalidThresholds` or `InvalidAlerts`, or with what the receiver cannot be made for.
 *
 * @example
 * ```ts
 * import { Alerts, Recorder } from "@sluice/observability"
 * import { Effect, Layer } from "effect"
 *
 * const toLog: Effect.Effect<Alerts.Receiver> = Effect.succeed(({ severity, state, summary }) =>
 *   Effect.logWarning(`${severity} ${state}: ${summary}`)
 * )
 *
 * const AlertsLive = Alerts.layer(toLog, { leaseMs: 60_000 }).pipe(Layer.provide(Recorder.layer()))
 *
 * Effect.runPromise(Effect.scoped(Layer.build(AlertsLive))).then(() => console.log("no alert"))
 * // no alert
 * ```
 *
 * @see `webhook` for a receiver over HTTP.
 * @since 0.2.0
 * @category layers
 */
export const layer = <E, R, R2 = Recorder>(
  receiver: Effect.Effect<Receiver, E, R>,
  thresholds?: ThresholdOptions,
  options?: StreamOptions<R2>
): Layer.Layer<never, E | InvalidThresholds | InvalidAlerts, R | R2> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const receive = yield* receiver
      // Parsed here, so that the Layer fails and not a fiber that nobody looks at.
      yield* config.parseStream(thresholds, options)
      const alerts = Stream.runForEach(stream(thresholds, options), (transition) => guarded(receive(transition)))
      yield* Effect.forkScoped(alerts)
    })
  )
