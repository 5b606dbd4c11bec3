/**
 * How the server writes values. `pg` can read one style of dates and intervals, and one encoding. It turns a value in another
 * style into null, or into a wrong value. Here the statement fails instead.
 */
import * as Json from "@sluice/sql/driver/Json"
import * as Pg from "./pg.js"

/**
 * What the server reports about a session, at its beginning and at each change. Each connection has one.
 */
export class Reported {
  /** The server is a standby: it takes no writes. `undefined`: it does not say (PostgreSQL before 14). */
  isStandby: boolean | undefined = undefined
  /** Transactions only read unless they say otherwise, as on a primary that is about to give way to another. Reported from 14 on. */
  onlyReads = false
  /** `ISO, DMY`, for example. Empty when the server, or something before it, reports nothing. */
  dateStyle = ""
  intervalStyle = ""
  encoding = ""
  /** Reported by PostgreSQL 18 and later. */
  searchPath = ""

  /** The settings that the session has begun with, or that the program has given it, from `begin` on. */
  private first: ReadonlyMap<string, string> | undefined = undefined
  private readonly now = new Map<string, string>()
  /** The settings that are not as they were at the beginning. */
  private readonly changed = new Set<string>()

  /** The session has begun: the settings are those that its next user must find. */
  begin(): void {
    this.first = new Map(this.now)
    this.changed.clear()
  }

  /** A setting is not as it was at the beginning: also one that a function has changed, and not one that SET LOCAL had changed. */
  get isChanged(): boolean {
    return this.changed.size > 0
  }

  set(name: string, value: string): void {
    switch (name) {
      case "in_hot_standby":
        this.isStandby = value === "on"
        // The server changes it, and no statement does.
        return
      case "default_transaction_read_only":
        this.onlyReads = value === "on"
        break
      case "search_path":
        this.searchPath = value
        break
      case "DateStyle":
        this.dateStyle = value
        break
      case "IntervalStyle":
        this.intervalStyle = value
        break
      case "client_encoding":
        this.encoding = value
        break
    }
    this.now.set(name, value)
    const first = this.first?.get(name)
    if (first === undefined || first === value) this.changed.delete(name)
    else this.changed.add(name)
  }

  get isIso(): boolean {
    return this.dateStyle === "" || this.dateStyle.startsWith("ISO")
  }

  get isUtf8(): boolean {
    return this.encoding === "" || this.encoding === "UTF8"
  }

  /** Dates and intervals come in a style that `pg` can read. */
  get isReadable(): boolean {
    return this.isIso && (this.intervalStyle === "" || this.intervalStyle === "postgres")
  }
}

const unreadable = (what: string, { dateStyle, encoding, intervalStyle }: Reported): Error =>
  new Error(
    `${what} cannot be read as this session writes it (DateStyle ${dateStyle}, IntervalStyle ${intervalStyle}, client_encoding ${encoding}): ask for it as text (column::text), or leave these settings at ISO, postgres and UTF8`
  )

type Parser = (text: string) => unknown

const DATES = [1082, 1114, 1184]
const ARRAYS_OF_DATES = [1115, 1182, 1185]
const INTERVAL = 1186
const ARRAY_OF_INTERVALS = 1187
const ARRAY_OF_NUMERICS = 1231
const JSONS = [114, 3802]
const ARRAYS_OF_JSONS = [199, 3807]

const isPlain = (value: any): boolean => value?.[0]?.a === 1

/** The parsers of `pg` itself. A parser that the program has given instead is used as it is. */
const original = new Map<number, Parser>()
for (const [oids, sample, isRight] of [
  [DATES, "2000-01-02 03:04:05+00", (value: any) => value instanceof Date],
  [ARRAYS_OF_DATES, '{"2000-01-02 03:04:05+00"}', (value: any) => value?.[0] instanceof Date],
  [[INTERVAL], "1 year", (value: any) => value?.years === 1],
  [[ARRAY_OF_INTERVALS], '{"1 year"}', (value: any) => value?.[0]?.years === 1],
  [[ARRAY_OF_NUMERICS], "{0.5}", (value: any) => value?.[0] === 0.5],
  [JSONS, '[{"a":1}]', isPlain],
  [ARRAYS_OF_JSONS, '{"{\\"a\\":1}"}', isPlain]
] as const) {
  for (const oid of oids) {
    const parser = Pg.types.getTypeParser(oid, "text")
    if (isRight(parser(sample))) original.set(oid, parser)
  }
}

/** Whether a type has a parser in `original`, by its number. Asked for each column of each statement. */
const isGuarded = new Uint8Array(Math.max(...original.keys()) + 1)
for (const oid of original.keys()) isGuarded[oid] = 1

/** Reads an array, each element that is not NULL with `read`. */
const array = (read: Parser): Parser => {
  const transform = (element: string | null) => (element === null ? null : read(element))
  return (text) => Pg.types.arrayParser.create(text, transform).parse()
}

