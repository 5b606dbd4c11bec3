/** What the registry of Effect has of a metric. */
import { Metric, MetricState } from "effect"

export interface Series {
  readonly attributes: Readonly<Record<string, string>>
  /** The count of a counter or a histogram, or the value of a gauge. */
  readonly value: number
  readonly sum: number | undefined
}

const numberOf = (state: MetricState.MetricState.Untyped): number =>
  MetricState.isGaugeState(state)
    ? Number(state.value)
    : MetricState.isCounterState(state) || MetricState.isHistogramState(state)
      ? Number(state.count)
      : Number.NaN

/** The series of this metric that have at least these attributes. */
export const seriesOf = (name: string, having: Readonly<Record<string, string>> = {}): ReadonlyArray<Series> =>
  Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) => {
    const attributes = Object.fromEntries(metricKey.tags.map(({ key, value }) => [key, value]))
    if (metricKey.name !== name || !Object.entries(having).every(([key, value]) => attributes[key] === value)) return []
    const sum = MetricState.isHistogramState(metricState) ? metricState.sum : undefined
    return [{ attributes, value: numberOf(metricState), sum }]
  })

/** The value of the one series that has at least these attributes; `undefined`: there is none. */
export const valueOf = (name: string, having: Readonly<Record<string, string>> = {}): number | undefined => {
  const found = seriesOf(name, having)
  if (found.length > 1) throw new Error(`${name} has ${found.length} series with ${JSON.stringify(having)}`)
  return found[0]?.value
}

/** The attribute that says which pool a series is of. */
export const ofPool = (name: string) => ({ "db.client.connection.pool.name": name })
