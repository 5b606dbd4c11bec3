import { Data } from "effect"
import { advice, type CommonPhase, type Fail, type Failure, message } from "./clusterError.js"

/** The step that failed. */
export type MariaDbClusterPhase = CommonPhase | "bootstrap"

const advices: Record<MariaDbClusterPhase, string> = {
  ...advice,
  binaries:
    "Install MariaDB 10.11 or newer: `sudo apt-get install -y mariadb-server-core` (Debian, Ubuntu), `brew install mariadb` (macOS).",
  bootstrap: "Read the output below. The usual causes are a wrong entry in `settings` and a full temporary folder.",
  stop: "Stop the node with mode immediate.",
  cleanup:
    "Look for mariadbd processes with the cluster's name in their command line, end them, and remove the folder by hand."
}

/**
 * A step of a test cluster failed. The message names the cluster's node, the step, the reason and what to do, and ends
 * with the last lines of the server's log. It never contains the password.
 *
 * @since 0.1.0
 * @category errors
 */
export class MariaDbClusterError extends Data.TaggedError("MariaDbClusterError")<Failure<MariaDbClusterPhase>> {
  override get message(): string {
    return message("MariaDB", this, advices[this.phase])
  }
}

export const fail: Fail<MariaDbClusterError, MariaDbClusterPhase> = (failure) => new MariaDbClusterError(failure)
