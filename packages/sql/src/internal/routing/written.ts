import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import * as SqlReason from "../../SqlReason.js"
import type { Cluster } from "./cluster.js"
import { encode } from "./token.js"

/**
 * The token of what the fiber has written last. Where there is only one server nothing is noted, and the token is that of everything
 * that was written until now.
 */
export const consistencyToken = <Conn>(cluster: Cluster<Conn>): Effect.Effect<string | undefined, SqlError> =>
  Effect.withFiberRuntime((fiber) => {
    const { abortTimeout, consistency, driver, members, timers } = cluster
    if (consistency === undefined) return now(cluster)
    const { marks, positions } = consistency
    const mark = fiber.getFiberRef(marks.ref)
    if (mark === undefined) return Effect.succeed(undefined)
    const found = positions.ofMark(mark, timers.now() + abortTimeout)
    return Effect.flatMap(Effect.isEffect(found) ? found : Effect.succeed(found), (position) => {
      const { history } = members
      // Where the database has no history to tell, a probe costs little, and this is asked once for a request.
      if (position === undefined || (history === undefined && driver.position === undefined)) return now(cluster)
      return Effect.succeed(encode({ database: driver.name, history: history ?? "", position }))
    })
  })

/** The token of everything that was written until now. */
const now = <Conn>({ driver, members }: Cluster<Conn>): Effect.Effect<string, SqlError> =>
  Effect.flatMap(members.primary.control.run(driver.probe), ({ history = "", isWritable, position }) =>
    isWritable && position !== undefined
      ? Effect.succeed(encode({ database: driver.name, history, position }))
      : Effect.fail(
          SqlReason.toError(
            isWritable ? SqlReason.make("InvalidUse") : SqlReason.make("NotWritable", { connection: "none" }),
            isWritable
              ? `${driver.name} does not say how far ${members.primary.label} is: it has no log, or has written nothing yet. Tokens need a server that counts its transactions (log_bin on MariaDB, gtid_mode on MySQL)`
              : `${members.primary.label} takes no writes now, so that it cannot say how far the writes are`
          )
        )
  )
