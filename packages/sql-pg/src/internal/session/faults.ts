import * as classify from "../classify.js"

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

export const planFaultOf = (failure: unknown): PlanFault | undefined => {
  const { code, routine } = classify.read(failure)
  switch (code) {
    case "26000":
      return "lost"
    case "42P05":
      return "foreign"
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
