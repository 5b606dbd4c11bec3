/** What arrives at a collector: the exporter of Effect sends to a receiver that notes everything. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as OtlpMetrics from "@effect/opentelemetry/OtlpMetrics"
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import { FetchHttpClient } from "@effect/platform"
import { assert, it } from "@effect/vitest"
import { Catalog, Telemetry } from "@sluice/observability"
import * as Pool from "@sluice/pool/Pool"
import { Sql } from "@sluice/sql"
import { Effect, Layer } from "effect"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { layer } from "../../sql/test/support/sql.js"

interface Point {
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: { readonly stringValue: string } }>
  readonly asDouble?: number
  readonly count?: number
  readonly explicitBounds?: ReadonlyArray<number>
}

interface Data {
  readonly name: string
  readonly unit: string
  readonly description: string
  readonly sum?: { readonly isMonotonic: boolean; readonly dataPoints: ReadonlyArray<Point> }
  readonly gauge?: { readonly dataPoints: ReadonlyArray<Point> }
  readonly histogram?: { readonly dataPoints: ReadonlyArray<Point> }
}

/** A receiver of OTLP over HTTP, and what has come last. */
const receiver = Effect.acquireRelease(
  Effect.async<{ readonly url: string; readonly received: Array<ReadonlyArray<Data>>; readonly close: () => void }>(
    (resume) => {
      const received: Array<ReadonlyArray<Data>> = []
      const server = createServer((request, response) => {
        let body = ""
        request.on("data", (chunk) => {
          body += chunk
        })
        request.on("end", () => {
          received.push(
            JSON.parse(body).resourceMetrics.flatMap((one: any) =>
              one.scopeMetrics.flatMap(({ metrics }: any) => metrics)
            )
          )
          response.writeHead(200, { "content-type": "application/json" }).end("{}")
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        resume(
          Effect.succeed({
            url: `http://127.0.0.1:${port}/v1/metrics`,
            received,
            close: () => {
              server.close()
              server.closeAllConnections()
            }
          })
        )
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

const instrumentOf = ({ gauge, sum }: Data): Catalog.Definition["instrument"] =>
  sum !== undefined ? (sum.isMonotonic ? "counter" : "upDownCounter") : gauge !== undefined ? "gauge" : "histogram"

const pointsOf = ({ gauge, histogram, sum }: Data) => (sum ?? gauge ?? histogram)!.dataPoints

it.live(
  "metrics arrive at a collector with the names, instruments, units, attributes and buckets of the catalogue",
  () =>
    Effect.gen(function* () {
      const { received, url } = yield* receiver
      const exporting = OtlpMetrics.layer({
        url,
        resource: { serviceName: "a program" },
        exportInterval: "1 hour"
      }).pipe(Layer.provide(OtlpSerialization.layerJson), Layer.provide(FetchHttpClient.layer))
      // What there is last is sent when the Layer ends. The metrics of the last second are in it.
      yield* Effect.gen(function* () {
        const pool = yield* Pool.make({ name: "sent", maxSize: 3, connect: () => Effect.succeed({}) })
        yield* Pool.use(pool, () => Effect.void)
        yield* Effect.provide(Sql.query("select 1"), layer(FakeDriver.make(), { pool: { name: "sent too" } }))
      }).pipe(Effect.scoped, Effect.provide(Telemetry.layer()), Effect.provide(exporting))
      const sent = received.at(-1) ?? []
      const ours = sent.filter(({ name }) => name in Catalog.metrics)
      for (const name of [
        "db.client.connection.wait_time",
        "db.client.connection.count",
        "db.client.operation.duration"
      ]) {
        assert.isDefined(
          ours.find((one) => one.name === name),
          name
        )
      }
      // Each metric is one, whatever pools there are.
      assert.lengthOf(new Set(ours.map(({ name }) => name)), ours.length)
      assert.isAbove(ours.length, 30)
      for (const data of ours) {
        const metric: Catalog.Definition = Catalog.metrics[data.name as Catalog.Name]
        assert.deepStrictEqual(
          [data.name, instrumentOf(data), data.unit, data.description],
          [metric.name, metric.instrument, metric.unit, metric.description]
        )
        const known = [...metric.attributes.map(({ name }) => name), "unit"]
        for (const { attributes, explicitBounds } of pointsOf(data)) {
          for (const { key, value } of attributes) {
            assert.include(known, key, data.name)
            const values = metric.attributes.find(({ name }) => name === key)?.values
            if (values !== undefined) assert.include([...values], value.stringValue, `${data.name} ${key}`)
          }
          if (metric.buckets !== undefined) assert.deepStrictEqual(explicitBounds, metric.buckets, data.name)
        }
      }
      const [waits] = pointsOf(ours.find(({ name }) => name === "db.client.connection.wait_time")!).filter(
        ({ attributes }) => attributes.some(({ value }) => value.stringValue === "sent")
      )
      assert.strictEqual(waits?.count, 1)
    }).pipe(Effect.scoped)
)
