import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type { Signals } from "@sluice/pool/PoolOptions"
import type { BeginOptions, Control, Driver } from "@sluice/sql/driver/Driver"
import * as Fork from "@sluice/sql/driver/Fork"
import { type Limits, limits } from "@sluice/sql/driver/Packing"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, type Scope } from "effect"
import * as cancel from "./cancel.js"
import * as classify from "./classify.js"
import type { Endpoint } from "./endpoint.js"
import { makePacker, packing } from "./read.js"
import { MysqlConnection } from "./session/connection.js"
import * as cursor from "./session/cursor.js"
import { execute } from "./session/execute.js"
import * as session from "./session/session.js"

/** How long a goodbye may take before the socket is cut: the server closes an idle session in a millisecond. */
const GOODBYE = 500

const connect = (
  endpoint: Endpoint,
  signals: Signals,
  control?: Control<MysqlConnection>
): Effect.Effect<MysqlConnection, SqlError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.all([Deadline.ofContext, Fork.make, restore(endpoint.open)]), ([timers, fork, wire]) => {
      // After the callback was called once, errors come as events; without a listener they would end the process.
      const ignore = () => {}
      wire.on("error", ignore)
      const open = Effect.async<MysqlConnection, SqlError>((resume) => {
        wire.connect((cause) => {
          if (cause) {
            wire.stream.destroy()
            return resume(Effect.fail(refused(cause, endpoint)))
          }
          const connection = new MysqlConnection(wire, endpoint, signals, control, timers, fork)
          wire.off("error", ignore)
          resume(Effect.succeed(connection))
        })
        return Effect.sync(() => wire.stream.destroy())
      })
      return Effect.flatMap(restore(open), (connection) =>
        Effect.zipRight(
          Effect.addFinalizer(() => close(connection)),
          Effect.as(
            restore(Effect.mapError(session.begin(connection), (error) => refused(error.cause, endpoint))),
            connection
          )
        )
      ).pipe(
        // An interruption may strike after the server has accepted and before the fiber knows.
        Effect.onError(() => Effect.sync(() => wire.stream.destroy()))
      )
    })
  )

const refused = (cause: unknown, endpoint: Endpoint): SqlError =>
  SqlReason.toError(classify.classify(cause, "connect"), classify.connectMessage(cause, endpoint))

/** Returns when the server has closed its side too, so that a closed connection no longer counts there. */
const close = (connection: MysqlConnection): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { wire } = connection
    if (wire.stream.destroyed) return Effect.void
    if (connection.status() === "busy") {
      const cut = Effect.sync(() => connection.pipeline.destroy())
      // What nobody has tried to cancel is closed because it does not answer, and neither would a kill be answered.
      return connection.pipeline.current?.condemned ? Effect.zipRight(cancel.farewell(connection), cut) : cut
    }
    const ended = Effect.async<void>((resume) => {
      wire.once("end", () => resume(Effect.void))
    })
    return Effect.sync(() => {
      connection.pipeline.fail(new Error("Connection closed"))
      wire.end()
    }).pipe(
      Effect.zipRight(Effect.timeout(Effect.interruptible(ended), GOODBYE)),
      Effect.ignore,
      Effect.zipRight(Effect.sync(() => connection.pipeline.destroy()))
    )
  })

/**
 * The isolation level is that of the next transaction, so both are one text: nothing can come between. `deferrable` has no
 * counterpart, and read-write is what a transaction is anyway; said aloud, a read-only server would refuse what only reads.
 */
const begin = ({ isolation, readOnly }: BeginOptions): ReadonlyArray<string> => {
  const start = readOnly === true ? "START TRANSACTION READ ONLY" : "START TRANSACTION"
  return [isolation === undefined ? start : `SET TRANSACTION ISOLATION LEVEL ${isolation.toUpperCase()}; ${start}`]
}

export const driver: Driver<Endpoint, MysqlConnection> = {
  name: "MySQL",
  endpoint: ({ database, host, label, path, port, user }) => ({
    key: `mysql://${user}@${path ?? `${host}:${port}`}/${database ?? ""}`,
    label
  }),
  connect,
  ping: session.ping,
  reset: session.reset,
  abort: cancel.abort,
  status: (connection) => connection.status(),
  describe: (connection) => connection.describe(),
  execute: (connection, sql, params, mode, before, until) =>
    before === undefined || before.length === 0
      ? execute(connection, sql, params, mode, undefined, until)
      : before.length === 1 && connection.mayFollow(sql)
        ? execute(connection, sql, params, mode, before[0], until)
        : // Each is a round trip of its own: nothing may be executed behind a statement that has failed.
          before.reduceRight(
            (rest, sql) => Effect.zipRight(execute(connection, sql, [], "command", undefined, until), rest),
            execute(connection, sql, params, mode, undefined, until)
          ),
  stream: cursor.open,
  begin,
  position: (connection) => connection.position,
  classify: classify.classify
}

/** Whether a server takes one statement behind the other: what it says of itself, unless somebody knows better. */
const takesSeveral = (connection: MysqlConnection, isKnownTo: boolean): boolean =>
  !connection.wire.config.compress &&
  (isKnownTo || (session.isMariaDb(connection) && connection.server.thread !== undefined))

/** A driver that packs short reads. What it learns about them is its own. */
export const packed = (isKnownTo: boolean, within: Limits = limits) => {
  const packer = makePacker()
  return {
    ...driver,
    connect: (endpoint, signals, control?: Control<MysqlConnection>) =>
      Effect.tap(connect(endpoint, signals, control), (connection) => {
        if (!takesSeveral(connection, isKnownTo)) return Effect.void
        connection.packer = packer
        // The first connection to a server measures the way there, without which no statement is known to be short.
        return endpoint.roundTrip.isKnown ? Effect.void : Effect.ignore(session.ping(connection))
      }),
    packing: packing(packer, within)
  } satisfies Driver<Endpoint, MysqlConnection>
}
