/**
 * Tables of options: which names there are, and what the value of each must be.
 *
 * An option that nobody reads must not be accepted: a program that says `maxsize` would run with the default and never know. The
 * types of TypeScript see that only in literal objects, and in JavaScript nobody does. So every function of this library that
 * takes options has a table of them, and refuses all other names, with the name that was probably meant.
 *
 * @since 0.2.0
 */
import { Duration, Option } from "effect"

/**
 * What is wrong with the value of the option at `path`. Empty if nothing is. The value `undefined` is never checked, because it
 * says the same as an option that is left out.
 *
 * @since 0.2.0
 * @category models
 */
export type Check = (value: unknown, path: string) => ReadonlyArray<string>

/**
 * Every option of `A`. A table that leaves one out does not compile.
 *
 * @since 0.2.0
 * @category models
 */
export type Table<A = any> = { readonly [K in keyof A]-?: Check }

/**
 * What to use instead of options that other libraries have, or that belong to another place: the end of the sentence
 * "max is no option here: …". Neither case nor `-` and `_` count in the names.
 *
 * @since 0.2.0
 * @category models
 */
export type Elsewhere = Readonly<Record<string, string>>

/**
 * How a value is shown in a message about it. An object is not shown, because it may contain a secret.
 *
 * @since 0.2.0
 * @category conversions
 */
export const shown = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "function") return "a function"
  if (typeof value !== "object" || value === null) return String(value)
  if (Array.isArray(value)) return "an array"
  return value instanceof Date && Number.isNaN(value.getTime()) ? "an invalid Date" : "an object"
}

/**
 * Any value. For an option whose value is checked where it is used.
 *
 * @since 0.2.0
 * @category checks
 */
export const anything: Check = () => []

/**
 * A value for which `is` holds. `must` says what that is, for example `a text`. The value is shown, so it must be no secret.
 *
 * @since 0.2.0
 * @category checks
 */
export const that =
  (must: string, is: (value: unknown) => boolean): Check =>
  (value, path) =>
    is(value) ? [] : [`${path} must be ${must}, and is ${shown(value)}`]

/**
 * @since 0.2.0
 * @category checks
 */
export const flag: Check = that("true or false", (value) => typeof value === "boolean")

/**
 * A text. A NUL in it is refused: it ends a text in the protocols of databases, and what comes after it would be read as something
 * else.
 *
 * @since 0.2.0
 * @category checks
 */
export const text: Check = that("a text without a NUL", (value) => typeof value === "string" && !value.includes("\0"))

/**
 * @since 0.2.0
 * @category checks
 */
export const aFunction: Check = that("a function", (value) => typeof value === "function")

/**
 * @since 0.2.0
 * @category checks
 */
export const anObject: Check = that("an object", (value) => isObject(value))

/**
 * One of these words. A word that is nearly one of them is asked about.
 *
 * @since 0.2.0
 * @category checks
 */
export const oneOf =
  (...words: ReadonlyArray<string>): Check =>
  (value, path) => {
    if (typeof value === "string" && words.includes(value)) return []
    const meant = typeof value === "string" ? nearest(value, words) : undefined
    const list = words.map((word) => `"${word}"`).join(", ")
    return [
      `${path} must be ${words.length === 1 ? list : `one of ${list}`}, and is ${shown(value)}${
        meant === undefined ? "" : `: did you mean "${meant}"?`
      }`
    ]
  }

/**
 * An object with the options of this table.
 *
 * @since 0.2.0
 * @category checks
 */
export const nested =
  (table: Table, elsewhere: Elsewhere = {}): Check =>
  (value, path) =>
    problems(value, table, { path, elsewhere })

/**
 * An array whose elements pass this check.
 *
 * @since 0.2.0
 * @category checks
 */
export const listOf =
  (check: Check): Check =>
  (value, path) =>
    Array.isArray(value)
      ? value.flatMap((one, i) => check(one, `${path}[${i}]`))
      : [`${path} must be an array, and is ${shown(value)}`]

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Whether a part of a duration is a number of at least 0. */
const isCount = (u: unknown): boolean => typeof u !== "number" || u >= 0

