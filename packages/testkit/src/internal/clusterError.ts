/** What went wrong in one step of a cluster: the fields of `PgClusterError` and `MariaDbClusterError`. */
export interface Failure<Phase extends string> {
  /** The step that failed. */
  readonly phase: Phase
  /** The node on which the step failed, or the cluster's folder if there is no node yet. */
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

/** What to do after a failure, where the advice is the same for every kind of cluster. */
export const advice = {
  directory: "Check that the temporary folder (TMPDIR) exists, is writable and has 100 MB free.",
  start: "Read the server log below; a wrong entry in `settings` is the usual cause.",
  promote: "Only a running replica can be promoted: check `role`, and call `resume` if it is paused.",
  pause: "Only a running node can be paused or resumed; call `start` first.",
  query: "Read the cause. Call `resume` on a paused node, `start` on a stopped one, and `awaitReady` after a restart.",
  replication: "Check that primary and replicas run and that none is paused; read the replica's log."
}

/**
 * Makes the error of one kind of cluster. Code that both kinds share takes it as an argument, and so imports neither
 * kind.
 */
export type Fail<E, Phase extends string = CommonPhase> = (failure: Failure<Phase>) => E

/** The message of an error: what happened, what to do, and the end of the server's log. */
export const message = (cluster: string, failure: Failure<string>, advice: string): string => {
  const head = `${cluster} cluster, ${failure.where}: ${failure.phase} failed: ${failure.reason}. ${advice}`
  return failure.log === undefined || failure.log === "" ? head : `${head}\nServer log:\n${failure.log}`
}

/** The text of an error, or of any other value that was thrown. */
export const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
