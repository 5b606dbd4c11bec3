/** What was found in one process, before the same findings of many processes are told as one. */
import type { Level, Reason } from "../../Reason.js"

export interface Finding extends Reason {
  /** How bad it is among those of the same level: callers that are hit, or a share. */
  readonly weight: number
}

const isWorse = (a: Finding, b: Finding): boolean =>
  a.level === b.level ? a.weight > b.weight : a.level === "critical"

/** One of each cause and place, with the words of the worst. */
export const merge = (found: ReadonlyArray<Finding>): Array<Finding> => {
  const groups = new Map<string, Array<Finding>>()
  for (const finding of found) {
    const key = JSON.stringify([finding.cause, finding.where ?? null])
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [finding])
    else group.push(finding)
  }
  return [...groups.values()].map((group) => {
    const sorted = group.toSorted((a, b) => (isWorse(a, b) ? -1 : 1))
    return { ...sorted[0]!, pods: [...new Set(sorted.flatMap(({ pods }) => pods))] }
  })
}

/** The level of a value above one of two thresholds, or of neither. */
export const levelOf = (
  value: number,
  { critical, warning }: { readonly warning: number; readonly critical: number }
): Level => (value > critical ? "critical" : value > warning ? "warning" : "ok")
