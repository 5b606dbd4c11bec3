/**
 * What can be wrong with pools: the parts of a verdict, and what alerts tell of.
 *
 * @since 0.2.0
 */

/**
 * @since 0.2.0
 * @category models
 */
export type Level = "ok" | "warning" | "critical"

/**
 * Why callers wait, or what else is wrong.
 *
 * - `slowStatements`: connections are at work, and what they do takes long, or longer than usual.
 * - `tooManyRequests`: connections are at work, on more requests than they finish.
 * - `idleInTransaction`, `forgotten`, `stream`, `listener`: connections are leased, and not at work. See `LeakKind`.
 * - `down`: the host cannot be connected to, and nothing is open. `connectsFail`: something is still open. `serverFull`: the server has no
 *   connection left to give. `wasDown`: connecting works again. `connectionsLost`: many connections broke at once.
 * - `slowConnects`, `cleaning`, `heldBack`: callers wait while connections are being opened, or cleaned, or are kept for others.
 * - `suspended`, `draining`: by order of the program.
 * - `stall`: the process did not run.
 * - `waits`: callers have waited, and the cause is over.
 * - `busy`: most connections are in use, and nobody waits yet.
 * - `longLease`, `leak`: a lease is held too long.
 * - `notWritable`, `replicaDown`, `replicaLag`, `silent`: a role is not filled as it should be.
 * - `retries`: many statements are executed again.
 * - `serverConnections`, `overcommitted`: the server has few connections left, or the pools together may open more than it allows.
 * - `podSilent`: a process does not answer.
 *
 * @since 0.2.0
 * @category models
 */
export type Cause =
  | "slowStatements"
  | "tooManyRequests"
  | "idleInTransaction"
  | "forgotten"
  | "stream"
  | "listener"
  | "down"
  | "connectsFail"
  | "serverFull"
  | "wasDown"
  | "connectionsLost"
  | "slowConnects"
  | "cleaning"
  | "heldBack"
  | "suspended"
  | "draining"
  | "stall"
  | "waits"
  | "busy"
  | "longLease"
  | "leak"
  | "notWritable"
  | "replicaDown"
  | "replicaLag"
  | "silent"
  | "retries"
  | "serverConnections"
  | "overcommitted"
  | "podSilent"

/**
 * One thing that is wrong.
 *
 * @since 0.2.0
 * @category models
 */
export interface Reason {
  readonly cause: Cause
  readonly level: Exclude<Level, "ok">
  /** The pool, or the server. `undefined`: the process, or all of them. */
  readonly where: string | undefined
  /** The processes in which it is so, the worst one first. Empty: it concerns all of them together. */
  readonly pods: ReadonlyArray<string>
  /** What is wrong, as a clause. */
  readonly title: string
  /** The numbers that say so, with their thresholds, from the first of the pods. */
  readonly evidence: string
  /** What helps. */
  readonly remedy: string
}
