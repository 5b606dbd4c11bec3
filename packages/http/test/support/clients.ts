/** Servers and clients whose every byte is told: real sockets on loopback. */
import * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import { Effect, type Scope } from "effect"

export type Handler = (request: any, response: any) => void

const listening = (server: Net.Server, end: () => void): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as Net.AddressInfo).port)))
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        end()
      })
  )

/** A server for as long as the scope lives; gives its port. */
export const http1 = (handler: Handler, options: { readonly halfOpen?: boolean } = {}) =>
  Effect.suspend(() => {
    const server = Http.createServer(handler)
    // @types/node does not know the property, which is documented.
    ;(server as { httpAllowHalfOpen?: boolean }).httpAllowHalfOpen = options.halfOpen ?? false
    return listening(server, () => server.closeAllConnections())
  })

export const http2 = (handler: Handler) =>
  Effect.suspend(() => {
    const server = Http2.createServer(handler)
    const sessions = new Set<Http2.ServerHttp2Session>()
    server.on("session", (session) => void sessions.add(session))
    return listening(server, () => {
      for (const session of sessions) session.destroy()
    })
  })

/** A client that writes bytes as they are. */
export interface Raw {
  readonly socket: Net.Socket
  readonly text: () => string
}

export const raw = (port: number, text: string): Effect.Effect<Raw, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Raw>((resume) => {
      let got = ""
      const socket = Net.connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true }, () => {
        socket.write(text)
        resume(Effect.succeed({ socket, text: () => got }))
      })
      socket
        .on("error", () => {})
        .on("data", (bytes) => {
          got += bytes.toString("latin1")
        })
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

export const session = (port: number): Effect.Effect<Http2.ClientHttp2Session, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => Http2.connect(`http://127.0.0.1:${port}`).on("error", () => {})),
    (client) => Effect.sync(() => client.destroy())
  )

/** So many requests on one session, each of which is reset a millisecond after it was made; half of them are POSTs with a body. */
export const resets = (port: number, path: string, count: number): Effect.Effect<void> =>
  Effect.scoped(
    Effect.flatMap(session(port), (client) =>
      Effect.forEach(
        Array.from({ length: count }, (_, n) => n % 2 === 0),
        (isPost) =>
          Effect.suspend(() => {
            const head = { ":path": path, ":method": isPost ? "POST" : "GET", "content-type": "application/json" }
            const stream = client.request(head, { endStream: !isPost }).on("error", () => {})
            if (isPost) stream.end('{"a":1}')
            return Effect.zipRight(
              Effect.sleep("1 millis"),
              Effect.sync(() => stream.close(Http2.constants.NGHTTP2_CANCEL))
            )
          }),
        { discard: true }
      )
    )
  )

export const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

export const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
