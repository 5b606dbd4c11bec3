import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import { type Context, Duration } from "effect"
import type { Cluster } from "./cluster.js"

/** The acquire timeout of a caller, in milliseconds. */
export const acquireTimeout = <Conn>(
  cluster: Cluster<Conn>,
  context: Context.Context<never>,
  options: Pool.AcquireOptions | undefined
): number => {
  const set = context.unsafeMap.get(Pool.CurrentAcquireTimeout.key) as Duration.DurationInput | undefined
  const given = options?.acquireTimeout ?? set
  return given === undefined ? cluster.acquireTimeout : Duration.toMillis(Duration.decode(given))
}

/** Milliseconds that a caller may wait for a connection: the shorter of its acquire timeout and its declared deadline. */
export const patience = <Conn>(
  cluster: Cluster<Conn>,
  context: Context.Context<never>,
  options: Pool.AcquireOptions | undefined
): number => {
  const millis = acquireTimeout(cluster, context, options)
  const deadline = Deadline.currentIn(context)
  return deadline === Deadline.never ? millis : Math.min(millis, Deadline.rest(deadline, cluster.timers.now()))
}
