/**
 * Who listens to the statements of an `Sql` is told of the end of each.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { Cause, Effect, Option } from "effect"
import * as SqlReason from "../../SqlReason.js"
import type { Cluster } from "../routing/cluster.js"
import type { Target } from "../routing/target.js"
import type { Seen } from "../routing/totals.js"

/** Runs the statement, and tells of its end, also when its caller is interrupted. */
export const told = <Conn, A>(
  { targetOf, timers, totals }: Cluster<Conn>,
  text: string,
  run: (seen: Seen<Conn>) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> =>
  // Uninterruptible but for the statement, because no handler runs in a fiber that is interrupted.
  Effect.uninterruptibleMask((restore) => {
    const began = timers.now()
    const seen: Seen<Conn> = { connection: undefined }
    const tell = (cause: Cause.Cause<SqlError> | undefined): void => {
      const failure = cause === undefined ? Option.none() : Cause.failureOption(cause)
      totals.listener?.({
        text,
        ms: timers.now() - began,
        error: Option.isSome(failure) ? SqlReason.of(failure.value)._tag : undefined,
        isInterrupted: cause !== undefined && Cause.isInterrupted(cause),
        target: seen.connection === undefined ? undefined : (targetOf(seen.connection) as Target<any> | undefined)
      })
    }
    return Effect.matchCauseEffect(restore(run(seen)), {
      onFailure: (cause) => {
        tell(cause)
        return Effect.failCause(cause)
      },
      onSuccess: (a) => {
        tell(undefined)
        return Effect.succeed(a)
      }
    })
  })
