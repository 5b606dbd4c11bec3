/**
 * Options as the engine wants them: every default filled in, every duration in milliseconds, every problem listed.
 */
import { Duration, Effect, Either, Option, Schedule } from "effect"
import * as OptionTable from "../../OptionTable.js"
import { InvalidOptions } from "../../PoolError.js"
import * as PoolHooks from "../../PoolHooks.js"
import { configTable, elsewhere, type PoolConfig, type PoolOptions } from "../../PoolOptions.js"
import { type Priority, rank } from "../../Priority.js"
import type { Config } from "../host.js"
import { CLASSES } from "../queue.js"

const hour = 3_600_000

const shown = (value: unknown): string => {
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "function") return "a function"
  if (Effect.isEffect(value)) return "an effect"
  return Option.getOrElse(Option.liftThrowable(JSON.stringify)(value) as Option.Option<string>, () => String(value))
}

type Functions = Exclude<keyof PoolOptions<any, any, any>, keyof PoolConfig | "hooks">

/** The options that are functions, and how to write each. */
const functions: Readonly<Record<Functions, string>> = {
  connect: "a function that gives an effect: `() => …`",
  validate: "a function that gives an effect: `(resource) => …`",
  reset: "a function that gives an effect: `(resource) => …`",
  abort: "a function that gives an effect: `(resource) => …`",
  status: "a function that gives a status: `(resource) => …`",
  admits: "a function that gives a boolean: `(resource) => …`",
  stalls: "a function that gives a boolean: `(resource) => …`",
  classify: "a function that gives a kind of failure: `(error) => …`",
  describe: "a function that gives a text: `(resource) => …`",
  inspect: "a function that gives what it is used for: `(resource) => …`",
  reclaimed: "a function: `(resource, leak) => …`",
  rested: "a function: `() => …`"
}

/** Every option. Values are checked below. */
const table: OptionTable.Table<PoolOptions<any, any, any>> = {
  ...configTable,
  hooks: PoolHooks.check,
  ...(Object.fromEntries(Object.keys(functions).map((name) => [name, OptionTable.anything])) as OptionTable.Table<
    Pick<PoolOptions<any, any, any>, Functions>
  >)
}

/** The same, of a pool whose options a program has written for another one: there `acquire` opens a connection. */
const others: OptionTable.Elsewhere = {
  ...elsewhere(),
  acquire: "use connect for what opens a connection, acquireTimeout for how long a caller waits"
}

/** Problems of the options that are no plain data. */
const kindProblems = (options: { readonly [key: string]: unknown }): ReadonlyArray<string> => {
  const problems: Array<string> = []
  for (const [key, must] of Object.entries(functions)) {
    const value = options[key]
    if (typeof value === "function" || (value === undefined && key !== "connect")) continue
    problems.push(
      value === undefined ? `${key} is missing: it must be ${must}` : `${key} must be ${must}, not ${shown(value)}`
    )
  }
  return problems
}

/** As `parseConfig`, for everything that `Pool.make` takes. */
export const parse = (options: PoolConfig): Either.Either<Config, InvalidOptions> => {
  if (typeof options !== "object" || options === null) {
    const problem = `the options must be an object with at least \`connect\`, not ${shown(options)}`
    return Either.left(new InvalidOptions({ pool: "pool", problems: [problem] }))
  }
  const kinds = [...OptionTable.problems(options, table, { elsewhere: others }), ...kindProblems(options as never)]
  return Either.match(parseConfig(options), {
    onLeft: ({ pool, problems }) => Either.left(new InvalidOptions({ pool, problems: [...kinds, ...problems] })),
    onRight: (config) =>
      kinds.length === 0
        ? Either.right(config)
        : Either.left(new InvalidOptions({ pool: config.name, problems: kinds }))
  })
}

/** The share of each class, by its place in the queue. What is no share is a problem of the table. */
const sharesOf = (limits: PoolConfig["classLimits"]): ReadonlyArray<number> => {
  const shares = Array.from({ length: CLASSES }, () => 1)
  for (const priority of Object.keys(rank) as Array<Priority>) shares[rank[priority]] = limits?.[priority] ?? 1
  return shares
}

