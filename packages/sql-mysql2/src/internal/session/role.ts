/** What a server is: whether it takes writes, and how far its history goes. */
import type { SqlError } from "@effect/sql/SqlError"
import type { ServerState } from "@sluice/sql/driver/Driver"
import { Effect } from "effect"
import { ask } from "./ask.js"
import type { MysqlConnection } from "./connection.js"

/** `NO_LOCK` and its like are the words of MariaDB from version 12 on. */
export const isReadOnly = (mode: unknown): boolean => !["0", "OFF"].includes(String(mode))

/** The session has seen whether its server takes writes. */
export const seen = (connection: MysqlConnection, isWritable: boolean): void => {
  connection.signals.role?.(isWritable)
}

export const takesWrites = (connection: MysqlConnection): Effect.Effect<boolean, SqlError> =>
  Effect.map(ask(connection, "SELECT @@global.read_only AS mode"), ({ mode }) => {
    const isWritable = !isReadOnly(mode)
    seen(connection, isWritable)
    return isWritable
  })

/**
 * What a replica of MariaDB has replicated, and not `gtid_current_pos`: a former primary counts there what it has written itself, and
 * the new primary may never have had that.
 */
const POSITION_MARIADB = "@@global.gtid_slave_pos"

/**
 * A replica of MariaDB that was not set to read-only says that it replicates in a status that everybody may read. MySQL has no such
 * status: there a replica must be read-only, as it is when `read_only` is set.
 */
const MARIADB = `SELECT @@global.read_only AS mode, @@global.gtid_current_pos AS position, ${POSITION_MARIADB} AS replayed,
  @@global.wsrep_on AS shares,
  (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'SLAVE_RUNNING') AS replicates`

const MYSQL =
  "SELECT @@global.read_only AS mode, @@global.gtid_executed AS position, @@global.gtid_executed AS replayed, 0 AS shares, 'OFF' AS replicates"

interface Answer {
  readonly mode: unknown
  readonly position: string | null
  readonly replayed: string | null
  readonly shares: unknown
  readonly replicates: string | null
}

export const probe = (connection: MysqlConnection): Effect.Effect<ServerState, SqlError> => {
  return Effect.map(
    ask<Answer>(connection, isMariaDb(connection) ? MARIADB : MYSQL),
    ({ mode, position, replayed, replicates, shares }): ServerState => {
      const isReplica = replicates?.toUpperCase() === "ON"
      const isWritable = !isReadOnly(mode) && !isReplica
      return {
        isWritable,
        isReplica,
        generation: undefined,
        history: undefined,
        // Host name, port and number. Servers that replicate from one another must have different numbers.
        instance: connection.server.identity || undefined,
        sharesWrites: !isReadOnly(shares),
        position: written(isWritable ? position : replayed),
        lag: isWritable ? 0 : undefined
      }
    }
  )
}

/** See `Driver.askPosition`. A server that still takes no writes says nothing as a primary. */
export const askPosition = (
  connection: MysqlConnection,
  role: "primary" | "replica"
): Effect.Effect<string | undefined, SqlError> => {
  const position = isMariaDb(connection)
    ? role === "primary"
      ? "@@global.gtid_current_pos"
      : POSITION_MARIADB
    : "@@global.gtid_executed"
  return Effect.map(
    ask<Pick<Answer, "mode" | "position">>(connection, `SELECT @@global.read_only AS mode, ${position} AS position`),
    ({ mode, position }) => (role === "primary" && isReadOnly(mode) ? undefined : written(position))
  )
}

/** A position without the line breaks that MySQL puts into it; `undefined`: nothing was written yet. */
const written = (position: string | null): string | undefined =>
  position === null || position === "" ? undefined : position.replace(/\s/g, "")

const isMariaDb = ({ wire }: MysqlConnection): boolean => /mariadb/i.test(wire._handshakePacket.serverVersion)
