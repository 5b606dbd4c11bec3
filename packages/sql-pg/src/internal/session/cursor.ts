import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import type { Instant } from "@sluice/pool/Deadline"
import type { Cursor } from "@sluice/sql/driver/Driver"
import { Unsendable } from "@sluice/sql/driver/Unsendable"
import { Effect } from "effect"
import { CursorQuery } from "../wire/cursor.js"
import { bind, problemOf } from "../wire/message.js"
import { prepare } from "../wire/params.js"
import type { PgConnection } from "./connection.js"

/** Rows of one piece. */
const PIECE = 128

/** Milliseconds for the end of a cursor. The server has nothing else to do, so it takes a round trip as a rule. */
const CLOSE = 100

/** What is executed, as the program has said it. */
interface Asked {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
}

/** Opens a cursor: sends the statement, and reads the first piece, with the first `next`. */
export const open = (
  connection: PgConnection,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<Cursor, SqlError> =>
  Effect.suspend(() => {
    const values = prepare(params)
    if (values instanceof Unsendable) return Effect.fail(connection.unsendable(values))
    const problem = problemOf(sql)
    if (problem !== undefined) return Effect.fail(connection.unsendable(problem))
    const portal = connection.nextPortal()
    return Effect.try({
      try: () =>
        (connection.inTransaction ? joined : single)(connection, { sql, params }, portal, bind(portal, values)),
      catch: (problem) => connection.unsendable(problem)
    })
  })

/** Inside a transaction: each piece is an operation of its own. */
const joined = (connection: PgConnection, asked: Asked, portal: string, bound: Buffer): Cursor => {
  let isOpen = false
  let isComplete = false
  const next = (until: Instant) =>
    AsyncContext.async<ReadonlyArray<any>, SqlError>((resume) => {
      if (isComplete) return resume(Effect.succeed([]))
      if (connection.isDead) {
        return resume(
          Effect.fail(connection.error(connection.pipeline.fatal ?? new Error("Connection closed"), "transaction"))
        )
      }
      const piece = new CursorQuery(asked.sql, bound, portal, PIECE, isOpen, true, connection.parsers)
      isOpen = true
      const onEnd = (failure: unknown): void => {
        isComplete = piece.complete || failure !== undefined
        resume(
          failure === undefined
            ? Effect.succeed(piece.takeRows())
            : Effect.fail(
                connection.error(failure, "transaction", { ...asked, goesOn: connection.pipeline.current === piece })
              )
        )
      }
      connection.send(piece, onEnd, until, true)
    })
  const close = Effect.sync(() => {
    if (!isOpen || isComplete || connection.status() !== "transaction") return
    isComplete = true
    // Sent now, and answered with the next operation. An open portal costs the server less than a round trip of its own.
    connection.wire.close({ type: "P", name: portal })
  })
  return { next, close }
}

/** Outside of a transaction: the whole cursor is one operation. */
const single = (connection: PgConnection, asked: Asked, portal: string, bound: Buffer): Cursor => {
  const { pipeline } = connection
  const query = new CursorQuery(asked.sql, bound, portal, PIECE, false, false, connection.parsers)
  let state: "new" | "running" | "waiting" | "ended" = "new"
  let failure: unknown
  let wake: (() => void) | undefined
  query.suspended = () => {
    state = "waiting"
    // The time in which the program uses the rows does not count.
    pipeline.unbound(query)
    wake?.()
  }
  const next = (until: Instant) =>
    AsyncContext.async<ReadonlyArray<any>, SqlError>((resume) => {
      wake = () => {
        wake = undefined
        if (query.isUncleaned) return resume(Effect.fail(connection.uncleaned()))
        resume(
          failure === undefined
            ? Effect.succeed(query.takeRows())
            : Effect.fail(connection.error(failure, "statement", { ...asked, goesOn: pipeline.current === query }))
        )
      }
      switch (state) {
        case "ended":
          return wake()
        case "new": {
          if (connection.isDead) return resume(Effect.fail(connection.unsent()))
          state = "running"
          query.cleans = connection.takeCleaning()
          const onEnd = (error: unknown): void => {
            state = "ended"
            failure = error
            wake?.()
          }
          return connection.send(query, onEnd, until, true)
        }
        case "waiting": {
          state = "running"
          pipeline.bound(query, until)
          query.sentAt = pipeline.timers.now()
          return query.more(connection.wire)
        }
        case "running":
          // The fiber that has asked for this piece has left. The fiber that asks now gets the piece.
          pipeline.bound(query, until)
          return
      }
    })
  /** If the server does not answer in time the connection stays busy, and its owner aborts it. */
  const close = AsyncContext.async<void>((resume) => {
    if (state !== "waiting" || connection.isDead) return resume(Effect.void)
    const { timers } = pipeline
    const timer = timers.set(timers.now() + CLOSE, () => resume(Effect.void))
    pipeline.whenReady(() => {
      timer.cancel()
      resume(Effect.void)
    })
    query.abandon(connection.wire)
  })
  return { next, close }
}
