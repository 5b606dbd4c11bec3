import type { Holder } from "@sluice/pool/PoolStats"
import { Clock, Effect } from "effect"
import type { ConnectionState } from "../../driver/Driver.js"

/** Milliseconds between two reports: a handler that does it does it with every request. */
const PAUSE = 10_000

/**
 * Transactions that were begun by hand and were still open when their connection came back. They are rolled back before
 * anybody else gets the connection, so nobody notices but by what is missing: therefore it is said.
 */
export interface LeftOpen {
  /** The transaction that may be open on this connection is one of ours; its end could not be awaited. */
  readonly excuse: (connection: unknown) => void
  /** A connection to `label` that came back like this is about to be cleaned. */
  readonly report: (label: string, connection: unknown, state: ConnectionState, left: Holder) => Effect.Effect<void>
}

export const make = (): LeftOpen => {
  const excused = new WeakSet()
  let reportedAt = -Infinity
  let others = 0
  return {
    excuse: (connection) => {
      excused.add(connection as WeakKey)
    },
    report: (label, connection, state, left) => {
      const isExcused = excused.delete(connection as WeakKey)
      if (isExcused || (state !== "transaction" && state !== "failed")) return Effect.void
      return Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (now - reportedAt < PAUSE) {
          others++
          return Effect.void
        }
        const text = message(label, left, others)
        reportedAt = now
        others = 0
        return Effect.logWarning(text)
      })
    }
  }
}

const message = (label: string, { activity, heldMs, span }: Holder, others: number): string => {
  const details = [`it was held for ${Math.round(heldMs)} ms`]
  if (span !== undefined) details.unshift(`in span "${span}"`)
  if (activity !== undefined) details.push(activity)
  if (others > 0) details.push(`and ${others} more since the last report`)
  return `${label}: a connection came back with an open transaction, which is rolled back (${details.join("; ")}). Begin transactions with withTransaction, which ends them however their work ends; a BEGIN by hand needs withConnection around it and its COMMIT`
}
