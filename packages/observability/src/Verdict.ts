/**
 * What is wrong, in one sentence, with the numbers that say so and what helps: the head of every board.
 *
 * A verdict is computed from reports alone, so that two boards that show the same reports say the same. Only causes are named that the
 * reports prove. A queue looks the same whatever has caused it; the causes are told apart by what leases are used for, and by what has
 * grown in comparison with what is usual: the time for which leases are held, or the number of requests.
 *
 * @since 0.2.0
 */

import { type Finding, merge } from "./internal/verdict/finding.js"
import { databaseFindings, processFindings } from "./internal/verdict/findings.js"
import { fleet } from "./internal/verdict/fleet.js"
import { count, duration } from "./internal/words.js"
import type { Level, Reason } from "./Reason.js"
import type { Report } from "./Report.js"
import * as Thresholds from "./Thresholds.js"

export type {
  /**
   * @since 0.2.0
   * @category models
   */
  Cause,
  /**
   * @since 0.2.0
   * @category models
   */
  Level,
  /**
   * @since 0.2.0
   * @category models
   */
  Reason
} from "./Reason.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface Verdict {
  readonly level: Level
  readonly sentence: string
  /** The worst one first. Empty if all is well. */
  readonly reasons: ReadonlyArray<Reason>
}

/**
 * What a verdict may be told besides the reports.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** Default `Thresholds.standard`. */
  readonly thresholds?: Thresholds.Thresholds | undefined
  /** The processes that were asked and have not answered. Default none. */
  readonly silent?: ReadonlyArray<string> | undefined
}

/** How a level compares with others. */
const rank: Readonly<Record<Level, number>> = { ok: 0, warning: 1, critical: 2 }

const sentenceOf = (reasons: ReadonlyArray<Reason>, reports: ReadonlyArray<Report>): string => {
  const [first, ...others] = reasons
  if (first === undefined) return well(reports)
  const where =
    first.pods.length > 1 && first.cause !== "podSilent"
      ? `, in ${first.pods.length} of ${count(reports.length, "pod")}`
      : ""
  const alone =
    first.pods.length === 1 && first.cause !== "podSilent" && reports.length > 1 ? `, in pod ${first.pods[0]}` : ""
  const more = others.length === 0 ? "" : `; and ${count(others.length, "other reason")}`
  return `${first.title}${where}${alone}${more}.`
}

const well = (reports: ReadonlyArray<Report>): string => {
  if (reports.length === 0) return "No process has reported yet."
  const pools = reports.flatMap(({ databases }) => databases.flatMap(({ pools }) => pools))
  if (pools.length === 0) return "All is well: no pool is open."
  const sum = (f: (pool: (typeof pools)[number]) => number): number => pools.reduce((all, pool) => all + f(pool), 0)
  const waiting = sum((pool) => pool.waiting)
  const waits =
    waiting === 0
      ? "nobody waits"
      : `${count(waiting, "caller waits", "callers wait")}, for ${duration(Math.max(...pools.map(({ oldestWaitMs }) => oldestWaitMs)))} at most`
  const inPods = reports.length === 1 ? "" : ` of ${count(reports.length, "pod")}`
  return `All is well: ${sum(({ using }) => using)} of ${count(
    sum(({ max }) => max),
    "connection"
  )}${inPods} are in use, and ${waits}.`
}

/**
 * The verdict about one process, or about many that are shown together.
 *
 * - Costs some microseconds for each pool.
 * - The same reason in several processes is told once.
 *
 * @example
 * ```ts
 * import { Verdict } from "@sluice/observability"
 *
 * console.log(Verdict.of([]).sentence)
 * // No process has reported yet.
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const of = (reports: ReadonlyArray<Report>, options: Options = {}): Verdict => {
  const { silent = [], thresholds = Thresholds.standard } = options
  const found: Array<Finding> = [...fleet(reports, silent, thresholds)]
  for (const report of reports) {
    found.push(...processFindings(report, thresholds))
    for (const database of report.databases) found.push(...databaseFindings(report, database, thresholds))
  }
  const reasons = merge(found).sort((a, b) => rank[b.level] - rank[a.level] || b.weight - a.weight)
  return {
    level: reasons[0]?.level ?? "ok",
    sentence: sentenceOf(reasons, reports),
    reasons: reasons.map(({ weight: _, ...reason }) => reason)
  }
}
