/** What a server is: a primary or a standby, of which history, and how far that goes. */
import type { SqlError } from "@effect/sql/SqlError"
import type { ServerState } from "@sluice/sql/driver/Driver"
import { Effect } from "effect"
import { asked } from "./asked.js"
import type { PgConnection } from "./connection.js"
import { execute } from "./execute.js"
import * as position from "./position.js"

const RECOVERY = "select pg_is_in_recovery() as standby"

/** A round trip after which the session knows whether its server takes writes. The server reports it from version 14 on. */
export const takesWrites = (connection: PgConnection): Effect.Effect<boolean, SqlError> =>
  Effect.suspend(() => {
    const { reported } = connection
    return reported.isStandby === undefined
      ? Effect.map(asked(connection, RECOVERY), ([row]) => row["standby"] !== true)
      : Effect.map(
          execute(connection, "", [], "command"),
          () => reported.isStandby !== true && !connection.servesReadsAlone
        )
  })

/**
 * The position is that of `position.ts`. A standby that has replayed all that it has received is not behind, also when nothing was
 * written for an hour; one that receives nothing may be. A primary whose transactions only read by default is about to give way to
 * another one, as for libpq.
 */
const PROBE = `select w.*, r.*, pg_is_in_recovery() as standby, (select system_identifier::text from pg_control_system()) as history,
  current_setting('default_transaction_read_only') as mode,
  (pg_postmaster_start_time() at time zone 'UTC')::text as began,
  case when not pg_is_in_recovery() then 0
    when exists (select from pg_stat_wal_receiver) and pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
    else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000 end::float8 as lag
  from (${position.OF_PRIMARY}) w, (${position.OF_REPLICA}) r`

export const probe = (connection: PgConnection): Effect.Effect<ServerState, SqlError> =>
  Effect.map(asked(connection, PROBE), ([row]) => {
    const isReplica = row.standby === true
    return {
      isWritable: !isReplica && row.mode === "off",
      isReplica,
      generation: isReplica ? undefined : position.timelineOf(row),
      history: row.history,
      // When it was started, to the microsecond: a primary and its standbys have the same history.
      instance: `${row.history} ${row.began}`,
      sharesWrites: false,
      position: isReplica ? position.ofReplica(row) : position.ofPrimary(row),
      lag: typeof row.lag === "number" ? Math.max(0, row.lag) : undefined
    }
  })
