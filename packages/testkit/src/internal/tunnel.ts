import * as Net from "node:net"
import { Deferred, Effect, Exit, Queue } from "effect"
import { live, monotonicMillis } from "./live.js"

/** How bytes are held back on their way. They are read anew for every piece, so a change takes effect at once. */
export interface Conditions {
  delayMillis: number
  /** For each direction of each connection; `Infinity` is no limit. */
  bytesPerSecond: number
  /** Completed by `heal` when it ends the present faults. `heal` then puts a new one in its place. */
  healed: Deferred.Deferred<void>
}

/** How the sockets end: with a FIN each, or with a RST each. */
export type Ending = "cut" | "reset"

/**
 * One client connection and the one to the target that belongs to it.
 *
 * ```
 * dialing --connected--> forwarding --both sides said FIN, error, ending--> closed
 *    while the gate is closed, a tunnel stands still in either state
 * ```
 */
export interface Tunnel {
  /** While it is closed, no byte, FIN or RST passes in either direction, and the target is not dialed. */
  readonly gate: Effect.Latch
  /** Ends the tunnel, and succeeds when no byte can pass any more. */
  readonly end: (ending: Ending) => Effect.Effect<void>
  /** Forwards until the tunnel is closed. */
  readonly run: Effect.Effect<void>
}

/**
 * Most pieces that are on their way in one direction: at 64 KiB each, a delay holds 16 MiB before the sender has to
 * wait.
 */
const inFlight = 256

type Piece = Buffer | "fin" | "rst"

const read = (socket: Net.Socket): Effect.Effect<Piece> =>
  Effect.async((resume) => {
    const done = (piece: Piece) => {
      socket.off("readable", attempt).off("end", ended).off("close", broken)
      resume(Effect.succeed(piece))
    }
    const ended = () => done("fin")
    const broken = () => done("rst")
    const attempt = () => {
      const chunk: Buffer | null = socket.read()
      if (chunk !== null) done(chunk)
    }
    if (socket.readableEnded) return resume(Effect.succeed("fin"))
    if (socket.destroyed) return resume(Effect.succeed("rst"))
    // While the queue is full nothing is read, so the kernel's buffers fill up and the sender has to wait.
    socket.on("readable", attempt).on("end", ended).on("close", broken)
    attempt()
    return Effect.sync(() => socket.off("readable", attempt).off("end", ended).off("close", broken))
  })

/** Succeeds when the kernel has taken the bytes, so at most one piece waits here. Fails if the socket has closed. */
const write = (socket: Net.Socket, bytes: Buffer): Effect.Effect<void, "rst"> =>
  Effect.async((resume) => {
    socket.write(bytes, (error) => resume(error ? Effect.fail("rst") : Effect.void))
  })

const split = (bytes: Buffer, size: number): ReadonlyArray<Buffer> =>
  bytes.length <= size
    ? [bytes]
    : Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))

/** Forwards one direction. Succeeds after a FIN, fails after a RST. */
const forward = (from: Net.Socket, to: Net.Socket, gate: Effect.Latch, conditions: Conditions) =>
  Effect.gen(function* () {
    const queue = yield* Queue.bounded<{
      readonly piece: Piece
      readonly due: number
      readonly healed: Deferred.Deferred<void>
    }>(inFlight)
    const receive: Effect.Effect<void> = Effect.gen(function* () {
      const piece = yield* read(from)
      const due = (yield* monotonicMillis) + conditions.delayMillis
      yield* Queue.offer(queue, { piece, due, healed: conditions.healed })
      return piece
    }).pipe(Effect.repeat({ until: (piece) => typeof piece === "string" }), Effect.asVoid)

    // One fiber takes the pieces in order, so that with a shorter delay no later piece overtakes an earlier one.
    const send = Effect.gen(function* () {
      const { due, healed, piece } = yield* Queue.take(queue)
      // Rounded up, because a timer of Node drops the part of a millisecond.
      const wait = Math.ceil(due - (yield* monotonicMillis))
      if (wait > 0) yield* Effect.raceFirst(Effect.sleep(wait), Deferred.await(healed))
      yield* gate.await
      if (piece === "rst") return yield* Effect.fail("rst" as const)
      if (piece === "fin") {
        to.end()
        return true
      }
      const rate = conditions.bytesPerSecond
      // Fifty pieces a second are smooth enough, and a rate below fifty still passes one byte at a time.
      for (const part of split(piece, rate === Infinity ? piece.length : Math.max(1, Math.ceil(rate / 50)))) {
        yield* gate.await
        yield* write(to, part)
        if (rate !== Infinity) yield* Effect.sleep((part.length / rate) * 1000)
      }
      return false
    }).pipe(Effect.repeat({ until: (finished) => finished }))

    yield* Effect.all([receive, send], { concurrency: 2, discard: true })
  })

const connect = (socket: Net.Socket, target: { readonly host: string; readonly port: number }) =>
  Effect.async<void, "rst">((resume) => {
    socket.once("close", () => resume(Effect.fail("rst")))
    socket.connect(target, () => resume(Effect.void))
  })

/** Sends a FIN, and drops what still comes: if a socket closes with unread bytes, the kernel sends a RST instead. */
const finish = (socket: Net.Socket) => {
  socket.removeAllListeners("readable")
  socket.end()
  socket.resume()
}

/**
 * Sends a RST. While a FIN waits to leave, the system refuses to send one, and Node would then lose the socket without closing
 * it: nothing could close it any more.
 */
const reset = (socket: Net.Socket) => {
  if (socket.writableEnded && !socket.writableFinished) socket.once("finish", () => socket.resetAndDestroy())
  else socket.resetAndDestroy()
}

/**
 * The proxy owns (`own`) the socket that a tunnel opens, as it owns the client's, and destroys both when its scope
 * closes.
 */
export const make = (
  client: Net.Socket,
  target: { readonly host: string; readonly port: number },
  conditions: Conditions,
  open: boolean,
  own: (socket: Net.Socket) => void
): Effect.Effect<Tunnel> =>
  Effect.gen(function* () {
    const gate = yield* Effect.makeLatch(open)
    const ending = yield* Deferred.make<Ending>()
    const closed = yield* Deferred.make<void>()
    const server = new Net.Socket({ allowHalfOpen: true })
    server.setNoDelay(true)
    own(server)

    const passing = Effect.gen(function* () {
      yield* gate.await
      yield* connect(server, target)
      yield* Effect.all([forward(client, server, gate, conditions), forward(server, client, gate, conditions)], {
        concurrency: 2,
        discard: true
      })
    })

    const run = Effect.raceFirst(
      passing.pipe(
        Effect.as("cut" as const),
        Effect.catchAll(() => Effect.succeed("reset" as const))
      ),
      Deferred.await(ending)
    ).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          for (const socket of [client, server]) {
            if (Exit.isFailure(exit)) socket.destroy()
            else if (exit.value === "reset") reset(socket)
            else finish(socket)
          }
        }).pipe(Effect.zipRight(Deferred.succeed(closed, undefined)))
      ),
      Effect.asVoid,
      live
    )

    return {
      gate,
      run,
      end: (how) => Effect.zipRight(Deferred.succeed(ending, how), Deferred.await(closed))
    }
  })
