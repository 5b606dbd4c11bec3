import { Context } from "effect"

/** What a read must have seen: see `Consistency`. */
export type Level = "eventual" | "session" | "strong" | { readonly token: string | undefined }

export class CurrentLevel extends Context.Reference<CurrentLevel>()("@sluice/sql/CurrentConsistency", {
  defaultValue: (): Level => "session"
}) {}

/** The level of a fiber, read from its context without the cost of an effect. */
export const levelOf = (context: Context.Context<never>): Level =>
  (context.unsafeMap.get(CurrentLevel.key) as Level | undefined) ?? "session"
