/** The rules as Prometheus reads them. */

import { poolLabel, time } from "../promql.js"
import { type Alert, KEEP, type Unit } from "./definitions.js"
import { endpointLabel, type Signal, type Target } from "./signals.js"
import { descriptionOf } from "./text.js"

/** What a rule file says of one alert. */
export interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly keep_firing_for: string
  readonly labels: { readonly severity: Alert["severity"] }
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook_url: string }
}

const shown: Readonly<Record<Unit, string>> = {
  share: "{{ $value | humanizePercentage }}",
  seconds: "{{ $value | humanizeDuration }}",
  count: '{{ $value | printf "%.0f" }}'
}

/** Several conditions hold together if there is a series for each of them with the same labels. */
export const expressionOf = ({ when }: Alert, target: Target): string => {
  const conditions: ReadonlyArray<{ readonly signal: Pick<Signal<never>, "promql">; readonly above: number }> = when
  const written = conditions.map(({ above, signal }) => `${signal.promql(target)} > ${above}`)
  return written.length === 1 ? written[0]! : written.map((one) => `(${one})`).join(" and ")
}

/** The place of an alert on the page of runbooks. */
export const anchorOf = ({ name }: Pick<Alert, "name">): string => name.toLowerCase()

export const ruleOf = (alert: Alert, target: Target, runbooks: string): Rule => ({
  alert: alert.name,
  expr: expressionOf(alert, target),
  for: time(alert.forMs),
  keep_firing_for: time(KEEP),
  labels: { severity: alert.severity },
  annotations: {
    summary: alert.summary
      .replace("{pool}", `{{ $labels.${poolLabel} }}`)
      .replace("{endpoint}", `{{ $labels.${endpointLabel} }}`)
      .replace("{value}", shown[alert.unit]),
    description: descriptionOf(alert),
    runbook_url: `${runbooks}#${anchorOf(alert)}`
  }
})
