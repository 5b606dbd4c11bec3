/**
 * Which target takes the writes.
 *
 * ```
 * undecided ──► a target takes the writes ◄──► no target does
 * ```
 *
 * 1. A server takes writes only if it has said so. One that refuses a write, or says that it takes none, is left at once, and no
 *    later write goes to it (the fence).
 * 2. A server that does not answer stays the primary until another one says that it takes writes: it may only be starting again.
 * 3. Of two servers that take writes the one of the higher generation is right. Where the database counts none, a server that was
 *    seen to take no writes, and now takes some, was promoted; so was one that takes writes while the present primary is a replica.
 *    Of two that cannot be told apart none gets a write.
 * 4. Two addresses of one server are no conflict: a cloud's address for reads leads to the primary while there is no replica. The
 *    address that takes the writes keeps them.
 * 5. A server of another history is no member of the cluster, and gets nothing.
 */
import type { Instant } from "@sluice/pool/Deadline"
import type { ServerState } from "../../driver/Driver.js"
import type { Roles as Source } from "./words.js"

/** What is known of one server. */
export interface Host<T> {
  readonly target: T
  /** The configuration has named it as the primary. */
  readonly isNamed: boolean
  /** What it has said last; `undefined`: nothing yet, or its last answer did not come. */
  state: ServerState | undefined
  /** When it was asked the last time, whatever came of it; `undefined`: never. */
  askedAt: Instant | undefined
  /** When it said that. */
  saidAt: Instant | undefined
  /** It has said that it takes no writes. */
  wasReadOnly: boolean
}

/** What the states of the servers mean. */
export type Verdict<T> =
  /** Nothing is known that would change anything. */
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Primary"; readonly target: T }
  /** No server takes writes. */
  | { readonly _tag: "None" }
  /** These take writes, and it cannot be told which of them is right. */
  | { readonly _tag: "Conflict"; readonly targets: ReadonlyArray<T> }

const keep = { _tag: "Keep" } as const

/** The history of the cluster: that of its primary, else that of the first server that has told one. */
export const historyOf = <T>(hosts: ReadonlyArray<Host<T>>, current: T | undefined): string | undefined =>
  hosts.find(({ target }) => target === current)?.state?.history ??
  hosts.find(({ isNamed, state }) => isNamed && state?.history !== undefined)?.state?.history ??
  hosts.find(({ state }) => state?.history !== undefined)?.state?.history

/** The server belongs to another cluster (5). */
export const isForeign = <T>({ state }: Host<T>, history: string | undefined): boolean =>
  history !== undefined && state?.history !== undefined && state.history !== history

/**
 * Decides who takes the writes. `current` is the target that does so now, or did so last; `since` is when the present round of
 * questions has begun, because what one server says now does not contradict what another has said before.
 */
export const decide = <T>(
  hosts: ReadonlyArray<Host<T>>,
  current: T | undefined,
  source: Source,
  since: Instant
): Verdict<T> => {
  const history = historyOf(hosts, current)
  const members = hosts.filter((host) => !isForeign(host, history))
  const writers = members.filter(({ state }) => state?.isWritable === true)
  const present = members.find(({ target }) => target === current)
  /** Without generations a replica that nobody has set to read-only looks like a primary, so it must have been promoted (3). */
  const isEligible = ({ isNamed, state, target, wasReadOnly }: Host<T>): boolean =>
    state?.generation !== undefined ||
    target === current ||
    wasReadOnly ||
    present?.state?.isReplica === true ||
    (source === "given" ? isNamed : current === undefined)
  const eligible = writers.filter(isEligible)
  const latest = Math.max(...eligible.map(({ state }) => state?.generation ?? 0))
  const right = eligible.filter(({ state }) => (state?.generation ?? latest) === latest)
  const [first] = right
  if (first === undefined) {
    return current === undefined || present?.state?.isWritable === false ? { _tag: "None" } : keep
  }
  // Nobody takes the place of a server that has not been asked yet.
  if (present !== undefined && present.askedAt === undefined && !right.includes(present)) return keep
  if (right.length === 1) return { _tag: "Primary", target: first.target }
  const { instance } = first.state ?? {}
  const isOneServer = instance !== undefined && right.every(({ state }) => state?.instance === instance)
  if (isOneServer || right.every(({ state }) => state?.sharesWrites === true)) {
    const same = right.find(({ target }) => target === current) ?? right.find(({ isNamed }) => isNamed) ?? first
    return { _tag: "Primary", target: same.target }
  }
  return right.every(({ saidAt }) => saidAt !== undefined && saidAt >= since)
    ? { _tag: "Conflict", targets: right.map(({ target }) => target) }
    : keep
}
