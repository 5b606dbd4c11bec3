/**
 * A TCP proxy that breaks connections in the ways networks do.
 *
 * ```
 * healthy --blackhole, delay, limit, refuse (each adds to the others)--> faulty --heal--> healthy
 * ```
 *
 * 1. Bytes are forwarded in order, once, and unchanged.
 * 2. A side that reads slowly slows the other side down; the proxy holds at most 16 MiB for each direction.
 * 3. Closing the scope closes the listener and every socket.
 * 4. Delays and limits take real time, also under a `TestClock`.
 *
 * @since 0.1.0
 */

import * as Net from "node:net"
import { Data, Deferred, Duration, Effect, FiberId, FiberSet, Schedule, type Scope } from "effect"
import { freePort, live } from "./internal/live.js"
import * as Tunnel from "./internal/tunnel.js"

/**
 * The proxy could not listen. The message names the port and what to do.
 *
 * @since 0.1.0
 * @category errors
 */
export class FaultProxyError extends Data.TaggedError("FaultProxyError")<{
  readonly host: string
  readonly port: number
  readonly cause: Error
}> {
  override get message(): string {
    return `FaultProxy cannot listen on ${this.host}:${this.port}: ${this.cause.message}. Choose another port, or none.`
  }
}

/**
 * What a proxy forwards to, and where it listens.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Where connections are forwarded to. If nothing listens there, the proxy resets the client's connection. */
  readonly target: { readonly host: string; readonly port: number }
  /** Where the proxy listens on 127.0.0.1. Default: a free port between 15000 and 32000. */
  readonly port?: number
}

/**
 * Which connections a blackhole swallows.
 *
 * @since 0.1.0
 * @category models
 */
export interface BlackholeOptions {
  /** The connections that are open now. Default true. */
  readonly established?: boolean
  /** The connections that are opened until `heal`: the proxy accepts them and forwards nothing. Default true. */
  readonly new?: boolean
  /**
   * True: the connections that are open now stay frozen after `heal`, until `cut`, `reset` or the scope's end. Default
   * false.
   */
  readonly forGood?: boolean
}

/**
 * A running proxy and its faults. Faults add up; `heal` ends all of them.
 *
 * @since 0.1.0
 * @category models
 */
export interface FaultProxy {
  /** Always `127.0.0.1`. */
  readonly host: string
  readonly port: number
  /** Connections that are open now, frozen ones included. */
  readonly connections: Effect.Effect<number>
  /** Connections accepted since the beginning. */
  readonly accepted: Effect.Effect<number>
  /**
   * Ends every open connection with a FIN to both sides, drops the bytes on their way, and succeeds with the number.
   */
  readonly cut: Effect.Effect<number>
  /** Ends every open connection with a RST to both sides (`ECONNRESET`), and succeeds with the number. */
  readonly reset: Effect.Effect<number>
  /**
   * Stops forwarding in both directions without closing anything: bytes, FIN and RST wait. What was sent meanwhile
   * arrives after `heal`, as after a short network outage. By default new connections are swallowed as well;
   * `{ new: false }` freezes only those that are open now, as a firewall does that has forgotten them.
   */
  readonly blackhole: (options?: BlackholeOptions) => Effect.Effect<void>
  /**
   * Holds back every byte, FIN and RST in each direction, so a round trip takes twice this time. A connect takes none
   * of it.
   */
  readonly delay: (duration: Duration.DurationInput) => Effect.Effect<void>
  /** Highest throughput of each direction of each connection, in bytes per second; at least 1. */
  readonly limit: (bytesPerSecond: number) => Effect.Effect<void>
  /** Connections that are accepted from now on go to this target, as when the address of a server moves. Open ones go on. */
  readonly aim: (target: Options["target"]) => Effect.Effect<void>
  /** Closes the listener: new connections get `ECONNREFUSED`. Open ones go on. */
  readonly refuse: Effect.Effect<void>
  /**
   * Ends all faults and delivers at once what a delay held back. Frozen connections go on, except those frozen with
   * `forGood`. Fails if, after `refuse`, another process keeps the port for longer than a second.
   */
  readonly heal: Effect.Effect<void, FaultProxyError>
}

const host = "127.0.0.1"

