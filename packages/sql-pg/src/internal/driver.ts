import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type { Signals } from "@sluice/pool/PoolOptions"
import type { BeginOptions, Driver } from "@sluice/sql/driver/Driver"
import * as Fork from "@sluice/sql/driver/Fork"
import { type Limits, limits } from "@sluice/sql/driver/Packing"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, type Scope } from "effect"
import * as cancel from "./cancel.js"
import * as classify from "./classify.js"
import type { Endpoint } from "./endpoint.js"
import { makePacker, type Packer, packing } from "./read.js"
import { PgConnection } from "./session/connection.js"
import { transactionId } from "./session/transactionId.js"

/** How long a goodbye may take before the socket is cut: the server closes an idle session in a millisecond. */
const GOODBYE = 500

export const connect = (
  endpoint: Endpoint,
  signals: Signals,
  packer?: Packer
): Effect.Effect<PgConnection, SqlError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.all([Deadline.ofContext, Fork.make, restore(endpoint.newClient)]),
      ([timers, fork, client]) => {
        const wire = client.connection
        const server = { standby: false }
        wire.on("parameterStatus", (message: { parameterName: string; parameterValue: string }) => {
          if (message.parameterName === "in_hot_standby") server.standby = message.parameterValue === "on"
        })
        // After the callback was called once, errors come as events; without a listener they would end the process.
        const ignore = () => {}
        client.on("error", ignore)
        const open = Effect.async<PgConnection, SqlError>((resume) => {
          client.connect((cause) => {
            if (cause) {
              wire.stream.destroy()
              return resume(
                Effect.fail(
                  SqlReason.toError(classify.classify(cause, "connect"), classify.connectMessage(cause, endpoint))
                )
              )
            }
            const connection = new PgConnection(client, endpoint, signals, server, timers, fork, packer)
            client.off("error", ignore)
            resume(Effect.succeed(connection))
          })
          return Effect.sync(() => wire.stream.destroy())
        })
        return Effect.tap(restore(open), (connection) => Effect.addFinalizer(() => close(connection))).pipe(
          // An interruption may strike after the server has accepted and before the fiber knows.
          Effect.onError(() => Effect.sync(() => wire.stream.destroy()))
        )
      }
    )
  )

/** Returns when the server has closed its side too, so that a closed connection no longer counts there. */
const close = (connection: PgConnection): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (connection.wire.stream.destroyed) return Effect.void
    const ended = Effect.async<void>((resume) => {
      connection.wire.once("end", () => resume(Effect.void))
    })
    if (connection.status() === "busy") {
      const cut = Effect.sync(() => connection.pipeline.destroy())
      // Where an abort was not heard one more cancel is not heard either, and the place would be free that much later.
      return connection.pipeline.current?.condemned ? cut : Effect.zipRight(cancel.fireAndForget(connection), cut)
    }
    return Effect.sync(() => {
      connection.pipeline.fail(new Error("Connection closed"))
      connection.wire.end()
    }).pipe(
      Effect.zipRight(Effect.timeout(Effect.interruptible(ended), GOODBYE)),
      Effect.ignore,
      Effect.zipRight(Effect.sync(() => connection.pipeline.destroy()))
    )
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
  endpoint: ({ database, host, label, port, user }) => ({
    key: `postgresql://${user}@${host}:${port}/${database}`,
    label
  }),
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

/** A driver that packs short reads. What it learns about them is its own. */
export const packed = (within: Limits = limits) => {
  const packer = makePacker()
  return {
    ...driver,
    connect: (endpoint, signals) =>
      Effect.tap(connect(endpoint, signals, packer), (connection) =>
        // The first connection to a server measures the way there, without which no statement is known to be short.
        endpoint.roundTrip.isKnown ? Effect.void : Effect.ignore(ping(connection))
      ),
    packing: packing(packer, within)
  } satisfies Driver<Endpoint, PgConnection>
}
