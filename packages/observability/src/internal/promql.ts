/** Queries for Prometheus. Their metrics are given as definitions of the catalogue, so a query cannot name one that does not exist. */
import * as Catalog from "../Catalog.js"

/** Values of attributes: the one value, or one of several. */
export type Matchers = Readonly<Record<string, string | ReadonlyArray<string>>>

/** The attribute that says which pool a metric is of. */
const POOL = "db.client.connection.pool.name"

/** Its label. */
export const poolLabel: string = Catalog.prometheusLabel(POOL)

/** A value of a regular expression that stands for itself. */
const literal = (value: string): string => value.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&")

const matcher = ([attribute, value]: readonly [string, Matchers[string]]): string =>
  typeof value === "string"
    ? `${Catalog.prometheusLabel(attribute)}=${JSON.stringify(value)}`
    : `${Catalog.prometheusLabel(attribute)}=~${JSON.stringify(value.map(literal).join("|"))}`

/** The series of a metric. `extra` are more matchers, as they are written in a query. */
export const series = (
  metric: Catalog.Definition,
  matchers: Matchers = {},
  options: {
    readonly suffix?: "_bucket" | "_count" | "_sum"
    readonly extra?: ReadonlyArray<string | undefined>
  } = {}
): string => {
  const inside = [...Object.entries(matchers).map(matcher), ...(options.extra ?? [])].filter((one) => one !== undefined)
  const selector = inside.length === 0 ? "" : `{${inside.join(",")}}`
  return `${Catalog.prometheusName(metric)}${options.suffix ?? ""}${selector}`
}

/** The labels in which the series of one pool in one process differ. */
export const ownLabels = ({ attributes }: Catalog.Definition): ReadonlyArray<string> =>
  attributes.filter(({ name }) => name !== POOL).map(({ name }) => Catalog.prometheusLabel(name))

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
