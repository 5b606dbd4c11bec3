/** The HTTP server: `POST /payments`, `GET /payments/:id`, `GET /stats`, and the board of the pools at `GET /pools`. */
import { createServer } from "node:http"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import type { SqlError } from "@effect/sql"
import { Board } from "@sluice/observability"
import { Sql, SqlReason } from "@sluice/sql"
import { Effect, Layer, Metric, Schema } from "effect"
import * as Payments from "./Payments.js"

/** Counts requests whose client hung up before it had an answer. */
export const aborted = Metric.counter("payments_aborted", { incremental: true })

/**
 * Failures that end without anybody's help. The client may send its payment again: the id makes sure that it is paid
 * once.
 */
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

/** Answers with the reason, and logs the message: it names statements, sizes and hosts, which clients must not see. */
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
  // When a client hangs up, the server interrupts the fiber of its request, which gives back the connection or leaves
  // the queue.
  HttpRouter.use(Effect.onInterrupt(() => Metric.increment(aborted)))
)

/** The routes, and the board for whoever wants to look on. It is no request of the program. */
const all = ({ board }: Options) =>
  board === true
    ? Effect.map(Board.make({ title: "Payments" }), ({ app }) => HttpRouter.mountApp(routes, "/pools", app))
    : Effect.succeed(routes)

export interface Options {
  readonly port: number
  /** Default false. */
  readonly board?: boolean
}

/** Serves the routes on 127.0.0.1 until the scope closes. Port 0 takes a free port; `HttpServer` knows which one. */
export const layer = (options: Options) =>
  Layer.suspend(() => {
    const server = createServer({ keepAliveTimeout: 30_000 })
    return Layer.scopedDiscard(Effect.addFinalizer(() => close(server))).pipe(
      Layer.merge(Layer.unwrapScoped(Effect.map(all(options), (routes) => HttpServer.serve(routes)))),
      Layer.provideMerge(NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: options.port }))
    )
  })

/** Waits for requests under way, and cuts them off after two seconds, so that no client can keep the program alive. */
const close = (server: ReturnType<typeof createServer>) =>
  Effect.async<void>((resume) => void server.close(() => resume(Effect.void))).pipe(
    Effect.interruptible,
    Effect.timeoutTo({
      duration: "2 seconds",
      onSuccess: () => undefined,
      onTimeout: () => server.closeAllConnections()
    })
  )
