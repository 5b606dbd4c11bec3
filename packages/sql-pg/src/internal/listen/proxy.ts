import type { SqlError } from "@effect/sql/SqlError"
import * as Cancel from "@sluice/sql/driver/Cancel"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Deferred, Effect, Either, Exit, type Scope } from "effect"
import type { PgConnection } from "../session/connection.js"
import { execute } from "../session/execute.js"
import { identifier } from "./channels.js"

/** Milliseconds for each step. Each needs a round trip as a rule. */
const PATIENCE = 2_000

/** Whether notifications reach a connection. `unknown`: there is a proxy that did not let it be tried. */
export type Verdict = "heard" | "lost" | "unknown"

/**
 * Finds out whether notifications come through. A pooler that gives its server sessions to several clients answers LISTEN with
 * success, and no notification ever arrives.
 *
 * A pooler is recognised by the number of the session, which is the pooler's own and not the server's. Only then another
 * connection sends one notification, on a channel that nobody else knows. It arrives where the proxy keeps the sessions apart.
 */
export const check = (
  connection: PgConnection,
  connect: Effect.Effect<PgConnection, SqlError, Scope.Scope>
): Effect.Effect<Verdict, SqlError> =>
  Effect.gen(function* () {
    const { client, pipeline } = connection
    const { timers } = pipeline
    const ask = (on: PgConnection, sql: string): Effect.Effect<ReadonlyArray<unknown>, SqlError> =>
      execute(on, sql, [], "unprepared", undefined, timers.now() + PATIENCE)
    // The number of rows is the answer, because the program's own type parsers may read a number as anything.
    const own = yield* ask(connection, `select where pg_backend_pid() = ${client.processID}`)
    if (own.length === 1) return "heard"
    const channel = `sluice_${client.processID}_${Math.round(timers.now())}`
    const arrived = yield* Deferred.make<void>()
    const notified = (message: { channel: string }) => {
      if (message.channel === channel) Deferred.unsafeDone(arrived, Exit.void)
    }
    client.on("notification", notified)
    yield* ask(connection, `LISTEN ${identifier(channel)}`)
    const sent = yield* Effect.either(
      Effect.scoped(Effect.flatMap(connect, (other) => ask(other, `NOTIFY ${identifier(channel)}`)))
    )
    if (Either.isRight(sent)) yield* Cancel.atMost(timers, PATIENCE, Deferred.await(arrived))
    client.off("notification", notified)
    const isHeard = yield* Deferred.isDone(arrived)
    yield* ask(connection, `UNLISTEN ${identifier(channel)}`)
    // A proxy may have no second session to give.
    return isHeard ? "heard" : Either.isRight(sent) ? "lost" : "unknown"
  })

export const deaf = (label: string): SqlError =>
  SqlReason.toError(
    SqlReason.make("InvalidUse"),
    `PostgreSQL at ${label}: listen does not work here, because something on the way gives its server sessions to several clients, as PgBouncer in transaction mode does, and no notification arrives. Listen with a second client that has the address of the server itself, and set proxy: "pgbouncer-transaction" for this one`
  )

export const uncertain = (label: string): Effect.Effect<void> =>
  Effect.logWarning(
    `PostgreSQL at ${label}: there is a proxy on the way, and it could not be found out whether notifications come through. If it gives its server sessions to several clients, as PgBouncer in transaction mode does, listeners hear nothing: listen with a client that connects to the server itself`
  )
