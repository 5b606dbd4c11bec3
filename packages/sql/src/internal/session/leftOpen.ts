import type { Instant } from "@sluice/pool/Deadline"
import type { Holder } from "@sluice/pool/PoolStats"
import { Effect } from "effect"
import type { ConnectionState } from "../../driver/Driver.js"

/** Milliseconds between two reports. A handler that leaves a transaction open does so with every request. */
const PAUSE = 10_000

/**
 * Reports transactions that the program began with a BEGIN of its own and left open when it gave the connection back. They are
 * rolled back before the connection serves anybody else, so without a report nobody would learn why rows are missing.
 */
export interface LeftOpen {
  /** Says that a transaction which may be open on this connection is one of ours, whose end could not be awaited. */
  readonly excuse: (connection: unknown) => void
  /** To be called before a connection to `label` that came back in this state is cleaned. */
  readonly report: (label: string, connection: unknown, state: ConnectionState, left: Holder) => Effect.Effect<void>
}

export const make = (now: () => Instant): LeftOpen => {
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
      return Effect.suspend(() => {
        if (now() - reportedAt < PAUSE) {
          others++
          return Effect.void
        }
        const text = message(label, left, others)
        reportedAt = now()
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
