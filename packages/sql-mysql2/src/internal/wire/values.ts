import { bytesOf, problemOf } from "@sluice/sql/driver/Parameters"
import { value as bad, parameter, thrown, Unsendable } from "@sluice/sql/driver/Unsendable"
import * as Mysql from "./mysql.js"

/*
 * Parameters, and the two ways to send them: beside the text, to a prepared statement, and as literals inside of the text. A value
 * means the same in both: an integer is an integer and never a floating-point number, so that the server calculates with all of its
 * digits, and every other number is a double.
 */

/** A parameter that can be sent. */
export type Value = null | boolean | number | bigint | string | Date | Buffer | Json | Double | Decimal

/** A value that is sent as its JSON. */
export class Json {
  constructor(readonly text: string) {}
}

/** A number that is sent as a double, also if it is an integer. */
class Double {
  constructor(readonly number: number) {}
}

/** A decimal number of any length that the server has. */
class Decimal {
  constructor(readonly text: string) {}
}

/** How a connection writes values. */
export interface Style {
  /** The character encoding, as `mysql2` calls it. */
  readonly encoding: string
  /** As in the option of `mysql2`. */
  readonly timezone: string
  readonly isMariaDb: boolean
}

/** The protocol counts the parameters of a prepared statement in two bytes. */
const MAX_PARAMS = 65_535

/** The digits of the longest DECIMAL. The server makes a double of an integer with more. */
const LONGEST = 10n ** 65n

/**
 * Parameters as they can be sent, or why they cannot be sent. Never throws. `isWritten`: they are written into the text, which may
 * have any number of them.
 */
export const prepare = (
  params: ReadonlyArray<unknown>,
  style: Style,
  isWritten: boolean
): ReadonlyArray<Value> | Unsendable => {
  let index: number | undefined
  try {
    const { length } = params
    if (length > MAX_PARAMS && !isWritten) {
      return new Unsendable(
        `it has ${length} parameters and may have ${MAX_PARAMS}: send fewer at a time, or do not prepare it`,
        { code: "1390" }
      )
    }
    const values = new Array<Value>(length)
    for (index = 0; index < length; index++) {
      const param = params[index]
      if (typeof param === "number" && Number.isFinite(param)) {
        values[index] = param
        continue
      }
      const value = valueOf(param, index, style)
      if (value instanceof Unsendable) return value
      values[index] = value
    }
    return values
  } catch (problem) {
    return thrown(index, problem)
  }
}

const valueOf = (value: unknown, index: number, { encoding }: Style): Value | Unsendable => {
  const problem = problemOf(index, value)
  if (problem !== undefined) return problem
  switch (typeof value) {
    case "undefined":
      return parameter(index, "is undefined: write null for NULL, or leave the column out")
    case "number":
      return Number.isFinite(value) ? value : bad(index, `is ${value}, and the database has no such number`)
    case "bigint":
      if (fitsSigned(value) || fitsUnsigned(value)) return value
      return value < LONGEST && value > -LONGEST
        ? new Decimal(String(value))
        : bad(index, "is an integer of more than 65 digits: send it as a text")
    case "string":
      return isKept(value, encoding) ? value : bad(index, FOREIGN)
    case "object":
      return value === null ? null : valueOfObject(value, index, encoding)
    default:
      return value as boolean
  }
}

const FOREIGN = "has characters that the charset of the connection does not have: leave mysql2.charset out"

const valueOfObject = (value: object, index: number, encoding: string): Value | Unsendable => {
  if (Array.isArray(value)) {
    return bad(
      index,
      "is an array, and MySQL has none: write a list with sql.in(ids), without brackets of your own, and send JSON as a text (JSON.stringify)"
    )
  }
  if (value instanceof Date) {
    const year = value.getUTCFullYear()
    return year < 0 || year > 9999 ? bad(index, "is a Date whose year is not between 0 and 9999") : value
  }
  const bytes = bytesOf(value)
  if (bytes !== undefined) return bytes
  if (Mysql.isTyped(value)) return typed(value, index, encoding)
  if (typeof (value as { toSqlString?: unknown }).toSqlString === "function") {
    return parameter(index, "is a piece of SQL: put it into the text, or use sql.literal")
  }
  const text = JSON.stringify(value)
  if (text === undefined) return parameter(index, "has no form in JSON: its toJSON gives nothing")
  return isKept(text, encoding) ? new Json(text) : bad(index, FOREIGN)
}

