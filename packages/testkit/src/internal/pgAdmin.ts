import * as Net from "node:net"
import { Effect, Exit } from "effect"
import Pg from "pg"
import { reasonOf } from "./clusterError.js"
import { PgClusterError } from "./pgClusterError.js"

/** The application name of the testkit's own connections, which no verb counts, shows or ends. */
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
 * Runs one statement on a connection of its own. Interruption destroys the socket, so it also leaves a frozen server;
 * a running one ends the statement within 100 milliseconds.
 * After a success the server has closed its side: the connection no longer counts against `max_connections`.
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
      client.on("error", () => {}) // also reported by the pending call
      return { client, socket }
    }),
    ({ client }) =>
      Effect.tryPromise({
        try: () => client.connect().then(() => client.query(sql, [...params])),
        catch: fail
      }).pipe(Effect.map((result) => result.rows as ReadonlyArray<Row>)),
    ({ client, socket }, exit) =>
      Effect.promise(() => client.end()).pipe(
        // A server that stops at this very moment may never answer the goodbye.
        Effect.timeoutOption("2 seconds"),
        Effect.when(() => Exit.isSuccess(exit)),
        Effect.zipRight(Effect.sync(() => socket.destroy()))
      )
  )
}
