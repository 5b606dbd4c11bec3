/**
 * What the engine needs from outside: its settings, and a host. The first group of the host's functions only reads, and may
 * be called inside of a transition. The engine calls the others after the transition.
 */
import type { PoolEvent } from "../PoolEvent.js"
import type { ConnectFailureKind, Inspection, ResourceStatus } from "../PoolOptions.js"
import type { LeakKind } from "../PoolStats.js"
import type { Priority } from "../Priority.js"
import type { Entry, Lease } from "./entry.js"
import type { Waiter } from "./queue.js"
import type { Settings as Shedding } from "./shedding.js"

/** The options, with every default filled in and every duration in milliseconds. */
export interface Config {
  readonly name: string
  maxSize: number
  minIdle: number
  readonly acquireTimeout: number
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly maxLifetime: number
  readonly maxUses: number
  readonly keepAlive: number
  readonly validateAfterIdle: number
  readonly validateTimeout: number
  readonly maxWaiters: number
  /** Connections for class critical alone. */
  readonly reserved: number
  /** The share of `maxSize` that each of the eight classes may hold at once, from 0 to 1. */
  readonly classLimits: ReadonlyArray<number>
  readonly shedding: Shedding
  readonly failFastAfter: number
  readonly resetTimeout: number
  readonly closeTimeout: number
  readonly abortTimeout: number
  readonly drainTimeout: number
  readonly concurrency: number
  /** `Infinity`: never. */
  readonly closeWhenIdle: number
  /** 0: leases are not looked at. */
  readonly leakThreshold: number
  readonly reclaim: boolean
  readonly leakStack: boolean
}

/** A lease that is held too long. */
export interface Leaking<A> {
  readonly lease: Lease<A>
  readonly kind: LeakKind
  readonly heldMs: number
  readonly idleMs: number
  /** It is told for the first time. */
  readonly isNew: boolean
  readonly isReclaimed: boolean
  /** Another holder of the same connection is told of in the same look. */
  readonly isRepeated: boolean
}

/** What keeps a connection from a waiter although there could be one: its class has as many as it may have. */
export type HeldBack = "classLimit" | "reserved"

/** Why an acquire fails. The host makes the error that the caller sees. */
export type Refusal =
  | {
      readonly _tag: "AcquireTimeout"
      readonly timeout: number
      readonly phase: "waiting" | "validating" | "connecting"
      readonly priority: Priority
      /** One connection was idle, and kept for shared leases. */
      readonly reserveKept: boolean
      /** The class of the waiter held as many connections as it may. */
      readonly heldBack: HeldBack | undefined
      /** A connection was there, and the declared deadline left so little: milliseconds. */
      readonly rest: number | undefined
    }
  | {
      readonly _tag:
        | "PoolSaturated"
        | "PoolShed"
        | "PoolClosed"
        | "NestedAcquire"
        | "Dismissed"
        | "ConnectFailed"
        | "ConnectUnavailable"
    }

/** How the leases that existed when a drain began have ended. */
export interface DrainCounts {
  released: number
  cancelled: number
  aborted: number
}

export interface Host<A> {
  /** Milliseconds on a monotonic clock. */
  readonly now: () => number
  /** Whether timers are late, because the process did not run. Then answers may lie unread in the sockets. */
  readonly isLate: () => boolean
  /** From 0 to 1. */
  readonly random: () => number
  readonly status: ((resource: A) => ResourceStatus) | undefined
  readonly admits: ((resource: A) => boolean) | undefined
  readonly stalls: ((resource: A) => boolean) | undefined
  /** What a leased connection is used for. */
  readonly inspect: (resource: A) => Inspection | undefined
  /** Makes the error of a waiter. */
  readonly refuse: (refusal: Refusal, waited: number, now: number) => unknown
  readonly canValidate: boolean
  readonly canReset: boolean
  readonly canAbort: boolean

  /** Wakes a waiter that has a lease or an error. */
  readonly resume: (waiter: Waiter<A>) => void
  /** Begins to connect; ends with `connected` or `connectFailed`. */
  readonly connect: (startedAt: number) => void
  /** Ends all connects that are under way, each with `connectFailed`. */
  readonly interruptConnects: () => void
  /** Decides how long the pool pauses after a failed connect; ends with `backedOff`. */
  readonly backOff: (cause: unknown, kind: ConnectFailureKind) => void
  /** Connecting works again: the next pause is the first one of a new row. */
  readonly endBackOff: () => void
  /** Asks whether the connection works; ends with `validated`. */
  readonly validate: (entry: Entry<A>) => void
  /** Cleans the connection; ends with `wasReset`. */
  readonly reset: (entry: Entry<A>) => void
  /** Stops what the connection does; ends with `aborted`. */
  readonly abort: (entry: Entry<A>) => void
  /** Stops what a leased connection does, so that its holder fails and releases it. */
  readonly cancel: (entry: Entry<A>) => void
  /** Tells of a lease that is held too long. If it was taken away, the connection is closed after this. */
  readonly leaking: (leaking: Leaking<A>) => void
  /** Closes the connection; ends with `wasClosed`. */
  readonly close: (entry: Entry<A>) => void
  /** Calls `tick` at `at`, instead of at the moment that was asked for before. */
  readonly wake: (at: number) => void
  /** Nothing is open any more, because nobody has used the pool for a while. */
  readonly rested: () => void
  /** The pool has closed. */
  readonly drained: (counts: DrainCounts) => void
  /** Absent while nobody listens. */
  emit: ((event: PoolEvent) => void) | undefined
}