/** A value with a type, as `mysql2` makes them: what decides how the server calculates with it is kept. */
const typed = ({ type, value }: Mysql.Typed, index: number, encoding: string): Value | Unsendable => {
  if (value === null || value === undefined || type === NULL) return null
  const style = { encoding, timezone: "local", isMariaDb: true }
  switch (type) {
    case FLOAT:
    case DOUBLE:
      return Number.isFinite(Number(value)) ? new Double(Number(value)) : valueOf(Number(value), index, style)
    case DECIMAL:
    case NEWDECIMAL:
      return /^-?\d+(?:\.\d+)?$/.test(String(value)) ? new Decimal(String(value)) : bad(index, "is no decimal number")
    case JSON_TYPE: {
      const text = typeof value === "string" ? value : JSON.stringify(value)
      return isKept(text, encoding) ? new Json(text) : bad(index, FOREIGN)
    }
    default:
      return valueOf(value, index, style)
  }
}

/** Whether a text is the same after it was written in an encoding and read again. */
const isKept = (text: string, encoding: string): boolean =>
  encoding === "utf8" || Mysql.encode(text, encoding).read === text

const encode = (text: string, encoding: string): Buffer => Mysql.encode(text, encoding).bytes

/** The fields of a date in the time zone of the connection, as `mysql2` reads them. */
const fieldsOf = (date: Date, timezone: string): readonly [number, number, number, number, number, number, number] => {
  if (timezone === "local") {
    return [
      date.getFullYear(),
      date.getMonth() + 1,
      date.getDate(),
      date.getHours(),
      date.getMinutes(),
      date.getSeconds(),
      date.getMilliseconds()
    ]
  }
  const [, sign, hours, minutes] = /^([+-])(\d\d):?(\d\d)$/.exec(timezone) ?? ["", "+", "0", "0"]
  const offset = (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -60_000 : 60_000)
  const at = new Date(date.getTime() + offset)
  return [
    at.getUTCFullYear(),
    at.getUTCMonth() + 1,
    at.getUTCDate(),
    at.getUTCHours(),
    at.getUTCMinutes(),
    at.getUTCSeconds(),
    at.getUTCMilliseconds()
  ]
}

const isInteger = (value: number): boolean => Number.isSafeInteger(value) && !Object.is(value, -0)

const fitsSigned = (value: bigint): boolean => BigInt.asIntN(64, value) === value

const fitsUnsigned = (value: bigint): boolean => BigInt.asUintN(64, value) === value

/** The types of parameters in the protocol. */
const DECIMAL = 0
const TINY = 1
const FLOAT = 4
const DOUBLE = 5
const NULL = 6
const LONGLONG = 8
const DATETIME = 12
const JSON_TYPE = 245
const NEWDECIMAL = 246
const BLOB = 252
const VAR_STRING = 253

const UNSIGNED = 0x80

const DATE_BYTES = 12

/** Bytes of a length before the bytes that it counts. */
const prefix = (length: number): number => (length < 251 ? 1 : length < 65_536 ? 3 : length < 16_777_216 ? 4 : 9)

/**
 * The request to execute a prepared statement, behind 4 bytes for the header of the packet. `named`: the server expects the
 * names of parameters, which are empty. `cursor`: it is to keep the rows until they are asked for.
 */
export const execution = (
  statement: number,
  values: ReadonlyArray<Value>,
  { encoding, isMariaDb, timezone }: Style,
  named: boolean,
  cursor: boolean
): Buffer => {
  const count = values.length
  // Bytes of each value, without the length that stands before it.
  const sizes = new Array<number>(count)
  let size = 0
  for (let i = 0; i < count; i++) {
    const value = values[i]!
    const own = sizeOf(value, encoding)
    sizes[i] = own
    size += hasLength(value) ? prefix(own) + own : own
  }
  const head = 4 + 1 + 4 + 1 + 4 + (named ? prefix(count) : 0)
  const types = count === 0 ? 0 : ((count + 7) >> 3) + 1 + count * (named ? 3 : 2)
  const all = Buffer.allocUnsafe(head + types + size)
  let at = writeLow(all, 0, 0)
  all[at++] = 0x17
  at = writeLow(all, statement, at)
  all[at++] = (cursor ? 1 : 0) | (named ? 8 : 0)
  at = writeLow(all, 1, at)
  if (named) at = writeLength(all, count, at)
  if (count === 0) return all
  const nulls = at
  for (let i = 0; i < count; i += 8) all[at++] = 0
  all[at++] = 1
  for (let i = 0; i < count; i++) {
    const value = values[i]!
    if (value === null) all[nulls + (i >> 3)]! |= 1 << (i & 7)
    all[at++] = typeOf(value, isMariaDb)
    all[at++] = typeof value === "bigint" && !fitsSigned(value) ? UNSIGNED : 0
    if (named) all[at++] = 0
  }
  for (let i = 0; i < count; i++) at = write(all, values[i]!, at, sizes[i]!, encoding, timezone)
  return all
}

