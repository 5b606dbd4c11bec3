/**
 * Whether a client has gone before it got its answer: decided here, for every server that is built on Node's.
 *
 * The client is gone when its *transport* has ended and the response was not given whole. The transport is the socket of an HTTP/1
 * request, and the stream of an HTTP/2 one.
 *
 * | what happens | gone |
 * | --- | --- |
 * | a GET waits; a POST waits whose body was read | no |
 * | the client shuts down its sending side, and `httpAllowHalfOpen` of the server is on | no |
 * | the same, and it is off (Node's default: Node then closes the socket at once) | yes |
 * | the client ends with a FIN or a RST: before the body, inside of it or after it | yes |
 * | the same, while the answer waits behind another one of the same socket (pipelining) | yes |
 * | an HTTP/2 stream is reset, with whatever code; its session ends | yes |
 * | the whole answer was given, and the client leaves without reading it | no |
 *
 * What looks simpler is wrong somewhere, as seen on Node 20, 22 and 24:
 *
 * - `request.destroyed` and the `close` of the request come for every healthy POST whose body was read;
 * - `request.aborted` never comes for a POST that is left after its body was read;
 * - the `close` of the response never comes, on Node 20, for an answer that waits behind another one;
 * - `writableFinished` of an HTTP/2 response is true after a reset.
 *
 * @since 0.2.0
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import { type Transport, watch } from "./internal/gone.js"

/**
 * A request of Node's HTTP/1 or HTTP/2 server. That of Express is one, and that of Fastify has one: `request.raw`.
 *
 * @since 0.2.0
 * @category models
 */
export type Request = IncomingMessage | Http2ServerRequest

/**
 * The response that belongs to it.
 *
 * @since 0.2.0
 * @category models
 */
export type Response = ServerResponse | Http2ServerResponse

const transportOf = (request: Request): Transport => ("stream" in request ? request.stream : request.socket)

/**
 * Whether the client has gone: nobody will get what is still to be answered.
 *
 * **When to use:** before work begins that may be begun late, after a queue for example.
 *
 * @see `signal` to be told when it goes.
 * @since 0.2.0
 * @category getters
 */
export const isGone = (request: Request, response: Response): boolean =>
  transportOf(request).destroyed && !response.writableEnded

/**
 * Calls `tell` once when the client goes before the response was given whole, at once if it has gone already. Gives the function that ends
 * the listening.
 *
 * **When to use:** to bind a server that this package does not know.
 *
 * - Nothing is missed between the look and the listening: a transport is `destroyed` before its `close` comes, and both are asked in one
 *   turn.
 *
 * @since 0.2.0
 * @category listening
 */
export const onGone = (request: Request, response: Response, tell: () => void): (() => void) => {
  let unwatch = () => {}
  const stop = () => {
    response.off("close", gone)
    unwatch()
  }
  const gone = () => {
    stop()
    if (!response.writableEnded) tell()
  }
  // A socket is kept for the next request, and must not remember this one.
  response.once("close", gone)
  unwatch = watch(transportOf(request), gone)
  return stop
}

/**
 * A signal that is aborted when the client goes before the response was given whole; it is aborted already if the client has gone.
 *
 * **When to use:** for a handler that is a plain Promise. Those of `NodeHttp`, `Express` and `Fastify` are interrupted without it.
 *
 * - Fastify's own `request.signal` is aborted by every healthy POST whose body was read.
 *
 * @example
 * ```ts
 * import { createServer } from "node:http"
 * import { ClientGone } from "@sluice/http"
 *
 * export const server = createServer(async (request, response) => {
 *   const signal = ClientGone.signal(request, response)
 *   const upstream = await fetch("http://127.0.0.1:8080/slow", { signal })
 *   response.end(await upstream.text())
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const signal = (request: Request, response: Response): AbortSignal => {
  const controller = new AbortController()
  onGone(request, response, () => controller.abort())
  return controller.signal
}
