/** A position as a text that leaves the process: `1~database~history~position`, of characters that a cookie and a header can have. */

export interface Token {
  readonly database: string
  /** Empty where the database has none. */
  readonly history: string
  readonly position: string
}

/** The first field: the form of the rest. */
const FORM = "1"

export const encode = ({ database, history, position }: Token): string =>
  [FORM, database, history, position].map(encodeField).join("~")

/** `encodeURIComponent` keeps the separator. */
const encodeField = (field: string): string => encodeURIComponent(field).replaceAll("~", "%7E")

/** Longer ones are not looked at. A GTID set of MySQL may be long. */
const LONGEST = 16_384

/** `undefined`: it is no token. */
export const decode = (text: string): Token | undefined => {
  if (text.length > LONGEST || !/^[\w.!*'()%~-]+$/.test(text) || /%(?![0-9A-F]{2})/.test(text)) return undefined
  const [form, database, history, position, ...more] = text.split("~").map(decodeField)
  return form === FORM && database !== undefined && history !== undefined && position && more.length === 0
    ? { database, history, position }
    : undefined
}

/** Never throws: the fields that this module writes have ASCII alone. */
const decodeField = (field: string): string =>
  field.replace(/%([0-9A-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
