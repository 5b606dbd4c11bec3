/**
 * The failure to read what the server has answered to a statement that it has executed.
 *
 * @since 0.2.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as SqlReason from "../SqlReason.js"
import type { Phase } from "./Driver.js"
import * as Literals from "./Literals.js"

/**
 * A value of a result could not be read. `cause` is what the type parser of the program has thrown.
 *
 * @since 0.2.0
 * @category errors
 */
export class Unreadable extends Error {
  constructor(override readonly cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause))
  }
}

/**
 * The error of a statement whose result could not be read. Its connection works on. What the statement has written stays
 * (`executed`), unless it is inside a transaction, which the failure ends. `database` is the product, `label` the endpoint.
 *
 * A parser quotes as a rule what it cannot read, so the message shows nothing of what it has thrown that is in quotes.
 *
 * @since 0.2.0
 * @category conversions
 */
export const toError = (
  unreadable: Unreadable,
  phase: Phase,
  database: string,
  label: string,
  about: Literals.About
): SqlError =>
  SqlReason.toError(
    SqlReason.make("Unclassified", {
      outcome: phase === "transaction" ? "rolledBack" : "executed",
      cause: unreadable.cause
    }),
    `${database} at ${label}: the statement was executed, but a value of its result could not be read: ${Literals.withoutValues(unreadable.message, about)}`
  )
