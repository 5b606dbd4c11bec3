import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"

export const lost = (error: SqlError): Effect.Effect<void> =>
  Effect.logWarning(
    `The connection that listens was lost, and notifications are lost until it listens again: ${error.message}`
  )

export const back = (label: string, lostForMs: number): Effect.Effect<void> =>
  Effect.logWarning(
    `PostgreSQL at ${label}: it listens again. Notifications that were sent in the ${lostForMs} ms before are lost. PgSql.listen tells each listener so, with Resubscribed`
  )

export const overflowed = (label: string, channel: string): Effect.Effect<void> =>
  Effect.logWarning(
    `PostgreSQL at ${label}: a listener to channel ${JSON.stringify(channel)} does not read its notifications, and loses some. Handle them faster, or only note what has to be done. PgSql.listen tells the listener how many it has lost, with Overflowed`
  )
