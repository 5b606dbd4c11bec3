import { Effect, Exit, type Tracer } from "effect"

/** A span around a transaction, for programs that trace. `kind` says whether it is a whole transaction or a savepoint. */
export const aroundTransaction = <A, E, R>(
  attributes: ReadonlyArray<readonly [string, unknown]>,
  kind: "transaction" | "savepoint",
  run: (span: Tracer.Span) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.useSpan("sql.transaction", { kind: "client", captureStackTrace: false }, (span) => {
    for (const [key, value] of attributes) span.attribute(key, value)
    return Effect.onExit(run(span), (exit) => {
      const end = Exit.isFailure(exit) ? "rollback" : kind === "savepoint" ? "savepoint" : "commit"
      return Effect.clockWith((clock) =>
        Effect.sync(() => span.event(`db.transaction.${end}`, clock.unsafeCurrentTimeNanos()))
      )
    })
  })
