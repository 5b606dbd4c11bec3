/** The HTTP face: `POST /payments`, `GET /payments/:id`, `GET /stats`. */
import { createServer } from "node:http"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import type { SqlError } from "@effect/sql"
import { Sql, SqlReason } from "@sluice/sql"
import { Effect, Layer, Metric, Schema } from "effect"
import * as Payments from "./Payments.js"

/** Requests whose client hung up before it was answered. */
export const aborted = Metric.counter("payments_aborted", { incremental: true })

/** What passes by itself. A payment can be sent again: its id makes sure that it is paid once. */
const transient = SqlReason.is(
  "PoolSaturated",
  "AcquireTimeout",
  "DatabaseDown",
  "PoolClosed",
  "ConnectFailed",
  "TooManyConnections",
  "ConnectionLost",
  "ServerShutdown",
  "CommitUnknown"
)

/** The reason is for the client, the message (statements, sizes, hosts) for the log. */
const databaseFailed = (error: SqlError.SqlError) => {
  const body = { error: SqlReason.of(error)._tag }
  return Effect.zipRight(
    Effect.logWarning(`${body.error}: ${error.message}`),
    transient(error)
      ? HttpServerResponse.json(body, { status: 503, headers: { "retry-after": "1" } })
      : HttpServerResponse.json(body, { status: 500 })
  )
}

const badRequest = (message: string) => HttpServerResponse.json({ error: "BadRequest", message }, { status: 400 })

const routes = HttpRouter.empty.pipe(
  HttpRouter.post(
    "/payments",
    Effect.gen(function* () {
      const payment = yield* HttpServerRequest.schemaBodyJson(Payments.NewPayment)
      const made = yield* Payments.pay(payment)
      return yield* HttpServerResponse.json(made.payment, { status: made.created ? 201 : 200 })
    })
  ),
  HttpRouter.get(
    "/payments/:id",
    Effect.gen(function* () {
      const { id } = yield* HttpRouter.schemaPathParams(Schema.Struct({ id: Schema.UUID }))
      return yield* HttpServerResponse.json(yield* Payments.find(id))
    })
  ),
  HttpRouter.get(
    "/stats",
    Effect.flatMap(Sql.stats, (stats) => HttpServerResponse.json(stats))
  ),
  HttpRouter.catchTags({
    SqlError: databaseFailed,
    ParseError: (error) => badRequest(error.message),
    RequestError: (error) => badRequest(error.message),
    PaymentNotFound: ({ id }) =>
      HttpServerResponse.json({ error: "PaymentNotFound", message: `there is no payment ${id}` }, { status: 404 })
  }),
  // A client that hangs up interrupts the fiber of its request, and with it goes the connection, or the place in line.
  HttpRouter.use(Effect.onInterrupt(() => Metric.increment(aborted)))
)

/** Serves the routes on 127.0.0.1 for as long as the scope; `port` 0 takes a free one. Gives `HttpServer`, to know which. */
export const layer = (options: { readonly port: number }) =>
  Layer.suspend(() => {
    const server = createServer({ keepAliveTimeout: 30_000 })
    return Layer.scopedDiscard(Effect.addFinalizer(() => close(server))).pipe(
      Layer.merge(HttpServer.serve(routes)),
      Layer.provideMerge(NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: options.port }))
    )
  })

/** Requests under way may end; after two seconds they are cut off, so that no client can keep the program alive. */
const close = (server: ReturnType<typeof createServer>) =>
  Effect.async<void>((resume) => void server.close(() => resume(Effect.void))).pipe(
    Effect.interruptible,
    Effect.timeoutTo({
      duration: "2 seconds",
      onSuccess: () => undefined,
      onTimeout: () => server.closeAllConnections()
    })
  )
