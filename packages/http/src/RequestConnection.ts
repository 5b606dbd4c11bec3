/**
 * One lazy connection for each request of `@effect/platform`.
 *
 * The middleware acquires nothing. It gives the handler an empty place for a connection, which the first statement fills, and says what
 * the request asks for: reads for GET, its priority, its deadline, what it must have seen. When the handler has ended the connection goes
 * back, before the response is sent: a client that reads slowly holds none. Only a streamed response that reads rows keeps it, until
 * the rows end. When the client hangs up the server interrupts the fiber of the request: the statement is cancelled, the
 * transaction is rolled back, the connection goes back.
 *
 * @since 0.2.0
 */

import * as Cookies from "@effect/platform/Cookies"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as App from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { SqlError } from "@effect/sql/SqlError"
import * as Sql from "@sluice/sql/Sql"
import { Effect, type Scope, Stream } from "effect"
import { socketOf, type Transport, watch } from "./internal/gone.js"
import type { Head } from "./internal/head.js"
import type { Holder } from "./internal/holder.js"
import * as Policy from "./internal/policy.js"
import * as Rows from "./internal/rows.js"
import { type Binding, serve } from "./internal/serve.js"
import * as Refusal from "./Refusal.js"
import type { RequestOptions } from "./RequestOptions.js"

export type { ConsistencyOptions, RequestOptions } from "./RequestOptions.js"

/**
 * What `make` gives: an application, and the same with a connection for each request.
 *
 * @since 0.2.0
 * @category models
 */
export type Middleware = <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, Exclude<R, Sql.Sql> | Scope.Scope>

/**
 * A middleware that gives each request its connection.
 *
 * **When to use:** once around the routes that use the database, and once more, with other options, around a single route whose priority
 * or deadline is another one.
 *
 * - Applied to an application or a router: `HttpRouter.use`, `HttpLayerRouter.middleware`, `HttpApiBuilder.middleware`, or `app.pipe(…)`. Not as
 *   the second argument of `HttpServer.serve`, inside of which the response is sent: then every request is answered with 500.
 * - Fails with `InvalidUse`, which lists every option that has no meaning.
 * - Errors of the database that have an answer become that answer: see `Refusal`. All others pass.
 * - Interruption of an application that is no router: the handler is interrupted as that of a route is.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { RequestConnection } from "@sluice/http"
 * import { Sql } from "@sluice/sql-pg"
 * import { Effect } from "effect"
 *
 * export const app = Effect.gen(function* () {
 *   const withConnection = yield* RequestConnection.make({ deadline: "5 seconds" })
 *   return HttpRouter.empty.pipe(
 *     HttpRouter.get("/payments", Effect.flatMap(Sql.query("select * from payments"), HttpServerResponse.json)),
 *     HttpRouter.use(withConnection)
 *   )
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: RequestOptions = {}): Effect.Effect<Middleware, SqlError, Sql.Sql> =>
  Effect.map(
    Effect.zip(Policy.make(options), Sql.Sql),
    ([policy, sql]): Middleware =>
      (app) => {
        const requested = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
          const socket = socketOf(request.source)
          const ends = socket === undefined ? Effect.void : untilGone(socket)
          const served = serve(policy, headOf(request), app, bindingOf(ends))
          return Effect.zipRight(ends, Effect.provideService(served, Sql.Sql, sql))
        })
        return App.withPreResponseHandler(interruptible(requested), misplaced) as any
      }
  )

const headOf = ({ headers, method }: HttpServerRequest.HttpServerRequest): Head => ({
  method,
  header: (name) => headers[name]
})

/** Interrupts the fiber that runs it when the client has hung up, until the scope closes: see `gone.ts`. */
const untilGone = (socket: Transport): Effect.Effect<void, never, Scope.Scope> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => watch(socket, () => fiber.unsafeInterruptAsFork(HttpServerError.clientAbortFiberId))),
        (unwatch) => Effect.sync(unwatch)
      )
    )
  )

/** A router has made the handlers of its routes interruptible, but for those that shall not be. */
const interruptible = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime(({ currentContext }) =>
    currentContext.unsafeMap.has(HttpRouter.RouteContext.key) ? effect : Effect.interruptible(effect)
  )

/** Runs only where the response is sent inside of the middleware: a connection would be held as long as the client reads. */
const misplaced: App.PreResponseHandler = () =>
  Effect.die(
    new Error(
      "RequestConnection was given to HttpServer.serve as its middleware. Apply it to the application: app.pipe(withConnection)"
    )
  )

/** `ends` is run by the fiber that sends a body in pieces. A middleware may have run the handler in another one, which has ended by then. */
const bindingOf = (
  ends: Effect.Effect<void, never, Scope.Scope>
): Binding<HttpServerResponse.HttpServerResponse, HttpServerResponse.HttpServerResponse> => ({
  isSuccess: ({ status }) => status < 400,
  isRead: ({ body }) => body._tag === "Stream",
  respond: (served) => {
    if (served._tag === "Refused") {
      const { body, headers, status } = Refusal.toResponse(served.refusal)
      return Effect.succeed(withHeaders(HttpServerResponse.text(body, { status, headers }), served.headers))
    }
    const response = withHeaders(served.value, served.headers)
    return served.holder === undefined ? Effect.succeed(response) : streamed(response, served.holder, ends)
  }
})

const withHeaders = (
  response: HttpServerResponse.HttpServerResponse,
  headers: ReadonlyArray<readonly [name: string, value: string]>
): HttpServerResponse.HttpServerResponse =>
  headers.reduce(
    (response, [name, value]) =>
      name === "set-cookie"
        ? HttpServerResponse.mergeCookies(response, Cookies.fromSetCookie([value]))
        : HttpServerResponse.setHeader(response, name, value),
    response
  )

const streamed = (
  response: HttpServerResponse.HttpServerResponse,
  holder: Holder,
  ends: Effect.Effect<void, never, Scope.Scope>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, Scope.Scope> => {
  const { body } = response
  if (body._tag !== "Stream") return Effect.as(holder.close, response)
  return Effect.map(Rows.onConnection(body.stream, holder), (rows) => {
    const stream = Stream.unwrapScoped(Effect.as(ends, rows))
    return HttpServerResponse.setBody(response, HttpBody.stream(stream, body.contentType, body.contentLength))
  })
}
