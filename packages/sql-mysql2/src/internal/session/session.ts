import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import { Unsendable } from "@sluice/sql/driver/Unsendable"
import { Effect } from "effect"
import * as classify from "../classify.js"
import type { Endpoint } from "../endpoint.js"
import * as Commands from "../wire/commands.js"
import { Operation } from "../wire/operation.js"
import { read } from "../wire/texts.js"
import { cleanAhead, mayCleanAhead } from "./clean.js"
import type { MysqlConnection } from "./connection.js"
import { execute } from "./execute.js"
import * as role from "./role.js"

/** MariaDB and MySQL have the same variables under other names. */
export const isMariaDb = ({ wire }: MysqlConnection): boolean => /mariadb/i.test(wire._handshakePacket.serverVersion)

/** Without autocommit a session of the pool would be inside a transaction after its first statement. */
const PLAIN = "SET autocommit = 1"

/**
 * The server reports what a statement has done to the session, and the position in the log that it was written at. MariaDB
 * reports that as a variable. No other variable is tracked, because `mysql2` reads only the first one of an answer.
 */
const settingsOf = (connection: MysqlConnection, { statementTimeout }: Endpoint): string =>
  isMariaDb(connection)
    ? `${PLAIN}, session_track_state_change = 1, session_track_system_variables = 'last_gtid'${
        statementTimeout === 0 ? "" : `, max_statement_time = ${statementTimeout / 1_000}`
      }`
    : `${PLAIN}, session_track_state_change = 1, session_track_gtids = OWN_GTID${
        statementTimeout === 0 ? "" : `, max_execution_time = ${statementTimeout}`
      }`

/** A word of the server as a literal of it. No such word has a backslash in it. */
const quoted = (word: string): string => `'${word.replaceAll("'", "''")}'`

const who = (
  id: string
) => `SELECT ${id} AS id, CONNECTION_ID() AS thread, CONCAT_WS('/', @@hostname, @@port, @@server_id) AS identity, @@sql_mode AS mode,
  @@global.read_only AS mode_of_server, @@time_zone AS zone, @@lc_time_names AS language, GREATEST(@@max_allowed_packet, @@net_buffer_length) AS longest`

interface Who {
  readonly id: string | null
  readonly thread: number | string
  readonly identity: string
  readonly mode: string
  /** 0 or 1; MariaDB from 12.0 on has words. */
  readonly mode_of_server: number | string
  readonly zone: string
  readonly language: string
  readonly longest: number | string
}

/**
 * Servers in containers may have the same host name, port and number, so the id of the server counts too. It is asked for together
 * with the rest, which saves a round trip. MariaDB has none before 10.6.19, and refuses the whole question.
 */
const askWho = (connection: MysqlConnection): Effect.Effect<Who, SqlError> => {
  const { id } = connection.endpoint
  const ask = (name: string) =>
    Effect.map(execute(connection, who(name), [], "unprepared"), ([answer]) => answer as Who)
  if (id.isUnknown) return ask("NULL")
  return Effect.catchIf(
    ask(isMariaDb(connection) ? "@@server_uid" : "@@server_uuid"),
    (error) => isRefused(connection, error),
    () => {
      id.isUnknown = true
      return ask("NULL")
    }
  )
}

/** The server, or a proxy, does not know a variable. */
const isRefused = (connection: MysqlConnection, { cause }: SqlError): boolean =>
  !connection.isDead && classify.read(cause).errno !== undefined

/** Gives a new session its settings, and finds out which server and which session it is. */
export const begin = (connection: MysqlConnection): Effect.Effect<void, SqlError> => {
  const attempt = (settings: string, reports: boolean) =>
    // The server's init_connect may have chosen another character set, in which it would misread every parameter.
    Effect.map(
      Effect.zipRight(
        execute(connection, `${settings}, ${connection.endpoint.names}`, [], "unprepared"),
        askWho(connection)
      ),
      ({ id, identity, language, longest, mode, mode_of_server, thread, zone }) => {
        // The greeting of the server has only the lower half of the number.
        const isOwn = Number(BigInt(thread) & 0xffffffffn) === connection.wire.threadId
        connection.server = {
          identity,
          id: id ?? undefined,
          thread: isOwn ? thread : undefined,
          reports,
          longest: Number(longest),
          quotesNames: /\bANSI_QUOTES\b/.test(mode),
          // MariaDB would end a COMMIT that waits. The time limit of MySQL is for SELECT alone.
          commit:
            reports && isMariaDb(connection) && connection.endpoint.statementTimeout > 0
              ? "SET STATEMENT max_statement_time = 0 FOR COMMIT"
              : "COMMIT",
          // The handshake and the server's init_connect decide how values are read and written. A reset gives the session the
          // values of the server instead, so these are set again.
          settings: `${settings}, sql_mode = ${quoted(mode)}, time_zone = ${quoted(zone)}, lc_time_names = ${quoted(language)}, ${connection.endpoint.names}`
        }
        connection.renewed()
        role.seen(connection, !role.isReadOnly(mode_of_server))
      }
    )
  return Effect.catchIf(
    attempt(settingsOf(connection, connection.endpoint), true),
    (error) => isRefused(connection, error),
    () => attempt(PLAIN, false)
  )
}

/** See `Driver.identity`. The server was asked when the session began. */
export const identity = (connection: MysqlConnection): Effect.Effect<string> =>
  Effect.sync(() => {
    const { endpoint, server } = connection
    return `MySQL ${JSON.stringify([server.identity, server.id, endpoint.database, endpoint.user])}`
  })

const operate = (
  connection: MysqlConnection,
  command: new (receiver: Operation) => object
): Effect.Effect<void, SqlError> =>
  AsyncContext.async((resume) => {
    if (connection.isDead) {
      return resume(
        Effect.fail(connection.error(connection.pipeline.fatal ?? new Error("Connection closed"), "unsent"))
      )
    }
    const operation = new Operation(connection, none)
    connection.send(operation, (failure) =>
      resume(failure === undefined ? Effect.void : Effect.fail(connection.error(failure, "statement")))
    )
    connection.wire.addCommand(new command(operation))
  })

const none = read("")

export const ping = (connection: MysqlConnection): Effect.Effect<void, SqlError> => operate(connection, Commands.Ping)

/** Ends an open transaction. A session that was changed is made new, which drops its settings and prepared statements. */
export const reset = (connection: MysqlConnection): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const { database } = connection.endpoint
    if (!connection.isChanged && connection.isolated === undefined) {
      connection.pipeline.renew()
      return connection.inTransaction ? Effect.asVoid(execute(connection, "ROLLBACK", [], "command")) : Effect.void
    }
    if (mayCleanAhead(connection)) return Effect.sync(() => cleanAhead(connection))
    // A reset does not bring back the database.
    const back = connection.moved
      ? database === undefined
        ? Effect.fail(
            connection.unsendable(new Unsendable("the session chose a database, and there is no way back to none"))
          )
        : Effect.succeed(execute(connection, `USE \`${database.replace(/`/g, "``")}\``, [], "command"))
      : Effect.succeed(Effect.void)
    return Effect.flatMap(back, (use) =>
      operate(connection, Commands.Reset).pipe(
        Effect.zipRight(execute(connection, connection.server.settings, [], "command")),
        Effect.zipRight(use),
        Effect.zipRight(Effect.sync(() => connection.renewed()))
      )
    )
  })
