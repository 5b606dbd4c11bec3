/**
 * One lazy connection for each request of Node's own servers: `node:http`, `node:https` and the compatible part of `node:http2`.
 *
 * @since 0.2.0
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Sql from "@sluice/sql/Sql"
import { Effect, type Scope } from "effect"
import type * as ClientGone from "./ClientGone.js"
import * as Exchange from "./internal/exchange.js"
import * as Raw from "./internal/raw.js"
import type { RequestOptions } from "./RequestOptions.js"

/**
 * Makes a request listener of a handler that is an effect.
 *
 * @since 0.2.0
 * @category models
 */
export type Route<R> = <
  E,
  Request extends ClientGone.Request = IncomingMessage,
  Response extends ClientGone.Response = ServerResponse
>(
  handler: (request: Request, response: Response) => Effect.Effect<unknown, E, R>
) => (request: Request, response: Response) => void

/**
 * Gives the function that makes request listeners. All of them have these options, and a pool is shared by however many of them.
 *
 * - What the handler gives is the body, and is sent when its connection is back: a text or bytes as they are, a `Stream` of those in pieces,
 *   everything else as JSON. The handler sets the status and headers of `response` before, and sends nothing itself. It gives
 *   `undefined` when it has: then its transaction is committed only after that, and no consistency token is added.
 * - A client that goes, at whatever moment, interrupts the handler: its statement is cancelled, its transaction is rolled back, its connection
 *   goes back. A client that has gone before is not served at all.
 * - Errors of the database that have an answer become that answer: see `Refusal`. Other failures are logged and answered with 500.
 * - Fails with `InvalidUse`, which lists every option that has no meaning.
 * - When the scope closes, the handlers that are left are interrupted, and answered with 503.
 *
 * @example
 * ```ts
 * import { createServer } from "node:http"
 * import { NodeHttp } from "@sluice/http"
 * import { Sql } from "@sluice/sql-pg"
 * import { Effect } from "effect"
 *
 * export const server = Effect.gen(function* () {
 *   const route = yield* NodeHttp.make({ deadline: "5 seconds" })
 *   return createServer(route(() => Sql.query("select * from payments")))
 * })
 * ```
 *
 * @see `ClientGone.signal` for a handler that is a plain Promise.
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
      (request, response) =>
        exchange(request, response, Raw.reply(response), () => handler(request, response))
  )
