import * as Net from "node:net"
import { Effect, Exit } from "effect"
import Mysql from "mysql2"
import { reasonOf } from "./clusterError.js"
import { live } from "./live.js"
import { MariaDbClusterError } from "./mariaDbClusterError.js"

/** The user of the testkit's own connections, which no verb counts, shows or ends. Replicas follow as it too. */
export const user = "sluice-testkit"

/** How to reach a node as its administrator. */
export interface Address {
  readonly node: string
  readonly host: string
  readonly port: number
  readonly password: string
  /** None: the verbs of the server do not depend on the application's database. */
  readonly database: string | undefined
}

const open = ({ node: _, database, ...address }: Address) =>
  Effect.sync(() => {
    const socket = Net.connect(address.port, address.host)
    const connection = Mysql.createConnection({
      ...address,
      user,
      ...(database === undefined ? {} : { database }),
      stream: socket,
      connectTimeout: 0, // a paused server is waited for
      timezone: "Z",
      supportBigNumbers: true
    })
    connection.on("error", () => {}) // also reported by the pending call
    return { connection, socket }
  })

type Opened = Effect.Effect.Success<ReturnType<typeof open>>

/** Says goodbye and waits until the server has closed its side, so that the connection no longer counts there. */
const leave = ({ connection, socket }: Opened) =>
  Effect.async<void>((resume) => {
    if (socket.closed) return resume(Effect.void)
    socket.once("close", () => resume(Effect.void))
    connection.end(() => {})
  }).pipe(
    // A server that stops at this very moment may never answer the goodbye.
    Effect.timeoutOption("2 seconds")
  )

const statement = <Row extends object>({ connection }: Opened, sql: string, params: ReadonlyArray<unknown>) =>
  Effect.async<ReadonlyArray<Row>, unknown>((resume) => {
    connection.query(sql, [...params], (error, result) =>
      // A statement without rows answers with counts.
      resume(
        error
          ? Effect.fail(error)
          : Effect.succeed(Array.isArray(result) ? (result as unknown as ReadonlyArray<Row>) : [])
      )
    )
  })

/** The server does not notice that a client left before it has something to send, so it is told. */
const killStatement = (address: Address, id: number) =>
  Effect.acquireUseRelease(
    open(address),
    (opened) => statement(opened, "kill connection ?", [id]),
    ({ socket }) => Effect.sync(() => socket.destroy())
  ).pipe(Effect.timeout("2 seconds"), Effect.ignore, live)

/**
 * Runs one statement on a connection of its own. Interruption destroys the socket, so it also leaves a frozen server;
 * a running one is told to end the statement, which the interruption does not wait for.
 */
export const query = <Row extends object>(
  address: Address,
  sql: string,
  params: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>, MariaDbClusterError> =>
  Effect.acquireUseRelease(
    open(address),
    (opened) =>
      Effect.mapError(
        statement<Row>(opened, sql, params),
        (cause) =>
          new MariaDbClusterError({
            phase: "query",
            where: `node "${address.node}"`,
            reason: reasonOf(cause),
            cause
          })
      ),
    (opened, exit) => {
      const { connection, socket } = opened
      const id: number | null = connection.threadId
      return Effect.when(leave(opened), () => Exit.isSuccess(exit)).pipe(
        Effect.zipRight(Effect.sync(() => socket.destroy())),
        Effect.zipRight(
          Effect.when(Effect.forkDaemon(killStatement(address, id)), () => Exit.isInterrupted(exit) && id !== null)
        )
      )
    }
  )
