import { Effect, Redacted, Schedule } from "effect"
import Pg from "pg"

const session = (url: Redacted.Redacted<string>) =>
  Effect.acquireRelease(
    Effect.tryPromise(() => {
      const client = new Pg.Client({ connectionString: Redacted.value(url) })
      client.on("error", () => {})
      return client.connect().then(() => client)
    }),
    (client) => Effect.promise(() => client.end())
  )

/**
 * Takes so many places of the server, with sessions that do nothing, until the scope closes. No pool is involved, so the
 * server is as full as the test says. Each place is tried until it is free: the server counts a session for a moment
 * longer than its client.
 */
export const takePlaces = (url: Redacted.Redacted<string>, count: number) =>
  Effect.replicateEffect(Effect.retry(session(url), Schedule.spaced("20 millis")), count, { discard: true })
