/**
 * Whether a request is let in: before its handler has done anything, and while it has acquired nothing.
 *
 * Requests that were let in and have not asked for a connection yet are not counted. In a simulation of handlers that wait for 200 ms first,
 * under 12 times the load, counting them let 1.5 instead of 4 handlers begin for each that the database can take, with the same useful
 * work; with half a second and 1.5 times the load it gave away a quarter of that work.
 */

import type * as Sql from "@sluice/sql/Sql"
import * as SqlHealth from "@sluice/sql/SqlHealth"
import { Effect } from "effect"
import * as Refusal from "../Refusal.js"
import type { Asked } from "./asked.js"
import { settled } from "./holder.js"
import { turned } from "./turn.js"

/**
 * The part of its patience that a request may be expected to wait. What it waits for is an estimate, and after the wait it still has its
 * work to do. Larger: requests are let in that end too late. Smaller: requests are refused that would have been served.
 */
const PART = 0.8

/** Seconds. A client that is told to wait longer does not come back, and the estimate is not worth more. */
const LONGEST = 60

/** What the forecast leads to. An estimate that is no number refuses nobody. */
const refusalOf = ({ patienceMs, waitMs }: SqlHealth.Forecast): Refusal.Refusal | undefined => {
  if (!(waitMs > patienceMs * PART)) return undefined
  return waitMs === Infinity
    ? Refusal.make(503, "PoolClosed", 1)
    : Refusal.make(503, "PoolSaturated", Math.min(LONGEST, Math.max(1, Math.ceil(waitMs / 1_000))))
}

/** Why the request is not let in: the pool cannot serve it in time. Acquires nothing, and waits only until the event loop has turned. */
export const enter = (asked: Asked): Effect.Effect<Refusal.Refusal | undefined, never, Sql.Sql> =>
  Effect.zipRight(turned, Effect.map(settled(asked, SqlHealth.forecast), refusalOf))
