import type { SqlError } from "@effect/sql/SqlError"
import type { Signals } from "@sluice/pool/PoolOptions"
import * as Connect from "@sluice/sql/driver/Connect"
import type { BeginOptions, Driver } from "@sluice/sql/driver/Driver"
import { type Limits, limits } from "@sluice/sql/driver/Packing"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, type Scope } from "effect"
import * as cancel from "./cancel.js"
import * as classify from "./classify.js"
import type { Endpoint } from "./endpoint.js"
import { makePacker, type Packer, packing } from "./read.js"
import { PgConnection } from "./session/connection.js"
import { transactionId } from "./session/transactionId.js"

export const connect = (
  endpoint: Endpoint,
  signals: Signals,
  packer?: Packer
): Effect.Effect<PgConnection, SqlError, Scope.Scope> =>
  Connect.open({
    client: endpoint.client,
    wireOf: (client) => client.connection,
    connection: (client, timers, fork) => {
      const server = { standby: false }
      const reported = (message: { parameterName: string; parameterValue: string }) => {
        if (message.parameterName === "in_hot_standby") server.standby = message.parameterValue === "on"
      }
      // Attached before connecting, because the server reports its parameters together with the acceptance.
      client.connection.on("parameterStatus", reported)
      return () => new PgConnection(client, endpoint, signals, server, timers, fork, packer)
    },
    refused: (cause) =>
      SqlReason.toError(classify.classify(cause, "connect"), classify.connectMessage(cause, endpoint)),
    // A server that did not answer an abort would not answer another cancel either, and the pool would wait for it.
    stop: (connection) => (connection.pipeline.current?.condemned ? Effect.void : cancel.fireAndForget(connection))
  })

const ping = (connection: PgConnection): Effect.Effect<void, SqlError> =>
  Effect.asVoid(connection.execute("", [], "command"))

const reset = (connection: PgConnection): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    if (connection.inTransaction) yield* connection.execute("ROLLBACK", [], "command")
    if (connection.status() === "session") yield* connection.execute("DISCARD ALL", [], "command")
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
  endpoint: ({ key, label }) => ({ key, label }),
  connect: (endpoint, signals) => connect(endpoint, signals),
  ping,
  reset,
  abort: cancel.abort,
  status: (connection) => connection.status(),
  describe: (connection) => connection.describe(),
  execute: (connection, sql, params, mode, before, until) => connection.execute(sql, params, mode, before, until),
  stream: (connection, sql, params) => connection.cursor(sql, params),
  begin,
  transactionId,
  classify: classify.classify
}

/** A driver that lets short reads share connections. Each call makes a driver that measures statements for itself. */
export const packed = (within: Limits = limits) => {
  const packer = makePacker()
  return {
    ...driver,
    connect: (endpoint, signals) =>
      Effect.tap(connect(endpoint, signals, packer), (connection) =>
        // The first connection measures the round trip: without it no statement is known to be short.
        endpoint.roundTrip.isKnown ? Effect.void : Effect.ignore(ping(connection))
      ),
    packing: packing(packer, within)
  } satisfies Driver<Endpoint, PgConnection>
}
