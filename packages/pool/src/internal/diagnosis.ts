/**
 * Turns a snapshot into the sentences that an operator needs: what failed, for how long, the pool at that moment, the likely
 * cause, what to do. Only causes that the snapshot proves are named.
 */
import type { ConnectFailure, Holder, Leak, LeakKind, Snapshot } from "../PoolStats.js"

type Timeout = Snapshot & {
  readonly timeoutMs: number
  readonly phase: string
  readonly priority: string
  readonly reserveKept?: boolean | undefined
  readonly heldBack?: "classLimit" | "reserved" | undefined
  readonly held?: Readonly<Record<LeakKind, number>> | undefined
  readonly restMs?: number | undefined
}

/** An acquire that ends later than this after its deadline was held up by a process that did not run. */
const LATE = 50

const duration = (ms: number): string =>
  ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`

/** The text of a cause without its stack: a connect error must be readable in one line. */
export const text = (cause: unknown): string => {
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

/** What most of the leases are used for that were held while the caller has waited. */
const heldFor = (s: Timeout): LeakKind | undefined => {
  const uses = Object.entries(s.held ?? {}) as Array<[LeakKind, number]>
  const [kind, most] = uses.reduce((a, b) => (b[1] > a[1] ? b : a), ["unknown", 0])
  if (most > 0 && kind !== "unknown") return kind
  // What a pool says of its connections that cannot tell more. The rest of an activity may be the text of a statement, which proves nothing.
  const does = (activity: string) =>
    s.holders.some((holder) => holder.heldMs >= s.timeoutMs && holder.activity?.startsWith(activity) === true)
  if (does("idle in transaction")) return "idleInTransaction"
  if (does("reading a stream")) return "stream"
  return s.stats.using > 0 && s.stats.oldestLeaseMs >= s.timeoutMs ? "unknown" : undefined
}

/** Who has held connections while the caller has waited, and what to do about it. */
const heldBy: Readonly<Record<LeakKind, string>> = {
  busy: "Work on leased connections takes longer than the acquire timeout: find slow statements, or raise maxSize.",
  idleInTransaction: "End transactions before slow work, or raise maxSize.",
  forgotten: "Nothing is done on leased connections: release each as soon as its work is done.",
  listener:
    "A listener holds its connection for as long as it listens: listen on a connection that belongs to no pool.",
  stream: "A stream holds its connection until it was read: read it faster, end it earlier, or raise maxSize.",
  unknown: "Leases are held longer than the acquire timeout: find slow or forgotten work, or raise maxSize."
}

const cause = (s: Timeout): string => {
  const { lastConnectFailure, stats } = s
  if (stats.phase === "suspended") return "The pool is suspended: resume it."
  if (lastConnectFailure !== undefined) {
    const sentence = failure(lastConnectFailure)
    return `C${sentence.slice(1)}. Check that the host is up and accepts connections from here.`
  }
  if (s.restMs !== undefined) {
    return `A connection was there, but the deadline of the caller left ${duration(s.restMs)}, which is less than leases take: nothing was begun.`
  }
  if (s.timeoutMs <= 0) return "The caller did not want to wait: its deadline had passed, or its acquire timeout is 0."
  if (s.heldBack !== undefined && stats.connecting === 0) {
    return s.heldBack === "reserved"
      ? `Class ${s.priority} has all the connections that are not reserved for class critical: make its work shorter, or lower reserved.`
      : `Class ${s.priority} has as many connections as classLimits lets it have: make its work shorter, or raise its limit.`
  }
  if (s.phase === "connecting" && stats.size === 0) {
    return "Connecting takes longer than the acquire timeout: look at the network and the host."
  }
  if (s.phase === "validating") return "Idle connections do not answer: look at the network and the host."
  if (s.reserveKept === true) {
    return "The idle connection is kept for short shared work while that comes: make exclusive work shorter, or raise maxSize."
  }
  const held = heldFor(s)
  if (held !== undefined) return heldBy[held]
  if (s.phase === "connecting") {
    return "One more connection was being opened when the time was over: allow an acquire more time than a connect takes."
  }
  const cleaning = stats.resetting + stats.quarantined + stats.closing
  if (cleaning > 0) {
    return `The time went into cleaning: ${cleaning} of the connections were being reset, cancelled or closed.`
  }
  if (stats.using > 0 && stats.using >= stats.max) {
    return "More work arrives than these connections finish: send less, make it shorter, or raise maxSize."
  }
  return s.elapsedMs - s.timeoutMs > LATE
    ? ""
    : "The pool was not full when the time was over: allow an acquire more time than a connect and a check take."
}

/** What is true besides the cause. */
const blocked = (s: Timeout): string =>
  s.elapsedMs - s.timeoutMs > LATE
    ? ` The process did not run for ${duration(s.elapsedMs - s.timeoutMs)} or more: find what blocks the event loop.`
    : ""

/** Empty if nothing is proven. */
export const likelyCause = (s: Timeout): string => `${cause(s)}${blocked(s)}`.trimStart()

export const timeout = (s: Timeout): string => {
  const why = likelyCause(s)
  const within = s.restMs === undefined ? s.timeoutMs : s.elapsedMs
  return `pool "${s.pool}": no connection within ${Math.round(within)} ms (${state(s)}).${holders(s)}${why === "" ? "" : ` ${why}`}`
}

export const saturated = (s: Snapshot & { readonly maxWaiters: number }): string =>
  `pool "${s.pool}": ${s.stats.waiting} callers wait already and maxWaiters is ${s.maxWaiters} (${state(s)}; the oldest waits for ${duration(s.stats.oldestWaitMs)}).${holders(s)} Send less, or raise maxSize; a longer queue only fails later.`

export const shed = (s: Snapshot & { readonly targetMs: number }): string =>
  `pool "${s.pool}": sent away after ${duration(s.elapsedMs)}, because the pool is overloaded: callers wait for longer than ${duration(s.targetMs)} all the time (${state(s)}).${holders(s)} Send less, make work shorter, or raise maxSize; do not try again at once.`

export const closed = (s: Snapshot): string =>
  `pool "${s.pool}": ${s.stats.phase === "closed" ? "closed" : "closing, no new leases"} (${state(s)}). Acquire before the pool's scope ends.`

