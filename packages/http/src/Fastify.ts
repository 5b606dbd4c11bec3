/**
 * One lazy connection for each request of Fastify 5. It is no part of the package's index, because its types need those of Fastify:
 * `import * as Fastify from "@sluice/http/Fastify"`.
 *
 * @since 0.2.0
 */
import { PassThrough } from "node:stream"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Sql from "@sluice/sql/Sql"
import { Cause, Effect, type Scope } from "effect"
import type {
  FastifyInstance,
  FastifyPluginCallback,
  FastifyReply,
  FastifyRequest,
  RouteGenericInterface
} from "fastify"
import * as ClientGone from "./ClientGone.js"
import * as Exchange from "./internal/exchange.js"
import type { RequestOptions } from "./RequestOptions.js"

/** A server of whatever kind: HTTP/1 or HTTP/2, with or without TLS. */
type AnyRequest<G extends RouteGenericInterface> = FastifyRequest<G, any, any>

/**
 * Makes a route handler of Fastify of a handler that is an effect.
 *
 * @since 0.2.0
 * @category models
 */
export type Route<R> = <E, G extends RouteGenericInterface = RouteGenericInterface>(
  handler: (request: AnyRequest<G>, reply: FastifyReply<any, any, any, any>) => Effect.Effect<unknown, E, R>
) => (request: any, reply: any) => Promise<unknown>

/**
 * Gives the function that makes route handlers: for `app.get`, `app.route` and their like. All of them have these options.
 *
 * - What the handler gives is the payload, as if an async handler had returned it: schemas, serializers and hooks of Fastify see it. It is
 *   sent when the connection is back; a `Stream` of texts or bytes is sent in pieces. The handler sets status and headers before
 *   (`reply.code(201)`), and sends nothing itself.
 * - A client that goes, at whatever moment, interrupts the handler: its statement is cancelled, its transaction is rolled back, its connection
 *   goes back. A client that has gone before, while a hook waited for something, is not served at all.
 * - Errors of the database that have an answer become that answer: see `Refusal`. Other failures go to Fastify's error handler.
 * - Fails with `InvalidUse`, which lists every option that has no meaning.
 * - When the scope closes, the handlers that are left are interrupted, and answered with 503.
 *
 * @example
 * ```ts
 * import * as Fastify from "@sluice/http/Fastify"
 * import { Sql } from "@sluice/sql-pg"
 * import { Effect } from "effect"
 * import fastify from "fastify"
 *
 * export const app = Effect.gen(function* () {
 *   const route = yield* Fastify.make({ deadline: "5 seconds" })
 *   return fastify().get(
 *     "/payments/:id",
 *     route<never, { Params: { id: string } }>(({ params }) =>
 *       Effect.orDie(Sql.query("select * from payments where id = $1", [params.id]))
 *     )
 *   )
 * })
 * ```
 *
 * @see `plugin` for handlers that are plain Promises.
 * @since 0.2.0
 * @category constructors
 */
export const make = <R = never>(
  options: RequestOptions = {}
): Effect.Effect<Route<R | Sql.Sql>, SqlError, R | Sql.Sql | Scope.Scope> =>
  Effect.map(
    Exchange.make<R>(options),
    (exchange): Route<R | Sql.Sql> =>
      (handler) =>
      (request: FastifyRequest, reply: FastifyReply) =>
        // For a client that has gone it stays open, as nobody is there for an answer.
        new Promise((resolve, reject) =>
          exchange(request.raw, reply.raw, replyOf(reply, resolve, reject), () => handler(request as any, reply))
        )
  )

const replyOf = (
  reply: FastifyReply,
  resolve: (payload: unknown) => void,
  reject: (error: unknown) => void
): Exchange.Reply => ({
  status: () => reply.statusCode,
  setStatus: (status) => void reply.code(status),
  // Several cookies are several headers: Fastify keeps those that are there.
  addHeader: (name, value) => void (reply.sent || reply.header(name, value)),
  send: resolve,
  open: () => {
    const body = new PassThrough()
    resolve(body)
    return body
  },
  fail: (cause) => Effect.sync(() => reject(Cause.squash(cause)))
})

declare module "fastify" {
  interface FastifyRequest {
    /** Aborted when the client goes before it has its answer. There with the plugin of `@sluice/http`. */
    clientSignal: AbortSignal
  }
}

/**
 * A plugin for handlers that are plain Promises: `request.clientSignal` is aborted when the client goes before it has its answer. It holds for
 * the whole instance on which it is registered.
 *
 * **When to use:** instead of Fastify's `request.signal`, which is aborted for healthy requests too: for every POST whose body was read.
 *
 * @see `ClientGone.signal`, which it calls.
 * @since 0.2.0
 * @category plugins
 */
export const plugin: FastifyPluginCallback = Object.assign(
  (app: FastifyInstance, _options: unknown, done: () => void) => {
    app.decorateRequest("clientSignal", null as never)
    app.addHook("onRequest", (request, reply, next) => {
      request.clientSignal = ClientGone.signal(request.raw, reply.raw)
      next()
    })
    done()
  },
  // What `fastify-plugin` does: the decorator holds for the instance around the plugin.
  { [Symbol.for("skip-override")]: true, [Symbol.for("fastify.display-name")]: "@sluice/http" }
)
