/**
 * The exporter against those who scrape it.
 *
 * | who scrapes | what happens |
 * | --- | --- |
 * | promtool | understands all of it |
 * | hundreds at once | each gets all of it |
 * | one that never reads | loses its connection, and nothing of it is left |
 */
import { createServer, type Server } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { FetchHttpClient, HttpClient, HttpServer } from "@effect/platform"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Catalog, Prometheus, Telemetry } from "@sluice/observability"
import * as Pool from "@sluice/pool/Pool"
import { Effect, Layer, Metric, type Scope, TestClock } from "effect"
import { promtool } from "./support/promtool.js"

const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

/** A server of the program, which is measured. */
const on = <A, E>(
  body: (given: {
    readonly server: Server
    readonly url: string
  }) => Effect.Effect<A, E, Scope.Scope | HttpClient.HttpClient>
) =>
  Effect.gen(function* () {
    const server = createServer()
    const http = NodeHttpServer.layerServer(() => server, { port: 0, host: "127.0.0.1" })
    yield* Layer.build(Layer.merge(Layer.provide(HttpServer.serve(Prometheus.router), http), Telemetry.layer()))
    return yield* body({ server, url: `${addressOf(server)}/metrics` })
  }).pipe(Effect.scoped, Effect.provide(FetchHttpClient.layer))

const scrape = (url: string) =>
  Effect.flatMap(HttpClient.get(url), (response) => Effect.map(response.text, (text) => ({ response, text })))

it.live(
  "promtool reads all of it, whatever the pools are called, and complains of nothing but a name of the conventions",
  () =>
    on(({ url }) =>
      Effect.gen(function* () {
        const names = ["orders", 'a "quoted" \\ name\nof two lines', "größe", "{}", "two", "two"]
        const pools = yield* Effect.forEach(names, (name) =>
          Pool.make({ name, maxSize: 2, connect: () => Effect.succeed({}) })
        )
        yield* Effect.forEach(pools, (pool) => Pool.use(pool, () => Effect.void))
        yield* Effect.ignore(
          Pool.use(pools[0]!, () => Pool.use(pools[0]!, () => Pool.use(pools[0]!, () => Effect.void)))
        )
        const { response, text } = yield* scrape(url)
        assert.strictEqual(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        const { output } = promtool(["check", "metrics"], {}, text)
        const complaints = output.split("\n").filter((line) => line !== "")
        assert.deepStrictEqual(complaints, [
          'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix'
        ])
        // Two pools of one name are one series.
        const two = text.split("\n").filter((line) => /^db_client_connection_max\{.*"two"\}/.test(line))
        assert.lengthOf(two, 1)
        assert.match(two[0]!, / 4$/)
        // Whatever is there under our names is in the catalogue.
        const ours = [...text.matchAll(/^# TYPE ((?:sluice|db_client)_\S+)/gm)].map(([, name]) => name)
        const known = Catalog.all.map(Catalog.prometheusName)
        assert.isAbove(ours.length, 20)
        for (const name of ours) assert.include(known, name)
      })
    )
)

it.live("hundreds who scrape at once get all of it", () =>
  on(({ url }) =>
    Effect.gen(function* () {
      const texts = yield* Effect.forEach(Array.from({ length: 100 }), () => scrape(url), { concurrency: "unbounded" })
      for (const { text } of texts) assert.match(text, /^# TYPE sluice_stall_seconds histogram$/m)
    })
  )
)

it.effect("a scraper that never reads loses its connection after 10 seconds, and nothing of it is left", () =>
  on(({ server, url }) =>
    Effect.gen(function* () {
      // More than the buffers of a socket hold.
      const large = Metric.gauge("test.large")
      for (let i = 0; i < 400; i++) {
        Metric.tagged(large, "of", `${i} ${"x".repeat(50_000)}`).unsafeUpdate(1, [])
      }
      const connections = Effect.async<number>((resume) => {
        server.getConnections((_, count) => resume(Effect.succeed(count)))
      })
      const { port } = new URL(url)
      const hanging = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        Effect.acquireRelease(
          Effect.async<ReturnType<typeof connect>>((resume) => {
            const socket = connect(Number(port), "127.0.0.1", () =>
              socket.write("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
            )
            socket.on("error", () => {})
            socket.once("readable", () => resume(Effect.succeed(socket)))
          }),
          (socket) => Effect.sync(() => socket.destroy())
        )
      )
      assert.lengthOf(hanging, 20)
      assert.strictEqual(yield* connections, 20)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(yield* connections, 20)
      yield* TestClock.adjust("2 seconds")
      // Closing a socket takes real time, and the clock of this test stands still.
      while ((yield* connections) > 0) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
    })
  )
)

it.live("a program with an HttpLayerRouter has it at a path of its own", () =>
  Effect.gen(function* () {
    const server = createServer()
    yield* Layer.build(
      HttpLayerRouter.serve(Prometheus.layer({ path: "/internal/metrics" })).pipe(
        Layer.provide(NodeHttpServer.layerServer(() => server, { port: 0, host: "127.0.0.1" }))
      )
    )
    const { response } = yield* scrape(`${addressOf(server)}/internal/metrics`)
    assert.strictEqual(response.status, 200)
    assert.strictEqual((yield* scrape(`${addressOf(server)}/metrics`)).response.status, 404)
  }).pipe(Effect.scoped, Effect.provide(FetchHttpClient.layer))
)
