import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Redacted } from "effect"
import { freePort, live } from "./live.js"
import * as Admin from "./mariaDbAdmin.js"
import type { Binaries } from "./mariaDbBinaries.js"
import { fail, MariaDbClusterError } from "./mariaDbClusterError.js"
import * as Config from "./mariaDbConfig.js"
import type { Activity, BackendFilter, MariaDbNode, StopMode } from "./mariaDbModel.js"
import { awaitAnswer, awaitGone, host, url } from "./nodes.js"
import * as Server from "./server.js"

/** Who may log in. */
export interface Identity {
  readonly user: string
  readonly password: string
  readonly database: string
  /** The password of the testkit's own user; unguessable. */
  readonly secret: string
}

/** After SIGTERM a server disconnects its clients and ends in order; SIGKILL ends it as a crash does. */
const signals: Record<StopMode, NodeJS.Signals> = { fast: "SIGTERM", immediate: "SIGKILL" }

/** The condition for client sessions that are neither the testkit's own nor threads of the server. */
const clients = `user not in ('${Admin.user}', 'system user', 'event_scheduler', 'unauthenticated user')`

/** The log says that the server accepts connections, and the pid file that this process has written the log. */
const accepts = (dataDir: string) => (pid: number, log: Effect.Effect<string>) =>
  Effect.try(() => readFileSync(join(dataDir, Config.pidFile), "utf8")).pipe(
    Effect.map((text) => Number(text) === pid),
    Effect.orElseSucceed(() => false), // the server has not written the file yet
    Effect.zipWith(log, (own, text) => own && text.includes(": ready for connections."))
  )

/** A node, and what only its cluster needs: among it statements that work without the application's database. */
export interface Made {
  readonly node: MariaDbNode
  readonly extraPort: number
  readonly admin: <Row extends object>(
    sql: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, MariaDbClusterError>
  /** Whether the node follows another server. */
  readonly follows: Effect.Effect<boolean, MariaDbClusterError>
}

/** Configures the data folder, starts the server on free ports, and makes the verbs. */
export const make = (options: {
  readonly name: string
  readonly directory: string
  readonly binaries: Binaries
  readonly identity: Identity
  readonly settings: Readonly<Record<string, Config.Setting>>
  /** Unique in the cluster, from 1. */
  readonly serverId: number
  /** The extra port of the primary, for a replica. */
  readonly primary: number | undefined
}): Effect.Effect<Made, MariaDbClusterError> =>
  Effect.gen(function* () {
    const { binaries, directory, identity, name, primary, serverId, settings } = options
    const dataDir = join(directory, "data")
    const server = yield* Server.make({
      fail,
      node: name,
      directory,
      program: binaries.program,
      args: [`--defaults-file=${Config.path(directory)}`],
      account: binaries.account,
      signals,
      accepts: accepts(dataDir)
    })
    const configure = (ports: Config.Ports, replica: boolean) =>
      Config.write({ directory, account: binaries.account, serverId, ports, settings, replica })

    const ports = yield* server.startOn(
      Effect.gen(function* () {
        const ports = { port: yield* freePort, extraPort: yield* freePort }
        yield* configure(ports, primary !== undefined)
        return ports
      })
    )

    const address = { node: name, host, port: ports.extraPort, password: identity.secret }
    const query = <Row extends object = Record<string, unknown>>(sql: string, params?: ReadonlyArray<unknown>) =>
      live(Admin.query<Row>({ ...address, database: identity.database }, sql, params))
    const admin = <Row extends object>(sql: string, params?: ReadonlyArray<unknown>) =>
      live(Admin.query<Row>({ ...address, database: undefined }, sql, params))

    const follows = Effect.map(admin("show all slaves status"), (rows) => rows.length > 0)

    if (primary !== undefined) {
      // Replicas use the extra port, so that they also follow a primary whose `max_connections` are all taken.
      yield* admin(
        `change master to master_host = '${host}', master_port = ?, master_user = ?, master_password = ?,
                          master_use_gtid = slave_pos, master_connect_retry = 1`,
        [primary, Admin.user, identity.secret]
      )
      yield* admin("start slave")
    }

    const failed = (reason: string) =>
      Effect.fail(new MariaDbClusterError({ phase: "promote", where: `node "${name}"`, reason }))
    const promote = Effect.gen(function* () {
      if (!(yield* follows)) return yield* failed("it is no replica")
      // The replica first applies what it has received, because the primary has committed it. The SQL thread starts
      // before the IO thread stops: MariaDB drops what was received when a thread starts while neither of them runs.
      yield* admin("start slave sql_thread")
      yield* admin("stop slave io_thread")
      const [slave] = yield* admin<{ Gtid_IO_Pos: string; Last_SQL_Error: string }>("show all slaves status")
      const [row] = yield* admin<{ late: number }>("select master_gtid_wait(?, 30) as late", [slave?.Gtid_IO_Pos])
      if (row?.late !== 0) {
        return yield* failed(`it did not apply what it had received within 30 seconds ${slave?.Last_SQL_Error ?? ""}`)
      }
      yield* admin("stop slave")
      yield* admin("reset slave all")
      yield* configure(ports, false) // so that it is still a primary after a restart
      yield* admin("set global read_only = off")
    }).pipe(
      Effect.mapError(
        ({ cause, reason, where }) => new MariaDbClusterError({ phase: "promote", where, reason, cause })
      ),
      live
    )

    const terminateBackends = (filter: BackendFilter = {}) =>
      Effect.gen(function* () {
        const { database = null, id = null, user = null } = filter
        const chosen = yield* admin<{ id: number }>(
          `select id from information_schema.processlist where ${clients}
              and (? is null or id = ?) and (? is null or db = ?) and (? is null or user = ?)`,
          [id, id, database, database, user, user]
        )
        const told = yield* Effect.filter(
          chosen,
          ({ id }) =>
            admin("kill connection ?", [id]).pipe(
              Effect.as(true),
              // Unknown thread: the session has ended by itself in the meantime.
              Effect.catchIf(
                ({ cause }) => (cause as { errno?: number }).errno === 1094,
                () => Effect.succeed(false)
              )
            ),
          { concurrency: 4 }
        )
        if (told.length === 0) return 0
        const remaining = admin("select 1 from information_schema.processlist where id in (?)", [
          told.map(({ id }) => id)
        ])
        const gone = Effect.map(remaining, (rows) => rows.length === 0)
        return yield* awaitGone(fail, name, told.length, gone)
      }).pipe(live)

    const activity = admin<Activity>(
      `select id, user, host, db as \`database\`, command, nullif(state, '') as state, info as query,
              time_ms + 0e0 as millis
         from information_schema.processlist where ${clients} order by id`
    )

    const node: MariaDbNode = {
      name,
      host,
      port: ports.port,
      url: Redacted.make(url("mysql", ports.port, identity)),
      dataDir,
      start: server.start,
      stop: (mode = "fast") => server.stop(mode),
      restart: (mode = "fast") => Effect.zipRight(server.stop(mode), server.start),
      promote,
      pause: server.pause,
      resume: server.resume,
      terminateBackends,
      activity,
      query,
      role: Effect.map(follows, (follows) => (follows ? "replica" : "primary")),
      log: server.log,
      awaitReady: awaitAnswer(fail, name, admin("select 1"), server.log)
    }
    return { node, admin, follows, extraPort: ports.extraPort }
  })
