/**
 * How many pods of a service exist at the worst moment of a rollout.
 *
 * A Deployment never has more than `base + surge` pods that are not terminating, and replaces at once what it tells to end. So while old
 * pods terminate, as many new ones may have connections already: those count on top. No rollout has more than all old pods
 * and all new ones.
 */
import type { Service, Terminating } from "../../PlanInput.js"
import type { Pods } from "../../PlanReport.js"

/** What a share of `whole` is; percentages are rounded as the caller says. */
const of = (share: number | string, whole: number, round: (n: number) => number): number =>
  typeof share === "number"
    ? share
    : // In hundredths of a percent, because 0.07 * 100 is more than 7.
      round((Math.round(Number.parseFloat(share) * 100) * whole) / 10_000)

export const roundedUp = (share: number | string, whole: number): number => of(share, whole, Math.ceil)
const roundedDown = (share: number | string, whole: number): number => of(share, whole, Math.floor)

/** How many old pods may terminate at once after the first wave, by what is known of their end. */
const later: Readonly<Record<Exclude<Terminating, "full">, (surge: number, unavailable: number) => number>> = {
  none: () => 0,
  wave: () => 1,
  together: (surge, unavailable) => surge + unavailable
}

const worstOf = (base: number, surge: number, unavailable: number, terminating: Terminating): number => {
  if (terminating === "full") return 2 * base
  if (terminating === "none") return base + surge
  // First `surge` new pods are made and `unavailable` old ones told to end, which as many new ones replace.
  const first = base + Math.min(base, surge + unavailable)
  // Then one old pod is told to end for each new one that is ready, and replaced while it ends, as long as new pods are missing.
  const missing = Math.max(0, base - surge - unavailable)
  return Math.max(first, base + surge + Math.min(missing, later[terminating](surge, unavailable)))
}

export const podsOf = (service: Service, terminating: Terminating = service.terminating ?? "wave"): Pods => {
  const { pods: base, strategy = "rolling" } = service
  if (strategy === "recreate") {
    return { strategy, atRest: base, surge: 0, unavailable: base, terminating: "none", withSurge: base, worst: base }
  }
  const surge = Math.min(base, roundedUp(service.surge ?? "25%", base))
  const fewer = Math.min(base, roundedDown(service.unavailable ?? "25%", base))
  // A rollout that may neither add a pod nor miss one would never move: one may be missing then.
  const unavailable = surge === 0 ? Math.max(1, fewer) : fewer
  const withSurge = base + surge
  return {
    strategy,
    atRest: base,
    surge,
    unavailable,
    terminating,
    withSurge,
    worst: worstOf(base, surge, unavailable, terminating)
  }
}
