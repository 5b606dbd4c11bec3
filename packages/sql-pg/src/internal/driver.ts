import type { SqlError } from "@effect/sql/SqlError"
import * as Connect from "@sluice/sql/driver/Connect"
import type { BeginOptions, Control, Driver, Signals } from "@sluice/sql/driver/Driver"
import { type Limits, limits } from "@sluice/sql/driver/Packing"
import * as Tls from "@sluice/sql/driver/Tls"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, type Scope } from "effect"
import * as cancel from "./cancel.js"
import * as classify from "./classify.js"
import type { Endpoint } from "./endpoint.js"
import { makePacker, type Packer, packing } from "./read.js"
import { PgConnection } from "./session/connection.js"
import * as cursor from "./session/cursor.js"
import { execute } from "./session/execute.js"
import { millisOf } from "./session/limit.js"
import { load } from "./session/load.js"
import * as position from "./session/position.js"
import * as role from "./session/role.js"
import { silence } from "./session/silence.js"
import { transactionId } from "./session/transactionId.js"
import * as warnings from "./session/warnings.js"
import { Reported } from "./wire/formats.js"
import type { ParameterStatus } from "./wire/pg.js"

/** Opens a connection that gives values as they can be read, if the way to the server lets it. */
export const connect = (
  endpoint: Endpoint,
  signals: Signals,
  packer?: Packer,
  control?: Control<PgConnection>
): Effect.Effect<PgConnection, SqlError, Scope.Scope> => {
  const { label, server } = endpoint
  const attempt = open(endpoint, signals, packer, control)
  const withoutParameters = ({ cause }: SqlError) =>
    Effect.zipRight(
      server.isNew("proxy") ? warnings.startupRefused(label, classify.read(cause).message) : Effect.void,
      attempt
    )
  return Effect.flatMap(
    Effect.catchIf(attempt, ({ cause }) => server.startup.isWorthAnother(cause), withoutParameters),
    (connection) => {
      const { pipeline, reported } = connection
      if (reported.isReadable) return Effect.succeed(connection)
      if (server.startup.adopts(reported))
        return Effect.zipRight(Connect.close(connection, pipeline.timers, { signals, stop }), attempt)
      const said = server.isNew("style")
        ? warnings.styleUnreadable(label, reported.dateStyle, reported.intervalStyle)
        : Effect.void
      return Effect.as(said, connection)
    }
  )
}

/** A server that did not answer an abort would not answer another cancel either, and the pool would wait for it. */
const stop = (connection: PgConnection): Effect.Effect<void> =>
  connection.pipeline.current?.condemned ? Effect.void : cancel.fireAndForget(connection)

const open = (
  endpoint: Endpoint,
  signals: Signals,
  packer?: Packer,
  control?: Control<PgConnection>
): Effect.Effect<PgConnection, SqlError, Scope.Scope> =>
  Tls.first(
    endpoint,
    (way) => openAs(way, endpoint, signals, packer, control),
    ({ cause }, way) => classify.isTlsRefusal(cause, way !== undefined)
  )

const openAs = (
  way: Tls.Way | undefined,
  endpoint: Endpoint,
  signals: Signals,
  packer?: Packer,
  control?: Control<PgConnection>
): Effect.Effect<PgConnection, SqlError, Scope.Scope> =>
  Connect.open({
    signals,
    client: endpoint.client(way),
    wireOf: (client) => client.connection,
    connection: (client, timers, fork) => {
      const reported = new Reported()
      // Attached before connecting, because the server reports its parameters together with the acceptance.
      client.connection.on("parameterStatus", ({ parameterName, parameterValue }: ParameterStatus) => {
        reported.set(parameterName, parameterValue)
        if (parameterName === "in_hot_standby") signals.role?.(parameterValue !== "on")
      })
      return () => new PgConnection(client, endpoint, signals, reported, timers, fork, packer)
    },
    refused: (cause) =>
      SqlReason.toError(classify.classify(cause, "connect"), classify.connectMessage(cause, endpoint)),
    // A connection that can be asked about has to be known to be on the server that is asked.
    begin: (connection) => (control === undefined ? Effect.void : Effect.sync(() => connection.askServer())),
    stop
  })

