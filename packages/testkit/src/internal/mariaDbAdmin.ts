import * as Net from "node:net"
import { Effect, Exit } from "effect"
import Mysql from "mysql2"
import { reasonOf } from "./clusterError.js"
import { cut, goodbye } from "./goodbye.js"
import { live } from "./live.js"
import { MariaDbClusterError } from "./mariaDbClusterError.js"

/**
 * The user of the testkit's own connections. No verb counts, shows or ends them. Replicas log in to the primary as this
 * user.
 */
export const user = "sluice-testkit"

/** How to reach a node as its administrator. */
export interface Address {
  readonly node: string
  readonly host: string
  readonly port: number
  readonly password: string
  /** Undefined for the verbs of the server, which must also work without the application's database. */
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
      connectTimeout: 0, // no limit, because the verbs wait for a paused server
      timezone: "Z",
      supportBigNumbers: true
    })
    connection.on("error", () => {}) // the pending call reports the error too
    return { connection, socket }
  })

type Opened = Effect.Effect.Success<ReturnType<typeof open>>

const statement = <Row extends object>({ connection }: Opened, sql: string, params: ReadonlyArray<unknown>) =>
  Effect.async<ReadonlyArray<Row>, unknown>((resume) => {
    connection.query(sql, [...params], (error, result) =>
      // For a statement without rows mysql2 gives an object with counts.
      resume(
        error
          ? Effect.fail(error)
          : Effect.succeed(Array.isArray(result) ? (result as unknown as ReadonlyArray<Row>) : [])
      )
    )
  })

/** Ends a session whose client has left: the server itself notices that only when it sends something. */
const killStatement = (address: Address, id: number) =>
  Effect.acquireUseRelease(
    open(address),
    (opened) => statement(opened, "kill connection ?", [id]),
    ({ socket }) => cut(socket)
  ).pipe(Effect.timeout("2 seconds"), Effect.ignore, live)

/**
 * Runs one statement on a connection of its own. An interruption destroys the socket, so it does not wait for a frozen
 * server. A daemon fiber then tells the server to end the session, for at most 2 seconds: the interruption does not
 * wait for that fiber, whose caller has left.
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
    ({ connection, socket }, exit) => {
      const id: number | null = connection.threadId
      if (Exit.isSuccess(exit)) return goodbye(socket, () => connection.end(() => {}))
      // The fiber must not inherit that nothing can be interrupted here: its timeout would have no effect.
      const kill = Effect.forkDaemon(Effect.interruptible(killStatement(address, id!)))
      return Effect.zipRight(
        cut(socket),
        Effect.when(kill, () => Exit.isInterrupted(exit) && id !== null)
      )
    }
  )
