/**
 * Options as the engine wants them: every default filled in, every duration in milliseconds, every problem listed.
 */
import { Duration, Either, Option } from "effect"
import { InvalidOptions } from "../PoolError.js"
import type { PoolConfig } from "../PoolOptions.js"

export interface Config {
  readonly name: string
  maxSize: number
  minIdle: number
  readonly acquireTimeout: number
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly maxLifetime: number
  readonly maxUses: number
  readonly keepAlive: number
  readonly validateAfterIdle: number
  readonly validateTimeout: number
  readonly maxWaiters: number
  readonly backoffBase: number
  readonly backoffCap: number
  readonly failFastAfter: number
  readonly resetTimeout: number
  readonly closeTimeout: number
  readonly abortTimeout: number
  readonly drainTimeout: number
  readonly concurrency: number
}

const hour = 3_600_000

const shown = (value: unknown): string =>
  typeof value === "bigint" ? `${value}n` : (JSON.stringify(value) ?? String(value))

export const parse = (options: PoolConfig): Either.Either<Config, InvalidOptions> => {
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
    maxLifetime: millis("maxLifetime", options.maxLifetime, 1_800_000, 1, 30 * 24 * hour),
    maxUses: number("maxUses", options.maxUses, Infinity, 1, Infinity, false),
    keepAlive: millis("keepAlive", options.keepAlive, 60_000, 1, 24 * hour),
    validateAfterIdle: millis("validateAfterIdle", options.validateAfterIdle, 500, 0, 24 * hour),
    validateTimeout: millis("validateTimeout", options.validateTimeout, Math.min(1_000, acquireTimeout), 1),
    maxWaiters: number("maxWaiters", options.maxWaiters, Math.max(1_000, 100 * maxSize), 1, 10_000_000),
    backoffBase: millis("backoff.base", options.backoff?.base, 50, 1),
    backoffCap: millis("backoff.cap", options.backoff?.cap, 1_000, 1),
    failFastAfter: millis("failFastAfter", options.failFastAfter, 5_000, 0),
    resetTimeout: millis("resetTimeout", options.resetTimeout, 1_000, 1),
    closeTimeout: millis("closeTimeout", options.closeTimeout, 1_000, 1),
    abortTimeout: millis("abortTimeout", options.abortTimeout, 2_000, 1),
    drainTimeout: millis("drainTimeout", options.drainTimeout, 10_000, 0),
    concurrency: number("concurrency", options.concurrency, 1, 1, 10_000)
  }

  if (typeof name !== "string" || name.trim() === "") problems.push("name must be a text that is not empty")
  if (config.minIdle > config.maxSize) {
    problems.push(`minIdle (${config.minIdle}) must not be more than maxSize (${config.maxSize})`)
  }
  if (config.validateTimeout > config.acquireTimeout) {
    problems.push(
      `validateTimeout (${config.validateTimeout} ms) must not be more than acquireTimeout (${config.acquireTimeout} ms)`
    )
  }
  if (config.backoffBase > config.backoffCap) {
    problems.push(`backoff.base (${config.backoffBase} ms) must not be more than backoff.cap (${config.backoffCap} ms)`)
  }
  return problems.length === 0
    ? Either.right(config)
    : Either.left(new InvalidOptions({ pool: String(name), problems }))
}
