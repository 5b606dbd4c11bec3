import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import type { PgConnection } from "./connection.js"
import { execute } from "./execute.js"

/** The answer to a question of ours, whose text does not change the session. */
export const asked = (connection: PgConnection, sql: string): Effect.Effect<any, SqlError> =>
  Effect.tap(execute(connection, sql, [], "unprepared"), () => Effect.sync(() => connection.pipeline.renew()))
