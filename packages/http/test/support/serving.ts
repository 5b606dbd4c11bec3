/** A server of `@effect/platform` on a free port of loopback, and requests to it. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { type HttpApp, HttpServer, type HttpServerRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, type Scope } from "effect"

/** Serves the application until the scope closes, and gives its address. */
export const serving = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function* () {
    const server = createServer()
    yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
    const http = yield* NodeHttpServer.make(() => server, { host: "127.0.0.1", port: 0 })
    yield* HttpServer.serveEffect(app).pipe(Effect.provideService(HttpServer.HttpServer, http))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }) as Effect.Effect<string, never, Exclude<R, Scope.Scope | HttpServerRequest.HttpServerRequest> | Scope.Scope>

/** What came back of a request. */
export const get = (url: string, init?: RequestInit) =>
  Effect.promise(async (signal) => {
    const response = await fetch(url, { signal, ...init })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text }
  })