export const dismissed = (s: Snapshot): string =>
  `pool "${s.pool}": its callers were sent away after ${duration(s.elapsedMs)} (${state(s)}). Acquire from the pool that took its place, or from this one again.`

export const nested = (s: Snapshot): string =>
  `pool "${s.pool}": a fiber that holds a connection asked for another one while every connection is held by a fiber that waits for one (${state(s)}). Use the connection you hold, or acquire one at a time.`

/** The option `connect` itself is wrong: see `InvalidOptions`. */
const problemsOf = (cause: unknown): ReadonlyArray<string> | undefined =>
  typeof cause === "object" && cause !== null && "_tag" in cause && cause._tag === "InvalidOptions"
    ? (cause as unknown as { readonly problems: ReadonlyArray<string> }).problems
    : undefined

export const connectFailed = (s: Snapshot & { readonly cause: unknown }): string => {
  const problems = problemsOf(s.cause)
  return problems === undefined
    ? `pool "${s.pool}": the host refuses to connect: ${text(s.cause)} (${state(s)}). Correct the credentials or the address; retrying does not help.`
    : `pool "${s.pool}": no connection can be opened: ${problems.join("; ")}. Correct the option; retrying does not help.`
}

export const unavailable = (
  s: Snapshot & { readonly since: number; readonly attempts: number; readonly cause: unknown }
): string =>
  `pool "${s.pool}": no connection is open and ${failure(s)} (${state(s)}). Acquires fail at once until a connect succeeds.`

export const hookFailed = (s: Snapshot & { readonly hook: string; readonly cause: unknown }): string =>
  `pool "${s.pool}": nothing was acquired, because the hook ${s.hook} of the program has failed: ${text(s.cause)} (${state(s)}). It refuses every acquire that it fails for.`

export const invalid = (s: { readonly pool: string; readonly problems: ReadonlyArray<string> }): string =>
  `pool "${s.pool}": ${s.problems.length === 1 ? "an option is" : "options are"} invalid: ${s.problems.join("; ")}`

/** What a lease that is held too long is used for, and what helps. */
const leaks: { readonly [K in LeakKind]: readonly [does: (idle: string) => string, remedy: string] } = {
  busy: [() => "is at work", "Make this work shorter, or give it a time limit, so that others are not kept waiting."],
  idleInTransaction: [
    (idle) => `has been idle in a transaction for ${idle}`,
    "End the transaction before slow work that needs no connection: its locks are held, too."
  ],
  forgotten: [
    (idle) => `nothing was done on it for ${idle}: it seems to be forgotten`,
    "Release it as soon as its work is done: hold a connection by an effect or a scope that ends."
  ],
  listener: [() => "listens", "Listen on a connection that belongs to no pool."],
  stream: [
    () => "is read as a stream",
    "Read the stream faster, end it earlier, or allow for one connection more in maxSize."
  ],
  unknown: [() => "the pool cannot tell what it is used for", "Release it as soon as its work is done."]
}

/** `isNew`: the lease is told of for the first time. */
export const leak = (pool: string, leak: Leak, isNew: boolean): string => {
  const { activity, connection, heldMs, idleMs, isReclaimed, kind, span, stack } = leak
  const [does, remedy] = leaks[kind]
  const doing = activity === undefined || activity.startsWith("idle") ? "" : ` (${activity})`
  const where = span === undefined ? "" : ` It was acquired in span "${span}".`
  const taken = isReclaimed
    ? ` The pool has taken it away and closes it${isNew ? "" : ", because nothing was done on it since the report"}.`
    : ""
  const from = stack === undefined || stack === "" ? "" : `\nIt was acquired here:\n${stack}`
  return `pool "${pool}": connection ${connection} has been leased for ${duration(heldMs)}, and ${does(duration(idleMs))}${doing}.${where}${taken} ${remedy}${from}`
}
