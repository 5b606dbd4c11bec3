import type { SqlError } from "@effect/sql/SqlError"
import type { CommitFate } from "@sluice/sql/SqlReason"
import { Effect } from "effect"
import type { PgConnection } from "./connection.js"

/**
 * The identity of a transaction: its number, which is missing until it writes, and the timeline of the server. After a
 * promotion the numbers that were not replicated are given out a second time, to other transactions.
 */
const timeline =
  "case when pg_is_in_recovery() then null else left(pg_walfile_name(pg_current_wal_lsn()), 8) end as timeline"

const WHO = `select pg_current_xact_id_if_assigned()::text as xid, ${timeline}`

const FATE = `select pg_xact_status($1::xid8) as fate, ${timeline}`

export const witness = (
  connection: PgConnection
): Effect.Effect<(other: PgConnection) => Effect.Effect<CommitFate | "open", SqlError>, SqlError> =>
  Effect.map(connection.execute(WHO, [], "rows"), ([{ timeline, xid }]) => (other: PgConnection) => {
    // Nothing was written before COMMIT; a trigger that COMMIT itself runs may still have.
    if (xid === null) return Effect.succeed("unknown")
    return Effect.map(other.execute(FATE, [xid], "rows"), ([found]): CommitFate | "open" => {
      if (found.timeline === null || found.timeline !== timeline) return "unknown"
      switch (found.fate) {
        case "committed":
          return "committed"
        case "aborted":
          return "rolledBack"
        case "in progress":
          return "open"
        default:
          // Too long ago for the server to remember.
          return "unknown"
      }
    })
  })
