/** A server of `@effect/platform` on a free port of loopback, and requests to it. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { type HttpApp, HttpServer, type HttpServerRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, type Scope } from "effect"

/** Ends a server of Node at once when the scope closes, clients that have not left included. */
const closing = (server: Server) => Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections?.()))

const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

/** Serves the application until the scope closes, and gives its address. */
export const serving = <E, R>(
  app: HttpApp.Default<E, R>,
  middleware: (app: HttpApp.Default<any, any>) => HttpApp.Default<any, any> = (app) => app,
  server: Server = createServer()
) =>
  Effect.gen(function* () {
    yield* closing(server)
    const http = yield* NodeHttpServer.make(() => server, { host: "127.0.0.1", port: 0 })
    yield* HttpServer.serveEffect(app, middleware).pipe(Effect.provideService(HttpServer.HttpServer, http))
    return addressOf(server)
  }) as Effect.Effect<string, never, Exclude<R, Scope.Scope | HttpServerRequest.HttpServerRequest> | Scope.Scope>

/** The same for a Layer that serves. */
export const listening = <E, R>(layer: Layer.Layer<never, E, R>) =>
  Effect.gen(function* () {
    const server = createServer()
    yield* closing(server)
    yield* Layer.build(
      Layer.provide(
        layer,
        NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0 })
      )
    )
    return addressOf(server)
  })

/** What came back of a request. */
export const get = (url: string, init?: RequestInit) =>
  Effect.promise(async (signal) => {
    const response = await fetch(url, { signal, ...init })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text }
  })
