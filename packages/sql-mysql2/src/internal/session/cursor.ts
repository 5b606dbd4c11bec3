import { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import type { Instant } from "@sluice/pool/Deadline"
import * as Cancel from "@sluice/sql/driver/Cancel"
import type { Cursor, Mode } from "@sluice/sql/driver/Driver"
import { Unreadable } from "@sluice/sql/driver/Unreadable"
import { Effect } from "effect"
import * as Commands from "../wire/commands.js"
import * as Mysql from "../wire/mysql.js"
import { Operation } from "../wire/operation.js"
import type { Text } from "../wire/texts.js"
import { mismatch, type Value } from "../wire/values.js"
import type { MysqlConnection } from "./connection.js"

/** Rows of one piece of a transaction's cursor. */
const PIECE = 128

/** Rows that are read ahead of the program. Then the socket is not read until the program asks for more. */
const AHEAD = 256

/** Milliseconds for the rest of an answer when a stream is left early. Then the connection is left busy, and is aborted. */
const PATIENCE = 5

/** Opens a cursor: sends the statement, and reads the first piece, with the first `next`. */
export const open = (
  connection: MysqlConnection,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<Cursor, SqlError> =>
  Effect.sync(() => (connection.inTransaction ? joined : single)(connection, connection.texts.of(sql), params))

/** An operation whose rows are told one by one. */
class Reading extends Operation {
  override isStream = true
  readonly rows: Array<unknown> = []
  arrived: (() => void) | undefined = undefined

  protected override get keepsRows(): boolean {
    return false
  }

  override row(row: unknown): void {
    this.rows.push(row)
    this.arrived?.()
  }

  override unread(error: unknown): void {
    super.unread(error)
    this.arrived?.()
  }

  take(): ReadonlyArray<any> {
    return this.rows.splice(0)
  }

  override abandon(): void {
    super.abandon()
    this.arrived = undefined
    this.rows.length = 0
    this.connection.wire.resume()
  }

  begin(sending: ReadonlyArray<Value> | string): void {
    if (typeof sending === "string") this.query(sending, false)
    else this.executePrepared(sending, false)
  }
}

/** How the statement is sent: prepared, with these values, or as this text. */
const sendingOf = (
  connection: MysqlConnection,
  text: Text,
  params: ReadonlyArray<unknown>
): ReadonlyArray<Value> | string | SqlError => {
  const mode: Mode = "rows"
  const isPrepared = connection.prepares(text, params, mode)
  const values = connection.parameters(params, !isPrepared)
  if (isPrepared || values instanceof SqlError) return values
  return params.length === 0 ? text.sql : connection.write(text.sql, values)
}

const failureOf = (connection: MysqlConnection, operation: Operation, params: ReadonlyArray<unknown>): SqlError =>
  operation.unsent
    ? connection.unsendable(operation.failure)
    : connection.error(operation.failure, operation.inside ? "transaction" : "statement", {
        sql: operation.text.sql,
        params,
        goesOn: connection.pipeline.current === operation
      })

/**
 * Outside of a transaction: the whole answer is one operation, read only as fast as the program does. A server cannot be told
 * to stop sending; a stream that is left early leaves the connection busy, and its owner aborts it.
 */
const single = (connection: MysqlConnection, text: Text, params: ReadonlyArray<unknown>): Cursor => {
  let reading: Reading | undefined
  let over = false
  let paused = false
  let planned = false
  let isClosed = false
  /** Why it could not be sent a second time. */
  let refused: SqlError | undefined
  let wake: (() => void) | undefined

  /** `isSecond`: its preparation was at fault the first time. */
  const begin = (until: Instant, isSecond: boolean): SqlError | undefined => {
    const refusal = connection.refusal(text)
    if (refusal !== undefined) return refusal
    const sending = sendingOf(connection, text, params)
    if (sending instanceof SqlError) return sending
    const operation = new Reading(connection, text)
    reading = operation
    operation.arrived = () => {
      if (operation.rows.length >= AHEAD && !paused) {
        paused = true
        connection.wire.pause()
      }
      // The rows of one read of the socket are one piece.
      if (wake === undefined || planned) return
      planned = true
      queueMicrotask(() => {
        planned = false
        wake?.()
      })
    }
    const onEnd = (failure: unknown): void => {
      const isPrepared = typeof sending === "object"
      if (
        isPrepared &&
        !isClosed &&
        failure !== undefined &&
        connection.isPreparationAtFault(text, operation, failure, isSecond)
      ) {
        const refusal = begin(until, true)
        if (refusal === undefined) return
        refused = refusal
      }
      over = true
      // An error of the server has set it already. The deadline of a piece has not.
      operation.failure ??= failure
      wake?.()
    }
    connection.send(operation, onEnd, until, true)
    operation.begin(sending)
    return undefined
  }

  const next = (until: Instant) =>
    AsyncContext.async<ReadonlyArray<any>, SqlError>((resume) => {
      wake = () => {
        wake = undefined
        if (refused !== undefined) return resume(Effect.fail(refused))
        // The time in which the program uses the rows does not count.
        connection.pipeline.unbound(reading!)
        if (reading!.rows.length > 0) return resume(Effect.succeed(reading!.take()))
        // A row could not be read, so the rows that are still to come are not awaited.
        const isOver = over || reading!.failure instanceof Unreadable
        if (isOver && reading!.failure !== undefined) {
          return resume(Effect.fail(failureOf(connection, reading!, params)))
        }
        resume(Effect.succeed([]))
      }
      if (reading === undefined) {
        const refusal = begin(until, false)
        if (refusal !== undefined) resume(Effect.fail(refusal))
        return
      }
      connection.pipeline.bound(reading, until)
      if (reading.rows.length > 0 || over || reading.failure instanceof Unreadable) wake()
      if (paused && !over) {
        paused = false
        connection.wire.resume()
      }
    })

  const rest = AsyncContext.async<void>((resume) => {
    const leave = connection.pipeline.whenReady(() => resume(Effect.void))
    return Effect.sync(leave)
  })
  const close = Effect.suspend(() => {
    if (reading === undefined || over || connection.isDead) return Effect.void
    wake = undefined
    isClosed = true
    reading.abandon()
    return Cancel.atMost(connection.pipeline.timers, PATIENCE, rest)
  })
  return { next, close }
}

/** An operation that opens a cursor of the server, or asks it for a piece. */
class Piece extends Reading {
  cursor: Commands.OpenCursor | undefined = undefined
  statement: Mysql.Prepared | undefined = undefined

  override get isOfCursor(): boolean {
    return this.statement !== undefined
  }

  open(params: ReadonlyArray<Value>, name: string): void {
    const { wire } = this.connection
    const { sql } = this.text
    wire.addCommand(
      new Commands.Prepare(
        this,
        sql,
        (statement) => {
          // The statement belongs to this cursor alone. Executing it again, for the same text, would close the cursor.
          Mysql.disown(wire, Mysql.keyOf(sql, name), statement)
          this.statement = statement
          const problem = mismatch(statement.placeholders, params)
          if (problem !== undefined) {
            this.unsendable(problem)
            return
          }
          this.cursor = new Commands.OpenCursor(this, {
            sql,
            values: params,
            statement,
            style: this.connection.style,
            rowsAsArray: false
          })
          this.run(this.cursor)
        },
        name
      )
    )
  }

  fetch(cursor: Commands.OpenCursor, statement: Mysql.Prepared): void {
    this.connection.wire.addCommand(new Commands.Fetch(this, cursor, statement, PIECE))
  }
}

/**
 * Inside a transaction: a cursor of the server, so that other statements can run between two pieces. The server executes all
 * of it at the first piece and keeps the rows. What cannot have a cursor is read as a whole.
 */
const joined = (connection: MysqlConnection, text: Text, params: ReadonlyArray<unknown>): Cursor => {
  const name = connection.nextCursor()
  let state: "new" | "open" | "complete" = "new"
  let cursor: Commands.OpenCursor | undefined
  let statement: Mysql.Prepared | undefined
  let ready: Array<unknown> = []

  /** `again` is what is done instead if the preparation was at fault. */
  const operate = (until: Instant, begin: (piece: Piece) => void, again?: () => Effect.Effect<Piece, SqlError>) =>
    AsyncContext.async<Piece, SqlError>((resume) => {
      const refusal = connection.refusal(text)
      if (refusal !== undefined) return resume(Effect.fail(refusal))
      const piece = new Piece(connection, text)
      const onEnd = (failure: unknown): void => {
        piece.failure ??= failure
        if (piece.failure === undefined) {
          resume(Effect.succeed(piece))
          return
        }
        statement ??= piece.statement
        forget()
        if (again !== undefined && connection.isPreparationAtFault(text, piece, piece.failure, true)) {
          resume(again())
          return
        }
        state = "complete"
        resume(Effect.fail(failureOf(connection, piece, params)))
      }
      connection.send(piece, onEnd, until, true)
      begin(piece)
    })

  const open = (until: Instant) =>
    Effect.suspend((): Effect.Effect<void, SqlError> => {
      const sending = sendingOf(connection, text, params)
      if (sending instanceof SqlError) return Effect.fail(sending)
      const asText = () => {
        const sending = sendingOf(connection, text, params)
        return sending instanceof SqlError ? Effect.fail(sending) : operate(until, (piece) => piece.begin(sending))
      }
      return Effect.map(
        typeof sending === "string" ? asText() : operate(until, (piece) => piece.open(sending, name), asText),
        (piece) => {
          statement = piece.statement
          if (piece.cursor?.isOpen) {
            state = "open"
            cursor = piece.cursor
            return
          }
          state = "complete"
          ready = piece.rows
          forget()
        }
      )
    })

  const forget = () => {
    if (statement === undefined || connection.isDead) return
    // Closed with the next statement, because the server does not answer it.
    connection.orphans.push(statement)
    statement = undefined
  }

  const fetch = (until: Instant) =>
    Effect.suspend(() =>
      Effect.map(
        operate(until, (piece) => piece.fetch(cursor!, statement!)),
        (piece) => {
          if (piece.result === true) {
            state = "complete"
            forget()
          }
          return piece.take()
        }
      )
    )

  const next = (until: Instant): Effect.Effect<ReadonlyArray<any>, SqlError> =>
    Effect.suspend(() => {
      switch (state) {
        case "new":
          return Effect.zipRight(open(until), next(until))
        case "open":
          // The last piece may be empty.
          return fetch(until)
        case "complete":
          return Effect.sync(() => ready.splice(0, PIECE))
      }
    })

  const close = Effect.sync(() => {
    state = "complete"
    ready = []
    forget()
  })
  return { next, close }
}
