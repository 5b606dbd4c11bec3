import type { SqlError } from "@effect/sql/SqlError"
import type { ServerLoad } from "@sluice/sql/driver/Driver"
import { Effect } from "effect"
import { asked } from "./asked.js"
import type { PgConnection } from "./connection.js"

/**
 * Every user may count the sessions of others, and know their user and database, but not what they do. A session of a server process,
 * such as one that writes the log, has no database or no user.
 */
const LOAD = `select current_setting('max_connections')::int as max,
  count(*) filter (where datid is not null and usesysid is not null)::int as connections,
  count(*) filter (where usename = current_user and state = 'active' and pid <> pg_backend_pid())::int as active,
  count(*) filter (where usename = current_user and state like 'idle in transaction%')::int as idle
  from pg_stat_activity`

/** See `Driver.load`. */
export const load = (connection: PgConnection): Effect.Effect<ServerLoad, SqlError> =>
  Effect.map(asked(connection, LOAD), ([{ active, connections, idle, max }]) => ({
    connections,
    maxConnections: max,
    active,
    idleInTransaction: idle
  }))
