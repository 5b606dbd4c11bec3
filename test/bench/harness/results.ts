import type { Sample } from "./subject.js"

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted[sorted.length - 1]! }
}

export interface CaseResult {
  readonly name: string
  readonly samples: ReadonlyArray<Sample>
  /** Why there are no samples, or fewer than rounds. */
  readonly failed: string | undefined
}

export interface ScenarioResult {
  readonly name: string
  readonly measure: string
  readonly cases: ReadonlyArray<CaseResult>
}

export const valueOf = (sample: Sample, measure: string): number => {
  const value = measure === "wall" ? sample.wall : measure === "cpu" ? sample.cpu : sample.metrics[measure]
  if (value === undefined) throw new Error(`the subject did not measure "${measure}"`)
  return value
}

/**
 * All that was measured, as a goal asks for it. What was not measured (left out by a filter, or failed) is
 * `undefined`, and so is everything computed from it.
 */
export class Results {
  constructor(readonly scenarios: ReadonlyArray<ScenarioResult>) {}

  private values(scenario: string, name: string, measure: string | undefined): ReadonlyArray<number> | undefined {
    const found = this.scenarios.find((one) => one.name === scenario)
    const result = found?.cases.find((one) => one.name === name)
    if (found === undefined || result === undefined || result.failed !== undefined) return undefined
    return result.samples.map((sample) => valueOf(sample, measure ?? found.measure))
  }

  value(scenario: string, name: string, measure?: string): Spread | undefined {
    const values = this.values(scenario, name, measure)
    return values && spread(values)
  }

  /**
   * How much `name` needs of what `reference` needs. Taken round by round, then the median: what slows the whole
   * machine for a while slows both sides of a pair.
   */
  ratio(scenario: string, name: string, reference: string, measure?: string): Spread | undefined {
    const values = this.values(scenario, name, measure)
    const others = this.values(scenario, reference, measure)
    if (values === undefined || others === undefined) return undefined
    return spread(values.slice(0, others.length).map((value, round) => value / others[round]!))
  }
}

/** A claim about the results. `holds` is `undefined` when what it speaks of was not measured. */
export interface Goal {
  readonly name: string
  readonly limit: string
  readonly actual: string
  readonly holds: boolean | undefined
}

const goal =
  (holds: (actual: number, limit: number) => boolean, sign: string) =>
  (
    name: string,
    actual: number | undefined,
    limit: number,
    format: (value: number) => string = (value) => `${value.toFixed(2)} ×`
  ): Goal => ({
    name,
    limit: `${sign} ${format(limit)}`,
    actual: actual === undefined ? "not measured" : format(actual),
    holds: actual === undefined ? undefined : holds(actual, limit)
  })

export const atMost = goal((actual, limit) => actual <= limit, "≤")
export const atLeast = goal((actual, limit) => actual >= limit, "≥")
