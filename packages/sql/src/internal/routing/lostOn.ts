import { Context } from "effect"
import type { Target } from "./target.js"

/**
 * The target on which the run before this one has lost its connection. Reads prefer another one: a server that stops goes on to let
 * clients in for a while, and would end them as well.
 */
export class LostOn extends Context.Reference<LostOn>()("@sluice/sql/LostOn", {
  defaultValue: (): Target<any> | undefined => undefined
}) {}

/** The same for a fiber, read from its context without the cost of an effect. */
export const lostOn = (context: Context.Context<never>): Target<any> | undefined =>
  context.unsafeMap.get(LostOn.key) as Target<any> | undefined
