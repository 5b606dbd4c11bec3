import type * as Net from "node:net"
import { Effect } from "effect"

/**
 * Ends a connection with `end`, and waits until the server has closed its side, so that the server no longer counts it. A server
 * that stops at this very moment may never do that: after 2 seconds, and when the caller is interrupted, the socket is cut.
 */
export const goodbye = (socket: Net.Socket, end: () => void): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (socket.closed) return resume(Effect.void)
    socket.once("close", () => resume(Effect.void))
    end()
  }).pipe(
    // A connection is released where nothing can be interrupted, and there a timeout has no effect.
    Effect.interruptible,
    Effect.timeoutOption("2 seconds"),
    Effect.ensuring(cut(socket)),
    Effect.asVoid
  )

/** Closes a connection at once. */
export const cut = (socket: Net.Socket): Effect.Effect<void> => Effect.sync(() => void socket.destroy())
