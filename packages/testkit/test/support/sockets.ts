import type * as Net from "node:net"
import { Effect } from "effect"
import { until } from "../../src/internal/live.js"

/** The other side has closed this connection: the system answers what is sent to it then with a RST. */
export const closed = (socket: Net.Socket): Effect.Effect<void> =>
  until(
    Effect.sync(() => {
      if (!socket.destroyed) socket.write("anybody?")
      return socket.destroyed
    })
  )
