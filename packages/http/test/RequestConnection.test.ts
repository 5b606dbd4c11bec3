/** The middleware on a database in memory and real sockets. */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { RequestConnection } from "@sluice/http"
import { Sql } from "@sluice/sql"
import { Effect, Redacted } from "effect"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { clean, idle, layer, reasonOf, texts } from "../../sql/test/support/sql.js"
import { get, serving } from "./support/serving.js"

const using = Effect.map(Sql.stats, ({ write }) => write.using)

describe("RequestConnection", () => {
  it.scopedLive("acquires nothing before the first statement of the handler, and nothing after its end", () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      const seen: Array<number> = []
      const look = Effect.map(using, (using) => void seen.push(using))
      const handler = Effect.gen(function* () {
        yield* look
        yield* Sql.query("select 1")
        yield* look
        yield* Sql.query("select 2")
        return HttpServerResponse.text("done")
      })
      const app = HttpRouter.empty.pipe(
        HttpRouter.post("/", handler),
        HttpRouter.use(yield* RequestConnection.make()),
        HttpRouter.use((app) => Effect.tap(app, look))
      )
      const url = yield* serving(app)
      const { status, text } = yield* get(url, { method: "POST", body: "x" })
      assert.deepStrictEqual([status, text], [200, "done"])
      assert.deepStrictEqual(seen, [0, 1, 0])
      assert.deepStrictEqual(fake.log, ["0: select 1", "0: select 2"])
      yield* idle
      clean(fake)
    }).pipe(Effect.provide(layer(fake)))
  })

  it.scopedLive(
    "begins a transaction with the first statement, commits it for a success and rolls it back for a failure",
    () => {
      const fake = FakeDriver.make()
      return Effect.gen(function* () {
        const answer = (status: number) => Effect.as(Sql.query("insert"), HttpServerResponse.text("x", { status }))
        const app = HttpRouter.empty.pipe(
          HttpRouter.post("/ok", answer(201)),
          HttpRouter.post("/bad", answer(422)),
          HttpRouter.post("/none", Effect.succeed(HttpServerResponse.text("none"))),
          HttpRouter.post("/dies", Effect.zipRight(Sql.query("insert"), Effect.die("no"))),
          HttpRouter.use(yield* RequestConnection.make({ transaction: true }))
        )
        const url = yield* serving(app)
        const ends = [
          ["/ok", 201, ["BEGIN", "insert", "COMMIT"]],
          ["/bad", 422, ["BEGIN", "insert", "ROLLBACK"]],
          ["/dies", 500, ["BEGIN", "insert", "ROLLBACK"]],
          ["/none", 200, []]
        ] as const
        for (const [path, expected, sent] of ends) {
          fake.log.length = 0
          const { status } = yield* get(url + path, { method: "POST" })
          assert.deepStrictEqual([path, status, texts(fake)], [path, expected, [...sent]])
        }
        yield* idle
        clean(fake)
      }).pipe(Effect.provide(layer(fake)))
    }
  )

  it.effect("refuses options that have no meaning, all of them at once", () =>
    Effect.gen(function* () {
      const options: any = {
        prioritty: "high",
        deadline: -1,
        deadlineHeader: "not a name",
        consistency: { secret: Redacted.make("short") }
      }
      const { _tag } = yield* reasonOf(RequestConnection.make(options))
      const { message } = yield* Effect.flip(RequestConnection.make(options))
      assert.strictEqual(_tag, "InvalidUse")
      for (const word of ["prioritty", "deadline must", "deadlineHeader", "secret"]) assert.include(message, word)
    }).pipe(Effect.provide(layer(FakeDriver.make())))
  )
})
