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
import { makePacker, packing } from "./read.js"
import { MysqlConnection } from "./session/connection.js"
import * as cursor from "./session/cursor.js"
import { execute } from "./session/execute.js"
import * as gtid from "./session/gtid.js"
import { load } from "./session/load.js"
import * as role from "./session/role.js"
import * as session from "./session/session.js"
import { silence } from "./session/silence.js"

const connect = (
  endpoint: Endpoint,
  signals: Signals,
  control?: Control<MysqlConnection>
): Effect.Effect<MysqlConnection, SqlError, Scope.Scope> => {
  const refused = (cause: unknown): SqlError =>
    SqlReason.toError(classify.classify(cause, "connect"), classify.connectMessage(cause, endpoint))
  const open = (way: Tls.Way | undefined) =>
    Connect.open({
      signals,
      client: endpoint.client(way),
      wireOf: (client) => client,
      connection: (client, timers, fork) => () => new MysqlConnection(client, endpoint, signals, control, timers, fork),
      refused,
      begin: (connection) => Effect.mapError(session.begin(connection), (error) => refused(error.cause)),
      // A busy connection that nobody has tried to cancel is closed because it does not answer. A kill would not be answered either.
      stop: (connection) => (connection.pipeline.current?.condemned ? cancel.farewell(connection) : Effect.void)
    })
  return Tls.first(endpoint, open, ({ cause }, way) => way !== undefined && classify.isTlsRefusal(cause))
}

/**
 * The isolation level holds for the next transaction. MySQL has no `deferrable`. READ WRITE is the default of a transaction and is
 * never sent, because a read-only server would refuse it even for a transaction that only reads.
 */
const begin = ({ isolation, readOnly }: BeginOptions): ReadonlyArray<string> => {
  const start = readOnly === true ? "START TRANSACTION READ ONLY" : "START TRANSACTION"
  return isolation === undefined ? [start] : [`SET TRANSACTION ISOLATION LEVEL ${isolation.toUpperCase()}`, start]
}

/**
 * Executes `before` and the statement. Each is a round trip of its own, because after a failure the server would execute the
 * statements behind it. But a BEGIN leaves with a statement that leaves nothing behind if the BEGIN fails.
 */
const executeAll: Driver<Endpoint, MysqlConnection>["execute"] = (
  connection,
  sql,
  params,
  mode,
  before = none,
  until
) => {
  const run = (sql: string) => execute(connection, sql, [], "command", undefined, until)
  if (before.length === 0) return execute(connection, sql, params, mode, undefined, until)
  return Effect.suspend(() => {
    const texts = connection.endpoint.takesSeveral ? [before.join("; ")] : before
    const begin = connection.mayFollow(sql) ? texts[texts.length - 1] : undefined
    const ahead = begin === undefined ? texts : texts.slice(0, -1)
    const rest = ahead.reduceRight(
      (rest: Effect.Effect<any, SqlError>, text) => Effect.zipRight(run(text), rest),
      execute(connection, sql, params, mode, begin, until)
    )
    // An earlier transaction has set its isolation level and was not begun. One transaction takes the level away.
    return connection.isolated === undefined || before.length > 1
      ? rest
      : Effect.zipRight(Effect.zipRight(run("START TRANSACTION"), run("ROLLBACK")), rest)
  })
}

const none: ReadonlyArray<string> = []

export const driver: Driver<Endpoint, MysqlConnection> = {
  name: "MySQL",
  endpoint: ({ counts, host, key, label, path, port, roundTrip }) => ({
    key,
    label,
    host: path === undefined ? host : undefined,
    address: path ?? host,
    port: path === undefined ? port : undefined,
    times: roundTrip,
    counts
  }),
  connect,
  ping: session.ping,
  reset: session.reset,
  baseline: {
    isMissing: (connection) => !connection.hasBaseline,
    set: (connection) => connection.setBaseline()
  },
  abort: cancel.abort,
  status: (connection) => connection.status(),
  inspect: (connection) => connection.inspect(),
  takeAway: (connection, error) => connection.pipeline.fail(error),
  describe: (connection) => connection.describe(),
  execute: executeAll,
  silence,
  stream: cursor.open,
  begin,
  identity: session.identity,
  takesWrites: role.takesWrites,
  probe: role.probe,
  position: (connection) => connection.position,
  askPosition: role.askPosition,
  load,
  reached: gtid.reached,
  classify: classify.classify
}

/**
 * Whether the server reads a statement only when it has answered the one before. `isKnownTo` is set by the configuration; without
 * it the server must be a MariaDB, and the session must have a thread number of its own, which a proxy would hide.
 */
const takesSeveral = (connection: MysqlConnection, isKnownTo: boolean): boolean =>
  !connection.wire.config.compress &&
  (isKnownTo || (session.isMariaDb(connection) && connection.server.thread !== undefined))

/** A driver that lets short reads share connections. Each call makes a driver that measures statements for itself. */
export const packed = (isKnownTo: boolean, within: Limits = limits) => {
  const packer = makePacker(within)
  return {
    ...driver,
    connect: (endpoint, signals, control?: Control<MysqlConnection>) =>
      Effect.map(connect(endpoint, signals, control), (connection) => {
        if (takesSeveral(connection, isKnownTo)) connection.packer = packer
        return connection
      }),
    packing: packing(packer)
  } satisfies Driver<Endpoint, MysqlConnection>
}