const typeOf = (value: Value, isMariaDb: boolean): number => {
  switch (typeof value) {
    case "boolean":
      return TINY
    case "number":
      return isInteger(value) ? LONGLONG : DOUBLE
    case "bigint":
      return LONGLONG
    case "string":
      return VAR_STRING
    default:
      if (value === null) return NULL
      if (value instanceof Date) return DATETIME
      // MariaDB does not have the type.
      if (value instanceof Json) return isMariaDb ? VAR_STRING : JSON_TYPE
      if (value instanceof Double) return DOUBLE
      return value instanceof Decimal ? NEWDECIMAL : BLOB
  }
}

const textSize = (text: string, encoding: string): number =>
  encoding === "utf8" ? Buffer.byteLength(text) : encode(text, encoding).length

/** Whether the length of the value is sent before it. */
const hasLength = (value: Value): boolean =>
  typeof value === "string" ||
  (typeof value === "object" && value !== null && !(value instanceof Date) && !(value instanceof Double))

const sizeOf = (value: Value, encoding: string): number => {
  switch (typeof value) {
    case "boolean":
      return 1
    case "number":
    case "bigint":
      return 8
    case "string":
      return textSize(value, encoding)
    default:
      if (value === null) return 0
      if (value instanceof Date) return DATE_BYTES
      if (value instanceof Json) return textSize(value.text, encoding)
      if (value instanceof Double) return 8
      return value instanceof Decimal ? value.text.length : value.length
  }
}

// Byte by byte, because the methods of a Buffer that check their range take several times as long.
const writeLow = (all: Buffer, value: number, at: number): number => {
  all[at] = value
  all[at + 1] = value >>> 8
  all[at + 2] = value >>> 16
  all[at + 3] = value >>> 24
  return at + 4
}

const writeLength = (all: Buffer, length: number, at: number): number => {
  switch (prefix(length)) {
    case 1:
      all[at] = length
      return at + 1
    case 3:
      return all.writeUInt16LE(length, all.writeUInt8(0xfc, at))
    case 4:
      return all.writeUIntLE(length, all.writeUInt8(0xfd, at), 3)
    default:
      return all.writeUInt32LE(0, all.writeUInt32LE(length, all.writeUInt8(0xfe, at)))
  }
}

const writeText = (all: Buffer, text: string, at: number, size: number, encoding: string): number => {
  const from = writeLength(all, size, at)
  return from + (encoding === "utf8" ? all.write(text, from, size) : encode(text, encoding).copy(all, from))
}

const write = (all: Buffer, value: Value, at: number, size: number, encoding: string, timezone: string): number => {
  switch (typeof value) {
    case "boolean":
      all[at] = value ? 1 : 0
      return at + 1
    case "number":
      if (!isInteger(value)) return all.writeDoubleLE(value, at)
      return writeLow(all, Math.floor(value / 0x1_0000_0000), writeLow(all, value >>> 0, at))
    case "bigint":
      return fitsSigned(value) ? all.writeBigInt64LE(value, at) : all.writeBigUInt64LE(value, at)
    case "string":
      return writeText(all, value, at, size, encoding)
    default: {
      if (value === null) return at
      if (value instanceof Json) return writeText(all, value.text, at, size, encoding)
      if (value instanceof Double) return all.writeDoubleLE(value.number, at)
      if (value instanceof Decimal) return writeText(all, value.text, at, size, "utf8")
      if (!(value instanceof Date)) {
        const from = writeLength(all, size, at)
        return from + value.copy(all, from)
      }
      const [year, month, day, hour, minute, second, millisecond] = fieldsOf(value, timezone)
      all[at] = DATE_BYTES - 1
      all.writeUInt16LE(year, at + 1)
      all[at + 3] = month
      all[at + 4] = day
      all[at + 5] = hour
      all[at + 6] = minute
      all[at + 7] = second
      return writeLow(all, millisecond * 1_000, at + 8)
    }
  }
}

