/** What an admin may do by way of the board. */
import { Data, type Effect, Option, Schema } from "effect"

/** A pool of this process, by what the report calls it. */
export interface Target {
  readonly database: string
  readonly pool: string
  readonly endpoint: string
}

export type Verb = "drain" | "reset" | "suspend" | "resume"

export type Action =
  | (Target & { readonly _tag: Verb })
  | (Target & {
      readonly _tag: "cancel"
      readonly connection: number
      /** By which the lease is known again: the connection may have gone to somebody else since the page was drawn. */
      readonly serverPid?: number | undefined
    })

/** It could not be done. The message is for the admin. */
export class ActionRefused extends Data.TaggedError("ActionRefused")<{ readonly message: string }> {}

/** Does it, and says what was done. */
export type Act = (action: Action) => Effect.Effect<string, ActionRefused>

const isVerb = (name: string): name is Verb => ["drain", "reset", "suspend", "resume"].includes(name)

const Target = { database: Schema.String, pool: Schema.String, endpoint: Schema.String }

const target = Schema.decodeUnknownOption(Schema.parseJson(Schema.Struct(Target)))

const lease = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ ...Target, connection: Schema.Number, serverPid: Schema.optional(Schema.Number) }))
)

/** The action of this name, with what the body of the request says. `None`: there is none such. */
export const read = (name: string, body: string | undefined): Option.Option<Action> =>
  name === "cancel"
    ? Option.map(lease(body), (lease) => ({ _tag: name, ...lease }))
    : isVerb(name)
      ? Option.map(target(body), (target) => ({ _tag: name, ...target }))
      : Option.none()

/** `reset pool "orders"`. Names come from the request, so they are quoted. */
export const show = (action: Action): string =>
  action._tag === "cancel"
    ? `cancel the statement on connection ${action.connection} of pool ${JSON.stringify(action.pool)}`
    : `${action._tag} pool ${JSON.stringify(action.pool)}`
