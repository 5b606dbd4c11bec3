import { Context } from "effect"
import { intentOf } from "../routing/intent.js"

/** The statements inside may be executed twice. */
export class Idempotent extends Context.Reference<Idempotent>()("@sluice/sql/Idempotent", {
  defaultValue: () => false
}) {}

/** Whether statements with this context may be executed twice: they only read, or were declared idempotent. */
export const isRepeatable = (context: Context.Context<never>): boolean =>
  intentOf(context) === "read" || (context.unsafeMap.get(Idempotent.key) as boolean | undefined) === true

/**
 * Whether the innermost policy that the program has given, to `Sql.retry` or `withTransaction`, runs this failure again.
 * Then nothing inside is tried again unasked, or there would be more runs and other pauses than the policy says.
 */
export class GivenPolicy extends Context.Reference<GivenPolicy>()("@sluice/sql/GivenPolicy", {
  defaultValue: (): ((error: unknown) => boolean) | undefined => undefined
}) {}

export const isLeftToGivenPolicy = (context: Context.Context<never>, error: unknown): boolean =>
  (context.unsafeMap.get(GivenPolicy.key) as ((error: unknown) => boolean) | undefined)?.(error) === true
