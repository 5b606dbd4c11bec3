import * as OptionTable from "@sluice/pool/OptionTable"
import { Duration } from "effect"
import { invalidOptions } from "../../driver/Classify.js"
import { type TargetWord, targetWords } from "./words.js"

/**
 * What a router of this library can be told.
 *
 * @since 0.2.0
 * @category models
 */
export interface ReadOptions {
  /**
   * Which servers the statements inside of `Sql.read` may go to, in the words of libpq. Default `prefer-standby`.
   *
   * - `prefer-standby`: to replicas; while there is none that can be read from, to the primary, within `primaryReadShare`.
   * - `standby`, `read-only`: to replicas and nowhere else. While there is none they fail with `NoReplica`. Only what must see a write that
   *   no replica has yet goes to the primary: see `Consistency`.
   * - `any`: to the primary as to the replicas.
   * - `read-write`, `primary`: to the primary.
   */
  readonly target?: TargetWord | undefined
  /**
   * How far behind the primary a replica may be and still get reads. One that is farther behind gets none until it was nearer in
   * three answers. How far it is, is known to two seconds: that is how often it is asked. A replica of which it cannot be told gets
   * reads, and a warning in the log says so.
   *
   * - Unit: duration. Default 10 seconds. Range 1 millisecond to 1 day, or `off`.
   * - Worst case: what is read is `maxLag` and four seconds old.
   */
  readonly maxLag?: "off" | Duration.DurationInput | undefined
  /**
   * The part of the pool of the primary that may be used by reads which go there because there is no replica that can be read
   * from. The others wait for their turn, and for a replica, as long as for a connection; then they fail with `NoReplica`. So writes always find
   * connections. What the router sends to the primary on purpose does not count.
   *
   * - Unit: part of `pool.maxSize`, and at least one connection. Default 0.5. Range 0 to 1; 0: such reads fail at once.
   */
  readonly primaryReadShare?: number | undefined
  /**
   * How long a replica that has come back gets less than its part of the reads, because its caches are cold: a tenth at first, and
   * then steadily more. While no other one can be read from it gets all of them.
   *
   * - Unit: duration. Default 30 seconds. Range 0 (off) to 10 minutes.
   */
  readonly ramp?: Duration.DurationInput | undefined
}

/**
 * The options of a router with every default applied.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rules {
  readonly target: TargetWord
  /** Milliseconds; `Infinity` is off. */
  readonly maxLag: number
  readonly primaryReadShare: number
  /** Milliseconds. */
  readonly ramp: number
}

export const defaults: Rules = { target: "prefer-standby", maxLag: 10_000, primaryReadShare: 0.5, ramp: 30_000 }

const DAY = 86_400_000

const LONGEST_RAMP = 600_000

const duration = (must: string, is: (millis: number) => boolean, word?: string): OptionTable.Check =>
  OptionTable.that(must, (value) => {
    if (word !== undefined && value === word) return true
    const millis = OptionTable.millisOf(value)
    return millis !== undefined && is(millis)
  })

const table: OptionTable.Table<ReadOptions> = {
  target: OptionTable.oneOf(...targetWords),
  maxLag: duration('"off" or a duration from 1 millisecond to 1 day', (millis) => millis >= 1 && millis <= DAY, "off"),
  primaryReadShare: OptionTable.that(
    "a number from 0 to 1",
    (value) => typeof value === "number" && value >= 0 && value <= 1
  ),
  ramp: duration("a duration from 0 to 10 minutes", (millis) => millis >= 0 && millis <= LONGEST_RAMP)
}

/** What other libraries call these options. */
const elsewhere: OptionTable.Elsewhere = {
  targetSessionAttrs: "use target",
  maxReplicationLag: "use maxLag",
  maxLagMillis: "use maxLag",
  slowStart: "use ramp",
  warmup: "use ramp"
}

/** Throws a `SqlError` for `InvalidOptions`, which lists everything that is wrong: a router is made where no effect could fail. */
export const decode = (options: ReadOptions): Rules => {
  const problems = OptionTable.problems(options, table, { elsewhere })
  if (problems.length > 0) throw invalidOptions("Router", problems)
  const millis = (value: Duration.DurationInput | undefined, otherwise: number) =>
    value === undefined ? otherwise : Duration.toMillis(value)
  const { maxLag, primaryReadShare = defaults.primaryReadShare, ramp, target = defaults.target } = options
  return {
    target,
    maxLag: maxLag === "off" ? Infinity : millis(maxLag, defaults.maxLag),
    primaryReadShare,
    ramp: millis(ramp, defaults.ramp)
  }
}

const routers = new WeakSet<object>()

/** Marks a router as one of this library. A copy of it that the program has changed is none. */
export const own = <A extends object>(router: A): A => {
  routers.add(router)
  return router
}

export const isOwn = (router: object): boolean => routers.has(router)
