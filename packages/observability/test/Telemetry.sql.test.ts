import { assert, describe, it } from "@effect/vitest"
import { Telemetry } from "@sluice/observability"
import { Router, Sql, SqlReason } from "@sluice/sql"
import { Effect, Fiber, Layer } from "effect"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { advance, idle, layer, played, tick } from "../../sql/test/support/sql.js"
import { operationOf } from "../src/internal/telemetry/operation.js"
import { ofPool, seriesOf, valueOf } from "./support/series.js"

let names = 0
/** A name that no other test has: series are never removed. */
const unique = () => `sql ${++names}`

/** A database in memory, which is measured. */
const on = <A, E>(
  body: (given: { readonly fake: FakeDriver.Fake; readonly name: string }) => Effect.Effect<A, E, Sql.Sql>,
  replicas: ReadonlyArray<string> = []
) => {
  const fake = FakeDriver.make()
  for (const replica of replicas) fake.standbys.add(replica)
  for (const server of ["primary", ...replicas]) fake.positions.set(server, 1)
  const name = unique()
  const database = layer(fake, {
    replicas,
    pool: { name, maxSize: 2 },
    spanAttributes: [
      ["db.system.name", "fake"],
      ["db.namespace", "pay"],
      ["server.address", "db-1"],
      ["server.port", 1]
    ]
  }).pipe(Layer.provide(Router.layer(Router.leastBusy())))
  // The Layer of the metrics is beside that of the database, and comes first or last.
  return Effect.zipLeft(body({ fake, name }), idle).pipe(
    Effect.provide(database),
    Effect.provide(Telemetry.layer({ level: "full" }))
  )
}

const lost = () =>
  SqlReason.toError(SqlReason.make("ConnectionLost", { connection: "none", retry: "always" }), "the connection is lost")

