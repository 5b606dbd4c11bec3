import { bytesOf, problemOf } from "@sluice/sql/driver/Parameters"
import { value as bad, malformed, parameter, thrown, Unsendable } from "@sluice/sql/driver/Unsendable"
import * as Pg from "./pg.js"

/** The protocol counts them in two bytes. */
const MAX_PARAMS = 65_535

/**
 * The array without elements. PostgreSQL skips the form feed in front of an array, and refuses it in front of JSON. Without it `[]`
 * for a column of the type json would become the object `{}`.
 */
const EMPTY = "\f{}"

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
      const prepared = valueOf(params[index], index)
      if (prepared instanceof Unsendable) return prepared
      values[index] = prepared
    }
    return values
  } catch (problem) {
    return problem instanceof Unsendable ? problem : thrown(index, problem)
  }
}

const valueOf = (value: unknown, index: number): string | Buffer | null | Unsendable => {
  const problem = problemOf(index, value)
  if (problem !== undefined) return problem
  if (typeof value === "string") return value
  if (typeof value !== "object" || value === null) return Pg.prepareValue(value)
  if (value instanceof JsonValue) return value.textOf(index)
  if (Array.isArray(value)) {
    return value.length === 0 ? EMPTY : checked(Pg.prepareValue(arrayOf(value, index)), index)
  }
  return bytesOf(value) ?? checked(Pg.prepareValue(value), index)
}

/** What an object has written of itself. */
const checked = (prepared: unknown, index: number): string | Buffer | null | Unsendable => {
  if (prepared === null || Buffer.isBuffer(prepared)) return prepared
  if (typeof prepared !== "string") {
    return parameter(index, "has no form that can be sent: its toJSON or toPostgres gives nothing")
  }
  const problem = malformed(prepared)
  return problem === undefined ? prepared : bad(index, problem)
}

/** An array with elements that `pg` can write. Throws `Unsendable`. */
const arrayOf = (values: ReadonlyArray<unknown>, index: number): ReadonlyArray<unknown> =>
  Array.from(values, (value) => {
    if (Array.isArray(value)) return arrayOf(value, index)
    const problem = problemOf(index, value, "has an element that ")
    if (problem !== undefined) throw problem
    return typeof value === "object" && value !== null ? (bytesOf(value) ?? value) : value
  })

/** A value that is sent as JSON, whatever it is. */
export class JsonValue {
  constructor(readonly value: unknown) {}

  textOf(index: number): string | Unsendable {
    const { value } = this
    const isJson = typeof value !== "number" || Number.isFinite(value)
    const text = isJson ? JSON.stringify(value) : undefined
    return text ?? bad(index, "has no form in JSON")
  }

  /** `pg` calls it for an element of an array. */
  toPostgres(): string {
    const text = this.textOf(0)
    if (text instanceof Unsendable) throw text
    return text
  }

  toJSON(): unknown {
    return this.value
  }
}
