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
import * as cursor from "./session/cursor.js"
import { execute } from "./session/execute.js"
import { transactionId } from "./session/transactionId.js"
import * as warnings from "./session/warnings.js"
import { Reported } from "./wire/formats.js"
import type { ParameterStatus } from "./wire/pg.js"

/** How long a goodbye may take before the socket is cut: the server closes an idle session in a millisecond. */
const GOODBYE = 500

/** Opens a connection that gives values as they can be read, if the way to the server lets it. */
export const connect = (
  endpoint: Endpoint,
  signals: Signals,
  packer?: Packer
): Effect.Effect<PgConnection, SqlError, Scope.Scope> => {
  const { label, server } = endpoint
  const attempt = open(endpoint, signals, packer)
  return Effect.flatMap(
    Effect.catchIf(
      attempt,
      ({ cause }) => server.startup.isWorthAnother(cause),
      ({ cause }) =>
        Effect.zipRight(
          server.isNew("proxy") ? warnings.startupRefused(label, classify.read(cause).message) : Effect.void,
          attempt
        )
    ),
    (connection) => {
      const { reported } = connection
      if (reported.isReadable) return Effect.succeed(connection)
      if (server.startup.adopts(reported)) return Effect.zipRight(close(connection), attempt)
      const said = server.isNew("style")
        ? warnings.styleUnreadable(label, reported.dateStyle, reported.intervalStyle)
        : Effect.void
      return Effect.as(said, connection)
    }
  )
}

const open = (
  endpoint: Endpoint,
  signals: Signals,
  packer?: Packer
): Effect.Effect<PgConnection, SqlError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.all([Deadline.ofContext, Fork.make, restore(endpoint.newClient)]),
      ([timers, fork, client]) => {
        const wire = client.connection
        const reported = new Reported()
        wire.on("parameterStatus", ({ parameterName, parameterValue }: ParameterStatus) =>
          reported.set(parameterName, parameterValue)
        )
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
            const connection = new PgConnection(client, endpoint, signals, reported, timers, fork, packer)
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
  Effect.asVoid(execute(connection, "", [], "command"))

const reset = (connection: PgConnection): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    if (connection.inTransaction) yield* execute(connection, "ROLLBACK", [], "command")
    if (connection.status() === "session") {
      if (connection.outlivesReset)
        return yield* connection.unsendable(new Error("what dblink has opened cannot be closed"))
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
  execute: (connection, sql, params, mode, before, until) => execute(connection, sql, params, mode, before, until),
  stream: cursor.open,
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
