import * as Net from "node:net"
import { Effect } from "effect"

/** The name of a server, and the number of a session, in what it says first: a packet of its own. */
export interface Greeting {
  readonly name?: "Percona"
  readonly hidesThread?: boolean
}

const changed = (packet: Buffer, { hidesThread, name }: Greeting): Buffer => {
  const greeting = Buffer.from(packet)
  const at = greeting.indexOf("MariaDB")
  // As long as it was, so that nothing moves.
  if (name !== undefined) greeting.write(name, at, "latin1")
  // After the version, which ends with a zero.
  if (hidesThread) greeting.writeUInt32LE(0xffff_fff0, greeting.indexOf(0, 5) + 1)
  return greeting
}

/** A proxy that gives a server out as another one, for as long as the scope lives. */
export const proxy = (target: { readonly host: string; readonly port: number }, greeting: Greeting) =>
  Effect.gen(function* () {
    const sockets = new Set<Net.Socket>()
    const server = Net.createServer((client) => {
      const upstream = Net.connect(target.port, target.host)
      for (const socket of [client, upstream]) {
        sockets.add(socket.setNoDelay(true))
        socket.on("error", () => {})
      }
      client.on("close", () => upstream.destroy())
      upstream.on("close", () => client.destroy())
      client.pipe(upstream)
      upstream.once("data", (first) => {
        client.write(changed(first as Buffer, greeting))
        upstream.pipe(client)
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
    return { port: (server.address() as Net.AddressInfo).port }
  })
