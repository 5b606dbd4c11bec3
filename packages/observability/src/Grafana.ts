/**
 * The board for Grafana: the same panels, in the same order and with the same words, as the terminal and the web page.
 *
 * @since 0.2.0
 */
import * as OptionTable from "@sluice/pool/OptionTable"
import { Data, Either } from "effect"
import type { InvalidAlerts } from "./Alert.js"
import { parseRules } from "./internal/alerts/options.js"
import { filterOf, make } from "./internal/grafana/dashboard.js"
import type { Dashboard } from "./internal/grafana/model.js"
import type { InvalidThresholds, Options as ThresholdOptions } from "./Thresholds.js"

export type {
  /**
   * A dashboard, as Grafana imports it: plain data, to be written as JSON.
   *
   * @since 0.2.0
   * @category models
   */
  Dashboard
} from "./internal/grafana/model.js"

/**
 * The options of the board.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /**
   * The label by which Prometheus tells the processes apart.
   *
   * - Default `instance`, which every scraped series has. In Kubernetes `pod` says more.
   */
  readonly podLabel?: string | undefined
  /**
   * By which Grafana knows the dashboard when it is imported again.
   *
   * - Default `sluice-pool-health`. Range: 1 to 40 letters, digits, `-` and `_`.
   */
  readonly uid?: string | undefined
}

/**
 * Options that cannot work. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidDashboard extends Data.TaggedError("InvalidDashboard")<{
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `dashboard: ${this.problems.join("; ")}`
  }
}

const table: OptionTable.Table<Options> = {
  podLabel: OptionTable.that(
    "the name of a label: letters, digits and _",
    (value) => typeof value === "string" && /^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(value)
  ),
  uid: OptionTable.that(
    "1 to 40 letters, digits, - and _",
    (value) => typeof value === "string" && /^[A-Za-z0-9_-]{1,40}$/.test(value)
  )
}

/**
 * The dashboard `Connection Pool Health`. Its queries are of the metrics of the catalogue, and its verdict shows what alerts with these
 * thresholds would be raised for.
 *
 * **When to use:** where Grafana shows what Prometheus has read of the program. Import the JSON, or put it into a folder that Grafana
 * provisions.
 *
 * - Made for Grafana 11 and later.
 * - "Another maxSize" is not in it, because Prometheus does not know the single waits: the panel says where to look.
 * - Fails with `InvalidThresholds`, `InvalidAlerts` or `InvalidDashboard`, which list every problem.
 *
 * @example
 * ```ts
 * import { Grafana } from "@sluice/observability"
 * import { Either } from "effect"
 *
 * const dashboard = Either.getOrThrow(Grafana.dashboard({}, { podLabel: "pod" }))
 *
 * // JSON.stringify(dashboard) is what Grafana imports.
 * console.log(dashboard.title, dashboard.panels.map((panel) => panel.title).slice(0, 3))
 * // Connection Pool Health [ 'Verdict', 'Connections', 'Wait for a connection' ]
 * ```
 *
 * @see `Alerts.rules` for the rules that Prometheus raises alerts by.
 * @since 0.2.0
 * @category constructors
 */
export const dashboard = (
  thresholds?: ThresholdOptions,
  options: Options = {}
): Either.Either<Dashboard, InvalidThresholds | InvalidAlerts | InvalidDashboard> =>
  Either.gen(function* () {
    const problems = OptionTable.problems(options, table)
    if (problems.length > 0) return yield* Either.left(new InvalidDashboard({ problems }))
    const { podLabel = "instance", uid = "sluice-pool-health" } = options
    const { target, thresholds: parsed } = yield* parseRules(thresholds)
    const board = {
      thresholds: parsed,
      podLabel,
      target: { ...target, filter: filterOf(podLabel) }
    }
    return make(board, uid)
  })
