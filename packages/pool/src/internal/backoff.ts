/**
 * When the next connect may start: pure functions of the state, what happened, the time and the pause.
 *
 * ```
 *         failure              nothing open, failing for failFastAfter
 *    up ──────────► failing ───────────────────────────────────────────► down
 *    ▲                 │                                                  │
 *    └─────────────────┴────────────────── success ───────────────────────┘
 * ```
 *
 * A `rejected` failure with nothing open leads to `down` at once, because waiting does not correct a password.
 *
 * A success is proven when its connection was leased, or has passed a check. Until then the failures before it are
 * remembered, and the next failure continues their row: a host that accepts connections and drops them is no better than one
 * that refuses them (I10).
 */
import type { ConnectFailureKind } from "../PoolOptions.js"

/** The part of the configuration that back-off needs. */
export interface Settings {
  readonly failFastAfter: number
}

export interface Backoff {
  readonly phase: "up" | "failing" | "down"
  /** Connects that may be under way at once. */
  readonly width: number
  /** No connect starts before. `Infinity` from a failure until its pause is known. */
  readonly notBefore: number
  /** Failures in a row. */
  readonly attempts: number
  /** When the first of them happened. */
  readonly since: number
  /** When the first of the last failures in a row happened that found nothing open; `Infinity` if the last one did not. */
  readonly downSince: number
  /** What the last failure was. */
  readonly cause: unknown
  readonly kind: ConnectFailureKind | undefined
  /** Above this size one connect at a time is tried, because the host said that it takes no more. */
  readonly softMax: number
  /** A connect has succeeded after `attempts` failures, and its connection was not used yet. */
  readonly isUnproven: boolean
}

/** Where the ramp after an outage ends: 1, 2, 4, and so on. No caller wants more connects at once. */
export const WIDTH = 16

/** Failing logins lock accounts and fill the log of the host. */
const REJECTED_PAUSE = 1_000

/** Without a pause, a connect that fails at once would be repeated without end inside of one turn of the event loop. */
const LEAST_PAUSE = 1

export const initial: Backoff = {
  phase: "up",
  width: WIDTH,
  notBefore: 0,
  attempts: 0,
  since: 0,
  downSince: Infinity,
  cause: undefined,
  kind: undefined,
  softMax: Infinity,
  isUnproven: false
}

/** Whether connecting fails at the moment. */
export const isFailing = (b: Backoff): boolean => b.attempts > 0 && !b.isUnproven

/**
 * Whether one more connect may start now, with `open` connections open and `connecting` connects under way. `limit` is how
 * many may be under way when all is well.
 */
export const permits = (b: Backoff, now: number, open: number, connecting: number, limit: number): boolean => {
  if (connecting >= Math.min(b.width, limit) || now < b.notBefore) return false
  return open + connecting < b.softMax || connecting === 0
}

/** A connect succeeded. The pause goes on until the success is proven. */
export const succeeded = (b: Backoff, open: number): Backoff => {
  const softMax = b.softMax === Infinity ? Infinity : Math.max(b.softMax, open) + 1
  if (b.phase === "up" && softMax === Infinity && b.width === WIDTH) return b
  const width = b.phase === "up" ? Math.min(b.width * 2, WIDTH) : 1
  return { ...b, phase: "up", width, softMax, isUnproven: b.attempts > 0 }
}

/** The connection of a connect that succeeded was leased, or has passed a check. */
export const proven = (b: Backoff): Backoff => (b.isUnproven ? { ...initial, width: b.width, softMax: b.softMax } : b)

/** The connections of all connects that have succeeded since the last failure are gone, and none of them was used. */
export const disproven = (b: Backoff): Backoff => (b.isUnproven ? { ...b, phase: "failing", isUnproven: false } : b)

/** A connect failed, or ended without a connection that could be used. `paused` must follow. */
export const failed = (
  b: Backoff,
  settings: Settings,
  failure: { readonly cause: unknown; readonly kind: ConnectFailureKind; readonly open: number },
  now: number
): Backoff => {
  const { cause, kind, open } = failure
  const attempts = b.attempts + 1
  const since = b.attempts === 0 ? now : b.since
  const downSince = open > 0 ? Infinity : Math.min(b.downSince, now)
  const next = { width: 1, notBefore: Infinity, attempts, since, downSince, cause, kind, isUnproven: false }
  if (kind === "overloaded" && open > 0) return { ...next, phase: "up", softMax: open }
  return { ...next, phase: phaseOf(b, settings, kind, downSince, open, now), softMax: Infinity }
}

const phaseOf = (
  b: Backoff,
  settings: Settings,
  kind: ConnectFailureKind,
  downSince: number,
  open: number,
  now: number
): Backoff["phase"] => {
  if (open > 0) return "failing"
  if (kind === "rejected" || b.phase === "down") return "down"
  return settings.failFastAfter > 0 && now - downSince >= settings.failFastAfter ? "down" : "failing"
}

/** How long to wait after the failure is known now. A success that was proven meanwhile has made an end of it. */
export const paused = (b: Backoff, pause: number, now: number): Backoff => {
  if (b.attempts === 0) return b
  const until = now + Math.max(pause, b.kind === "rejected" ? REJECTED_PAUSE : LEAST_PAUSE)
  return { ...b, notBefore: b.notBefore === Infinity ? until : Math.max(b.notBefore, until) }
}

/**
 * Whether arriving acquires fail at once. The time is looked at here as well as after a failure, because a connect to a host
 * that does not answer fails only after `connectTimeout`.
 */
export const refuses = (b: Backoff, settings: Settings, now: number, open: number): boolean => {
  // `since` would be wrong here: the first failure in a row may be hours old, and other connections have worked since.
  if (open > 0 || b.phase === "up" || b.downSince === Infinity) return false
  if (b.phase === "down") return true
  return settings.failFastAfter > 0 && now - b.downSince >= settings.failFastAfter
}
