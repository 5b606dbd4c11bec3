import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import type { CommitFate } from "../../SqlReason.js"

/** A COMMIT that was on its way when the connection broke is done, or its session is gone, well before this. */
const PATIENCE = "5 seconds"

const PAUSE = "50 millis"

/**
 * What became of a transaction, asked until the server no longer has it open. Never fails: nobody can do anything with a
 * failure to ask but treat it as `unknown`.
 */
export const make = <Conn>(
  use: <A>(f: (connection: Conn) => Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>,
  ask: (connection: Conn) => Effect.Effect<CommitFate | "open", SqlError>
): Effect.Effect<CommitFate> => {
  const asked: Effect.Effect<CommitFate> = Effect.flatMap(
    // The server may be starting again: that is one of the reasons to ask.
    Effect.orElseSucceed(use(ask), () => "open" as const),
    (fate) => (fate === "open" ? Effect.zipRight(Effect.sleep(PAUSE), asked) : Effect.succeed(fate))
  )
  return Effect.timeoutTo(asked, {
    duration: PATIENCE,
    onSuccess: (fate) => fate,
    onTimeout: (): CommitFate => "unknown"
  })
}
