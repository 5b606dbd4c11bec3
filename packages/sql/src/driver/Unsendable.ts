/**
 * The refusal of a statement before anything of it is sent.
 *
 * @since 0.2.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as SqlReason from "../SqlReason.js"

/**
 * Why a statement is not sent, and what to do about it. The message has no value in it, also if a value has thrown when it was
 * to be sent: what was thrown is the `cause`.
 *
 * @since 0.2.0
 * @category errors
 */
export class Unsendable extends Error {
  constructor(
    message: string,
    readonly more: {
      /** Default `InvalidUse`. */
      readonly tag?: "InvalidUse" | "InvalidData" | "ResourceExhausted" | undefined
      /** The code that the server would have answered with. */
      readonly code?: string | undefined
      readonly cause?: unknown
    } = {}
  ) {
    super(message)
  }
}

/**
 * Parameter `index`, counted from 0, cannot be sent because of `what`: it is no value at all, as the value of a missing field is.
 *
 * @since 0.2.0
 * @category constructors
 */
export const parameter = (index: number, what: string): Unsendable => new Unsendable(`parameter ${index + 1} ${what}`)

/**
 * Parameter `index`, counted from 0, is a value that the database does not have, because of `what`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const value = (index: number, what: string): Unsendable =>
  new Unsendable(`parameter ${index + 1} ${what}`, { tag: "InvalidData" })

/**
 * Parameter `index`, counted from 0, has thrown when it was to be sent, or has an unknown one (`undefined`).
 *
 * @since 0.2.0
 * @category constructors
 */
export const thrown = (index: number | undefined, cause: unknown): Unsendable =>
  new Unsendable(
    `${index === undefined ? "a parameter" : `parameter ${index + 1}`} cannot be turned into what is sent: ${wordsOf(cause)}`,
    { cause }
  )

/** What JSON.stringify itself throws. Behind these words it shows parts of the value. */
const ofJson = /^(?:Converting circular structure to JSON|Do not know how to serialize a BigInt)/

/** A message of the program may have values in it. */
const wordsOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return `a ${typeof cause} was thrown (see the cause)`
  return ofJson.exec(cause.message)?.[0] ?? `${cause.name} was thrown (see the cause)`
}

/**
 * What is wrong with a string that is to be sent; `undefined`: nothing. Half of a surrogate pair has no form in UTF-8, and would
 * arrive as another character.
 *
 * @since 0.2.0
 * @category getters
 */
export const malformed = (text: string): string | undefined =>
  (text as string & { isWellFormed(): boolean }).isWellFormed()
    ? undefined
    : "is no well-formed text: it has one half of a surrogate pair, as a text has that was cut in the middle of a character"

/**
 * The error of a statement that is not sent. Its connection works on, and nothing has happened. `database` is the product, `label`
 * the endpoint.
 *
 * @since 0.2.0
 * @category conversions
 */
export const toError = (unsendable: Unsendable, database: string, label: string): SqlError => {
  const { cause, code, tag = "InvalidUse" } = unsendable.more
  return SqlReason.toError(
    SqlReason.make(tag, { code, cause: cause ?? unsendable }),
    `${database} at ${label}: the statement was not sent: ${unsendable.message}`
  )
}
