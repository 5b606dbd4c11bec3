/** What went wrong in one step of a cluster: the fields of `PgClusterError` and `MariaDbClusterError`. */
export interface Failure<Phase extends string> {
  /** The step that failed. */
  readonly phase: Phase
  /** The node it happened on, or the cluster's folder before there is a node. */
  readonly where: string
  /** Why it failed, as one sentence without a full stop. */
  readonly reason: string
  /** The last lines of the server's log; empty when there is none. */
  readonly log?: string
  /** The error of the driver or the operating system. */
  readonly cause?: unknown
}

/** The steps that every cluster has. */
export type CommonPhase =
  | "binaries"
  | "directory"
  | "start"
  | "stop"
  | "promote"
  | "pause"
  | "query"
  | "replication"
  | "cleanup"

/** What to do after a failure that means the same for every cluster. */
export const advice = {
  directory: "Check that the temporary folder (TMPDIR) exists, is writable and has 100 MB free.",
  start: "Read the server log below; a wrong entry in `settings` is the usual cause.",
  promote: "Only a running replica can be promoted: check `role`, and call `resume` if it is paused.",
  pause: "Only a running node can be paused or resumed; call `start` first.",
  query: "See the cause; `resume` a paused node, `start` a stopped one, `awaitReady` after a restart.",
  replication: "Check that primary and replicas run and that none is paused; see the replica's log."
}

/** Makes the error of one kind of cluster; what both kinds share is given it, and knows neither. */
export type Fail<E, Phase extends string = CommonPhase> = (failure: Failure<Phase>) => E

/** What happened, what to do, and the end of the log. */
export const message = (cluster: string, failure: Failure<string>, advice: string): string => {
  const head = `${cluster} cluster, ${failure.where}: ${failure.phase} failed: ${failure.reason}. ${advice}`
  return failure.log === undefined || failure.log === "" ? head : `${head}\nServer log:\n${failure.log}`
}

/** The text of whatever was thrown. */
export const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
