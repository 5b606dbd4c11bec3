import { Data } from "effect"
import { type CommonPhase, type Fail, type Failure, message } from "./clusterError.js"

/** What the cluster was doing when it failed. */
export type MariaDbClusterPhase = CommonPhase | "bootstrap"

const advice: Record<MariaDbClusterPhase, string> = {
  binaries:
    "Install MariaDB 10.11 or newer: `sudo apt-get install -y mariadb-server-core` (Debian, Ubuntu), `brew install mariadb` (macOS).",
  directory: "Check that the temporary folder (TMPDIR) exists, is writable and has 100 MB free.",
  bootstrap: "Read the output below; a wrong entry in `settings` is the usual cause, a full temporary folder another.",
  start: "Read the server log below; a wrong entry in `settings` is the usual cause.",
  stop: "Stop with mode immediate.",
  promote: "Only a running replica can be promoted: check `role`, and call `resume` if it is paused.",
  pause: "Only a running node can be paused or resumed; call `start` first.",
  query: "See the cause; `resume` a paused node, `start` a stopped one, `awaitReady` after a restart.",
  replication: "Check that primary and replicas run and that none is paused; see the replica's log.",
  cleanup: "Look for mariadbd processes that carry the cluster's name, and remove the folder by hand."
}

/**
 * A step of a test cluster failed. The message names the cluster's node, the step, the reason, what to do, and ends
 * with the last lines of the server's log. It never contains the password.
 *
 * @since 0.1.0
 * @category errors
 */
export class MariaDbClusterError extends Data.TaggedError("MariaDbClusterError")<Failure<MariaDbClusterPhase>> {
  override get message(): string {
    return message("MariaDB", this, advice[this.phase])
  }
}

export const fail: Fail<MariaDbClusterError, MariaDbClusterPhase> = (failure) => new MariaDbClusterError(failure)
