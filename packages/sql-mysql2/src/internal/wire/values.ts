import { value as bad, malformed, parameter, thrown, Unsendable } from "@sluice/sql/driver/Unsendable"

/** The protocol counts them in two bytes. */
const MAX_PARAMS = 65_535

/**
 * Parameters as `mysql2` can send them, or why they cannot be sent. Never throws. `isWritten`: they are written into the text, in
 * the words of `mysql2`.
 */
export const prepare = (params: ReadonlyArray<unknown>, isWritten: boolean): ReadonlyArray<unknown> | Unsendable => {
  let index: number | undefined
  try {
    const { length } = params
    if (length > MAX_PARAMS && !isWritten) {
      return new Unsendable(
        `it has ${length} parameters and may have ${MAX_PARAMS}: send fewer at a time, or do not prepare it`,
        { code: "1390" }
      )
    }
    let sent = params
    for (index = 0; index < length; index++) {
      const value = params[index]
      switch (typeof value) {
        case "undefined":
          if (isWritten) break
          return parameter(index, "is undefined: write null for NULL, or leave the column out")
        case "function":
        case "symbol":
          return parameter(index, `is a ${typeof value}: give it a value, or a text`)
        case "string": {
          const problem = malformed(value)
          if (problem !== undefined) return bad(index, problem)
          break
        }
        case "number":
          if (!Number.isFinite(value)) return bad(index, `is ${value}, and the database has no such number`)
          break
        case "object": {
          if (value === null || value instanceof Date || Buffer.isBuffer(value)) break
          const bytes = bytesOf(value)
          if (bytes !== undefined) {
            if (sent === params) sent = params.slice()
            ;(sent as Array<unknown>)[index] = bytes
          } else if (!isWritten && !isKnown(value)) {
            return parameter(index, "is an object that has no form of its own: give it a toJSON, or send its fields")
          }
        }
      }
    }
    return sent
  } catch (problem) {
    return thrown(index, problem)
  }
}

/** `mysql2` would send the elements of such an array, each as one byte, or nothing. */
const bytesOf = (value: object): Buffer | undefined =>
  ArrayBuffer.isView(value)
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    : value instanceof ArrayBuffer || value instanceof SharedArrayBuffer
      ? Buffer.from(value)
      : undefined

/** A value that `mysql2` itself has made says which type it has: `mysql2` sends it as that. */
const isKnown = (value: object): boolean =>
  isJson(value) || value instanceof String || value.constructor?.name === "TypedParameter"

const isJson = (value: object): boolean =>
  Array.isArray(value) ||
  value.constructor === Object ||
  value.constructor === undefined ||
  (typeof (value as { toJSON?: unknown }).toJSON === "function" && !(value instanceof Date) && !Buffer.isBuffer(value))

/**
 * Values for a text into which they are written, with the meaning that they have when they are sent beside it: `mysql2`
 * would write an object as a list of assignments, and an array as a list.
 */
export const forText = (params: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  params.map((value) => {
    if (typeof value === "bigint") return String(value)
    return typeof value === "object" && value !== null && isJson(value) ? JSON.stringify(value) : value
  })

/** Whether a value can be written into a text of a session where a backslash escapes nothing. */
export const isSafeWithoutEscapes = (value: unknown): boolean => {
  switch (typeof value) {
    case "number":
    case "boolean":
    case "bigint":
      return true
    case "string":
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is escaped.
      return !/[\0\b\t\n\r\x1a"'\\]/.test(value)
    default:
      return value === null || value === undefined || value instanceof Date || Buffer.isBuffer(value)
  }
}
