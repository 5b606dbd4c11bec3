import type { SqlError } from "@effect/sql/SqlError"
import type { ServerLoad } from "@sluice/sql/driver/Driver"
import { Effect } from "effect"
import { ask } from "./ask.js"
import type { MysqlConnection } from "./connection.js"

/** Every user sees its own threads, and those with the privilege PROCESS see all. */
const MINE = "user = substring_index(user(), '@', 1)"

const WORK = `select @@global.max_connections as most, (select count(*) from information_schema.processlist
  where ${MINE} and command in ('Query', 'Execute') and id <> connection_id()) as active`

/** Of which connections there are, everybody is told the number. */
const OPEN = "show global status like 'Threads_connected'"

/** Needs the privilege PROCESS. */
const IDLE = `select count(*) as idle from information_schema.innodb_trx
  join information_schema.processlist on id = trx_mysql_thread_id where ${MINE} and command = 'Sleep'`

/** See `Driver.load`. */
export const load = (connection: MysqlConnection): Effect.Effect<ServerLoad, SqlError> =>
  Effect.gen(function* () {
    const { active, most } = yield* ask(connection, WORK)
    const { Value: connections } = yield* ask(connection, OPEN)
    const idle = yield* Effect.option(ask(connection, IDLE))
    return {
      connections: Number(connections),
      maxConnections: Number(most),
      active: Number(active),
      idleInTransaction: idle._tag === "Some" ? Number(idle.value.idle) : undefined
    }
  })
