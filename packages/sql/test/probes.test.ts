import { assert, it } from "@effect/vitest"
import { Sql, Topology } from "@sluice/sql"
import { Effect, Exit, Fiber } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { advance, idle, layer } from "./support/sql.js"

it.effect(
  "a primary that refuses to connect gets at most ten connects a second: of its pool, and of those who ask it",
  () => {
    const fake = FakeDriver.make()
    let connects = 0
    const driver: typeof fake.driver = {
      ...fake.driver,
      connect: (host, ...rest) => {
        if (host === "primary") connects++
        return fake.driver.connect(host, ...rest)
      }
    }
    return Effect.gen(function* () {
      fake.down.add("primary")
      for (const connection of fake.connections) if (connection.host === "primary") connection.state = "dead"
      const { refresh } = yield* Topology.Topology
      yield* refresh
      const caller = yield* Effect.fork(Effect.exit(Sql.query("a").pipe(Sql.withAcquireTimeout("1 minute"))))
      connects = 0
      for (let i = 0; i < 200; i++) yield* advance(50)
      assert.isAtMost(connects, 100)
      // Still often enough to be seen when it is back.
      assert.isAtLeast(connects, 10)
      fake.down.delete("primary")
      yield* advance(2_000)
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(caller)))
      yield* idle
    }).pipe(Effect.provide(layer({ ...fake, driver }, { replicas: ["r1"] })))
  }
)

it.effect("servers of a cluster are not asked while nobody uses the pools, and nothing is open", () => {
  const fake = FakeDriver.make()
  let asked = 0
  const driver: typeof fake.driver = {
    ...fake.driver,
    probe: (connection) => {
      asked++
      return fake.driver.probe(connection)
    }
  }
  return Effect.gen(function* () {
    const open = () => fake.connections.filter(({ state }) => state !== "dead").length
    yield* Sql.query("a")
    yield* Sql.read(Sql.query("b"))
    yield* advance(2_000)
    assert.strictEqual(open(), 0)
    asked = 0
    yield* advance(60_000, 1_000)
    assert.deepStrictEqual([asked, open()], [0, 0])
    yield* Sql.query("c")
    yield* advance(100)
    assert.isAtLeast(asked, 2, "they are asked as soon as somebody uses a pool again")
    yield* idle
  }).pipe(Effect.provide(layer({ ...fake, driver }, { replicas: ["r1"], pool: { closeWhenIdle: "500 millis" } })))
})
