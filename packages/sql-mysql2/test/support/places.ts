import { Effect, Redacted, Schedule } from "effect"
import { createConnection } from "mysql2/promise"

const session = (url: Redacted.Redacted<string>) =>
  Effect.acquireRelease(
    Effect.tryPromise(() => createConnection(Redacted.value(url))),
    (connection) => Effect.promise(() => connection.end())
  )

/**
 * Takes so many places of the server, with sessions that do nothing, until the scope closes. No pool is involved, so the
 * server is as full as the test says. Each place is tried until it is free: the server counts a session for a moment
 * longer than its client.
 */
export const takePlaces = (url: Redacted.Redacted<string>, count: number) =>
  Effect.replicateEffect(Effect.retry(session(url), Schedule.spaced("20 millis")), count, { discard: true })
