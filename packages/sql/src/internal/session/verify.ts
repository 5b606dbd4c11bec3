import type { SqlError } from "@effect/sql/SqlError"
import type { Timers } from "@sluice/pool/Deadline"
import { Effect } from "effect"
import type { CommitFate } from "../../SqlReason.js"
import * as Bounded from "./bounded.js"

/** Milliseconds. A COMMIT that was on its way when the connection broke is done, or its session is gone, well before this. */
const PATIENCE = 5_000

/** Milliseconds between two questions. */
const PAUSE = 50

/**
 * What became of a transaction, asked until the server no longer has it open. Never fails: a program could treat a failure
 * to ask only as `unknown`.
 */
export const make = <Conn>(
  timers: Timers["Type"],
  use: <A>(f: (connection: Conn) => Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>,
  ask: (connection: Conn) => Effect.Effect<CommitFate | "open", SqlError>
): Effect.Effect<CommitFate> => {
  const asked: Effect.Effect<CommitFate> = Effect.flatMap(
    // The server may be starting again: that is one of the reasons to ask.
    Effect.orElseSucceed(use(ask), () => "open" as const),
    (fate) => (fate === "open" ? Effect.zipRight(Effect.sleep(PAUSE), asked) : Effect.succeed(fate))
  )
  return Effect.suspend(() =>
    Bounded.abandonAt(timers, timers.now() + PATIENCE, asked, Effect.succeed<CommitFate>("unknown"))
  )
}
