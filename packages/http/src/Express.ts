/**
 * One lazy connection for each request of Express 5. It is no part of the package's index, because its types need those of Express:
 * `import * as Express from "@sluice/http/Express"`.
 *
 * @since 0.2.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import type * as Sql from "@sluice/sql/Sql"
import { Cause, Effect, type Scope } from "effect"
import type { NextFunction, Request, RequestHandler, Response } from "express"
import * as ClientGone from "./ClientGone.js"
import * as Exchange from "./internal/exchange.js"
import * as Raw from "./internal/raw.js"
import type { RequestOptions } from "./RequestOptions.js"

/**
 * Makes a request handler of Express of a handler that is an effect.
 *
 * @since 0.2.0
 * @category models
 */
export type Route<R> = <E, Params = Request["params"], ResBody = any, ReqBody = any, Query = Request["query"]>(
  handler: (
    request: Request<Params, ResBody, ReqBody, Query>,
    response: Response<ResBody>
  ) => Effect.Effect<unknown, E, R>
) => (request: Request<Params, ResBody, ReqBody, Query>, response: Response<ResBody>, next: NextFunction) => void

/**
 * Gives the function that makes request handlers: for `app.get`, `router.post` and their like. All of them have these options.
 *
 * - What the handler gives is sent with `response.send` when its connection is back; a `Stream` of texts or bytes is sent in pieces. The
 *   handler sets status and headers before (`response.status(201)`), and sends nothing itself. It gives `undefined` when it has: then its
 *   transaction is committed only after that, and no consistency token is added.
 * - A client that goes, at whatever moment, interrupts the handler: its statement is cancelled, its transaction is rolled back, its connection
 *   goes back. A client that has gone before, while a middleware waited for something, is not served at all.
 * - Errors of the database that have an answer become that answer: see `Refusal`. Other failures go to `next`.
 * - Fails with `InvalidUse`, which lists every option that has no meaning.
 * - When the scope closes, the handlers that are left are interrupted, and answered with 503.
 *
 * @example
 * ```ts
 * import * as Express from "@sluice/http/Express"
 * import { Sql } from "@sluice/sql-pg"
 * import { Effect } from "effect"
 * import express from "express"
 *
 * export const app = Effect.gen(function* () {
 *   const route = yield* Express.make({ deadline: "5 seconds" })
 *   return express().get(
 *     "/payments/:id",
 *     route((request) => Sql.query("select * from payments where id = $1", [request.params.id]))
 *   )
 * })
 * ```
 *
 * @see `signal` for handlers that are plain Promises.
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
      (request, response, next) =>
        exchange(request as Request, response, replyOf(response, next), () => handler(request, response))
  )

const replyOf = (response: Response, next: NextFunction): Exchange.Reply => ({
  ...Raw.reply(response),
  send: (body) => {
    if (body !== undefined && !response.headersSent) response.send(body)
  },
  fail: (cause) => Effect.sync(() => next(Cause.squash(cause)))
})

/**
 * A middleware for handlers that are plain Promises: `response.locals.signal` is aborted when the client goes before it has its answer. The
 * handlers behind it do not run for a client that has gone already.
 *
 * @see `ClientGone.signal`, which it calls.
 * @since 0.2.0
 * @category middleware
 */
export const signal: RequestHandler = (request, response, next) => {
  if (ClientGone.isGone(request, response)) return
  response.locals["signal"] = ClientGone.signal(request, response)
  next()
}
