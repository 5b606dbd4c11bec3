/** A value that cannot be sent, and what to do about it. */
export interface Problem {
  readonly problem: string
}

/**
 * What is wrong with parameters for the prepared protocol. `mysql2` itself would throw. A parameter that is undefined or a function
 * is as a rule the value of a missing field.
 */
export const check = (params: ReadonlyArray<unknown>): Problem | undefined => {
  for (let i = 0; i < params.length; i++) {
    const value = params[i]
    switch (typeof value) {
      case "undefined":
        return { problem: `parameter ${i + 1} is undefined: write null for NULL, or leave the column out` }
      case "function":
      case "symbol":
        return { problem: `parameter ${i + 1} is a ${typeof value}: give it a value, or a text` }
    }
  }
  return undefined
}

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
