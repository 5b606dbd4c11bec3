/**
 * The numbers from which on something is wrong. There is one set of them: the sentence at the top of every board, the alerts and
 * the rules for Prometheus are made with the same one.
 *
 * @since 0.2.0
 */
import * as OptionTable from "@sluice/pool/OptionTable"
import { Data, Either } from "effect"

/**
 * A number at which people should look, and one at which they must.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pair {
  readonly warning: number
  /** Not less than `warning`. */
  readonly critical: number
}

/**
 * All of them. Shares are numbers from 0 to 1, times are milliseconds.
 *
 * A value that is exactly the threshold is still right: everything is told of what is above it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Thresholds {
  /**
   * Share of the connections of a pool that are in use. `critical` holds only while callers wait, because a pool that is all in use and
   * makes nobody wait has the right size. An alert is raised after 5 minutes of `warning`, or 2 minutes of `critical`.
   *
   * - Default 0.8 and 0.95. Range above 0 to 1.
   */
  readonly utilization: Pair
  /**
   * The wait of an acquire that only one in twenty exceeds (p95).
   *
   * - Unit: milliseconds. Default 100. Range 1 to 300,000. An alert is raised after 5 minutes.
   */
  readonly waitP95Ms: number
  /**
   * Share of the acquires of the last minute that have failed because there was no connection for them. One such failure is a
   * warning, a greater share than this is critical.
   *
   * - Default 0.01. Range 0 to 1.
   */
  readonly exhaustion: number
  /**
   * Share of the acquires that shall be served within `waitP95Ms`. Alerts are raised by how fast the rest of them is used up.
   *
   * - Default 0.999. Range 0.5 to 0.99999.
   */
  readonly objective: number
  /**
   * How long a lease may be held.
   *
   * - Unit: milliseconds. Default 300,000 (5 minutes). Range 1 to 86,400,000 (a day).
   */
  readonly leaseMs: number
  /**
   * For how long nothing may be done on a leased connection, in a transaction or not, while others wait.
   *
   * - Unit: milliseconds. Default 200. Range 1 to 300,000.
   */
  readonly idleLeaseMs: number
  /**
   * How long a statement may take before it counts as slow. Beside it, a statement is slow if it takes three times as long as usual.
   *
   * - Unit: milliseconds. Default 1,000. Range 1 to 300,000.
   */
  readonly slowMs: number
  /**
   * How far a replica may be behind.
   *
   * - Unit: milliseconds. Default 10,000 and 60,000. Range 1 to 86,400,000 (a day).
   */
  readonly lagMs: Pair
  /**
   * Share of the acquires after which a statement was executed again.
   *
   * - Default 0.1. Range 0 to 1.
   */
  readonly retries: number
  /**
   * Share of the connections that the server allows which are open, whoever has opened them.
   *
   * - Default 0.8 and 0.9. Range above 0 to 1.
   */
  readonly serverConnections: Pair
  /**
   * How long the process may not run, because something blocks its event loop.
   *
   * - Unit: milliseconds. Default 250. Range 1 to 300,000.
   */
  readonly stallMs: number
  /**
   * How long a pool may be suspended.
   *
   * - Unit: milliseconds. Default 1,800,000 (30 minutes). Range 1 to 3,600,000 (an hour), after which it resumes by itself.
   */
  readonly suspendedMs: number
}

/**
 * Some of the thresholds; the others are the defaults.
 *
 * @since 0.2.0
 * @category models
 */
export type Options = {
  readonly [K in keyof Thresholds]?:
    | (Thresholds[K] extends number ? number : { readonly [L in keyof Pair]?: number | undefined })
    | undefined
}

/**
 * The defaults.
 *
 * @since 0.2.0
 * @category constructors
 */
export const standard: Thresholds = {
  utilization: { warning: 0.8, critical: 0.95 },
  waitP95Ms: 100,
  exhaustion: 0.01,
  objective: 0.999,
  leaseMs: 300_000,
  idleLeaseMs: 200,
  slowMs: 1_000,
  lagMs: { warning: 10_000, critical: 60_000 },
  retries: 0.1,
  serverConnections: { warning: 0.8, critical: 0.9 },
  stallMs: 250,
  suspendedMs: 1_800_000
}

/**
 * Thresholds that cannot work. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidThresholds extends Data.TaggedError("InvalidThresholds")<{
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `thresholds: ${this.problems.join("; ")}`
  }
}

const DAY = 86_400_000

const between = (least: number, most: number): OptionTable.Check =>
  OptionTable.that(
    `a number from ${least} to ${most}`,
    (value) => typeof value === "number" && value >= least && value <= most
  )

/** A share of 0 would be exceeded by every pool that is used at all. */
const part: OptionTable.Check = OptionTable.that(
  "a number above 0 and not above 1",
  (value) => typeof value === "number" && value > 0 && value <= 1
)

const pair = (check: OptionTable.Check): OptionTable.Check => {
  const table: OptionTable.Table<Pair> = { warning: check, critical: check }
  return OptionTable.nested(table)
}

const table: OptionTable.Table<Thresholds> = {
  utilization: pair(part),
  waitP95Ms: between(1, 300_000),
  exhaustion: between(0, 1),
  objective: between(0.5, 0.99999),
  leaseMs: between(1, DAY),
  idleLeaseMs: between(1, 300_000),
  slowMs: between(1, 300_000),
  lagMs: pair(between(1, DAY)),
  retries: between(0, 1),
  serverConnections: pair(part),
  stallMs: between(1, 300_000),
  suspendedMs: between(1, 3_600_000)
}

const present = (given: object): object =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))

/** Of a pair one half alone may be given, so the other one may contradict it. */
const contradictions = (thresholds: Thresholds): ReadonlyArray<string> =>
  (["utilization", "lagMs", "serverConnections"] as const).flatMap((name) => {
    const { critical, warning } = thresholds[name]
    return warning <= critical ? [] : [`${name}.warning (${warning}) is above ${name}.critical (${critical})`]
  })

/**
 * The defaults, with these instead of some of them.
 *
 * **When to use:** where the defaults raise alerts that nobody would act upon, for example on a pool for reports whose statements
 * take minutes.
 *
 * - Fails with `InvalidThresholds`, which lists every problem: a name that does not exist, a value out of its range, a `warning` above
 *   its `critical`.
 *
 * @example
 * ```ts
 * import { Thresholds } from "@sluice/observability"
 * import { Either } from "effect"
 *
 * const reports = Either.getOrThrow(Thresholds.make({ leaseMs: 3_600_000, lagMs: { critical: 300_000 } }))
 *
 * console.log(reports.lagMs)
 * // { warning: 10000, critical: 300000 }
 * ```
 *
 * @see `standard` has the defaults.
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: Options = {}): Either.Either<Thresholds, InvalidThresholds> => {
  const problems = OptionTable.problems(options, table)
  if (problems.length > 0) return Either.left(new InvalidThresholds({ problems }))
  const merged: Record<string, unknown> = { ...standard }
  for (const [name, value] of Object.entries(present(options))) {
    merged[name] =
      typeof value === "object" ? { ...standard[name as "lagMs"], ...present(value as object) } : (value as number)
  }
  const thresholds = merged as unknown as Thresholds
  const contrary = contradictions(thresholds)
  return contrary.length > 0 ? Either.left(new InvalidThresholds({ problems: contrary })) : Either.right(thresholds)
}
