import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import { Chunk, Effect, Option, type Scope, Stream } from "effect"
import type { Cursor } from "../../driver/Driver.js"
import type { Cluster } from "../routing/cluster.js"
import type { Intent } from "../routing/intent.js"
import * as Route from "../routing/route.js"
import * as Connection from "../session/connection.js"
import * as Lock from "../session/lock.js"
import * as Pin from "../session/pin.js"
import * as Statement from "../session/statement.js"
import type * as Statements from "./statement.js"

type Next = Cursor["next"]

/** The rows of a cursor. Each piece is bounded by the deadline of the fiber that reads it. */
export const rowsOf =
  (transform: Statements.Rows) =>
  (next: Next): Stream.Stream<any, SqlError> =>
    Stream.repeatEffectChunkOption(
      Effect.matchEffect(
        Effect.withFiberRuntime<ReadonlyArray<any>, SqlError>((fiber) =>
          next(Deadline.currentIn(fiber.currentContext))
        ),
        {
          onFailure: (error) => Effect.fail(Option.some(error)),
          onSuccess: (rows) =>
            rows.length === 0
              ? Effect.fail(Option.none())
              : Effect.succeed(Chunk.unsafeFromArray(transform === undefined ? rows : transform(rows)))
        }
      )
    )

/** A cursor whose opening was interrupted needs no closing: the connection is busy, and its next user aborts it. */
const cursorOn = <Conn>(
  { driver, reading }: Cluster<Conn>,
  connection: Conn,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<Next, SqlError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.tap(restore(driver.stream(connection, sql, params)), (cursor) =>
      Effect.zipRight(
        reading.on(connection),
        Effect.addFinalizer(() => cursor.close)
      )
    )
  ).pipe(Effect.map((cursor) => cursor.next))

/** A cursor on a connection of its own, for as long as the scope is open. */
export const cursorFromPool = <Conn>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<Next, SqlError, Scope.Scope> =>
  Effect.flatMap(Route.acquire(cluster, intent), (connection) =>
    Effect.zipRight(noteAtEnd(cluster, intent, connection), cursorOn(cluster, connection, sql, params))
  )

/** A statement that is read in pieces has written what it writes when its cursor is closed, so this must come before the cursor. */
const noteAtEnd = <Conn>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  connection: Conn
): Effect.Effect<void, never, Scope.Scope> => {
  const { consistency, driver } = cluster
  if (consistency === undefined || !Route.mayWrite(cluster, intent)) return Effect.void
  const before = driver.position?.(connection)
  return Effect.addFinalizer(() => consistency.marks.note(connection, before))
}

/** A cursor on the connection of a block, for as long as the scope is open. */
export const cursorIn = <Conn>(
  block: Pin.Block<Conn>,
  intent: Intent | undefined,
  until: Deadline.Instant,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<Next, SqlError, Scope.Scope> =>
  block.transaction === undefined
    ? inPin(block, intent, until, sql, params)
    : inTransaction(block, intent, until, sql, params)

/** Each piece takes the lock of the block, so that the reader may run statements between two of them. */
const inTransaction = <Conn>(
  block: Pin.Block<Conn>,
  intent: Intent | undefined,
  until: Deadline.Instant,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<Next, SqlError, Scope.Scope> => {
  const { driver, reading } = block.pin.cluster
  return Effect.uninterruptibleMask((restore) =>
    restore(
      Statement.run(block, intent, until, (connection, before) =>
        Effect.zipRight(
          Effect.forEach(before, (sql) => driver.execute(connection, sql, [], "command", undefined, until), {
            discard: true
          }),
          Effect.map(driver.stream(connection, sql, params), (cursor) => [connection, cursor] as const)
        )
      )
    ).pipe(
      Effect.tap(([connection, cursor]) =>
        Effect.zipRight(
          reading.on(connection),
          Effect.addFinalizer(() => Statement.free(block, cursor.close))
        )
      ),
      Effect.map(
        ([, cursor]): Next =>
          (until) =>
            Statement.run(block, intent, until, () => cursor.next(until))
      )
    )
  )
}

/**
 * Outside of a transaction the server keeps a cursor only until the next statement, so the stream has the connection for
 * itself until it ends.
 */
const inPin = <Conn>(
  block: Pin.Block<Conn>,
  intent: Intent | undefined,
  until: Deadline.Instant,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<Next, SqlError, Scope.Scope> => {
  const { cluster } = block.pin
  return Lock.hold(block.lock, () => Pin.releaseIfClosed(block), Statement.boundOf(cluster, until)).pipe(
    Effect.zipRight(
      Effect.acquireRelease(
        Effect.sync(() => {
          block.streaming = true
        }),
        () =>
          Effect.sync(() => {
            block.streaming = false
          })
      )
    ),
    Effect.zipRight(Effect.suspend(() => Connection.connect(block, intent, until))),
    Effect.flatMap((connection) =>
      Effect.zipRight(noteAtEnd(cluster, intent, connection), cursorOn(cluster, connection, sql, params))
    )
  )
}
