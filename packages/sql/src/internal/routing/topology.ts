import type { Instant } from "@sluice/pool/Deadline"
import { Effect, SubscriptionRef } from "effect"
import type { Service, Snapshot, Target } from "../../Topology.js"

/** Roles as they were configured. */
export const make = (primary: Target, replicas: ReadonlyArray<Target>, now: () => Instant): Effect.Effect<Service> => {
  let current: Snapshot = { primary, replicas, at: now() }
  return Effect.map(SubscriptionRef.make(current), (published) => ({
    snapshot: () => current,
    changes: published.changes,
    refresh: Effect.suspend(() => {
      current = { ...current, at: now() }
      return SubscriptionRef.set(published, current)
    })
  }))
}
