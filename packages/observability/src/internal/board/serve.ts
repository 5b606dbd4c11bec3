/** A server of its own for a board. */

import { createServer } from "node:http"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import { Effect, type Scope } from "effect"

/** Answers until the scope closes. Gives the address. */
export const serve = (
  app: HttpApp.Default,
  options: { readonly port: number; readonly host: string }
): Effect.Effect<string, ServeError, Scope.Scope> =>
  Effect.gen(function* () {
    // Loaded here and not above, so that a board in a server of the program's own does not need it.
    const { make } = yield* Effect.promise(() => import("@effect/platform-node/NodeHttpServer"))
    const server = createServer()
    const http = yield* make(() => server, options)
    yield* http.serve(app)
    // Without this, closing waits for browsers that keep an idle connection, and for the one that reads the last event slowly.
    yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
    return HttpServer.formatAddress(http.address)
  })
