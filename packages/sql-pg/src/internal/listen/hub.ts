import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import { TimedOut } from "@sluice/sql/driver/Classify"
import * as Fork from "@sluice/sql/driver/Fork"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, Either, Option, Random, Scope, Stream } from "effect"
import type { ListenEvent } from "../../Config.js"
import type { PgConnection } from "../session/connection.js"
import { execute } from "../session/execute.js"
import { identifier, refusal } from "./channels.js"
import { Listener } from "./listener.js"
import * as Proxy from "./proxy.js"
import * as warnings from "./warnings.js"

/** How often a silent connection is asked whether it still works. Nothing reports a network path that has died. */
const HEARTBEAT = "30 seconds"

/** How long the connection stays open after the last listener. With less, listeners that come and go would each open one. */
const IDLE = "10 seconds"

/** Milliseconds for the answer to LISTEN, UNLISTEN and the question whether the connection still works. */
const BOUND = 5_000

/** Milliseconds of the first pause before connecting again. Each pause is twice as long, up to the longest, and a random part of that. */
const FIRST_PAUSE = 50

const LONGEST_PAUSE = 1_000

/** A server may end sessions that are idle, and a listener is. The setting exists since PostgreSQL 14. */
const PATIENT = "select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'"

/**
 * All listeners of a client, on one connection that no pool counts.
 *
 * 1. The connection is opened when the first listener comes, and closed when there was no listener for `IDLE`.
 * 2. Only the supervisor uses it, one statement at a time: it compares what is wanted (`channels`) with what the server was
 *    told, whenever it is woken. It starts with the first listener, and ends with the scope.
 * 3. The server is told to forget a channel only when nobody listens to it any more.
 * 4. A listener that was heard stays until it leaves, its deadline passes, or the hub ends. One that was not heard yet fails when
 *    listening fails, and when its acquire timeout has passed.
 */
