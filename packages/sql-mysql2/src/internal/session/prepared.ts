import type { Instant, Timers } from "@sluice/pool/Deadline"
import { Effect } from "effect"

/**
 * Milliseconds for which nothing is prepared after the server had no place for another statement. With a smaller number each
 * statement pays more often for a preparation that is refused. With a larger one statements are planned anew for longer than the
 * server is full.
 */
const PAUSE = 10_000

/** What the connections of an endpoint know about the statements that its server keeps for all of its clients. */
export class PreparedStatements {
  private fullUntil: Instant = 0
  private isSaid = false

  /** The server may have a place for another statement. */
  hasPlace(timers: Timers["Type"]): boolean {
    return this.fullUntil === 0 || timers.now() >= this.fullUntil
  }

  /** The server has refused to keep another statement. Gives a warning, once. */
  isFull(timers: Timers["Type"], label: string): Effect.Effect<void> | undefined {
    this.fullUntil = timers.now() + PAUSE
    if (this.isSaid) return undefined
    this.isSaid = true
    return Effect.logWarning(
      `MySQL at ${label}: the server keeps as many prepared statements as max_prepared_stmt_count lets it, so statements are sent as text, and planned each time, until it has a place again. Raise max_prepared_stmt_count there, or let each connection keep fewer (mysql2: { maxPreparedStatements }), or lower maxSize (1461)`
    )
  }
}
