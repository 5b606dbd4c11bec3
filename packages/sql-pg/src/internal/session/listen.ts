import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import { TimedOut } from "@sluice/sql/driver/Classify"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, Either, Exit, Mailbox, Option, Queue, Random, type Scope, Stream } from "effect"
import type { ListenEvent } from "../../Config.js"
import type { PgConnection } from "./connection.js"
import { execute } from "./execute.js"

/** How often a silent connection is asked whether it still works. Nothing reports a network path that has died. */
const HEARTBEAT = "30 seconds"

/** Milliseconds for the answer to LISTEN, UNLISTEN and the question whether the connection still works. */
const BOUND = 5_000

/** Milliseconds of the first pause before connecting again. Each pause is twice as long, up to the longest, and a random part of that. */
const FIRST_PAUSE = 50

const LONGEST_PAUSE = 1_000

interface Listener {
  readonly mailbox: Mailbox.Mailbox<ListenEvent, SqlError>
  /** The server has confirmed a LISTEN for it, on this connection or on an earlier one. */
  heard: boolean
}

/**
 * All listeners of a client, on one connection.
 *
 * 1. The connection is leased when the first listener comes and given back when the last one has left.
 * 2. Only the supervisor uses it, one statement at a time: it compares what is wanted (`channels`) with what the server was
 *    told, whenever it is woken.
 * 3. The server is told to forget a channel only when nobody listens to it any more.
 */
export interface Hub {
  readonly listen: (channel: string) => Stream.Stream<ListenEvent, SqlError>
}

const closed = () =>
  SqlReason.toError(
    SqlReason.make("PoolClosed", { connection: "none" }),
    "PostgreSQL: the client is closed, and nobody listens any more"
  )

const late = (connection: PgConnection): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", retry: "always" }),
    `PostgreSQL at ${connection.endpoint.label}: no answer on the connection that listens within ${BOUND} ms`
  )

const identifier = (channel: string) => `"${channel.replaceAll('"', '""')}"`

export const make = Effect.fnUntraced(function* (
  lease: Effect.Effect<PgConnection, SqlError, Scope.Scope>
): Effect.fn.Return<Hub, never, Scope.Scope> {
  const channels = new Map<string, Set<Listener>>()
  const wake = yield* Queue.sliding<void>(1)
  let isClosed = false
  /** Since when nobody listens although somebody should. */
  let lostAt: number | undefined
  let failures = 0

  const fail = (which: (listener: Listener) => boolean, error: SqlError) => {
    for (const listeners of channels.values()) {
      for (const listener of listeners) if (which(listener)) listener.mailbox.unsafeDone(Exit.fail(error))
    }
  }

  const serve = Effect.gen(function* () {
    const connection = yield* Effect.tapError(lease, (error) =>
      // A new listener learns at once that listening does not work. A listener that has been heard waits for the next attempt.
      Effect.sync(() => fail(({ heard }) => !heard || SqlReason.is("PoolClosed")(error), error))
    )
    const { client } = connection
    const wakeUp = () => {
      Queue.unsafeOffer(wake, undefined)
    }
    const notified = (message: { channel: string; payload?: string; processId: number }) => {
      const payload = message.payload ?? ""
      for (const { mailbox } of channels.get(message.channel) ?? []) {
        mailbox.unsafeOffer({ _tag: "Notification", channel: message.channel, payload, processId: message.processId })
      }
    }
    // Attached before LISTEN, because a notification may come together with its answer.
    yield* Effect.acquireRelease(
      Effect.sync(() => client.on("notification", notified).on("end", wakeUp).on("error", wakeUp)),
      () => Effect.sync(() => client.off("notification", notified).off("end", wakeUp).off("error", wakeUp))
    )
    const { timers } = connection.pipeline
    const ask = (sql: string) =>
      Effect.mapError(
        Effect.suspend(() => execute(connection, sql, [], "command", undefined, timers.now() + BOUND)),
        (error) => (error.cause instanceof TimedOut ? late(connection) : error)
      )
    const told = new Set<string>()
    while (true) {
      // Checked before anything else, so that no new listener counts as heard by a connection that is gone.
      if (connection.isDead) {
        return yield* connection.error(connection.pipeline.fatal ?? new Error("Connection terminated"), "statement")
      }
      for (const channel of channels.keys()) {
        if (!told.has(channel)) {
          const answer = yield* Effect.either(ask(`LISTEN ${identifier(channel)}`))
          if (Either.isLeft(answer)) {
            if (SqlReason.of(answer.left).connection === "destroy") return yield* answer.left
            fail((listener) => channels.get(channel)?.has(listener) === true, answer.left)
            channels.delete(channel)
            continue
          }
          told.add(channel)
        }
        for (const listener of channels.get(channel) ?? []) {
          if (listener.heard && lostAt !== undefined) {
            listener.mailbox.unsafeOffer({
              _tag: "Resubscribed",
              channel,
              lostForMs: Math.round(timers.now() - lostAt)
            })
          }
          listener.heard = true
        }
      }
      lostAt = undefined
      failures = 0
      for (const channel of told) {
        if (channels.has(channel)) continue
        yield* ask(`UNLISTEN ${identifier(channel)}`)
        told.delete(channel)
      }
      if (channels.size === 0) return
      const woken = yield* Effect.timeoutOption(Queue.take(wake), HEARTBEAT)
      if (Option.isNone(woken)) yield* ask("")
    }
  }).pipe(Effect.scoped)

  const again = Effect.fnUntraced(function* (error: SqlError) {
    lostAt ??= yield* Effect.clockWith((clock) => Effect.sync(Deadline.nowOf(clock)))
    if (channels.size === 0) return
    if (failures === 0) {
      yield* Effect.logWarning(
        `The connection that listens was lost, and notifications may be lost until it listens again: ${error.message}`
      )
    }
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures++)
    yield* Effect.sleep(pause * (yield* Random.next))
  })

  const supervise = Effect.gen(function* () {
    while (true) {
      if (channels.size === 0) {
        lostAt = undefined
        failures = 0
        yield* Queue.take(wake)
      } else yield* Effect.catchAll(serve, again)
    }
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
      fail(() => true, closed())
    })
  )
  // A fiber of the scope. A fiber of the first listener would give its priority and deadline to all others.
  yield* Effect.forkScoped(supervise)

  const enter = (channel: string, listener: Listener) =>
    Effect.suspend(() => {
      if (isClosed) return Effect.fail(closed())
      const listeners = channels.get(channel)
      if (listeners === undefined) channels.set(channel, new Set([listener]))
      else listeners.add(listener)
      return Queue.offer(wake, undefined)
    })

  const leave = (channel: string, listener: Listener) =>
    Effect.suspend(() => {
      const listeners = channels.get(channel)
      if (listeners?.delete(listener) === true && listeners.size === 0) channels.delete(channel)
      return Queue.offer(wake, undefined)
    })

  return {
    listen: (channel) =>
      Stream.unwrapScoped(
        Effect.gen(function* () {
          const listener: Listener = { mailbox: yield* Mailbox.make<ListenEvent, SqlError>(), heard: false }
          yield* Effect.acquireRelease(enter(channel, listener), () => leave(channel, listener))
          return Mailbox.toStream(listener.mailbox)
        })
      )
  }
})
