/**
 * Values that no database can be sent, however they are sent. A library would write something else in their place: the text of a
 * function, `{}` for a Map or a Promise, NULL for a date that is none.
 *
 * @since 0.2.0
 */
import { Effect, Redacted } from "effect"
import { value as bad, malformed, parameter, type Unsendable } from "./Unsendable.js"

/**
 * Why a value cannot be sent as parameter `index`, counted from 0, and what to send instead; `undefined`: it can be sent. `where`
 * says which part of the parameter the value is, for example `has an element that`.
 *
 * - An object without any of these faults is sent as its JSON, unless the driver knows it.
 *
 * @since 0.2.0
 * @category guards
 */
export const problemOf = (index: number, value: unknown, where = ""): Unsendable | undefined => {
  switch (typeof value) {
    case "string": {
      const problem = malformed(value)
      return problem === undefined ? undefined : bad(index, where + problem)
    }
    case "function":
    case "symbol":
      return parameter(index, `${where}is a ${typeof value}: give it a value, or a text`)
    case "object":
      return value === null ? undefined : problemOfObject(index, value, where)
    default:
      return undefined
  }
}

const problemOfObject = (index: number, value: object, where: string): Unsendable | undefined => {
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return undefined
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? bad(index, `${where}is an invalid Date: write null for NULL`) : undefined
  }
  if (value instanceof Map || value instanceof Set) {
    return bad(
      index,
      `${where}is a ${value instanceof Map ? "Map" : "Set"}: give an object, or an array of its elements`
    )
  }
  if (Redacted.isRedacted(value)) return parameter(index, `${where}is Redacted: give what Redacted.value gives`)
  if (Effect.isEffect(value)) {
    return parameter(index, `${where}is an Effect, an Option or an Either: give the value that is inside of it`)
  }
  return typeof (value as { then?: unknown }).then === "function"
    ? parameter(index, `${where}is a Promise: await it first`)
    : undefined
}

/**
 * The bytes of a value that has bytes, without a copy. `undefined`: it has none.
 *
 * @since 0.2.0
 * @category conversions
 */
export const bytesOf = (value: object): Buffer | undefined => {
  if (Buffer.isBuffer(value)) return value
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  return value instanceof ArrayBuffer || value instanceof SharedArrayBuffer ? Buffer.from(value) : undefined
}
