/**
 * What the registry of Effect has, in the text format of Prometheus (version 0.0.4).
 *
 * 1. The series of a metric stand together, behind one line that says what it is.
 * 2. No series is there twice, and no metric has two kinds: what would be so under the names that Prometheus allows is left out.
 */
import { type MetricKey, MetricKeyType, type MetricPair, MetricState, Option } from "effect"
import type { Instrument } from "../../Catalog.js"
import * as Catalog from "../../Catalog.js"
import { UNIT } from "../telemetry/instruments.js"

/** Effect's own timers say their unit in this label. */
const TIME_UNIT = "time_unit"

type Kind = "counter" | "gauge" | "histogram" | "summary"

/** One metric under the name that Prometheus knows it by. */
interface Family {
  readonly kind: Kind
  readonly help: string
  readonly seen: Set<string>
  readonly lines: Array<string>
}

type Labels = ReadonlyArray<readonly [name: string, value: string]>

const number = (value: number | bigint): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value)

const escaped = (value: string): string => value.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")

const quoted = (value: string): string => `"${escaped(value).replace(/"/g, '\\"')}"`

const braces = (labels: Labels): string =>
  labels.length === 0 ? "" : `{${labels.map(([name, value]) => `${name}=${quoted(value)}`).join(",")}}`

const line = (name: string, labels: Labels, value: number | bigint): string =>
  `${name}${braces(labels)} ${number(value)}`

/** The labels of a series without its unit, each name once: two attributes may be one label. */
const labelsOf = (tags: MetricKey.MetricKey.Untyped["tags"]): Labels => {
  const labels = new Map<string, string>()
  for (const { key, value } of tags) {
    const name = Catalog.prometheusLabel(key)
    if (key !== UNIT && key !== TIME_UNIT && !labels.has(name)) labels.set(name, value)
  }
  return [...labels]
}

const instrumentOf = ({ keyType }: MetricKey.MetricKey.Untyped): Instrument =>
  MetricKeyType.isCounterKey(keyType)
    ? keyType.incremental
      ? "counter"
      : "upDownCounter"
    : MetricKeyType.isFrequencyKey(keyType)
      ? "counter"
      : MetricKeyType.isGaugeKey(keyType)
        ? "gauge"
        : "histogram"

const kindOf = (key: MetricKey.MetricKey.Untyped): Kind => {
  if (MetricKeyType.isSummaryKey(key.keyType)) return "summary"
  const instrument = instrumentOf(key)
  return instrument === "upDownCounter" ? "gauge" : instrument
}

const linesOf = (name: string, labels: Labels, state: MetricState.MetricState.Untyped): ReadonlyArray<string> => {
  if (MetricState.isCounterState(state)) return [line(name, labels, state.count)]
  if (MetricState.isGaugeState(state)) return [line(name, labels, state.value)]
  if (MetricState.isFrequencyState(state)) {
    return Array.from(state.occurrences, ([key, count]) => line(name, [...labels, ["key", key]], count))
  }
  const sums = (state: { readonly sum: number; readonly count: number }) => [
    line(`${name}_sum`, labels, state.sum),
    line(`${name}_count`, labels, state.count)
  ]
  if (MetricState.isHistogramState(state)) {
    return [
      ...Array.from(state.buckets, ([bound, count]) =>
        line(`${name}_bucket`, [...labels, ["le", number(bound)]], count)
      ),
      ...sums(state)
    ]
  }
  if (MetricState.isSummaryState(state)) {
    return [
      ...Array.from(state.quantiles, ([quantile, value]) =>
        line(
          name,
          [...labels, ["quantile", number(quantile)]],
          Option.getOrElse(value, () => Number.NaN)
        )
      ),
      ...sums(state)
    ]
  }
  return []
}

export const format = (pairs: ReadonlyArray<MetricPair.MetricPair.Untyped>): string => {
  const families = new Map<string, Family>()
  for (const { metricKey, metricState } of pairs) {
    const unit = metricKey.tags.find(({ key }) => key === UNIT || key === TIME_UNIT)?.value ?? ""
    const name = Catalog.prometheusName({ name: metricKey.name, instrument: instrumentOf(metricKey), unit })
    const kind = kindOf(metricKey)
    let family = families.get(name)
    if (family === undefined) {
      const help = Option.getOrElse(metricKey.description, () => `The metric ${metricKey.name} of the program.`)
      family = { kind, help, seen: new Set(), lines: [] }
      families.set(name, family)
    }
    const labels = labelsOf(metricKey.tags)
    const identity = braces([...labels].sort(([one], [other]) => (one < other ? -1 : 1)))
    if (family.kind !== kind || family.seen.has(identity)) continue
    family.seen.add(identity)
    family.lines.push(...linesOf(name, labels, metricState))
  }
  return Array.from(families, ([name, { help, kind, lines }]) =>
    [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${kind}`, ...lines, ""].join("\n")
  ).join("")
}
