/** The door: who is let in, what those are told who are not, and who is not there any more. */
import { connect } from "node:net"
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { RequestConnection } from "@sluice/http"
import { Deadline, Priority } from "@sluice/pool"
import { Sql, type SqlHealth } from "@sluice/sql"
import { Effect } from "effect"
import { eventually } from "../../sql/test/support/eventually.js"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { idle, layer } from "../../sql/test/support/sql.js"
import type { Asked } from "../src/internal/asked.js"
import * as Door from "../src/internal/door.js"
import { get, serving } from "./support/serving.js"

const plain: Asked = { intent: "read", priority: undefined, deadline: Deadline.never, token: undefined }

/** An `Sql` that knows nothing but its forecast. */
const forecasting = (forecast: Effect.Effect<SqlHealth.Forecast>) =>
  Effect.provideService(Sql.Sql, { forecast } as unknown as Sql.Sql["Type"])

const entering = (waitMs: number, patienceMs: number) =>
  Door.enter(plain).pipe(forecasting(Effect.succeed({ waitMs, patienceMs })))

const retryAfter = (waitMs: number) => Effect.map(entering(waitMs, 1), (refusal) => refusal?.retryAfter)

describe("the door", () => {
  it.effect("lets in whoever is expected to wait for at most four fifths of its patience", () =>
    Effect.gen(function* () {
      const waits = [0, 799, 800, 801, 1_000, 1e9]
      const refusals = yield* Effect.forEach(waits, (waitMs) => entering(waitMs, 1_000))
      assert.deepStrictEqual(
        refusals.map((refusal) => refusal?.reason),
        [undefined, undefined, undefined, "PoolSaturated", "PoolSaturated", "PoolSaturated"]
      )
      assert.deepStrictEqual(refusals[3], { status: 503, reason: "PoolSaturated", retryAfter: 1, problems: [] })
    })
  )

  it.effect("says after how many seconds to try again: the estimate, rounded up, from 1 to 60", () =>
    Effect.gen(function* () {
      const said = yield* Effect.forEach([1, 999, 1_000, 1_001, 1_999.5, 59_001, 60_000, 60_001, 1e12], retryAfter)
      assert.deepStrictEqual(said, [1, 1, 1, 2, 2, 60, 60, 60, 60])
    })
  )

  it.effect("refuses everybody while the pool ends, and nobody for an estimate that is no number", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* entering(Infinity, 1_000), {
        status: 503,
        reason: "PoolClosed",
        retryAfter: 1,
        problems: []
      })
      assert.isUndefined(yield* entering(Number.NaN, 1_000))
      assert.isUndefined(yield* entering(1_000, Number.NaN))
      // Nobody waits for nothing: a request whose deadline has passed is let in where a connection is idle.
      assert.isUndefined(yield* entering(0, 0))
    })
  )

  it.effect("asks for the wait of this request: by its intent, its priority and its deadline", () =>
    Effect.gen(function* () {
      let seen: unknown
      const forecast = Effect.gen(function* () {
        seen = [yield* Priority.CurrentPriority, yield* Deadline.CurrentDeadline]
        return { waitMs: 0, patienceMs: 1 }
      })
      yield* Door.enter({ ...plain, priority: "low", deadline: 1_234 }).pipe(forecasting(forecast))
      assert.deepStrictEqual(seen, ["low", 1_234])
    })
  )

  it.scopedLive("begins nothing for clients that have left before their request was read", () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      let began = 0
      const handler = Effect.sync(() => {
        began++
        return HttpServerResponse.text("x")
      })
      let ended = 0
      const app = HttpRouter.empty.pipe(
        HttpRouter.get("/", handler),
        HttpRouter.use(yield* RequestConnection.make()),
        HttpRouter.use(Effect.onExit(() => Effect.sync(() => void ended++)))
      )
      const url = yield* serving(app)
      const left = 20
      for (let i = 0; i < left; i++) {
        const client = connect(Number(new URL(url).port), "127.0.0.1", () => {
          client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
          client.destroy()
        })
      }
      yield* eventually(
        "all of them were read",
        Effect.sync(() => ended === left)
      )
      // Whether the end of a client is there as soon as its request is the network's affair.
      assert.isBelow(began, left / 2)
      began = 0
      assert.strictEqual((yield* get(url)).text, "x")
      assert.strictEqual(began, 1)
      yield* idle
    }).pipe(Effect.provide(layer(fake)))
  })
})
