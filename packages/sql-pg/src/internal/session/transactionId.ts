import type { SqlError } from "@effect/sql/SqlError"
import type { CommitFate } from "@sluice/sql/SqlReason"
import { Effect } from "effect"
import type { PgConnection } from "./connection.js"
import { execute } from "./execute.js"

/**
 * A transaction is known by its number, which is missing until it writes. A number means something only while the server
 * cannot have given it out a second time, which it does
 *
 * - after a promotion, to what was not replicated: another timeline;
 * - after a crash, to what had not reached the disk: its statistics begin anew then, and at no clean restart.
 */
const LIFE = `case when pg_is_in_recovery() then null else left(pg_walfile_name(pg_current_wal_lsn()), 8)
  || coalesce((select stats_reset from pg_stat_bgwriter)::text, '') end`

const WHO = `select pg_current_xact_id_if_assigned()::text as xid, ${LIFE} as life`

const FATE = `select case when life = $2 then pg_xact_status($1::xid8) end as fate from (select ${LIFE} as life) as now`

export const transactionId = (
  connection: PgConnection
): Effect.Effect<(other: PgConnection) => Effect.Effect<CommitFate | "open", SqlError>, SqlError> =>
  Effect.map(execute(connection, WHO, [], "rows"), ([{ life, xid }]) => (other: PgConnection) => {
    // Nothing was written before COMMIT; a trigger that COMMIT itself runs may still have.
    if (xid === null || life === null) return Effect.succeed("unknown")
    return Effect.map(execute(other, FATE, [xid, life], "rows"), ([{ fate }]): CommitFate | "open" => {
      switch (fate) {
        case "committed":
          return "committed"
        case "aborted":
          return "rolledBack"
        case "in progress":
          return "open"
        default:
          // Another life, or too long ago for the server to remember.
          return "unknown"
      }
    })
  })
