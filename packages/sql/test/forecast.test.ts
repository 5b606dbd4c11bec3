/** `SqlHealth.forecast`: how long a statement of this fiber would wait, and how long it may. */
import { assert, describe, it } from "@effect/vitest"
import { Deadline } from "@sluice/pool"
import { Sql, SqlHealth } from "@sluice/sql"
import { Effect, Fiber } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { advance, idle, layer, tick } from "./support/sql.js"

describe("the forecast", () => {
  it.scoped(
    "knows how long the fiber may wait: its acquire timeout, its deadline, or what an overloaded pool allows",
    () => {
      const fake = FakeDriver.make()
      fake.answers.set("hangs", "hang")
      const pool = { maxSize: 1, acquireTimeout: "10 seconds", shedding: { mode: "on" } } as const
      return Effect.gen(function* () {
        const { forecast } = SqlHealth
        yield* Sql.query("select 1")
        assert.deepStrictEqual(yield* forecast, { waitMs: 0, patienceMs: 10_000 })
        assert.strictEqual((yield* Deadline.within("2 seconds")(forecast)).patienceMs, 2_000)
        assert.strictEqual((yield* Sql.withAcquireTimeout("3 seconds")(forecast)).patienceMs, 3_000)
        const hanging = Sql.withPriority("critical")(Sql.query("hangs"))
        const fibers = yield* Effect.replicateEffect(Effect.fork(hanging), 5)
        yield* tick
        assert.strictEqual((yield* forecast).patienceMs, 10_000)
        yield* advance(600)
        const { patienceMs, waitMs } = yield* forecast
        assert.deepStrictEqual([patienceMs, waitMs >= 5 * 600], [100, true])
        assert.strictEqual((yield* Sql.withPriority("critical")(forecast)).patienceMs, 10_000)
        yield* Fiber.interruptAll(fibers)
        yield* idle
      }).pipe(Effect.provide(layer(fake, { pool })))
    }
  )
})
