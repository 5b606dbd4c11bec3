import * as Net from "node:net"
import { Effect, Exit } from "effect"
import Pg from "pg"
import { reasonOf } from "./clusterError.js"
import { cut, goodbye } from "./goodbye.js"
import { PgClusterError } from "./pgClusterError.js"

/** The application name of the testkit's own connections. No verb counts, shows or ends them. */
export const applicationName = "sluice-testkit"

/** How to reach a node as its superuser. */
export interface Address {
  readonly node: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

/**
 * Runs one statement on a connection of its own. An interruption destroys the socket, so it does not wait for a frozen
 * server; a server that runs ends the statement within 100 milliseconds. On success the server has closed its side, so
 * the connection no longer counts against `max_connections`.
 */
export const query = <Row extends object>(
  address: Address,
  sql: string,
  params: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>, PgClusterError> => {
  const { node, ...options } = address
  const fail = (cause: unknown) =>
    new PgClusterError({ phase: "query", where: `node "${node}"`, reason: reasonOf(cause), cause })
  return Effect.acquireUseRelease(
    Effect.sync(() => {
      const socket = new Net.Socket()
      const client = new Pg.Client({
        ...options,
        application_name: applicationName,
        // The server ends the statement soon after an interruption destroyed the socket.
        options: "-c client_connection_check_interval=100",
        ssl: false,
        stream: () => socket
      })
      client.on("error", () => {}) // the pending call reports the error too
      return { client, socket }
    }),
    ({ client }) =>
      Effect.tryPromise({
        try: () => client.connect().then(() => client.query(sql, [...params])),
        catch: fail
      }).pipe(Effect.map((result) => result.rows as ReadonlyArray<Row>)),
    ({ client, socket }, exit) =>
      Exit.isSuccess(exit) ? goodbye(socket, () => void client.end(() => {})) : cut(socket)
  )
}