/**
 * The milliseconds of a duration, or `undefined` for a value that is none. Effect itself reads NaN and what is negative as 0,
 * and throws for everything else: a program that has computed such a value has a fault that must be told.
 *
 * @since 0.2.0
 * @category conversions
 */
export const millisOf = (input: unknown): number | undefined => {
  if (Duration.isDuration(input)) return Duration.toMillis(input)
  if (typeof input === "bigint" && input < 0n) return undefined
  if (typeof input === "string" && input.trim().startsWith("-")) return undefined
  if (!isCount(input) || (Array.isArray(input) && !input.every(isCount))) return undefined
  return Option.getOrUndefined(Option.map(Duration.decodeUnknown(input), Duration.toMillis))
}

/** Names that differ only in case, `-` and `_` are the same word to whoever writes them. */
const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, "")

/** Letters to add, take away, replace or swap to make one name of the other. */
const distance = (a: string, b: string): number => {
  let older: ReadonlyArray<number> = []
  let old: ReadonlyArray<number> = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = old[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? older[j - 2]! + 1 : Infinity
      row.push(Math.min(old[j]! + 1, row[j - 1]! + 1, replaced, swapped))
    }
    older = old
    old = row
  }
  return old[b.length]!
}

/** A name of fewer letters says too little to tell what longer name was meant by it. */
const SHORTEST = 4

/** Longer names are not compared: nobody meant an option by them. */
const LONGEST = 60

/**
 * The name among `known` that was probably meant: one third of its letters differ at most, or it contains the whole name.
 *
 * @since 0.2.0
 * @category getters
 */
export const nearest = (name: string, known: ReadonlyArray<string>): string | undefined => {
  const asked = plain(name)
  if (asked.length === 0 || asked.length > LONGEST) return undefined
  let best: string | undefined
  let least = Infinity
  for (const one of known) {
    const other = plain(one)
    const differs = distance(asked, other)
    const isPart = asked.length >= SHORTEST && (other.startsWith(asked) || other.endsWith(asked))
    const counted = differs <= Math.max(asked.length, other.length) / 3 ? differs : isPart ? LONGEST : Infinity
    if (counted < least) {
      best = one
      least = counted
    }
  }
  return best
}

const remedyOf = (name: string, known: ReadonlyArray<string>, elsewhere: Elsewhere, prefix: string): string => {
  const asked = plain(name)
  const same = known.find((one) => plain(one) === asked)
  if (same !== undefined) return `did you mean ${prefix}${same}?`
  const other = Object.keys(elsewhere).find((one) => plain(one) === asked)
  if (other !== undefined) return elsewhere[other]!
  const near = nearest(name, known)
  return near === undefined ? `there are ${known.join(", ")}` : `did you mean ${prefix}${near}?`
}

/**
 * Everything that is wrong with the names and values of these options. `path` stands before the names in the messages, for
 * example `pool`.
 *
 * - A name that is not in the table is a problem whatever its value is.
 * - Only names are shown of what is unknown, never its value.
 *
 * @since 0.2.0
 * @category checks
 */
export const problems = (
  given: unknown,
  table: Table,
  options?: { readonly path?: string | undefined; readonly elsewhere?: Elsewhere | undefined }
): ReadonlyArray<string> => {
  const { elsewhere = {}, path = "" } = options ?? {}
  if (!isObject(given)) return [`${path === "" ? "the options" : path} must be an object, and is ${shown(given)}`]
  const prefix = path === "" ? "" : `${path}.`
  const found: Array<string> = []
  for (const [name, value] of Object.entries(given)) {
    const check = Object.hasOwn(table, name) ? table[name] : undefined
    if (check === undefined) {
      found.push(`${prefix}${name} is no option here: ${remedyOf(name, Object.keys(table), elsewhere, prefix)}`)
    } else if (value !== undefined) found.push(...check(value, `${prefix}${name}`))
  }
  return found
}
