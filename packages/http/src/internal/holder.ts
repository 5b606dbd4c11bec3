/** What a request carries through its handler: an empty place for a connection, and what its statements are asked with. */
import * as Deadline from "@sluice/pool/Deadline"
import * as Sql from "@sluice/sql/Sql"
import { Effect, Exit, Scope } from "effect"
import type { Asked } from "./asked.js"
import type { Policy } from "./policy.js"

export interface Holder {
  /** The statements of the effect run on the connection of the request, with its intent, priority, deadline and token. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Gives the connection back; a stream that is being read keeps it until its end. Does nothing the second time. */
  readonly close: Effect.Effect<void>
}

/** Acquires nothing: the first statement does. Whoever opens it closes it, so this is to be run where nothing can interrupt. */
export const open = (policy: Policy, asked: Asked): Effect.Effect<Holder, never, Sql.Sql> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    // It has no options, so nothing can be wrong with them.
    const pinned = policy.isPinned ? yield* Scope.extend(Effect.orDie(Sql.connectionScoped()), scope) : undefined
    const holder: Holder = {
      // The intent is set outside of the pin, and again for each effect, because the pin has one and the statements have theirs.
      within: (effect) => settled(asked, pinned === undefined ? effect : pinned(effect)),
      close: Scope.close(scope, Exit.void)
    }
    return holder
  }).pipe((opened) => settled(asked, opened))

/** The effect, with everything that the request has asked for. */
export const settled = <A, E, R>(asked: Asked, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const { deadline, intent, priority, token } = asked
  const marked = intent === "read" ? Sql.read(effect) : Sql.write(effect)
  const ranked = priority === undefined ? marked : Sql.withPriority(priority)(marked)
  const bounded = deadline === Deadline.never ? ranked : Deadline.until(deadline)(ranked)
  // A token is a text, so nothing can be wrong with the level.
  return token === undefined ? bounded : (Sql.withConsistency({ token })(bounded) as Effect.Effect<A, E, R>)
}