/** `1 year 2 mons -3 days 04:05:06.7`: the IntervalStyle `postgres`. */
const readableInterval =
  /^(?:[-+]?\d+ (?:years?|mons?|days?)(?: |$))*(?:[-+]?\d{2,}:\d{2}:\d{2}(?:\.\d+)?)?$|^-?infinity$/

const hasNull = (value: unknown): boolean => Array.isArray(value) && value.some((one) => one === null || hasNull(one))

/** An interval without end is a number, as a date without end is with `pg`. */
const interval =
  (parser: Parser): Parser =>
  (text) =>
    text === "infinity" ? Number.POSITIVE_INFINITY : text === "-infinity" ? Number.NEGATIVE_INFINITY : parser(text)

/**
 * The type parsers of a connection: those of its client. Where a parser of `pg` would give a wrong value it fails instead, or
 * another parser gives the right one: integers in JSON that a number cannot hold, and elements of `numeric[]`, are texts.
 */
export class Parsers implements Pg.Types {
  private readonly guarded = new Map<number, Parser>()

  constructor(
    private readonly types: Pg.Types,
    private readonly reported: Reported
  ) {}

  getTypeParser(oid: number, format?: string): Parser {
    const { reported } = this
    const parser = this.types.getTypeParser(oid, format)
    if (!reported.isUtf8) throw unreadable("a result", reported)
    // Results are always asked for as text.
    if (isGuarded[oid] !== 1 || original.get(oid) !== parser) return parser
    const known = this.guarded.get(oid)
    if (known !== undefined) return known
    const guarded = this.guard(oid, parser)
    this.guarded.set(oid, guarded)
    return guarded
  }

  private guard(oid: number, parser: Parser): Parser {
    const { reported } = this
    switch (oid) {
      case 114:
      case 3802:
        return Json.parse
      case 199:
      case 3807:
        return array(Json.parse)
      case ARRAY_OF_NUMERICS:
        return array((text) => text)
      case INTERVAL: {
        const read = interval(parser)
        return (text) => {
          if (!readableInterval.test(text)) throw unreadable("an interval", reported)
          return read(text)
        }
      }
      case ARRAY_OF_INTERVALS: {
        const read = array(interval(original.get(INTERVAL) ?? Pg.types.getTypeParser(INTERVAL, "text")))
        return (text) => {
          if (!reported.isReadable) throw unreadable("an array of intervals", reported)
          return read(text)
        }
      }
      case 1115:
      case 1182:
      case 1185:
        return (text) => {
          const value = parser(text)
          if (!reported.isIso || (hasNull(value) && !text.includes("NULL")))
            throw unreadable("an array of dates", reported)
          return value
        }
      default:
        return (text) => {
          const value = parser(text)
          if (value === null) throw unreadable("a date", reported)
          return value
        }
    }
  }
}

/** The start-up parameter that proxies refuse more often than others. */
const DIGITS = "extra_float_digits"

/**
 * The start-up parameters that make the server of an endpoint write values so that they can be read, learnt from its first
 * connection. What is set at start-up is what `DISCARD ALL` goes back to.
 */
export class Startup {
  /** Something on the way refuses the parameters, so they are not sent. */
  private isRefused = false
  private dateStyle: string | undefined = undefined
  private intervalStyle: string | undefined = undefined

  constructor(
    /** The program has said that there is a proxy: no parameter is sent, because it may refuse any. */
    private readonly isProxied: boolean
  ) {}

  /** The parameters for a connection. `options` are the options that the program has set for it. */
  parameters(options: string | undefined): Readonly<Record<string, string>> {
    if (this.isProxied || this.isRefused) return {}
    return {
      // With a smaller number, which a role may have, the server rounds numbers. 1 is its default.
      ...(options?.includes(DIGITS) ? {} : { [DIGITS]: "1" }),
      ...(this.dateStyle === undefined ? {} : { DateStyle: this.dateStyle }),
      ...(this.intervalStyle === undefined ? {} : { IntervalStyle: this.intervalStyle })
    }
  }

  /** Whether a connect that has failed for this reason is worth another attempt, without the parameters. */
  isWorthAnother(cause: unknown): boolean {
    if (this.isProxied || this.isRefused) return false
    const { message } = cause as { readonly message?: unknown }
    // Whoever refuses a parameter names it, in every language. No code is for that alone.
    this.isRefused = typeof message === "string" && /extra_float_digits|datestyle|intervalstyle/i.test(message)
    return this.isRefused
  }

  /**
   * Whether a new connection is to be opened once more, because its role has a style that cannot be read and the parameters for
   * it were not sent yet. The order of day and month in the dates that the program sends stays the one of the role.
   */
  adopts({ dateStyle, intervalStyle, isReadable }: Reported): boolean {
    if (isReadable || this.isProxied || this.isRefused || this.dateStyle !== undefined) return false
    this.dateStyle = `ISO, ${dateStyle.split(", ")[1] ?? "MDY"}`
    this.intervalStyle = intervalStyle === "" ? undefined : "postgres"
    return true
  }
}
