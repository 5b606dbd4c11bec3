import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { assert, describe, it } from "@effect/vitest"
import { Catalog, Prometheus, Telemetry } from "@sluice/observability"
import * as Pool from "@sluice/pool/Pool"
import { Effect, Metric, MetricBoundaries, MetricKey, type MetricPair, TestClock } from "effect"
import { format } from "../src/internal/prometheus/format.js"

/** What a registry with these metrics is in the text format. */
const shown = (...metrics: ReadonlyArray<readonly [MetricKey.MetricKey<any>, ...values: ReadonlyArray<any>]>) =>
  format(
    metrics.map(([metricKey, ...values]) => {
      const metric = Metric.fromMetricKey(metricKey)
      for (const value of values) metric.unsafeUpdate(value, [])
      return { metricKey, metricState: metric.unsafeValue([]) } as unknown as MetricPair.MetricPair.Untyped
    })
  ).split("\n")

const tagged = (key: MetricKey.MetricKey<any>, labels: Readonly<Record<string, string>>): MetricKey.MetricKey<any> =>
  Object.entries(labels).reduce((key, [name, value]) => MetricKey.tagged(key, name, value), key)

describe("the text format", () => {
  it("shows quotes, backslashes and newlines of a label as Prometheus reads them", () => {
    const key = tagged(MetricKey.counter("test.escaped", { incremental: true, description: 'a \\ and\na "quote"' }), {
      "pool.name": 'a "b" \\ c\nd'
    })
    assert.deepStrictEqual(shown([key, 2]), [
      '# HELP test_escaped_total a \\\\ and\\na "quote"',
      "# TYPE test_escaped_total counter",
      'test_escaped_total{pool_name="a \\"b\\" \\\\ c\\nd"} 2',
      ""
    ])
  })

  it("keeps the series of a metric together, and leaves out what would be there twice", () => {
    const a = MetricKey.gauge("test.together")
    const b = MetricKey.gauge("test.between")
    assert.deepStrictEqual(
      shown(
        [tagged(a, { of: "1" }), 1],
        [b, 5],
        [tagged(a, { of: "2" }), 2],
        // One name and one kind in Prometheus.
        [tagged(MetricKey.gauge("test/together"), { of: "1" }), 3],
        [tagged(a, { "a.b": "1", a_b: "2" }), 4],
        // One name, and another kind.
        [MetricKey.histogram("test_together", MetricBoundaries.fromIterable([1])), 1]
      ),
      [
        "# HELP test_together The metric test.together of the program.",
        "# TYPE test_together gauge",
        'test_together{of="1"} 1',
        'test_together{of="2"} 2',
        'test_together{a_b="1"} 4',
        "# HELP test_between The metric test.between of the program.",
        "# TYPE test_between gauge",
        "test_between 5",
        ""
      ]
    )
  })

  it("shows a histogram with all buckets, and its unit in the name and not as a label", () => {
    const key = tagged(MetricKey.histogram("test.wait", MetricBoundaries.fromIterable([0.5, 1])), {
      unit: "s",
      of: "p"
    })
    assert.deepStrictEqual(shown([key, 0.25, 0.75, 3]), [
      "# HELP test_wait_seconds The metric test.wait of the program.",
      "# TYPE test_wait_seconds histogram",
      'test_wait_seconds_bucket{of="p",le="0.5"} 1',
      'test_wait_seconds_bucket{of="p",le="1"} 2',
      'test_wait_seconds_bucket{of="p",le="+Inf"} 3',
      'test_wait_seconds_sum{of="p"} 4',
      'test_wait_seconds_count{of="p"} 3',
      ""
    ])
  })

  it.effect("has what there is at the moment of asking, however long ago the last look was", () =>
    Effect.gen(function* () {
      const pool = yield* Pool.make({ name: "of this moment", maxSize: 3, connect: () => Effect.succeed({}) })
      const used = `db_client_connection_count{db_client_connection_pool_name="of this moment",db_client_connection_state="used"}`
      yield* Pool.use(pool, () =>
        Effect.map(Prometheus.format, (text) => assert.include(text.split("\n"), `${used} 1`))
      )
      assert.include((yield* Prometheus.format).split("\n"), `${used} 0`)
    }).pipe(Effect.scoped, Effect.provide(Telemetry.layer()))
  )
})

describe("those who scrape at the same time", () => {
  it.effect("share one text, which holds for a tenth of a second", () =>
    Effect.gen(function* () {
      const scraped = Effect.map(
        Effect.provideService(Prometheus.response, HttpServerRequest.HttpServerRequest, {} as never),
        ({ body }) => (body._tag === "Uint8Array" ? body.body : undefined)
      )
      const [first, second] = [yield* scraped, yield* scraped]
      assert.isDefined(first)
      assert.strictEqual(first, second)
      yield* TestClock.adjust(100)
      assert.notStrictEqual(yield* scraped, first)
    }).pipe(Effect.scoped)
  )
})

describe("names in Prometheus", () => {
  for (const [name, prometheus] of [
    ["db.client.connection.count", "db_client_connection_count"],
    ["db.client.connection.wait_time", "db_client_connection_wait_time_seconds"],
    ["db.client.connection.timeouts", "db_client_connection_timeouts_total"],
    ["sluice.queue.oldest_age", "sluice_queue_oldest_age_seconds"],
    ["sluice.replica.lag", "sluice_replica_lag_seconds"]
  ] as const) {
    it(`${name} is ${prometheus}`, () => assert.strictEqual(Catalog.prometheusName(Catalog.metrics[name]), prometheus))
  }

  it("are different for each metric, and none is called a ratio", () => {
    const names = Catalog.all.map(Catalog.prometheusName)
    assert.lengthOf(new Set(names), names.length)
    for (const name of names) assert.notMatch(name, /_ratio/)
  })
})
