/** What an admin may do by way of the board, to pools of this process. */
import * as Pool from "@sluice/pool/Pool"
import * as Pools from "@sluice/pool/Pools"
import { Data, Effect, Option, Schema } from "effect"
import type { Service } from "../../Recorder.js"

export type Verb = "drain" | "reset" | "suspend" | "resume"

export type Action =
  | { readonly _tag: Verb; readonly pool: number }
  | {
      readonly _tag: "cancel"
      readonly pool: number
      readonly connection: number
      /** How old the lease was when the page was drawn. The connection may have gone to somebody else since. */
      readonly heldMs: number
    }

/** What was done: `reset pool "orders"`, and what the admin is told of it. */
export interface Done {
  readonly what: string
  readonly message: string
}

/** It could not be done. The message is for the admin. */
export class ActionRefused extends Data.TaggedError("ActionRefused")<{ readonly message: string }> {}

export type Act = (action: Action) => Effect.Effect<Done, ActionRefused>

const isVerb = (name: string): name is Verb => ["drain", "reset", "suspend", "resume"].includes(name)

const target = Schema.decodeUnknownOption(Schema.parseJson(Schema.Struct({ pool: Schema.Int })))

const lease = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ pool: Schema.Int, connection: Schema.Int, heldMs: Schema.NonNegative }))
)

/** The action of this name, with what the body of the request says. `None`: there is none such. */
export const read = (name: string, body: string | undefined): Option.Option<Action> =>
  name === "cancel"
    ? Option.map(lease(body), (lease) => ({ _tag: name, ...lease }))
    : isVerb(name)
      ? Option.map(target(body), (target) => ({ _tag: name, ...target }))
      : Option.none()

const plural = (n: number, one: string): string => `${n} ${one}${n === 1 ? "" : "s"}`

const acted = (pool: Pool.Pool<unknown>, action: Action): Effect.Effect<string, ActionRefused> => {
  switch (action._tag) {
    case "reset":
      return Effect.as(Pool.reset(pool), "Its connections are being replaced.")
    case "suspend":
      return Effect.as(Pool.suspend(pool), "Callers wait from now on. It resumes by itself after a minute.")
    case "resume":
      return Effect.as(Pool.resume(pool), "Callers are served again.")
    case "drain":
      return Effect.map(
        Pool.drain(pool),
        ({ aborted, released }) =>
          `It is closed. ${plural(released, "lease")} ended by themselves, ${plural(aborted, "lease")} had to be taken away.`
      )
    case "cancel":
      return Effect.flatMap(Pools.cancel(pool, action.connection, action.heldMs), (isCancelled) =>
        isCancelled
          ? Effect.succeed("The server is told to stop the statement.")
          : Effect.fail(new ActionRefused({ message: "That lease has ended, or the pool cannot cancel statements." }))
      )
  }
}

/** Does it to the pool that has this number in the reports of this process. */
export const act =
  (recorder: Service): Act =>
  (action) =>
    Effect.flatMap(recorder.pool(action.pool), (found) => {
      if (Option.isNone(found)) return Effect.fail(new ActionRefused({ message: "This pool is not open any more." }))
      const pool = found.value
      const name = `pool ${JSON.stringify(pool.name)}`
      const what =
        action._tag === "cancel"
          ? `cancel the statement on connection ${action.connection} of ${name}`
          : `${action._tag} ${name}`
      return Effect.map(acted(pool, action), (message) => ({ what, message }))
    })
