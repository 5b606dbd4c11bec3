import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import type { MysqlConnection } from "./connection.js"
import { execute } from "./execute.js"

/** The first row of the answer to a question of ours. */
export const ask = <A = any>(connection: MysqlConnection, sql: string): Effect.Effect<A, SqlError> =>
  Effect.map(execute(connection, sql, [], "unprepared"), (rows) => {
    // The text of a question of ours does not change the session.
    connection.pipeline.renew()
    return rows[0]
  })
