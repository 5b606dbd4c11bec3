import { Context } from "effect"

/** What a statement does, as far as its caller has said so. */
export type Intent = "read" | "write"

/**
 * The intent of the statements of a fiber. `undefined` where the program said nothing, which counts as `write`.
 */
export class CurrentIntent extends Context.Reference<CurrentIntent>()("@sluice/sql/CurrentIntent", {
  defaultValue: (): Intent | undefined => undefined
}) {}

/** The intent of a fiber, read from its context without the cost of an effect. */
export const intentOf = (context: Context.Context<never>): Intent | undefined =>
  context.unsafeMap.get(CurrentIntent.key) as Intent | undefined
