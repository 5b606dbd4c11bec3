/**
 * Every metric, once: its name, instrument, unit, attributes and buckets. What exports metrics, raises alerts and draws boards takes them
 * from here, so that none of it names a metric that does not exist.
 *
 * The names of `db.client.*` are those of OpenTelemetry, to the letter; the others begin with `sluice.`. Times are seconds.
 *
 * Where two pools of a process have one name, each metric is their sum, and each age is that of the older one: see `Telemetry`.
 *
 * @since 0.2.0
 */
import { databases } from "./internal/catalog/databases.js"
import type { Definition, Unnamed } from "./internal/catalog/model.js"
import { pools } from "./internal/catalog/pools.js"

export type {
  /**
   * A dimension of a metric.
   *
   * @since 0.2.0
   * @category models
   */
  Attribute,
  /**
   * A metric.
   *
   * @since 0.2.0
   * @category models
   */
  Definition,
  /**
   * @since 0.2.0
   * @category models
   */
  Instrument
} from "./internal/catalog/model.js"

const unnamed = { ...pools, ...databases } satisfies Unnamed

/**
 * The names of all metrics.
 *
 * @since 0.2.0
 * @category models
 */
export type Name = keyof typeof unnamed

/**
 * All metrics, by their names.
 *
 * **When to use:** to name a metric in a rule or a panel.
 *
 * @see `prometheusName` for the name that it has there.
 * @since 0.2.0
 * @category constants
 */
export const metrics = Object.fromEntries(
  Object.entries(unnamed).map(([name, metric]) => [name, { name, ...metric }])
) as unknown as { readonly [K in Name]: (typeof unnamed)[K] & { readonly name: K } }

/**
 * All metrics: those of pools, then those of databases.
 *
 * @since 0.2.0
 * @category constants
 */
export const all: ReadonlyArray<Definition> = Object.values(metrics)

/**
 * The name of an attribute as a label of Prometheus.
 *
 * @since 0.2.0
 * @category prometheus
 */
export const prometheusLabel = (attribute: string): string => {
  const label = attribute.replace(/[^a-zA-Z0-9_]/g, "_")
  return /^[0-9]/.test(label) ? `_${label}` : label
}

const suffixes: Readonly<Record<string, string>> = { s: "_seconds", By: "_bytes", "1": "_ratio" }

/**
 * The name of a metric in Prometheus: that which an OpenTelemetry Collector gives it as well, so that rules and boards work whichever
 * way the metrics have come. A histogram has three series: `_bucket`, `_sum` and `_count` behind this name.
 *
 * @since 0.2.0
 * @category prometheus
 */
export const prometheusName = ({
  instrument,
  name,
  unit
}: Pick<Definition, "instrument" | "name" | "unit">): string => {
  // A count has no unit, and only what is measured is a ratio.
  const suffix = unit === "1" && instrument !== "gauge" ? "" : (suffixes[unit] ?? "")
  return ended(ended(prometheusLabel(name), suffix), instrument === "counter" ? "_total" : "")
}

const ended = (name: string, suffix: string): string => (name.endsWith(suffix) ? name : `${name}${suffix}`)