const ping = (connection: PgConnection): Effect.Effect<void, SqlError> =>
  Effect.asVoid(execute(connection, "", [], "command"))

/**
 * When the server was started, to the microsecond, is its own: a primary and its standbys have the same system identifier. Each
 * function in the text costs the first statement of a session a tenth of a millisecond. The limit of statements tells later whether
 * one was cancelled by it: see `limit.ts`.
 */
const WHO = `select (pg_postmaster_start_time() at time zone 'UTC')::text as began, current_setting('statement_timeout') as time`

/** Through a proxy the connection counts there, and not at the server. */
const identity = (connection: PgConnection): Effect.Effect<string | undefined, SqlError> =>
  Effect.map(execute(connection, WHO, [], "unprepared"), ([{ began, time }]) => {
    // The program has not used the session yet.
    connection.pipeline.renew()
    const { database, server, user } = connection.endpoint
    server.statementTimeout = millisOf(time)
    return server.isProxied ? undefined : `PostgreSQL ${JSON.stringify([began, database, user])}`
  })

const reset = (connection: PgConnection): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    if (connection.inTransaction) yield* execute(connection, "ROLLBACK", [], "command")
    if (connection.status() === "session") {
      if (connection.uncleanable !== undefined) return yield* connection.uncleanable
      // A lock that is known to be held is given back now. Whatever else there may be waits for the next statement.
      if (connection.mayCleanLater) return connection.cleanLater()
      yield* execute(connection, "DISCARD ALL", [], "command")
    }
    connection.pipeline.renew()
  })

const begin = ({ deferrable, isolation, readOnly }: BeginOptions): ReadonlyArray<string> => {
  let sql = "BEGIN"
  if (isolation !== undefined) sql += ` ISOLATION LEVEL ${isolation.toUpperCase()}`
  if (readOnly !== undefined) sql += readOnly ? " READ ONLY" : " READ WRITE"
  if (deferrable !== undefined) sql += deferrable ? " DEFERRABLE" : " NOT DEFERRABLE"
  return [sql]
}

export const driver: Driver<Endpoint, PgConnection> = {
  name: "PostgreSQL",
  endpoint: ({ counts, host, key, label, path, port, roundTrip }) => ({
    key,
    label,
    host: path === undefined ? host : undefined,
    address: path ?? host,
    port: path === undefined ? port : undefined,
    times: roundTrip,
    counts
  }),
  connect: (endpoint, signals, control) => connect(endpoint, signals, undefined, control),
  ping,
  reset,
  baseline: {
    isMissing: (connection) => !connection.hasBaseline,
    set: (connection) => connection.setBaseline()
  },
  abort: cancel.abort,
  status: (connection) => connection.status(),
  inspect: (connection) => connection.inspect(),
  takeAway: (connection, error) => connection.pipeline.fail(error),
  describe: (connection) => connection.describe(),
  execute: (connection, sql, params, mode, before, until) => execute(connection, sql, params, mode, before, until),
  silence,
  stream: cursor.open,
  begin,
  identity,
  takesWrites: role.takesWrites,
  probe: role.probe,
  askPosition: position.ask,
  load,
  reached: position.reached,
  transactionId,
  classify: classify.classify
}

/** A driver that lets short reads share connections. Each call makes a driver that measures statements for itself. */
export const packed = (within: Limits = limits) => {
  const packer = makePacker(within)
  return {
    ...driver,
    connect: (endpoint, signals, control?: Control<PgConnection>) => connect(endpoint, signals, packer, control),
    packing: packing(packer)
  } satisfies Driver<Endpoint, PgConnection>
}