export interface Hub {
  /** `patience`: milliseconds until the server must have confirmed that it listens. `until`: when its events are awaited no more. */
  readonly listen: (channel: string, patience: number, until: Deadline.Instant) => Stream.Stream<ListenEvent, SqlError>
  /** Another connection takes the place of this one. */
  readonly renew: Effect.Effect<void>
  /** Ends all listeners, and refuses later ones. */
  readonly end: Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (
  /** Opens a connection. */
  connect: Effect.Effect<PgConnection, SqlError, Scope.Scope>,
  label: string
): Effect.fn.Return<Hub, never, Scope.Scope> {
  const timers = yield* Deadline.ofContext
  const channels = new Map<string, Set<Listener>>()
  const wake = Effect.unsafeMakeLatch()
  let isClosed = false
  /** Since when nobody listens although somebody should. */
  let lostAt: number | undefined
  let failures = 0
  /** How many connections were to be replaced. */
  let renewals = 0
  let isUncertain = false

  const wakeUp = () => {
    wake.unsafeOpen()
  }

  const woken = Effect.zipRight(wake.await, wake.close)

  const fail = (which: (listener: Listener) => boolean, error: SqlError) => {
    for (const listeners of channels.values()) {
      for (const listener of listeners) if (which(listener)) listener.fail(error)
    }
  }

  /** A listener that was not heard yet learns at once that listening does not work here. It waits when only the connection is lost. */
  const failed = (error: SqlError) => {
    const { _tag } = SqlReason.of(error)
    if (_tag === "InvalidUse") fail(() => true, error)
    else if (_tag !== "ConnectionLost" && _tag !== "ServerShutdown") fail(({ heard }) => !heard, error)
  }

  const isHeard = () => {
    for (const listeners of channels.values()) for (const { heard } of listeners) if (heard) return true
    return false
  }

  const tell = (listener: Listener, event: ListenEvent, fork: PgConnection["fork"]) => {
    if (!listener.tell(event)) fork(warnings.overflowed(label, listener.channel))
  }

  /** A connection that does not answer is lost: it is no fault of a statement. */
  const unlessLate = (error: SqlError) => (error.cause instanceof TimedOut ? late(label) : error)

  const serve = Effect.gen(function* () {
    const mine = renewals
    const connection = yield* connect
    const { client } = connection
    connection.hears = true
    const notified = (message: { channel: string; payload?: string; processId: number }) => {
      const { channel, payload = "", processId } = message
      for (const listener of channels.get(channel) ?? []) {
        tell(listener, { _tag: "Notification", channel, payload, processId }, connection.fork)
      }
    }
    // Attached before LISTEN, because a notification may come together with its answer.
    yield* Effect.acquireRelease(
      Effect.sync(() => client.on("notification", notified).on("end", wakeUp).on("error", wakeUp)),
      () => Effect.sync(() => client.off("notification", notified).off("end", wakeUp).off("error", wakeUp))
    )
    const verdict = yield* Effect.mapError(Proxy.check(connection, connect), unlessLate)
    if (verdict === "lost") return yield* Proxy.deaf(label)
    if (verdict === "unknown" && !isUncertain) {
      isUncertain = true
      yield* Proxy.uncertain(label)
    }
    const ask = (sql: string) =>
      Effect.mapError(
        Effect.suspend(() => execute(connection, sql, [], "command", undefined, timers.now() + BOUND)),
        unlessLate
      )
    yield* ask(PATIENT)
    const told = new Set<string>()
    while (true) {
      // Checked before anything else, so that no new listener counts as heard by a connection that is gone.
      if (connection.isDead) {
        return yield* connection.error(connection.pipeline.fatal ?? new Error("Connection terminated"), "statement")
      }
      if (isClosed) return
      if (renewals !== mine) return yield* replaced(label)
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
            const lostForMs = Math.round(timers.now() - lostAt)
            tell(listener, { _tag: "Resubscribed", channel, lostForMs }, connection.fork)
          }
          listener.heard = true
        }
      }
      if (lostAt !== undefined && channels.size > 0) yield* warnings.back(label, Math.round(timers.now() - lostAt))
      lostAt = undefined
      failures = 0
      for (const channel of told) {
        if (channels.has(channel)) continue
        yield* ask(`UNLISTEN ${identifier(channel)}`)
        told.delete(channel)
      }
      const isIdle = channels.size === 0
      const wasWoken = yield* Effect.timeoutOption(woken, isIdle ? IDLE : HEARTBEAT)
      if (Option.isSome(wasWoken)) continue
      if (isIdle && channels.size === 0) return
      yield* ask("")
    }
  }).pipe(
    Effect.scoped,
    Effect.tapError((error) => Effect.sync(() => failed(error)))
  )

  const again = Effect.fnUntraced(function* (error: SqlError) {
    if (isHeard()) {
      lostAt ??= timers.now()
      if (failures === 0) yield* warnings.lost(error)
    }
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures++)
    yield* Effect.sleep(pause * (yield* Random.next))
  })

  const supervise = Effect.gen(function* () {
    while (true) {
      if (channels.size === 0) {
        lostAt = undefined
        failures = 0
        yield* woken
      } else yield* Effect.catchAll(serve, again)
    }
  })

  const end = Effect.sync(() => {
    isClosed = true
    if (channels.size > 0) fail(() => true, closed())
    channels.clear()
    wakeUp()
  })

  yield* Effect.scopeWith((scope) => Scope.addFinalizer(scope, end))
  // Of the scope. A fiber of the first listener would give its context to all others.
  const fork = yield* Fork.make
  let isSupervised = false
  const start = () => {
    if (!isSupervised) fork(supervise)
    isSupervised = true
  }

  const enter = (listener: Listener) =>
    Effect.suspend(() => {
      if (isClosed) return Effect.fail(closed())
      const listeners = channels.get(listener.channel)
      if (listeners === undefined) channels.set(listener.channel, new Set([listener]))
      else listeners.add(listener)
      start()
      wakeUp()
      return Effect.void
    })

  const leave = (listener: Listener) =>
    Effect.sync(() => {
      const listeners = channels.get(listener.channel)
      if (listeners?.delete(listener) === true && listeners.size === 0) channels.delete(listener.channel)
      wakeUp()
    })

  /** One timer for the wait until it is heard, one for its deadline. */
  const bounded = (listener: Listener, patience: number, until: Deadline.Instant) =>
    Effect.acquireRelease(
      Effect.sync(() => [
        timers.set(timers.now() + patience, () => {
          if (!listener.heard) listener.fail(unheard(label, patience))
        }),
        timers.set(until, () => listener.fail(over(label, listener.channel)))
      ]),
      (bounds) =>
        Effect.sync(() => {
          for (const timer of bounds) timer.cancel()
        })
    )

  return {
    listen: (channel, patience, until) =>
      Stream.unwrapScoped(
        Effect.gen(function* () {
          const problem = refusal("listen", channel, label)
          if (problem !== undefined) return yield* problem
          const listener = yield* Listener.make(channel)
          yield* Effect.acquireRelease(enter(listener), () => leave(listener))
          yield* bounded(listener, patience, until)
          return listener.events
        })
      ),
    renew: Effect.sync(() => {
      renewals++
      wakeUp()
    }),
    end
  }
})

const closed = () =>
  SqlReason.toError(
    SqlReason.make("PoolClosed", { connection: "none" }),
    "PostgreSQL: the client is closed, and nobody listens any more"
  )

const late = (label: string): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", retry: "always" }),
    `PostgreSQL at ${label}: no answer in time on the connection that listens`
  )

const replaced = (label: string): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", retry: "always" }),
    `PostgreSQL at ${label}: the connection that listens is replaced, as Sql.reset asks for`
  )

const unheard = (label: string, patience: number): SqlError =>
  SqlReason.toError(
    SqlReason.make("AcquireTimeout", { connection: "none" }),
    `PostgreSQL at ${label}: the server has not confirmed within ${Math.round(patience)} ms (acquireTimeout) that it listens: look at the network and the host`
  )

const over = (label: string, channel: string): SqlError =>
  SqlReason.toError(
    SqlReason.make("StatementTimeout"),
    `PostgreSQL at ${label}: the deadline of the caller has passed while it listened to channel ${JSON.stringify(channel)}`
  )
