/**
 * Turns a snapshot into the sentence that an operator needs: what failed, for how long, the pool at that moment, the
 * likely cause, what to do. Only causes that the snapshot proves are named.
 */
import type { ConnectFailure, Snapshot } from "../PoolError.js"
import type { Holder } from "../PoolStats.js"

const duration = (ms: number): string =>
  ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`

/** The text of a cause without its stack: a connect error must be readable in one line. */
const text = (cause: unknown): string => {
  if (cause instanceof AggregateError && cause.message === "" && cause.errors.length > 0) return text(cause.errors[0])
  if (cause instanceof Error) return cause.message === "" ? cause.name : cause.message
  if (typeof cause === "object" && cause !== null && "message" in cause) return String(cause.message)
  return String(cause)
}

const state = (s: Snapshot): string => {
  const { stats } = s
  const parts = [`${stats.using} leased`, `${stats.available} idle`]
  if (stats.connecting > 0) parts.push(`${stats.connecting} connecting`)
  if (stats.validating > 0) parts.push(`${stats.validating} validating`)
  if (stats.quarantined > 0) parts.push(`${stats.quarantined} being cancelled`)
  if (stats.resetting > 0) parts.push(`${stats.resetting} being reset`)
  if (stats.closing > 0) parts.push(`${stats.closing} closing`)
  parts.push(`${stats.waiting} waiting`)
  return `max ${stats.max}: ${parts.join(", ")}`
}

const holder = (h: Holder): string =>
  [
    `connection ${h.connection} for ${duration(h.heldMs)}`,
    h.activity,
    h.span === undefined ? undefined : `in span "${h.span}"`
  ]
    .filter((part) => part !== undefined)
    .join(", ")

const holders = (s: Snapshot): string =>
  s.holders.length === 0 ? "" : ` Longest leases: ${s.holders.map(holder).join("; ")}.`

const failure = (f: ConnectFailure): string =>
  `connecting fails since ${new Date(f.since).toISOString()} (${f.attempts} ${f.attempts === 1 ? "attempt" : "attempts"}): ${text(f.cause)}`

const advice = (s: Snapshot & { readonly timeoutMs: number; readonly phase: string }): string => {
  const { stats } = s
  if (stats.phase === "suspended") return " The pool is suspended: resume it."
  if (s.lastConnectFailure !== undefined) {
    return ` ${failure(s.lastConnectFailure)}. Check that the host is up and accepts connections from here.`.replace(
      " connecting",
      " Connecting"
    )
  }
  if (s.phase === "connecting")
    return " Connecting takes longer than the acquire timeout: look at the network and the host."
  if (s.phase === "validating") return " Idle connections do not answer: look at the network and the host."
  const inTransaction = s.holders.filter((h) => h.activity?.includes("transaction")).length
  if (inTransaction > 0) return " End transactions before slow work, or raise maxSize."
  if (stats.using > 0 && stats.oldestLeaseMs >= s.timeoutMs) {
    return " Leases are held longer than the acquire timeout: find slow or forgotten work, or raise maxSize."
  }
  return " More work arrives than these connections finish: send less, make it shorter, or raise maxSize."
}

export const timeout = (s: Snapshot & { readonly timeoutMs: number; readonly phase: string }): string =>
  `pool "${s.pool}": no connection within ${Math.round(s.timeoutMs)} ms (${state(s)}).${holders(s)}${advice(s)}`

export const saturated = (s: Snapshot & { readonly maxWaiters: number }): string =>
  `pool "${s.pool}": ${s.stats.waiting} callers wait already and maxWaiters is ${s.maxWaiters} (${state(s)}; the oldest waits for ${duration(s.stats.oldestWaitMs)}).${holders(s)} Send less, or raise maxSize; a longer queue only fails later.`

export const closed = (s: Snapshot): string =>
  `pool "${s.pool}": ${s.stats.phase === "closed" ? "closed" : "closing, no new leases"} (${state(s)}). Acquire before the pool's scope ends.`

export const nested = (s: Snapshot): string =>
  `pool "${s.pool}": a fiber that holds a connection asked for another one while every connection is held by a fiber that waits for one (${state(s)}). Use the connection you hold, or acquire one at a time.`

export const connectFailed = (s: Snapshot & { readonly cause: unknown }): string =>
  `pool "${s.pool}": the host refuses to connect: ${text(s.cause)} (${state(s)}). Correct the credentials or the address; retrying does not help.`

export const unavailable = (
  s: Snapshot & { readonly since: number; readonly attempts: number; readonly cause: unknown }
): string =>
  `pool "${s.pool}": no connection is open and ${failure(s)} (${state(s)}). Acquires fail at once until a connect succeeds.`
