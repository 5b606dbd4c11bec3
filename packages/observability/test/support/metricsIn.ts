/** Reads queries: which metrics and labels they name. Queries are simple, so words are enough: promtool reads their grammar. */
import { Catalog } from "@sluice/observability"

/** The definition of each name that a query may use, also of the three series of a histogram. */
const known = new Map<string, Catalog.Definition>(
  Catalog.all.flatMap((metric) => {
    const name = Catalog.prometheusName(metric)
    const names =
      metric.instrument === "histogram" ? ["_bucket", "_count", "_sum"].map((end) => `${name}${end}`) : [name]
    return names.map((name): [string, Catalog.Definition] => [name, metric])
  })
)

export interface Named {
  /** Names that are no metric of the catalogue. */
  readonly unknown: ReadonlyArray<string>
  readonly metrics: ReadonlyArray<Catalog.Definition>
  /** Labels of a metric, or values of them, that the catalogue does not have, as `metric: label="value"`. */
  readonly impossible: ReadonlyArray<string>
}

/** What the labels of targets are called, which no catalogue has. */
const ofTargets = new Set(["instance", "pod", "job"])

const valuesOf = (metric: Catalog.Definition, label: string): ReadonlyArray<string> | undefined | null => {
  if (ofTargets.has(label)) return undefined
  if (label === "le") return metric.buckets?.flatMap((bound) => [String(bound), `${bound}(\\.0)?`]) ?? null
  const attribute = metric.attributes.find(({ name }) => Catalog.prometheusLabel(name) === label)
  return attribute === undefined ? null : attribute.values
}

export const metricsIn = (query: string): Named => {
  const unknown: Array<string> = []
  const metrics: Array<Catalog.Definition> = []
  const impossible: Array<string> = []
  // A name, and the matchers behind it, if it is followed by some, by a span, or by nothing that makes it a function or a label.
  const bare = query.replaceAll(/\b(?:by|without|ignoring|on|group_left|group_right) \([^)]*\)/g, " ")
  for (const [, name, , matchers = "", after] of bare.matchAll(/([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([^}]*)\})?(\s*\()?/g)) {
    if (name === undefined || after !== undefined || /^(?:and|or|unless)$/.test(name)) continue
    if (/^[smhd]$|^__rate_interval$/.test(name)) continue
    const metric = known.get(name)
    if (metric === undefined) {
      unknown.push(name)
      continue
    }
    metrics.push(metric)
    for (const [, label, how, quoted] of matchers.matchAll(/(\w+)(=~?)("(?:[^"\\]|\\.)*")/g)) {
      const values = valuesOf(metric, label!)
      const text: string = JSON.parse(quoted!)
      const asked = how === "=~" && label !== "le" ? text.split("|") : [text]
      const wrong = values === null || (values !== undefined && !asked.every((one) => values.includes(one)))
      if (wrong) impossible.push(`${name}: ${label}${how}${quoted}`)
    }
  }
  return { unknown, metrics, impossible }
}
