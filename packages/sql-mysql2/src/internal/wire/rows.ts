import * as Json from "@sluice/sql/driver/Json"
import * as Mysql from "./mysql.js"

/*
 * Rows are read by the parsers of `mysql2`, one for each of the two protocols. Some values they read in two ways, or wrong: here they
 * read a packet that reads such values itself, in one way.
 */

/** The types of columns in the protocol that are read otherwise than by `mysql2`. */
const FLOAT = 4
const TIME = 11

/** What the rows of a result need besides their parser. */
export interface Plan {
  /** Columns of the type TIME with a fraction, which the prepared protocol sends without its last zeros. */
  readonly times: ReadonlyArray<readonly [key: string | number, decimals: number]>
  /** Columns of the type FLOAT that are sent as text. */
  readonly floats: ReadonlyArray<string | number>
  /** The `typeCast` of the program, with these columns read in the same way. */
  readonly typeCast: TypeCast | undefined
}

type TypeCast = (field: { readonly type: string; readonly length: number }, next: () => unknown) => unknown

/** The options that rows are read with. */
interface Options {
  readonly rowsAsArray?: boolean
  readonly typeCast?: unknown
}

export const plan = (fields: ReadonlyArray<Mysql.Field>, options: unknown, isPrepared: boolean): Plan => {
  const { rowsAsArray, typeCast } = options as Options
  if (typeof typeCast === "function") {
    return { times: [], floats: [], typeCast: casting(typeCast as TypeCast, isPrepared) }
  }
  if (typeCast === false) return plain
  const times: Array<readonly [string | number, number]> = []
  const floats: Array<string | number> = []
  fields.forEach(({ columnType, decimals, name }, i) => {
    const key = rowsAsArray === true ? i : name
    if (isPrepared && columnType === TIME && decimals > 0 && decimals <= 6) times.push([key, decimals])
    if (!isPrepared && columnType === FLOAT) floats.push(key)
  })
  return times.length + floats.length === 0 ? plain : { times, floats, typeCast: undefined }
}

const plain: Plan = { times: [], floats: [], typeCast: undefined }

/** Characters of a TIME without a fraction, as the server counts them. */
const TIME_LENGTH = 10

const casting =
  (typeCast: TypeCast, isPrepared: boolean): TypeCast =>
  (field, next) => {
    if (isPrepared && field.type === "TIME") {
      return typeCast(field, () => padded(next(), field.length - TIME_LENGTH - 1))
    }
    return typeCast(field, !isPrepared && field.type === "FLOAT" ? () => exact(next()) : next)
  }

const padded = (time: unknown, decimals: number): unknown => {
  if (typeof time !== "string" || decimals <= 0) return time
  const dot = time.indexOf(".")
  return dot < 0 ? `${time}.${"0".repeat(decimals)}` : time.padEnd(dot + 1 + decimals, "0")
}

/** The server has rounded the value to six digits. */
const exact = (float: unknown): unknown => {
  if (float === null || float === undefined) return float
  throw new Error(
    "a FLOAT is sent with six digits only when its statement is not prepared: prepare the statement, or ask for cast(… as double)"
  )
}

/** A parser of `mysql2`, of the same rows. */
type Parser = NonNullable<Mysql.Statement["_rowParser"]>

export class Reader implements Parser {
  private readonly times: Plan["times"]
  private readonly floats: Plan["floats"]
  private readonly typeCast: Plan["typeCast"]

  constructor(
    private readonly parser: Parser,
    { floats, times, typeCast }: Plan
  ) {
    this.times = times
    this.floats = floats
    this.typeCast = typeCast
  }

  next(packet: Mysql.Packet, fields: unknown, options: unknown): unknown {
    const { floats, parser, times, typeCast } = this
    const cast = typeCast === undefined ? options : { ...(options as object), typeCast }
    const row = parser.next(read(packet), fields, cast) as Record<string | number, unknown>
    // Most results have neither, and a loop over nothing would take a tenth of the time of a row.
    if (times.length > 0) for (const [key, decimals] of times) row[key] = padded(row[key], decimals)
    if (floats.length > 0) for (const key of floats) exact(row[key])
    return row
  }
}

const isUnset = (month: number, day: number): boolean => month === 0 || day === 0

/** `mysql2` would take a year before 100 for one of the twentieth century. */
const EARLY = 100

