/**
 * How a connection of a driver is opened and closed.
 *
 * 1. Whatever interrupts a connect, and at whatever moment, the socket is closed.
 * 2. An error of the socket always has a listener: without one Node would end the process.
 * 3. Closing never waits for the server longer than `GOODBYE`, and not at all when its pool ends.
 *
 * @since 0.2.0
 */
import type { Socket } from "node:net"
import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type { Signals } from "@sluice/pool/PoolOptions"
import { Effect, Scope } from "effect"
import type { ConnectionState } from "./Driver.js"
import * as Fork from "./Fork.js"
import type { Pipeline } from "./Pipeline.js"

/**
 * Milliseconds that the server has to close its side of an idle connection, before the socket is cut. A server needs one to ten
 * milliseconds as a rule.
 *
 * @since 0.2.0
 * @category constants
 */
export const GOODBYE = 500

/**
 * What opens a connection in a library.
 *
 * @since 0.2.0
 * @category models
 */
export interface Client {
  connect(callback: (error: unknown) => void): void
  on(event: "error", listener: () => void): unknown
  off(event: "error", listener: () => void): unknown
}

/**
 * The part of a client that reads and writes the socket.
 *
 * @since 0.2.0
 * @category models
 */
export interface Wire {
  readonly stream: Socket
  /** Says goodbye to the server, which then closes its side. */
  end(): void
  once(event: "end", listener: () => void): this
}

/**
 * What is known of an open connection.
 *
 * @since 0.2.0
 * @category models
 */
export interface Connection {
  readonly wire: Wire
  readonly pipeline: Pipeline<any>
  status(): ConnectionState
}

/**
 * What only the driver knows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Means<C extends Client, Conn extends Connection> {
  readonly signals: Signals
  /** Finds out the password that is valid now, and gives what makes the client. A library may open the socket when that is called. */
  readonly client: Effect.Effect<() => C, SqlError>
  readonly wireOf: (client: C) => Wire
  /**
   * Called before the client connects. The function that it gives is called when the server has accepted; from then on the
   * connection listens to the errors of its client.
   */
  readonly connection: (
    client: C,
    timers: Deadline.Timers["Type"],
    fork: (effect: Effect.Effect<void>) => void
  ) => () => Conn
  /** The failure of a connect that the server, or the way to it, has refused. */
  readonly refused: (cause: unknown) => SqlError
  /** What is sent before the pool gets the connection. */
  readonly begin?: ((connection: Conn) => Effect.Effect<void, SqlError>) | undefined
  /** Asks the server, beside the connection, to stop what a busy connection does. The socket is cut when this ends. Bounded. */
  readonly stop: (connection: Conn) => Effect.Effect<void>
}

/**
 * Opens a connection. The scope closes it: see `close`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const open = <C extends Client, Conn extends Connection>(
  means: Means<C, Conn>
): Effect.Effect<Conn, SqlError, Scope.Scope> =>
  Effect.gen(function* () {
    const timers = yield* Deadline.ofContext
    const scope = yield* Effect.scope
    const fork = yield* Fork.make
    let connection: Conn | undefined
    let isClosed = false
    let cut = () => {}
    // Before the client is made, because an interruption may come at any later moment: also when the server has accepted and the
    // fiber does not know it yet.
    yield* Scope.addFinalizer(
      scope,
      Effect.suspend(() => {
        isClosed = true
        return connection === undefined
          ? Effect.sync(() => cut())
          : Effect.uninterruptible(close(connection, timers, means))
      })
    )
    const make = yield* means.client
    const opened = yield* Effect.async<Conn, SqlError>((resume) => {
      // The scope may be closed by another fiber, which does not interrupt this one. A socket that is connected after it was
      // destroyed would come to life again.
      if (isClosed) return resume(Effect.fail(means.refused(new Error("Connection closed"))))
      const client = make()
      cut = () => means.wireOf(client).stream.destroy()
      const accepted = means.connection(client, timers, fork)
      // `connect` reports its first error to the callback and later ones as events.
      const ignore = () => {}
      client.on("error", ignore)
      client.connect((cause) => {
        if (cause) {
          cut()
          return resume(Effect.fail(means.refused(cause)))
        }
        connection = accepted()
        client.off("error", ignore)
        resume(Effect.succeed(connection))
      })
      return Effect.sync(cut)
    })
    if (means.begin !== undefined) yield* Effect.onError(means.begin(opened), () => Effect.sync(cut))
    return opened
  })

/**
 * Closes a connection. A busy one is stopped and cut. An idle one says goodbye, waits until the server has closed its side as
 * well, so that the server no longer counts it, and is cut after `GOODBYE` milliseconds. When the pool ends, nobody needs the
 * place, so an idle connection is cut as soon as its goodbye was handed to the network.
 *
 * @since 0.2.0
 * @category destructors
 */
export const close = <Conn extends Connection>(
  connection: Conn,
  timers: Deadline.Timers["Type"],
  { signals, stop }: Pick<Means<any, Conn>, "signals" | "stop">
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { pipeline, wire } = connection
    if (wire.stream.destroyed) return Effect.void
    const cut = Effect.sync(() => pipeline.destroy())
    return connection.status() === "busy"
      ? Effect.zipRight(stop(connection), cut)
      : Effect.zipRight(goodbye(connection, timers, signals), cut)
  })

const goodbye = (
  { pipeline, wire }: Connection,
  timers: Deadline.Timers["Type"],
  signals: Signals
): Effect.Effect<void> =>
  Effect.suspend(() => {
    pipeline.fail(new Error("Connection closed"))
    const { stream } = wire
    if (!signals.isEnding()) return within(timers, (done) => wire.once("end", done).end())
    wire.end()
    // As a rule the system takes the goodbye at once, and sends it although the socket is closed right after.
    return stream.writableLength === 0 ? Effect.void : within(timers, (done) => stream.once("finish", done).end())
  })

const within = (timers: Deadline.Timers["Type"], begin: (done: () => void) => void): Effect.Effect<void> =>
  Effect.async((resume) => {
    const timer = timers.set(timers.now() + GOODBYE, () => resume(Effect.void))
    begin(() => {
      timer.cancel()
      resume(Effect.void)
    })
  })