/** The part of the options that is plain data. */
export const parseConfig = (options: PoolConfig): Either.Either<Config, InvalidOptions> => {
  const problems: Array<string> = []

  const number = (key: string, value: unknown, byDefault: number, min: number, max: number, finite = true): number => {
    if (value === undefined) return byDefault
    if (typeof value === "number" && (Number.isInteger(value) || (!finite && value === Infinity))) {
      if (value >= min && value <= max) return value
    }
    const range = max === Infinity ? `of at least ${min}, or Infinity` : `from ${min} to ${max}`
    problems.push(`${key} must be a whole number ${range}, not ${typeof value === "number" ? value : shown(value)}`)
    return byDefault
  }

  const millis = (key: string, value: unknown, byDefault: number, min: number, max = hour): number => {
    if (value === undefined) return byDefault
    // A number is checked before it becomes a Duration, because Duration turns NaN and negative numbers into zero.
    const ms =
      typeof value === "number"
        ? value
        : Option.getOrElse(Option.map(Duration.decodeUnknown(value), Duration.toMillis), () => Number.NaN)
    const negative = typeof value === "string" && value.trim().startsWith("-")
    if (!negative && Number.isFinite(ms) && ms >= min && ms <= max) return ms
    const given =
      Number.isFinite(ms) && !negative
        ? `${ms} ms`
        : Duration.isDuration(value)
          ? Duration.format(value)
          : typeof value === "number"
            ? String(value)
            : shown(value)
    problems.push(`${key} must be a duration from ${min} ms to ${max} ms, not ${given}`)
    return byDefault
  }

  /** As `millis`, or 0 for never. */
  const orNever = (key: string, value: unknown, byDefault: number, min: number, max: number): number =>
    value !== undefined && OptionTable.millisOf(value) === 0 ? 0 : millis(key, value, byDefault, min, max)

  const name = options.name ?? "pool"
  const maxSize = number("maxSize", options.maxSize, 10, 1, 100_000)
  const acquireTimeout = millis("acquireTimeout", options.acquireTimeout, 5_000, 1)
  const config: Config = {
    name,
    maxSize,
    minIdle: number("minIdle", options.minIdle, Math.min(1, maxSize), 0, 100_000),
    acquireTimeout,
    connectTimeout: millis("connectTimeout", options.connectTimeout, 5_000, 1),
    idleTimeout: millis("idleTimeout", options.idleTimeout, 300_000, 1, 24 * hour),
    closeWhenIdle: millis("closeWhenIdle", options.closeWhenIdle, Infinity, 1, 24 * hour),
    maxLifetime: millis("maxLifetime", options.maxLifetime, 1_800_000, 1, 30 * 24 * hour),
    maxUses: number("maxUses", options.maxUses, Infinity, 1, Infinity, false),
    keepAlive: millis("keepAlive", options.keepAlive, 60_000, 1, 24 * hour),
    validateAfterIdle: millis("validateAfterIdle", options.validateAfterIdle, 500, 0, 24 * hour),
    validateTimeout: millis("validateTimeout", options.validateTimeout, Math.min(1_000, acquireTimeout), 1),
    maxWaiters: number(
      "maxWaiters",
      options.maxWaiters,
      Math.min(10_000_000, Math.max(10_000, 1_000 * maxSize)),
      1,
      10_000_000
    ),
    reserved: number("reserved", options.reserved, 0, 0, 99_999),
    classLimits: sharesOf(options.classLimits),
    shedding: {
      mode: options.shedding?.mode ?? "shadow",
      target: millis("shedding.target", options.shedding?.target, 50, 1),
      interval: millis("shedding.interval", options.shedding?.interval, 500, 1)
    },
    failFastAfter: millis("failFastAfter", options.failFastAfter, 5_000, 0),
    resetTimeout: millis("resetTimeout", options.resetTimeout, 1_000, 1),
    closeTimeout: millis("closeTimeout", options.closeTimeout, 1_000, 1),
    abortTimeout: millis("abortTimeout", options.abortTimeout, 2_000, 1),
    drainTimeout: millis("drainTimeout", options.drainTimeout, 10_000, 0),
    concurrency: number("concurrency", options.concurrency, 1, 1, 10_000),
    leakThreshold: orNever("leakThreshold", options.leakThreshold, 30_000, 1_000, 24 * hour),
    reclaim: options.reclaim === true,
    leakStack: options.leakStack === true
  }

  if (typeof name !== "string" || name.trim() === "") problems.push("name must be a text that is not empty")
  if (config.minIdle > config.maxSize) {
    problems.push(`minIdle (${config.minIdle}) must not be more than maxSize (${config.maxSize})`)
  }
  if (config.reserved >= config.maxSize && config.reserved > 0) {
    problems.push(
      `reserved (${config.reserved}) must be less than maxSize (${config.maxSize}): other classes than critical would never have a connection`
    )
  }
  for (const [priority, share] of Object.entries(options.classLimits ?? {})) {
    if (typeof share !== "number" || !(share > 0) || share * maxSize >= 1 - 1e-6) continue
    problems.push(
      `classLimits.${priority} (${share}) of maxSize (${maxSize}) must come to one connection at least: leave the class out, or write ${Math.ceil(100 / maxSize) / 100} or more`
    )
  }
  if (config.validateTimeout > config.acquireTimeout) {
    problems.push(
      `validateTimeout (${config.validateTimeout} ms) must not be more than acquireTimeout (${config.acquireTimeout} ms)`
    )
  }
  if (options.backoff !== undefined && !Schedule.isSchedule(options.backoff)) {
    problems.push(
      `backoff must be a Schedule, such as Backoff.jittered({ base: 50, cap: 1_000 }), not ${shown(options.backoff)}`
    )
  }
  const { ownSpans } = options
  if (ownSpans !== undefined && !(Array.isArray(ownSpans) && ownSpans.every((span) => typeof span === "string"))) {
    problems.push(`ownSpans must be an array of texts, not ${shown(ownSpans)}`)
  }
  return problems.length === 0
    ? Either.right(config)
    : Either.left(new InvalidOptions({ pool: String(name), problems }))
}

/**
 * The only option of a verb, in milliseconds. A wrong name or value is a mistake in the program, so it is a defect, as it is in
 * the options of an acquire.
 */
export const duration = (
  pool: string,
  name: string,
  options: { readonly [name: string]: unknown } | undefined
): Effect.Effect<number | undefined> =>
  Effect.suspend(() => {
    if (options === undefined) return Effect.succeed(undefined)
    const value = options[name]
    const millis = value === undefined ? undefined : OptionTable.millisOf(value)
    const must = OptionTable.that("a duration of 0 or more", () => millis !== undefined)
    const problems = OptionTable.problems(options, { [name]: must })
    return problems.length === 0 ? Effect.succeed(millis) : Effect.die(new InvalidOptions({ pool, problems }))
  })