/** A date in the time zone of the connection. */
const dateOf = (timezone: string | undefined, [year, month, day, ...time]: ReadonlyArray<number>): Date => {
  const [hours = 0, minutes = 0, seconds = 0, milliseconds = 0] = time
  const date = new Date(0)
  if (!timezone || timezone === "local") {
    date.setFullYear(year!, month! - 1, day)
    date.setHours(hours, minutes, seconds, milliseconds)
    return date
  }
  date.setUTCFullYear(year!, month! - 1, day)
  date.setUTCHours(hours, minutes, seconds, milliseconds)
  const [, sign, hour, minute] = /^([+-])(\d\d):(\d\d)$/.exec(timezone) ?? ["", "+", "0", "0"]
  const offset = (Number(hour) * 60 + Number(minute)) * (sign === "-" ? -60_000 : 60_000)
  return new Date(date.getTime() - offset)
}

/** The number of a FLOAT, and not of the double that it is sent as: 0.1 and not 0.10000000149011612. */
const shortest = (float: number): number => {
  for (let digits = 6; digits < 9; digits++) {
    const number = Number(float.toPrecision(digits))
    if (Math.fround(number) === float) return number
  }
  return Number(float.toPrecision(9))
}

interface Reading extends Mysql.Packet {
  moveTo(packet: Mysql.Packet): void
}

let reading: Reading | undefined

/** The packet, with values read in one way. It is the same object each time: a row is read before the next one. */
const read = (packet: Mysql.Packet): Mysql.Packet => {
  reading ??= make(Mysql.learn(packet))
  reading.moveTo(packet)
  return reading
}

const make = (Packet: Mysql.PacketClass): Reading => {
  class OwnPacket extends Packet implements Reading {
    moveTo({ buffer, end, offset, start }: Mysql.Packet): void {
      this.buffer = buffer
      this.start = start
      this.offset = offset
      this.end = end
    }

    /** Of the prepared protocol: a length, then year (2 bytes), month, day, hours, minutes, seconds, microseconds (4 bytes). */
    override readDateTime(timezone: string | undefined): Date | null {
      const { buffer, offset } = this
      const length = buffer[offset]!
      const month = buffer[offset + 3]!
      const day = buffer[offset + 4]!
      const isEarly = buffer[offset + 2] === 0 && buffer[offset + 1]! < EARLY
      if (length < 4 || length === 0xfb || (month !== 0 && day !== 0 && !isEarly)) return super.readDateTime(timezone)
      this.offset = offset + 1 + length
      if (isUnset(month, day)) return new Date(Number.NaN)
      const time = length > 6 ? [buffer[offset + 5]!, buffer[offset + 6]!, buffer[offset + 7]!] : []
      const fraction = length > 10 ? [Math.floor(buffer.readUInt32LE(offset + 8) / 1_000)] : []
      return dateOf(timezone, [buffer[offset + 1]!, month, day, ...time, ...fraction])
    }

    override parseDate(timezone: string | undefined): Date | null {
      return this.isOdd() ? this.oddDate(timezone) : super.parseDate(timezone)
    }

    override parseDateTime(timezone: string | undefined): Date | null {
      return this.isOdd() ? this.oddDate(timezone) : super.parseDateTime(timezone)
    }

    /** The date that stands here as text has a part that is 0, or an early year. */
    private isOdd(): boolean {
      const { buffer, offset } = this
      const length = buffer[offset]!
      if (length < 10 || length >= 0xfb) return false
      const isZero = (at: number) => buffer[offset + at] === 48 && buffer[offset + at + 1] === 48
      // After the length: YYYY-MM-DD.
      return isZero(1) || isZero(6) || isZero(9)
    }

    private oddDate(timezone: string | undefined): Date {
      const parts = this.readLengthCodedString("ascii").split(/[-: .]/)
      const [year, month, day, hours, minutes, seconds, fraction] = parts
      if (isUnset(Number(month), Number(day))) return new Date(Number.NaN)
      const time = hours === undefined ? [] : [Number(hours), Number(minutes), Number(seconds)]
      const milliseconds = fraction === undefined ? [] : [Number(fraction.padEnd(3, "0").slice(0, 3))]
      return dateOf(timezone, [Number(year), Number(month), Number(day), ...time, ...milliseconds])
    }

    override readFloat(): number {
      return shortest(super.readFloat())
    }

    /** `mysql2` adds up the digits, which is inexact for more than 15 of them. */
    override parseFloat(length: number | null): number | null {
      if (length === null) return null
      const text = this.buffer.toString("latin1", this.offset, this.offset + length)
      this.offset += length
      return Number(text)
    }

    override parseJson(encoding: string): unknown {
      const text = this.readLengthCodedString(encoding) as string | null
      return text === null ? null : Json.parse(text)
    }
  }
  return new OwnPacket(0, Buffer.alloc(4), 0, 4)
}
