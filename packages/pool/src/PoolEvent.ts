/**
 * What happens in a pool, one value at a time: `Pool.events`.
 *
 * @since 0.1.0
 */
import { Data } from "effect"
import type { AcquireError } from "./PoolError.js"
import type { AcquireFailure, CloseReason, Leak } from "./PoolStats.js"
import type { Priority } from "./Priority.js"

/**
 * One thing that happened. Every `Acquired` is followed by one `Released` for the same connection, also where several
 * holders share it. Times are milliseconds with fractions, except in a `Leak`, which people read: whoever shows them rounds them.
 *
 * @since 0.1.0
 * @category models
 */
export type PoolEvent = Data.TaggedEnum<{
  /** A caller has to wait. Together with it `waiting` callers do. */
  Queued: { readonly waiting: number; readonly priority: Priority }
  /** A lease was granted after `waitMs`. `priority` is absent if the caller did not have to wait. */
  Acquired: { readonly connection: number; readonly waitMs: number; readonly priority: Priority | undefined }
  /** A lease ended after `heldMs`. */
  Released: { readonly connection: number; readonly heldMs: number }
  /** A lease is held longer than `leakThreshold`. Once for each lease. */
  Leak: Leak
  /** A lease was taken away, because nothing was done with it for `leakThreshold`: see the option `reclaim`. */
  Reclaimed: Leak
  /**
   * An acquire failed with the error of this tag. `priority` is absent if a hook of the program has refused it. `cause` is the error:
   * its message says what the pool was like at that moment, and is made when it is asked for.
   */
  AcquireFailed: {
    readonly error: AcquireFailure
    readonly cause: AcquireError
    readonly waitMs: number
    readonly priority: Priority | undefined
  }
  /** A caller left, because it was interrupted, when it had waited for `waitMs`. */
  AcquireInterrupted: { readonly waitMs: number; readonly priority: Priority }
  /** A connect succeeded after `elapsedMs`. */
  Connected: { readonly connection: number; readonly elapsedMs: number }
  /** A connect failed, or its connection was lost before its first use. The next connect starts in `retryInMs` or later. */
  ConnectFailed: { readonly cause: unknown; readonly attempts: number; readonly retryInMs: number }
  /** A connection is closed. */
  Closed: { readonly connection: number; readonly reason: CloseReason }
  /** The host can be connected to (`up`), the last connect failed (`failing`), or callers fail at once (`down`). */
  Host: { readonly state: "up" | "failing" | "down" }
  /** A fatal event: every connection opened before it must pass a check before it is handed out again. */
  Suspected: { readonly cause: unknown }
  /**
   * More work arrives than the connections finish, or that has ended: see the option `shedding`. `waitMs` is how long the oldest
   * waiter has waited.
   */
  Overload: { readonly isOverloaded: boolean; readonly waitMs: number }
  /** The process did not run for `lateMs`. */
  Stall: { readonly lateMs: number }
  /** `Pool.suspend`. */
  Suspended: {}
  /** `Pool.resume`, or the bound of a `suspend` has passed. */
  Resumed: {}
  /** `Pool.resize`. */
  Resized: { readonly max: number }
  /** `Pool.reset`. */
  Reset: { readonly connections: number }
}>

/**
 * @since 0.1.0
 * @category constructors
 */
export const PoolEvent = Data.taggedEnum<PoolEvent>()
