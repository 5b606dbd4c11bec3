/**
 * Metrics for Prometheus: the text that it scrapes, and the route where it finds that.
 *
 * It shows everything in the registry of Effect: what `Telemetry` measures, and the metrics of the program itself. The names are those
 * that an OpenTelemetry Collector would give them: see `Catalog.prometheusName`.
 *
 * @since 0.2.0
 */
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Clock, Duration, Effect, GlobalValue, type Layer, Metric, type Scope } from "effect"
import { format as formatted } from "./internal/prometheus/format.js"
import { hub } from "./internal/telemetry/hub.js"

/**
 * All metrics as they are now, in the text format of Prometheus.
 *
 * **When to use:** where the program answers requests by something else than `@effect/platform`. The media type is
 * `text/plain; version=0.0.4; charset=utf-8`.
 *
 * - Cost: it looks at each pool once, and writes each series of the program: a millisecond or so for a few pools.
 *
 * @see `router` for a route of `@effect/platform`.
 * @since 0.2.0
 * @category conversions
 */
export const format: Effect.Effect<string> = Effect.sync(() => {
  hub.look()
  return formatted(Metric.unsafeSnapshot())
})

/** Milliseconds for which those who scrape at the same time get the same text. */
const SHARED = 100

/** How long somebody may take to read the answer. */
const PATIENCE = Duration.seconds(10)

/** The text that was given last, as bytes, so that those who do not read it hold none of their own. */
const last = GlobalValue.globalValue(Symbol.for("@sluice/observability/prometheus/1"), () => ({
  at: -Infinity,
  bytes: new Uint8Array()
}))

const bytes: Effect.Effect<Uint8Array> = Effect.flatMap(Clock.currentTimeNanos, (nanos) => {
  const now = Number(nanos) / 1e6
  const age = now - last.at
  if (age >= 0 && age < SHARED) return Effect.succeed(last.bytes)
  return Effect.map(format, (text) => {
    last.at = now
    last.bytes = new TextEncoder().encode(text)
    return last.bytes
  })
})

/** Ends the connection of somebody who does not read. Interrupting the fiber would leave a socket open with an answer to be sent. */
const drop = ({ source }: HttpServerRequest.HttpServerRequest): Effect.Effect<void> =>
  Effect.sync(() => {
    const { socket } = source as { readonly socket?: { readonly destroy?: () => void } }
    socket?.destroy?.()
  })

/**
 * The answer to a scrape.
 *
 * - However many scrape at the same time, the text is made ten times a second at most, and kept once.
 * - A scraper that has not read the answer after 10 seconds loses its connection.
 *
 * @see `router`, which has it as a route.
 * @since 0.2.0
 * @category routes
 */
export const response: Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  HttpServerRequest.HttpServerRequest | Scope.Scope
> = Effect.gen(function* () {
  const request = yield* HttpServerRequest.HttpServerRequest
  const body = yield* bytes
  yield* Effect.forkScoped(Effect.delay(drop(request), PATIENCE))
  return HttpServerResponse.uint8Array(body, {
    contentType: "text/plain; version=0.0.4; charset=utf-8",
    headers: { "cache-control": "no-store" }
  })
})

/**
 * `GET /metrics`.
 *
 * **When to use:** with `HttpRouter.concat`, in a server of the program that only Prometheus reaches, or that everybody may reach: names of
 * pools, hosts and databases are in it, and neither statements nor passwords.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServer } from "@effect/platform"
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Prometheus, Telemetry } from "@sluice/observability"
 * import { Layer } from "effect"
 * import { createServer } from "node:http"
 *
 * export const Metrics = HttpRouter.empty.pipe(
 *   HttpRouter.concat(Prometheus.router),
 *   HttpServer.serve(),
 *   Layer.provide(NodeHttpServer.layer(() => createServer(), { port: 9464 })),
 *   Layer.provide(Telemetry.layer())
 * )
 * ```
 *
 * @see `layer` for another path.
 * @see `Alerts.rules` for the rules of that Prometheus.
 * @since 0.2.0
 * @category routes
 */
export const router: HttpRouter.HttpRouter<never, never> = HttpRouter.get(HttpRouter.empty, "/metrics", response)

/**
 * Adds the route to the router of the program.
 *
 * **When to use:** in a program that builds its server with `HttpLayerRouter`.
 *
 * - `path`: default `/metrics`.
 *
 * @see `router` for programs with an `HttpRouter`.
 * @since 0.2.0
 * @category layers
 */
export const layer = (options?: {
  readonly path?: HttpRouter.PathInput | undefined
}): Layer.Layer<never, never, HttpLayerRouter.HttpRouter> =>
  HttpLayerRouter.add("GET", options?.path ?? "/metrics", response)
