import { type Context, Effect, Tracer } from "effect"
import type { RouteReason } from "../../Sources.js"
import type { Target } from "./target.js"
import type { Totals } from "./totals.js"

/** Notes something on the span of the statement, in a program that traces. Another one pays a look into its context. */
const noted = <A, E, R>(
  context: Context.Context<never>,
  name: string,
  attributes: Record<string, unknown>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const span = context.unsafeMap.get(Tracer.ParentSpan.key) as Tracer.AnySpan | undefined
  if (span?._tag !== "Span") return effect
  return Effect.clockWith((clock) => {
    span.event(name, clock.unsafeCurrentTimeNanos(), attributes)
    return effect
  })
}

/** Counts that a read goes to this server, for this reason, and notes it on the span of the statement. */
export const routed = <A, E, R>(
  { totals }: { readonly totals: Totals },
  context: Context.Context<never>,
  { label, role }: Target<any>,
  reason: RouteReason,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  totals.routes[role][reason]++
  return noted(
    context,
    "sluice.route",
    { "sluice.endpoint": label, "sluice.role": role, "sluice.reason": reason },
    effect
  )
}

/** A write goes to this server, and has waited until one took writes. */
export const failedOver = <A, E, R>(
  context: Context.Context<never>,
  label: string,
  waitMs: number,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  noted(context, "sluice.failover", { "sluice.endpoint": label, "sluice.wait_ms": waitMs }, effect)
