/**
 * What the engine needs from outside. The first group only reads and may be called inside a transition; everything
 * else runs after one.
 */
import type { AcquireError } from "../PoolError.js"
import type { PoolEvent } from "../PoolEvent.js"
import type { ResourceStatus } from "../PoolOptions.js"
import type { Entry } from "./entry.js"
import type { Waiter } from "./queue.js"

/** Why an acquire fails; the host makes the error that the caller sees. */
export type Refusal =
  | {
      readonly _tag: "AcquireTimeout"
      readonly timeout: number
      readonly phase: "waiting" | "validating" | "connecting"
    }
  | { readonly _tag: "PoolSaturated" | "PoolClosed" | "NestedAcquire" | "ConnectFailed" | "ConnectUnavailable" }

/** How the leases that were out when a drain began have ended. */
export interface DrainCounts {
  released: number
  cancelled: number
  aborted: number
}

export interface Host<A> {
  readonly now: () => number
  readonly random: () => number
  readonly status: ((resource: A) => ResourceStatus) | undefined
  readonly admits: ((resource: A) => boolean) | undefined
  readonly refuse: (refusal: Refusal, waited: number, now: number) => AcquireError
  readonly canValidate: boolean
  readonly canReset: boolean
  readonly canAbort: boolean

  readonly resume: (waiter: Waiter<A>) => void
  readonly connect: (startedAt: number) => void
  readonly interruptConnects: () => void
  readonly validate: (entry: Entry<A>) => void
  readonly reset: (entry: Entry<A>) => void
  readonly abort: (entry: Entry<A>) => void
  /** Stops what a leased connection does, so that its holder fails and releases it. */
  readonly cancel: (entry: Entry<A>) => void
  readonly close: (entry: Entry<A>) => void
  readonly wake: (at: number) => void
  readonly drained: (counts: DrainCounts) => void
  /** Absent while nobody listens. */
  emit: ((event: PoolEvent) => void) | undefined
}
