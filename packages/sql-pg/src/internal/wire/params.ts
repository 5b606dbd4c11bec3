import { value as bad, malformed, parameter, thrown, Unsendable } from "@sluice/sql/driver/Unsendable"
import * as Pg from "./pg.js"

/** The protocol counts them in two bytes. */
const MAX_PARAMS = 65_535

/** Parameters as they are sent. */
export type Values = ReadonlyArray<string | Buffer | null>

/** Parameters as they are sent, or why they cannot be sent. Never throws. */
export const prepare = (params: ReadonlyArray<unknown>): Values | Unsendable => {
  let index: number | undefined
  try {
    const { length } = params
    if (length > MAX_PARAMS) {
      return new Unsendable(`it has ${length} parameters and may have ${MAX_PARAMS}: send fewer at a time`)
    }
    const values = new Array<string | Buffer | null>(length)
    for (index = 0; index < length; index++) {
      const value = params[index]
      if (typeof value === "function" || typeof value === "symbol") {
        return parameter(index, `is a ${typeof value}: give it a value, or a text`)
      }
      const prepared = Pg.prepareValue(value)
      if (typeof prepared === "string") {
        const problem = malformed(prepared)
        if (problem !== undefined) return bad(index, problem)
      } else if (prepared !== null && !Buffer.isBuffer(prepared)) {
        return parameter(index, "has no form that can be sent: its toJSON or toPostgres gives nothing")
      }
      values[index] = prepared
    }
    return values
  } catch (problem) {
    return thrown(index, problem)
  }
}
