import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Duration, Effect, Stream } from "effect"
import type { ListenEvent, PgSqlConfig } from "../../Config.js"
import type { Hub } from "./hub.js"

/** The events of a channel. */
export type Events = (channel: string) => Stream.Stream<ListenEvent, SqlError>

/** What the caller has declared bounds its listening: the acquire timeout until the server has confirmed it, the deadline all of it. */
export const make = (hub: Hub, label: string, { pool, proxy }: PgSqlConfig): Events => {
  if (proxy !== undefined) return () => Stream.fail(throughProxy(label))
  return (channel) =>
    Stream.unwrap(
      Effect.withFiberRuntime(({ currentContext }) => {
        const set = currentContext.unsafeMap.get(Pool.CurrentAcquireTimeout.key) as Duration.DurationInput | undefined
        const patience = Duration.toMillis(Duration.decode(set ?? pool?.acquireTimeout ?? "5 seconds"))
        const context = AsyncContext.capture()
        // What the program does with events, it does in its own context, and not in that of the socket.
        return Effect.succeed(
          Stream.mapChunksEffect(hub.listen(channel, patience, Deadline.currentIn(currentContext)), (events) =>
            Effect.as(AsyncContext.enter(context), events)
          )
        )
      })
    )
}

const throughProxy = (label: string): SqlError =>
  SqlReason.toError(
    SqlReason.make("InvalidUse", { connection: "none" }),
    `PostgreSQL at ${label}: listen does not work through PgBouncer in transaction mode, where no server connection is kept: make a second client with the address of the server itself`
  )
