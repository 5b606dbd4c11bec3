import * as Priority from "@sluice/pool/Priority"
import { Effect } from "effect"
import type { Forecast } from "../../SqlStats.js"
import { isEligible } from "./choice.js"
import type { Cluster } from "./cluster.js"
import { intentOf } from "./intent.js"
import { patience } from "./patience.js"
import type { Target } from "./target.js"

/**
 * How long a statement of the fiber would wait. A read is expected to go where it waits least, because routers look at the length of the
 * queues.
 */
export const forecast = <Conn>(cluster: Cluster<Conn>): Effect.Effect<Forecast> =>
  Effect.withFiberRuntime(({ currentContext }) => {
    const { members } = cluster
    const asked = currentContext.unsafeMap.get(Priority.CurrentPriority.key) as Priority.Priority | undefined
    const priority = asked ?? "normal"
    const replicas =
      intentOf(currentContext) === "read"
        ? (members.snapshot.replicas.filter(isEligible) as unknown as ReadonlyArray<Target<Conn>>)
        : []
    const targets = replicas.length > 0 ? replicas : [members.primary]
    const longest = patience(cluster, currentContext, undefined)
    const forecasts = targets.map((target) => ({
      waitMs: target.estimate(priority),
      patienceMs: target.patience(priority, longest)
    }))
    return Effect.succeed(forecasts.reduce((least, one) => (one.waitMs < least.waitMs ? one : least)))
  })
