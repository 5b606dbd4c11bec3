/** After: the same configuration, statements and numbers on Sluice. */
import type { Socket } from "node:net"
import { Sql, SqlRetry } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { type Duration, Either, Redacted } from "effect"
import type { Endpoint, Endpoints } from "./Endpoints.js"

const at = ({ database, host, password, port, username }: Endpoint) => ({
  host,
  port,
  database,
  username,
  password: Redacted.make(password)
})

/** The name under which the server knows our sessions (`pg_stat_activity`). */
export const applicationName = "recover"

export interface Options {
  /** Makes the socket of each connect. */
  readonly stream?: (() => Socket) | undefined
  /** How long a write waits while no server takes writes. */
  readonly failoverHold?: Duration.DurationInput | undefined
}

export const layer = ({ read, write }: Endpoints, { failoverHold, stream }: Options = {}) =>
  PgSql.layer({
    applicationName,
    primary: at(write),
    replicas: [at(read)],
    failoverHold,
    stream,
    // Callers may wait as long as Sequelize lets them.
    pool: { minIdle: 0, maxSize: 10, acquireTimeout: "60 seconds" }
  })

/** The numbers are those of the report. Its `match` named errors of Sequelize; these are the reasons that mean the same. */
const policy = Either.getOrThrow(
  SqlRetry.fromMatch({
    match: [
      "ServerShutdown", // SequelizeDatabaseError: terminating connection
      "ConnectionLost", // SequelizeDatabaseError: read ECONNRESET
      "ConnectFailed", // SequelizeConnectionError, …RefusedError, …TimedOutError, SequelizeHostNotFoundError, …
      "DatabaseDown" // the same, when it has failed for so long that callers need not wait for the next attempt
    ],
    backoffBase: 100,
    backoffExponent: 1.1,
    timeout: 30000,
    max: 10
  })
)

/** Runs on a replica. A read whose connection is lost is run again, because it may be executed twice. */
export const read = Sql.query("select pg_sleep(0.1)").pipe(Sql.retry(policy), Sql.read)

/** Runs on the primary. It is not run again when its connection is lost: it may have been executed. */
export const write = (id: number) =>
  Sql.query("insert into work (side, id) select 'sluice', $1::int from pg_sleep(0.1)", [id]).pipe(Sql.retry(policy))
