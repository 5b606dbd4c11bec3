import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Redacted } from "effect"
import { freePort, live } from "./live.js"
import { awaitAnswer, awaitGone, host, url } from "./nodes.js"
import * as Admin from "./pgAdmin.js"
import type { Binaries } from "./pgBinaries.js"
import { fail, PgClusterError } from "./pgClusterError.js"
import * as Config from "./pgConfig.js"
import type { Activity, BackendFilter, PgNode, StopMode } from "./pgModel.js"
import * as Server from "./server.js"

/** Who may log in, and what the cluster is called. */
export interface Identity {
  readonly user: string
  readonly password: string
  readonly database: string
  /** The unguessable name of the cluster, which is part of the title of each of its processes. */
  readonly cluster: string
}

const signals: Record<StopMode, NodeJS.Signals> = { smart: "SIGTERM", fast: "SIGINT", immediate: "SIGQUIT" }

/** The condition for client sessions that are not the testkit's own. */
const clients = `backend_type = 'client backend' and pid <> pg_backend_pid()
  and application_name <> '${Admin.applicationName}'`

/** The server writes `ready` into the eighth line of its pid file when it accepts connections. */
const accepts = (dataDir: string) => (pid: number) =>
  Effect.try(() => readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n")).pipe(
    Effect.map((lines) => Number(lines[0]) === pid && lines[7]?.trim() === "ready"),
    Effect.orElseSucceed(() => false) // the server has not written the file yet
  )

/** A node, and what only its cluster needs: statements that work without the application's database. */
export interface Made {
  readonly node: PgNode
  readonly admin: <Row extends object>(
    sql: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, PgClusterError>
}

/** Configures the data folder, starts the server on a free port, and makes the verbs. */
export const make = (options: {
  readonly name: string
  readonly directory: string
  readonly binaries: Binaries
  readonly identity: Identity
  readonly settings: Readonly<Record<string, Config.Setting>>
  /** The connection string of the primary, for a replica. */
  readonly primary: string | undefined
}): Effect.Effect<Made, PgClusterError> =>
  Effect.gen(function* () {
    const { identity, name } = options
    const dataDir = join(options.directory, "data")
    const server = yield* Server.make({
      fail,
      node: name,
      directory: options.directory,
      program: join(options.binaries.bin, "postgres"),
      args: ["-D", dataDir],
      account: options.binaries.account,
      signals,
      accepts: accepts(dataDir)
    })

    const port = yield* server.startOn(
      Effect.gen(function* () {
        const port = yield* freePort
        const title = `${identity.cluster} ${name}`
        yield* Config.write({ dataDir, node: name, title, port, settings: options.settings, primary: options.primary })
        return port
      })
    )

    const address = { node: name, host, port, user: identity.user, password: identity.password }
    const queryIn = <Row extends object>(database: string, sql: string, params?: ReadonlyArray<unknown>) =>
      live(Admin.query<Row>({ ...address, database }, sql, params))
    const query = <Row extends object = Record<string, unknown>>(sql: string, params?: ReadonlyArray<unknown>) =>
      queryIn<Row>(identity.database, sql, params)
    // The verbs of the server do not depend on the application's database, so `make` can use them before that one
    // exists.
    const admin = <Row extends object>(sql: string, params?: ReadonlyArray<unknown>) =>
      queryIn<Row>("postgres", sql, params)

    if (options.primary === undefined && identity.database !== "postgres") {
      yield* admin(`create database "${identity.database.replaceAll('"', '""')}"`)
    }

    const terminateBackends = (filter: BackendFilter = {}) =>
      Effect.gen(function* () {
        const ended = yield* admin<{ pid: number }>(
          // Materialized, because the planner might otherwise end sessions before it has checked the other conditions.
          `with chosen as materialized (
             select pid from pg_stat_activity where ${clients}
                and ($1::text is null or application_name = $1)
                and ($2::text is null or datname = $2)
                and ($3::text is null or usename = $3)
           ) select pid from chosen where pg_terminate_backend(pid)`,
          [filter.applicationName ?? null, filter.database ?? null, filter.user ?? null]
        )
        if (ended.length === 0) return 0
        const remaining = admin("select 1 from pg_stat_activity where pid = any($1)", [ended.map(({ pid }) => pid)])
        const gone = Effect.map(remaining, (rows) => rows.length === 0)
        return yield* awaitGone(fail, name, ended.length, gone)
      }).pipe(live)

    const activity = admin<Activity>(
      `select pid, application_name as "applicationName", state, wait_event as "waitEvent", query,
              query_start as "queryStart", backend_start as "backendStart", datname as database, usename as "user"
         from pg_stat_activity where ${clients} order by backend_start, pid`
    )

    const node: PgNode = {
      name,
      host,
      port,
      url: Redacted.make(url("postgres", port, identity)),
      dataDir,
      start: server.start,
      stop: (mode = "fast") => server.stop(mode),
      restart: (mode = "fast") => Effect.zipRight(server.stop(mode), server.start),
      // `pg_promote` waits for the end of recovery, and fails on a node that is no replica.
      promote: admin("select pg_promote(true, 30)").pipe(
        Effect.asVoid,
        Effect.mapError(({ cause, reason, where }) => new PgClusterError({ phase: "promote", where, reason, cause }))
      ),
      pause: server.pause,
      resume: server.resume,
      terminateBackends,
      activity,
      query,
      role: Effect.map(admin<{ standby: boolean }>("select pg_is_in_recovery() as standby"), ([row]) =>
        row?.standby === true ? "replica" : "primary"
      ),
      log: server.log,
      awaitReady: awaitAnswer(fail, name, admin("select 1"), server.log)
    }
    return { node, admin }
  })
