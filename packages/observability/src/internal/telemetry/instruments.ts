/**
 * The metrics of the catalogue in the registry of Effect, from which whatever exports metrics reads them.
 *
 * Each series is found once and updated past the fiber: tags of the fiber would get into it, and cost more than the update.
 */
import { Metric, MetricBoundaries, MetricKey, type MetricKeyType, MetricLabel } from "effect"
import * as Catalog from "../../Catalog.js"

/** Values of the attributes of a metric. One that is `undefined` is left out. */
export type Attributes = Readonly<Record<string, string | undefined>>

/** A counter, or a histogram. */
export interface Recording {
  /** Adds to the counter, or records a value of the histogram. */
  readonly record: (value: number) => void
}

/** A value of now. */
interface Level {
  readonly set: (value: number) => void
  /** What is set at the end of the look that is under way; `undefined`: nothing has been told. */
  next: number | undefined
}

/** The attribute that says which pool a series is of. */
export const POOL = "db.client.connection.pool.name"

/** Effect has no instrument for a unit: what exports metrics takes it from this label. */
export const UNIT = "unit"

const none: ReadonlyArray<MetricLabel.MetricLabel> = []

const keyOf = ({ buckets = [], description, instrument, name }: Catalog.Definition): MetricKey.MetricKey<any> => {
  switch (instrument) {
    case "counter":
      return MetricKey.counter(name, { description, incremental: true })
    case "upDownCounter":
      return MetricKey.counter(name, { description, incremental: false })
    case "gauge":
      return MetricKey.gauge(name, { description })
    case "histogram":
      return MetricKey.histogram(name, MetricBoundaries.fromIterable(buckets), description)
  }
}

const metricOf = (name: Catalog.Name, attributes: Attributes): Metric.Metric<any, number, unknown> => {
  const definition = Catalog.metrics[name]
  const labels = [MetricLabel.make(UNIT, definition.unit)]
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) labels.push(MetricLabel.make(key, value))
  }
  const key = MetricKey.taggedWithLabels(keyOf(definition), labels) as MetricKey.MetricKey<
    MetricKeyType.MetricKeyType<number, unknown>
  >
  const metric = Metric.fromMetricKey(key)
  // From now on it is in the registry: what counts changes must see the first one, from 0.
  metric.unsafeValue(none)
  return metric
}

/** A series that things that happen are recorded in. */
export const recording = (name: Catalog.Name, attributes: Attributes): Recording => {
  const metric = metricOf(name, attributes)
  return { record: (value) => metric.unsafeUpdate(value, none) }
}

/**
 * Series that show what there is now, taken together from all who have the same attributes. A series of which nobody has told anything in
 * a look is 0.
 */
export class Levels {
  private readonly series = new Map<string, Level>()

  /** Takes the sum of what is told for the series. */
  add(name: Catalog.Name, attributes: Attributes, value: number): void {
    const level = this.of(name, attributes)
    level.next = (level.next ?? 0) + value
  }

  /** Takes the greatest of what is told for the series. */
  most(name: Catalog.Name, attributes: Attributes, value: number): void {
    const level = this.of(name, attributes)
    level.next = Math.max(level.next ?? value, value)
  }

  /** The look is over. */
  commit(): void {
    for (const level of this.series.values()) {
      level.set(level.next ?? 0)
      level.next = undefined
    }
  }

  private of(name: Catalog.Name, attributes: Attributes): Level {
    const key = JSON.stringify([name, attributes])
    let level = this.series.get(key)
    if (level === undefined) {
      const metric = metricOf(name, attributes)
      const isGauge = Catalog.metrics[name].instrument === "gauge"
      let last = 0
      level = {
        next: undefined,
        set: (value) => {
          if (value === last) return
          metric.unsafeUpdate(isGauge ? value : value - last, none)
          last = value
        }
      }
      this.series.set(key, level)
    }
    return level
  }
}

/** Series by what they are of: found by a few comparisons, without making a text. */
export const perKey = <K, A>(make: (key: K) => A): ((key: K) => A) => {
  const known = new Map<K, A>()
  return (key) => {
    let one = known.get(key)
    if (one === undefined) {
      one = make(key)
      known.set(key, one)
    }
    return one
  }
}
