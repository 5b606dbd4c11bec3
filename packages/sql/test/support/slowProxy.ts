import * as Net from "node:net"
import { Effect } from "effect"

/** What is held back, in milliseconds; may be changed at any time. */
export interface Delays {
  /** From the client to the server, on the connections that were opened before `split`. */
  first: number
  /** From the client to the server, on the others. */
  later: number
  /** The last six bytes of what the server sends: its ReadyForQuery, so that it comes after the rest of an answer. */
  ready: number
  /** Connections opened from now on are `later` ones. */
  split: boolean
  /** Round trips so far, on all connections: what the client has sent after the server had answered. */
  trips: number
}

/**
 * A proxy that takes messages apart in time, which a network may do and a test must be able to. `sent` may change what a client
 * sends.
 */
export const make = (
  target: { readonly host: string; readonly port: number },
  sent: (chunk: Buffer) => Buffer = (chunk) => chunk
) =>
  Effect.gen(function* () {
    const delays: Delays = { first: 0, later: 0, ready: 0, split: false, trips: 0 }
    const sockets = new Set<Net.Socket>()
    const server = Net.createServer((client) => {
      const isFirst = !delays.split
      const upstream = Net.connect(target.port, target.host)
      for (const socket of [client, upstream]) {
        sockets.add(socket.setNoDelay(true))
        socket.on("error", () => {})
      }
      client.on("close", () => upstream.destroy())
      upstream.on("close", () => client.destroy())
      // One queue for each direction: what is held back holds back what comes after it.
      const sender = (to: Net.Socket) => {
        let last = Promise.resolve()
        return (chunk: Uint8Array, ms: number) => {
          last = last
            .then(() => (ms === 0 ? undefined : new Promise<void>((resolve) => setTimeout(resolve, ms))))
            .then(() => {
              to.write(chunk)
            })
        }
      }
      const up = sender(upstream)
      const down = sender(client)
      let hasAnswered = true
      client.on("data", () => {
        if (hasAnswered) delays.trips++
        hasAnswered = false
      })
      upstream.on("data", () => {
        hasAnswered = true
      })
      client.on("data", (chunk) => up(sent(chunk), isFirst ? delays.first : delays.later))
      upstream.on("data", (chunk) => {
        if (delays.ready > 0 && chunk.length > 6) down(chunk.subarray(0, -6), 0)
        down(delays.ready > 0 ? chunk.subarray(-6) : chunk, delays.ready)
      })
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    )
    return { delays, port: (server.address() as Net.AddressInfo).port }
  })