const listen = (port: number, accept: (socket: Net.Socket) => void): Effect.Effect<Net.Server, FaultProxyError> =>
  Effect.async((resume) => {
    const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, accept)
    server.once("error", (cause) => resume(new FaultProxyError({ host, port, cause })))
    server.listen({ host, port, exclusive: true }, () => resume(Effect.succeed(server)))
  })

/**
 * Makes a proxy that lives as long as the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<FaultProxy, FaultProxyError, Scope.Scope> =>
  Effect.gen(function* () {
    const conditions: Tunnel.Conditions = {
      delayMillis: 0,
      bytesPerSecond: Infinity,
      healed: yield* Deferred.make<void>()
    }
    const tunnels = new Set<Tunnel.Tunnel>()
    const lost = new Set<Tunnel.Tunnel>()
    const sockets = new Set<Net.Socket>()
    let accepted = 0
    let { target } = options
    let swallowing = false
    let listener: Net.Server | undefined

    const stopListening = Effect.sync(() => {
      // No callback: it would come only after all open connections have ended.
      listener?.close()
      listener = undefined
    })

    // Finalizers run in reverse order: the listener closes, then the fibers end, then the remaining sockets are
    // destroyed.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
      })
    )
    const fork = yield* FiberSet.makeRuntime<never>()
    yield* Effect.addFinalizer(() => stopListening)

    const own = (socket: Net.Socket) => {
      sockets.add(socket)
      socket.on("error", () => {}) // the tunnel listens to "close", which follows every error
      socket.once("close", () => sockets.delete(socket))
    }

    const accept = (client: Net.Socket) => {
      accepted++
      own(client)
      const serve = Effect.acquireUseRelease(
        Effect.tap(Tunnel.make(client, target, conditions, !swallowing, own), (tunnel) => tunnels.add(tunnel)),
        (tunnel) => tunnel.run,
        (tunnel) =>
          Effect.sync(() => {
            tunnels.delete(tunnel)
            lost.delete(tunnel)
          })
      )
      fork(serve)
    }

    // Uninterruptible: an interruption after binding would leave a listener that no finalizer knows and closes.
    const bind = (port: number) =>
      Effect.uninterruptible(
        Effect.tap(listen(port, accept), (server) =>
          Effect.sync(() => {
            listener = server
          })
        )
      )

    const attempts = Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(20))
    const fixed = options.port
    const port = yield* (
      fixed === undefined
        ? Effect.retry(
            Effect.flatMap(freePort, (port) => Effect.as(bind(port), port)),
            attempts
          )
        : Effect.as(bind(fixed), fixed)
    ).pipe(live)

    const end = (how: Tunnel.Ending) =>
      Effect.suspend(() => {
        const open = [...tunnels]
        return Effect.as(
          Effect.forEach(open, (tunnel) => tunnel.end(how), { concurrency: "unbounded", discard: true }),
          open.length
        )
      })

    return {
      host,
      port,
      connections: Effect.sync(() => tunnels.size),
      accepted: Effect.sync(() => accepted),
      cut: end("cut"),
      reset: end("reset"),
      blackhole: ({ established = true, forGood = false, new: fresh = true } = {}) =>
        Effect.suspend(() => {
          if (fresh) swallowing = true
          if (!established) return Effect.void
          if (forGood) for (const tunnel of tunnels) lost.add(tunnel)
          return Effect.forEach(tunnels, ({ gate }) => gate.close, { discard: true })
        }),
      delay: (duration) =>
        Effect.sync(() => {
          conditions.delayMillis = Duration.toMillis(duration)
        }),
      limit: (bytesPerSecond) =>
        Effect.sync(() => {
          conditions.bytesPerSecond = Math.max(1, bytesPerSecond)
        }),
      aim: (next) =>
        Effect.sync(() => {
          target = next
        }),
      refuse: stopListening,
      heal: Effect.suspend(() => {
        swallowing = false
        conditions.delayMillis = 0
        conditions.bytesPerSecond = Infinity
        Deferred.unsafeDone(conditions.healed, Effect.void)
        conditions.healed = Deferred.unsafeMake(FiberId.none)
        const frozen = [...tunnels].filter((tunnel) => !lost.has(tunnel))
        return Effect.forEach(frozen, ({ gate }) => gate.open, { discard: true }).pipe(
          Effect.zipRight(listener === undefined ? Effect.retry(bind(port), attempts) : Effect.void),
          Effect.asVoid,
          live
        )
      })
    }
  })
