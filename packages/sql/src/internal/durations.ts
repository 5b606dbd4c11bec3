import { Duration } from "effect"

/** Whether a part of a duration is a number of at least 0. */
const isCount = (u: unknown): boolean => typeof u !== "number" || u >= 0

/**
 * The milliseconds of a duration, or `undefined` for a value that is none. Effect itself reads NaN and what is negative as 0,
 * and throws for everything else: a program that has computed such a value has a fault that must be told.
 */
export const millisOf = (input: unknown): number | undefined => {
  if (Duration.isDuration(input)) return Duration.toMillis(input)
  if (typeof input === "bigint" && input < 0n) return undefined
  if (typeof input === "string" && input.startsWith("-")) return undefined
  if (!isCount(input) || (Array.isArray(input) && !input.every(isCount))) return undefined
  const decoded = Duration.decodeUnknown(input)
  return decoded._tag === "Some" ? Duration.toMillis(decoded.value) : undefined
}

/** How a value is shown in a message about it. */
export const shown = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value === "function") return "a function"
  if (typeof value !== "object" || value === null) return String(value)
  if (Array.isArray(value)) return "an array"
  return value instanceof Date ? "an invalid Date" : "an object"
}
