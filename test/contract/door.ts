/** A way to a server that the server itself has not: another address, or a Unix socket. */
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { Effect, type Scope } from "effect"

interface Target {
  readonly host: string
  readonly port: number
}

/** Listens on a path, or on a free port, until the scope closes; `target` is asked for each connection. Gives the port. */
export const door = (target: () => Target, path?: string): Effect.Effect<number, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new Set<Net.Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server = Net.createServer((client) => {
          const { host, port } = target()
          const upstream = Net.connect(port, host)
          for (const socket of [client, upstream]) sockets.add(socket.on("error", () => {}))
          client.on("close", () => upstream.destroy())
          client.pipe(upstream).pipe(client)
        })
        const ready = () => resume(Effect.succeed(server))
        if (path === undefined) server.listen(0, "127.0.0.1", ready)
        else server.listen(path, ready)
      }),
      (server) =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    )
    return path === undefined ? (server.address() as Net.AddressInfo).port : 0
  })

/** A Unix socket of this name in a folder of its own, which leads to the server. */
export const unixSocket = (name: string, target: Target) =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "db-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
    )
    const path = Path.join(folder, name)
    yield* door(() => target, path)
    return { folder, path }
  })
