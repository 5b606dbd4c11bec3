import { Effect } from "effect"

/** What is said once for each endpoint, because it is true of the server or of the way to it. */

const option = `set proxy: "pgbouncer-transaction" in the options of PgSql`

/** A statement that this connection has prepared is gone, or one that it has not prepared is there. */
export const plansLost = (label: string, code: string): Effect.Effect<void> =>
  Effect.logWarning(
    `PostgreSQL at ${label}: ${
      code === "42P05"
        ? "the server session already had a prepared statement that this connection has not prepared. So something on the way gives its server sessions to several clients, and statements are not prepared by name from now on"
        : "the server session has lost a prepared statement that this connection has prepared (it is prepared again). Either a statement has run DEALLOCATE ALL where it cannot be seen, or something on the way gives its server sessions to several clients"
    }. If that is PgBouncer in transaction mode, or a pooler like it, ${option}: without it settings, temporary tables, locks and listeners of a session can reach other clients (${code})`
  )

/** Something on the way has refused the start-up parameters. */
export const startupRefused = (label: string, message: string): Effect.Effect<void> =>
  Effect.logWarning(
    `PostgreSQL at ${label}: a start-up parameter was refused (${message}), so there is a proxy on the way. The settings that decide how values are written stay those of the role. If the proxy gives its server sessions to several clients, ${option}`
  )

/** Dates or intervals come in a style that cannot be read. */
export const styleUnreadable = (label: string, dateStyle: string, intervalStyle: string): Effect.Effect<void> =>
  Effect.logWarning(
    `PostgreSQL at ${label}: sessions begin with DateStyle ${dateStyle} and IntervalStyle ${intervalStyle}, which cannot be changed through a proxy, so statements that give dates or intervals will fail. Run: alter role … set datestyle = 'ISO'; alter role … set intervalstyle = 'postgres'`
  )

/** A program has sent LISTEN as a statement. */
export const unheard = (label: string): Effect.Effect<void> =>
  Effect.logWarning(
    `PostgreSQL at ${label}: LISTEN was sent as a statement, and its notifications reach nobody: the connection is one of the pool, and is cleaned before its next use. Use PgSql.listen, or listen of PgClient`
  )