const escapes: Readonly<Record<string, string>> = {
  "\0": "\\0",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\r": "\\r",
  "\x1a": "\\Z",
  '"': '\\"',
  "'": "\\'",
  "\\": "\\\\"
}

const quoted = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is escaped.
  `'${text.replace(/[\0\b\t\n\r\x1a"'\\]/g, (char) => escapes[char]!)}'`

const two = (part: number): string => String(part).padStart(2, "0")

/** Without an exponent it would be a DECIMAL. */
const double = (value: number): string => {
  const digits = Object.is(value, -0) ? "-0" : String(value)
  return digits.includes("e") ? digits : `${digits}e0`
}

/** A literal with the type and the meaning that the value has when it is sent beside the text. */
const literal = (value: Value, { isMariaDb, timezone }: Style): string => {
  switch (typeof value) {
    case "boolean":
      return value ? "TRUE" : "FALSE"
    case "number":
      return isInteger(value) ? String(value) : double(value)
    case "bigint":
      return String(value)
    case "string":
      return quoted(value)
    default: {
      if (value === null) return "NULL"
      // In the type JSON the text of an object would be a string.
      if (value instanceof Json) return isMariaDb ? quoted(value.text) : `CAST(${quoted(value.text)} AS JSON)`
      if (value instanceof Double) return double(value.number)
      if (value instanceof Decimal) return value.text
      // Without the introducer it would be a number where a number is wanted.
      if (!(value instanceof Date)) return `_binary X'${value.toString("hex")}'`
      const [year, month, day, hour, minute, second, millisecond] = fieldsOf(value, timezone)
      return `TIMESTAMP'${String(year).padStart(4, "0")}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)}.${String(millisecond).padStart(3, "0")}000'`
    }
  }
}

/** From a quote to the next one that is not written twice, or to the end of the text. */
const plain = (quote: string): string => `${quote}[^${quote}]*(?:${quote}${quote}[^${quote}]*)*${quote}?`

/** The same, where a backslash escapes the character after it. */
const escaping = (quote: string): string =>
  `${quote}[^${quote}\\\\]*(?:(?:\\\\[\\s\\S]|${quote}${quote})[^${quote}\\\\]*)*${quote}?`

/** Comments. One that begins with `!` is code. */
const comments = String.raw`#[^\n]*|--(?=[\0-\x20\x7f]|$)[^\n]*|/\*(?!M?!)[\s\S]*?(?:\*/|$)`

const reading = (...quoted: ReadonlyArray<string>): RegExp =>
  new RegExp([String.raw`\?`, ...quoted, plain("`"), comments].join("|"), "g")

/** A placeholder, or something that none can stand in: a string, a name, a comment. */
const tokens = {
  strings: reading(escaping("'"), escaping('"')),
  ansi: reading(escaping("'"), plain('"')),
  withoutEscapes: reading(plain("'"), plain('"'))
}

/** How a session reads quotes: backslashes escape, `"` is the quote of a name, or backslashes escape nothing. */
export type Quotes = keyof typeof tokens

/** A text with values in place of its placeholders. */
export const written = (
  sql: string,
  values: ReadonlyArray<Value>,
  style: Style,
  quotes: Quotes
): string | Unsendable => {
  let count = 0
  const text = sql.replace(tokens[quotes], (token) => {
    if (token !== "?") return token
    const value = values[count++]
    return value === undefined ? token : literal(value, style)
  })
  return mismatch(count, values) ?? text
}

/** The server would take the bytes of one value for those of another. */
export const mismatch = (
  placeholders: number | undefined,
  { length }: ReadonlyArray<unknown>
): Unsendable | undefined =>
  placeholders === undefined || placeholders === length
    ? undefined
    : new Unsendable(`it has ${placeholders} placeholders and was given ${length} parameters`, { code: "1210" })

/** Whether a value can be written into a text of a session where a backslash escapes nothing. */
export const isSafeWithoutEscapes = (value: Value): boolean => {
  if (value instanceof Json) return isSafeWithoutEscapes(value.text)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is escaped.
  return typeof value !== "string" || !/[\0\b\t\n\r\x1a"'\\]/.test(value)
}
