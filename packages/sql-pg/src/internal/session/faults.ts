import * as classify from "../classify.js"
import type { Plan } from "../wire/plans.js"

/**
 * Why a statement may have failed because of its prepared statement, and not because of itself.
 *
 * - `lost`: the server does not know the prepared statement.
 * - `stale`: its columns have changed since it was prepared.
 * - `foreign`: the server session has one of this name already, which this connection has not prepared.
 * - `mistyped`: it has the types that the columns had when it was prepared, or the value is wrong. Without the prepared statement
 *   the server says which.
 */
export type PlanFault = "lost" | "stale" | "foreign" | "mistyped"

export const planFaultOf = (failure: unknown, { name }: Plan): PlanFault | undefined => {
  const { code, message, routine } = classify.read(failure)
  // A function has raised it by itself, so it says nothing about the prepared statement.
  if (routine === "exec_stmt_raise") return undefined
  switch (code) {
    // The server names the statement, in every language. A function may use another one, of the program's own.
    case "26000":
      return message.includes(name) ? "lost" : undefined
    case "42P05":
      return message.includes(name) ? "foreign" : undefined
    case "0A000":
      return routine === "RevalidateCachedQuery" ? "stale" : undefined
    case "22003":
    case "22007":
    case "22P02":
    case "22P03":
    case "42804":
    case "42883":
      return "mistyped"
    default:
      return undefined
  }
}
