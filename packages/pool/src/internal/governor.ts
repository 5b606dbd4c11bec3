/**
 * When the next connect may start: a pure function of (state, event, now, random).
 *
 * ```
 *           failure                  failing for failFastAfter, nothing open
 *  closed ──────────► failing ─────────────────────────────────► open
 *    ▲                   │  ▲                                     │ ▲
 *    │      success      │  │ failure                     attempt │ │ failure
 *    └───────────────────┴──┼──────────────────────────── half-open ┘
 * ```
 *
 * A `rejected` failure with nothing open goes to `open` at once: waiting does not correct a password.
 */
import type { ConnectFailureKind } from "../PoolOptions.js"

/** A part of the pool's configuration. */
export interface Settings {
  readonly backoffBase: number
  readonly backoffCap: number
  readonly failFastAfter: number
}

export interface Governor {
  readonly phase: "closed" | "failing" | "open" | "half-open"
  /** Connects that may be under way together. */
  readonly width: number
  /** No connect starts before. */
  readonly notBefore: number
  /** The pause before `notBefore`, from which the next one is drawn. */
  readonly pause: number
  readonly attempts: number
  readonly since: number
  /** The first of the last failures in a row that found nothing open; `Infinity` if the last one found something. */
  readonly downSince: number
  readonly cause: unknown
  readonly kind: ConnectFailureKind | undefined
  /** Above it one connect at a time is tried: the host said that it takes no more. */
  readonly softMax: number
}

/** Connects that may be under way together when all is well. Larger: a storm of logins on a host that just came back. */
const WIDTH = 4

/** Failing logins lock accounts and fill the host's log. */
const REJECTED_PAUSE = 1_000

export const initial: Governor = {
  phase: "closed",
  width: WIDTH,
  notBefore: 0,
  pause: 0,
  attempts: 0,
  since: 0,
  downSince: Infinity,
  cause: undefined,
  kind: undefined,
  softMax: Infinity
}

/** Whether one more connect may start now, with `open` connections open and `connecting` under way. */
export const permits = (g: Governor, now: number, open: number, connecting: number): boolean => {
  if (connecting >= g.width || now < g.notBefore) return false
  return open + connecting < g.softMax || connecting === 0
}

/** A connect starts. */
export const attempted = (g: Governor): Governor => (g.phase === "open" ? { ...g, phase: "half-open" } : g)

export const succeeded = (g: Governor, open: number): Governor => {
  const softMax = g.softMax === Infinity ? Infinity : Math.max(g.softMax, open) + 1
  if (g.phase === "closed" && softMax === Infinity && g.width === WIDTH) return g
  return { ...initial, width: g.phase === "closed" ? Math.min(g.width * 2, WIDTH) : 1, softMax }
}

export const failed = (
  g: Governor,
  settings: Settings,
  failure: { readonly cause: unknown; readonly kind: ConnectFailureKind; readonly open: number },
  now: number,
  random: number
): Governor => {
  const { cause, kind, open } = failure
  const floor = kind === "rejected" ? Math.max(settings.backoffBase, REJECTED_PAUSE) : settings.backoffBase
  const cap = Math.max(settings.backoffCap, floor)
  const pause = g.pause === 0 ? floor : Math.min(cap, floor + random * (Math.max(g.pause, floor) * 3 - floor))
  const attempts = g.attempts + 1
  const since = g.attempts === 0 ? now : g.since
  const downSince = open > 0 ? Infinity : Math.min(g.downSince, now)
  const next = { width: 1, notBefore: now + pause, pause, attempts, since, downSince, cause, kind }
  if (kind === "overloaded" && open > 0) return { ...next, phase: "closed", softMax: open }
  return { ...next, phase: phaseOf(g, settings, next, open, now), softMax: Infinity }
}

const phaseOf = (
  g: Governor,
  settings: Settings,
  next: { readonly kind: ConnectFailureKind; readonly downSince: number },
  open: number,
  now: number
): Governor["phase"] => {
  if (open > 0) return "failing"
  if (next.kind === "rejected") return "open"
  if (g.phase === "open" || g.phase === "half-open") return "open"
  return settings.failFastAfter > 0 && now - next.downSince >= settings.failFastAfter ? "open" : "failing"
}

/**
 * Arriving acquires fail at once. The threshold is looked at here as well as after a failure, because a connect into a
 * black hole fails only after its timeout.
 */
export const refuses = (g: Governor, settings: Settings, now: number, open: number): boolean => {
  // Not since the first failure in a row: that one may be hours old and have met a pool that went on working.
  if (open > 0 || g.downSince === Infinity) return false
  if (g.phase === "open" || g.phase === "half-open") return true
  return settings.failFastAfter > 0 && now - g.downSince >= settings.failFastAfter
}
