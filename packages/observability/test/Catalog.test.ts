/** The metrics of OpenTelemetry, held against its conventions, and what holds for all of them. */
import { assert, describe, it } from "@effect/vitest"
import * as conventions from "@opentelemetry/semantic-conventions/incubating"
import { Catalog } from "@sluice/observability"
import { tags } from "@sluice/sql/SqlReason"

/**
 * The table of the conventions for databases, version 1.45: names are constants of its package, which has neither instruments nor units
 * nor buckets. An attribute in brackets is recommended; the others are required.
 */
const table = [
  [conventions.METRIC_DB_CLIENT_OPERATION_DURATION, "histogram", "s", [conventions.ATTR_DB_SYSTEM_NAME]],
  [
    conventions.METRIC_DB_CLIENT_CONNECTION_COUNT,
    "upDownCounter",
    "{connection}",
    [conventions.ATTR_DB_CLIENT_CONNECTION_POOL_NAME, conventions.ATTR_DB_CLIENT_CONNECTION_STATE]
  ],
  [conventions.METRIC_DB_CLIENT_CONNECTION_IDLE_MAX, "upDownCounter", "{connection}", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_IDLE_MIN, "upDownCounter", "{connection}", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_LIMIT, "upDownCounter", "{connection}", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_MAX, "upDownCounter", "{connection}", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_PENDING_REQUESTS, "upDownCounter", "{request}", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_TIMEOUTS, "counter", "{timeout}", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_CREATE_TIME, "histogram", "s", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_WAIT_TIME, "histogram", "s", "pool"],
  [conventions.METRIC_DB_CLIENT_CONNECTION_USE_TIME, "histogram", "s", "pool"]
] as const

describe("metrics of OpenTelemetry", () => {
  it("are all of those that its conventions have for connections and operations, and no other", () => {
    assert.sameMembers(
      Catalog.all.map(({ name }) => name).filter((name) => name.startsWith("db.")),
      table.map(([name]) => name)
    )
  })

  for (const [name, instrument, unit, attributes] of table) {
    it(`${name} has the instrument, the unit and the attributes of the conventions`, () => {
      const metric = Catalog.metrics[name]
      assert.deepStrictEqual([metric.instrument, metric.unit], [instrument, unit])
      const names: ReadonlyArray<string> = metric.attributes.map(({ name }) => name)
      const required = attributes === "pool" ? [conventions.ATTR_DB_CLIENT_CONNECTION_POOL_NAME] : attributes
      assert.includeMembers([...names], [...required])
    })
  }

  it("have the buckets and the recommended attributes of the conventions for operations", () => {
    const { attributes, buckets } = Catalog.metrics["db.client.operation.duration"]
    assert.deepStrictEqual(buckets, [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10])
    const names: ReadonlyArray<string> = attributes.map(({ name }) => name)
    assert.includeMembers(
      [...names],
      [
        conventions.ATTR_DB_NAMESPACE,
        conventions.ATTR_DB_OPERATION_NAME,
        conventions.ATTR_ERROR_TYPE,
        conventions.ATTR_SERVER_ADDRESS,
        conventions.ATTR_SERVER_PORT
      ]
    )
  })

  it("say idle and used as the conventions do", () => {
    const state = Catalog.metrics["db.client.connection.count"].attributes[1]
    assert.deepStrictEqual(state.values, [
      conventions.DB_CLIENT_CONNECTION_STATE_VALUE_IDLE,
      conventions.DB_CLIENT_CONNECTION_STATE_VALUE_USED
    ])
  })
})

describe("all metrics", () => {
  it("are of OpenTelemetry or of ours, and have a sentence, a unit, and an attribute for the pool unless they are of the process", () => {
    for (const { attributes, description, name, unit } of Catalog.all) {
      assert.match(name, /^(?:db\.client|sluice)\.[a-z_.]+$/)
      assert.match(description, /^[A-Z1].*\.$/, name)
      assert.notStrictEqual(unit, "", name)
      if (name !== "sluice.stall") assert.strictEqual(attributes[0]?.name, "db.client.connection.pool.name", name)
    }
  })

  it("have rising buckets if they are histograms, and none if they are not", () => {
    for (const { buckets, instrument, name } of Catalog.all) {
      assert.strictEqual(buckets !== undefined, instrument === "histogram", name)
      assert.deepStrictEqual(
        [...(buckets ?? [])].sort((a, b) => a - b),
        [...(buckets ?? [])],
        name
      )
    }
  })

  it("have a tenth of a second, which alerts look at, as a bound of the waits", () => {
    for (const name of ["db.client.connection.wait_time", "sluice.queue.wait_time"] as const) {
      assert.include(Catalog.metrics[name].buckets, 0.1)
    }
  })

  it("name each reason for which something can fail", () => {
    assert.deepStrictEqual(Catalog.metrics["sluice.errors"].attributes[1]?.values, [...tags])
  })
})
