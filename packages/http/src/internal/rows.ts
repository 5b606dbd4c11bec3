/** A body that is read after the end of its handler. */
import { Context, Effect, type Scope, Stream } from "effect"
import type { Holder } from "./holder.js"

/**
 * The body reads on the connection of the request. With its first piece it is known what it reads: a cursor that is open then has the
 * connection until its end, and a body that comes from elsewhere, a file for example, has given it back.
 */
export const onConnection = <A, E, R>(
  body: Stream.Stream<A, E, R>,
  holder: Holder
): Effect.Effect<Stream.Stream<A, E, R>, never, Scope.Scope> =>
  Effect.gen(function* () {
    // A body is not always read: not for HEAD, and not when the client has gone.
    yield* Effect.addFinalizer(() => holder.close)
    const context = yield* holder.within(Effect.context<never>())
    let isFirst = true
    return body.pipe(
      Stream.mapChunksEffect((chunk) => {
        if (!isFirst) return Effect.succeed(chunk)
        isFirst = false
        return Effect.as(holder.close, chunk)
      }),
      Stream.ensuring(holder.close),
      Stream.mapInputContext((outer: Context.Context<R>) => Context.merge(outer, context))
    )
  })
