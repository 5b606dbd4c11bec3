import type { SqlError } from "@effect/sql/SqlError"
import type { Instant } from "@sluice/pool/Deadline"
import { Effect } from "effect"
import { isInTransaction } from "./connection.js"
import type { Block } from "./pin.js"

/**
 * Undoes a transaction, or what was done since its savepoint. Never fails. To be run by the holder of the lock of the outer
 * block, where nothing can interrupt.
 *
 * When the server does not answer within the abort timeout, or by `deadline`, the caller waits no longer: the next user of the
 * connection does it first, or, if the pin ends with it, the pool cleans the connection.
 */
export const rollBack = <Conn>(
  block: Block<Conn>,
  savepoint: string | undefined,
  deadline: Instant
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { pin } = block
    const { abortTimeout, driver, leftOpen, timers } = pin.cluster
    const connection = pin.lease?.connection
    block.closed = true
    if (savepoint === undefined) pin.opening = undefined
    if (connection === undefined) return Effect.void
    const statements =
      savepoint === undefined ? ["ROLLBACK"] : [`ROLLBACK TO SAVEPOINT ${savepoint}`, `RELEASE SAVEPOINT ${savepoint}`]
    const back = (connection: Conn, until: Instant): Effect.Effect<void, SqlError> =>
      Effect.forEach(
        statements,
        (sql) =>
          isInTransaction(driver.status(connection))
            ? driver.execute(connection, sql, [], "command", undefined, until)
            : Effect.void,
        { discard: true }
      )
    const later = () => {
      if (pin.lease?.connection !== connection) return
      pin.pendingCleanup.push((connection) => back(connection, timers.now() + abortTimeout))
    }
    const now = timers.now()
    // A statement of an interrupted fiber still runs, or the time is over.
    if (driver.status(connection) === "busy" || pin.pendingCleanup.length > 0 || deadline <= now) {
      return Effect.sync(later)
    }
    return Effect.catchAll(back(connection, Math.min(deadline, now + abortTimeout)), () =>
      Effect.sync(() => {
        if (driver.status(connection) === "busy") later()
        else leftOpen.excuse(connection)
      })
    )
  })
