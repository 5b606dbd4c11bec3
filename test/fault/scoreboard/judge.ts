/** What several runs say together, and whether the contract holds. */
import type { Measured, NumberOf, Numbers, Scenario } from "./model.js"

export interface Spread {
  readonly min: Measured
  readonly median: Measured
  readonly max: Measured
}

const value = (measured: Measured): number => (measured === "never" ? Infinity : measured)

const measured = (value: number): Measured => (value === Infinity ? "never" : value)

/** `undefined` if no run has measured it. */
export const spreadOf = (runs: ReadonlyArray<Numbers>, key: string): Spread | undefined => {
  const sorted = runs.flatMap((run) => (run[key] === undefined ? [] : [value(run[key])])).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { min: measured(sorted[0]!), median: measured(median), max: measured(sorted.at(-1)!) }
}

/** A bound of time on a machine that does other things too: a fifth more, and never less than 50 ms. */
export const tolerated = (millis: number): number => millis + Math.max(50, millis / 5)

const shownIn: Readonly<Record<NumberOf["unit"], string>> = { ms: " ms", count: "", "%": " %", "per second": "/s" }

const digits = (n: number): string =>
  n.toLocaleString("en-US", { maximumFractionDigits: Math.abs(n) < 10 && !Number.isInteger(n) ? 1 : 0 })

export const shown = (measured: Measured, unit: NumberOf["unit"] = "count"): string =>
  measured === "never" ? "never" : `${digits(measured)}${shownIn[unit]}`

/** The part of the contract that speaks of one number, and what was measured. */
export interface Claim {
  readonly key: string
  readonly title: string
  readonly limit: string
  readonly actual: string
  readonly holds: boolean
}

const limitOf = ({ atLeast, atMost, unit }: NumberOf): string | undefined =>
  atMost !== undefined ? `≤ ${shown(atMost, unit)}` : atLeast !== undefined ? `≥ ${shown(atLeast, unit)}` : undefined

/** One claim for each number that has a limit and was measured. */
export const claimsOf = (scenario: Scenario, runs: ReadonlyArray<Numbers>): ReadonlyArray<Claim> =>
  Object.entries(scenario.numbers).flatMap(([key, number]) => {
    const limit = limitOf(number)
    const spread = spreadOf(runs, key)
    if (limit === undefined || spread === undefined) return []
    const { atLeast, atMost, title, unit } = number
    const judged = unit === "ms" ? spread.median : atMost !== undefined ? spread.max : spread.min
    const holds =
      atMost !== undefined
        ? value(judged) <= (unit === "ms" ? tolerated(atMost) : atMost)
        : value(judged) >= (atLeast ?? -Infinity)
    return [{ key, title, limit, actual: shown(judged, unit), holds }]
  })

export { limitOf }