describe("metrics of an Sql", () => {
  it.effect("have the connections that the server counts itself, for as long as it tells", () =>
    on(({ fake, name }) =>
      Effect.gen(function* () {
        const counts = () =>
          (["sluice.server.connections", "sluice.server.connections.max"] as const).map((metric) =>
            valueOf(metric, ofPool(name))
          )
        fake.counts.set("primary", [80, 100])
        yield* advance(61_000)
        assert.deepStrictEqual(counts(), [80, 100])
        fake.counts.set("primary", [90, 100])
        yield* advance(30_000)
        assert.deepStrictEqual(counts(), [80, 100], "it is asked once a minute")
        yield* advance(31_000)
        assert.deepStrictEqual(counts(), [90, 100])
        fake.counts.clear()
        yield* advance(61_000)
        assert.deepStrictEqual(counts(), [0, 0])
      })
    )
  )

  it.effect(
    "have the duration of each statement, with operation, server and error, also of one that was interrupted",
    () =>
      on(({ fake, name }) =>
        Effect.gen(function* () {
          const duration = (having: Readonly<Record<string, string>>) =>
            seriesOf("db.client.operation.duration", { ...ofPool(name), ...having })
          yield* Sql.query("select 1")
          yield* Sql.withTransaction(Sql.query("  /* why */ (select 2)"))
          fake.answers.set("delete from t", "fail")
          yield* Effect.ignore(Sql.query("delete from t"))
          fake.answers.set("update t set a = 1", "hang")
          const hanging = yield* Effect.fork(Sql.query("update t set a = 1"))
          while (!fake.log.some((line) => line.includes("update"))) yield* tick
          yield* advance(300)
          yield* Fiber.interrupt(hanging)
          const [select] = duration({ "db.operation.name": "SELECT" })
          assert.strictEqual(select?.value, 2)
          assert.deepInclude(select?.attributes, {
            unit: "s",
            "db.system.name": "fake",
            "db.namespace": "pay"
          })
          assert.notProperty(select?.attributes, "error.type")
          assert.strictEqual(duration({ "db.operation.name": "DELETE", "error.type": "Unclassified" })[0]?.value, 1)
          const [update] = duration({ "db.operation.name": "UPDATE", "error.type": "interrupted" })
          assert.strictEqual(update?.value, 1)
          assert.isAtLeast(update?.sum ?? 0, 0.3)
          // BEGIN and COMMIT are nobody's statements.
          assert.lengthOf(duration({}), 3)
        })
      )
  )

  it.effect("count errors after the last retry, and retries by why and by what came of them", () =>
    on(({ fake, name }) =>
      Effect.gen(function* () {
        fake.failures.set("a", [lost(), lost()])
        yield* played(Sql.query("a"))
        fake.failures.set("b", Array.from({ length: 10 }, lost))
        yield* played(Effect.ignore(Sql.query("b")))
        fake.answers.set("c", "fail")
        yield* Effect.ignore(Sql.withConnection(Sql.query("c")))
        yield* advance(1_000)
        const retries = (outcome: string) =>
          valueOf("sluice.retries", { ...ofPool(name), reason: "ConnectionLost", outcome }) ?? 0
        // The first retry of `a` has failed, and the second has helped; `b` was run three times.
        assert.deepStrictEqual([retries("succeeded"), retries("failed"), retries("denied")], [1, 3, 0])
        assert.strictEqual(valueOf("sluice.errors", { ...ofPool(name), reason: "ConnectionLost" }), 1)
        assert.strictEqual(valueOf("sluice.errors", { ...ofPool(name), reason: "Unclassified" }), 1)
      })
    )
  )

  it.effect("say where statements went and why, and how the endpoints are", () =>
    on(
      ({ fake, name }) =>
        Effect.gen(function* () {
          yield* advance(2_000)
          const routes = (role: string, reason: string) => valueOf("sluice.routes", { ...ofPool(name), role, reason })
          const state = (state: string) =>
            valueOf("sluice.endpoint.state", {
              ...ofPool(`${name}: r1`),
              "sluice.endpoint": "r1",
              role: "replica",
              state
            })
          yield* Sql.query("a")
          yield* Sql.read(Sql.query("b"))
          yield* Sql.read(Sql.query("b"))
          yield* Sql.withTransaction(Effect.zipRight(Sql.query("c"), Sql.query("d")))
          yield* advance(1_000)
          assert.deepStrictEqual([routes("primary", "write"), routes("replica", "read")], [2, 2])
          assert.deepStrictEqual([state("up"), state("down")], [1, 0])
          fake.down.add("r1")
          fake.connections.forEach((connection) => {
            if (connection.host === "r1") connection.state = "dead"
          })
          yield* played(Sql.read(Sql.query("b")))
          yield* advance(3_000)
          yield* played(Sql.read(Sql.query("b")))
          yield* advance(1_000)
          assert.deepStrictEqual([state("up"), state("down")], [0, 1])
          assert.isAtLeast(routes("primary", "no_replica") ?? 0, 1)
          assert.strictEqual(routes("primary", "session"), 0)
        }),
      ["r1"]
    )
  )
})

describe("the operation of a text", () => {
  for (const [text, operation] of [
    ["select 1", "SELECT"],
    ["\n  Insert into t values (1)", "INSERT"],
    ["-- why\nupdate t set a = 1", "UPDATE"],
    ["# why\n/* and /* how */ with a as (select 1) select * from a", "WITH"],
    ["((select 1) union (select 2))", "SELECT"],
    ["drop table a; drop table b", "DROP"],
    ["frobnicate 1", "_OTHER"],
    ["", "_OTHER"],
    ["1", "_OTHER"],
    ["/* without an end", "_OTHER"],
    [`${"/**/".repeat(10_000)}1`, "_OTHER"]
  ] as const) {
    it(`${JSON.stringify(text.slice(0, 30))} is ${operation}`, () => {
      assert.strictEqual(operationOf(text), operation)
      assert.strictEqual(operationOf(text), operation)
    })
  }
})
