/** Queries for Prometheus. They name metrics and labels by the catalogue, so a query cannot name one that does not exist. */
import * as Catalog from "./names.js"

/** Values of labels: the one value, or one of several. */
export type Matchers = Readonly<Record<string, string | ReadonlyArray<string>>>

/** The label of the metrics that says which pool they are of. */
export const POOL = "db.client.connection.pool.name"

/** How Prometheus writes the name of an attribute. */
export const label = (attribute: string): string => attribute.replaceAll(/[^A-Za-z0-9_]/g, "_")

const quoted = (value: string): string => JSON.stringify(value)

/** A value of a regular expression in which the value stands for itself. */
const literal = (value: string): string => value.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&")

const matcher = ([attribute, value]: readonly [string, Matchers[string]]): string =>
  typeof value === "string"
    ? `${label(attribute)}=${quoted(value)}`
    : `${label(attribute)}=~${quoted(value.map(literal).join("|"))}`

/** The series of a metric. `extra` is put between the braces as it is. */
export const series = (
  name: Catalog.Name,
  matchers: Matchers = {},
  options: { readonly suffix?: "_bucket" | "_count" | "_sum"; readonly extra?: string | undefined } = {}
): string => {
  const inside = [...Object.entries(matchers).map(matcher), ...(options.extra === undefined ? [] : [options.extra])]
  const selector = inside.length === 0 ? "" : `{${inside.join(",")}}`
  return `${Catalog.prometheusName(name)}${options.suffix ?? ""}${selector}`
}

/** The labels in which the series of one pool in one process differ. */
export const ownLabels = (name: Catalog.Name): ReadonlyArray<string> =>
  Catalog.metrics[name].attributes.filter((attribute) => attribute !== POOL).map(label)

/** The bound of a bucket as a matcher: Prometheus 3 writes a whole number with `.0`, and Prometheus 2 without. */
export const within = (seconds: number): string =>
  Number.isInteger(seconds) ? `le=~"${seconds}(\\\\.0)?"` : `le="${seconds}"`

/** A time as Prometheus writes it, in whole seconds or the greatest unit that holds it. */
export const time = (ms: number): string => {
  if (ms === 0) return "0s"
  for (const [unit, size] of [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000]
  ] as const) {
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${ms}ms`
}
