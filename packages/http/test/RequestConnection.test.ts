/** The middleware on a database in memory and real sockets. */
import { connect, constants, createServer as createHttp2Server } from "node:http2"
import { Readable } from "node:stream"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpLayerRouter,
  HttpRouter,
  HttpServerResponse
} from "@effect/platform"
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { RequestConnection } from "@sluice/http"
import { Sql, SqlReason } from "@sluice/sql"
import { Effect, Layer, Logger, LogLevel, Redacted, Schema, Stream } from "effect"
import { eventually, booksBalance as idleSoon } from "../../sql/test/support/eventually.js"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { clean, idle, layer, reasonOf, texts } from "../../sql/test/support/sql.js"
import { get, listening, serving } from "./support/serving.js"

const using = Effect.map(Sql.stats, ({ write }) => write.using)

/** With the client of `@effect/sql`, for streams. */
const clientLayer = (fake: FakeDriver.Fake) => {
  const sql = layer(fake)
  const client = Layer.effect(
    SqlClient.SqlClient,
    Effect.map(Sql.Sql, (sql) => sql.client)
  )
  return Layer.provideMerge(client, sql)
}

const deadlock = () =>
  SqlReason.toError(SqlReason.make("Deadlock", { retry: "transaction", outcome: "rolledBack" }), "no")

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

  it.scopedLive(
    "takes no connection for a body that comes from elsewhere, and keeps it for one that reads rows",
    () => {
      const fake = FakeDriver.make()
      return Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        let seen: ReadonlyArray<number> = []
        const look = Effect.map(using, (using) => {
          seen = [...seen, using]
        })
        const pieces = (stream: Stream.Stream<unknown, unknown>) =>
          HttpServerResponse.stream(
            Stream.encodeText(Stream.tap(Stream.as(stream, "x"), () => look)) as Stream.Stream<Uint8Array>
          )
        const file = Stream.rechunk(Stream.make(1, 2, 3), 1)
        const app = HttpRouter.empty.pipe(
          HttpRouter.get("/file", Effect.as(Sql.query("select 1"), pieces(file))),
          HttpRouter.get("/rows", Effect.as(Sql.query("select 1"), pieces(sql.unsafe("rows").stream))),
          HttpRouter.use(yield* RequestConnection.make())
        )
        const url = yield* serving(app as HttpRouter.HttpRouter)
        for (const [path, expected] of [
          ["/file", [1, 0, 0]],
          ["/rows", [1, 1, 1]]
        ] as const) {
          seen = []
          assert.strictEqual((yield* get(url + path)).text, "xxx")
          assert.deepStrictEqual([path, seen], [path, [...expected]])
          yield* idle
        }
        // All on one connection: the stream goes on where the handler has been.
        assert.deepStrictEqual(
          fake.log.filter((line) => !line.startsWith("0: ")),
          []
        )
        clean(fake)
      }).pipe(Effect.provide(clientLayer(fake)))
    }
  )

  it.scopedLive(
    "is told apart from a middleware of the whole server, which would hold connections for slow clients",
    () => {
      const fake = FakeDriver.make()
      return Effect.gen(function* () {
        const middleware = yield* RequestConnection.make()
        const app = HttpRouter.empty.pipe(
          HttpRouter.get("/", Effect.as(Sql.query("select 1"), HttpServerResponse.text("x")))
        )
        const url = yield* serving(app, middleware)
        assert.strictEqual((yield* get(url)).status, 500)
        yield* idle
        clean(fake)
      }).pipe(Effect.provide(layer(fake)), Logger.withMinimumLogLevel(LogLevel.None))
    }
  )

  it.scopedLive("serves an HttpApi and a HttpLayerRouter", () => {
    const fake = FakeDriver.make()
    const api = HttpApi.make("api").add(
      HttpApiGroup.make("all").add(HttpApiEndpoint.get("one", "/one").addSuccess(Schema.String))
    )
    const group = HttpApiBuilder.group(api, "all", (handlers) =>
      handlers.handle("one", () =>
        Effect.zipRight(
          Effect.orDie(Sql.query("select api")),
          Effect.zipRight(Effect.orDie(Sql.query("fails")), Effect.succeed("one"))
        )
      )
    )
    fake.failures.set("fails", [deadlock(), deadlock(), deadlock(), deadlock(), deadlock()])
    const ofApi = HttpApiBuilder.serve().pipe(
      Layer.provide(HttpApiBuilder.api(api).pipe(Layer.provide(group))),
      Layer.provide(
        Layer.unwrapEffect(
          Effect.map(RequestConnection.make({ transaction: true }), (made) =>
            HttpApiBuilder.middleware((app) => made(app), { withContext: true })
          )
        )
      )
    )
    const ofLayers = HttpLayerRouter.serve(
      HttpLayerRouter.add(
        "GET",
        "/two",
        Effect.as(Effect.orDie(Sql.query("select layers")), HttpServerResponse.text("two"))
      ).pipe(
        Layer.provide(
          Layer.unwrapEffect(
            Effect.map(RequestConnection.make({ transaction: true }), (made) => HttpLayerRouter.middleware(made).layer)
          )
        )
      ),
      { disableLogger: true, disableListenLog: true }
    )
    return Effect.gen(function* () {
      const api = yield* listening(ofApi)
      assert.strictEqual((yield* get(`${api}/one`)).status, 503, "a defect of ours has its answer, too")
      assert.deepStrictEqual(texts(fake).slice(-4), ["BEGIN", "select api", "fails", "ROLLBACK"])
      fake.failures.clear()
      assert.strictEqual((yield* get(`${api}/one`)).status, 200)
      const layers = yield* listening(ofLayers)
      assert.strictEqual((yield* get(`${layers}/two`)).text, "two")
      assert.deepStrictEqual(texts(fake).slice(-3), ["BEGIN", "select layers", "COMMIT"])
      yield* idle
      clean(fake)
    }).pipe(Effect.provide(layer(fake)))
  })

  it.scopedLive("joins the connection of an application around it", () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      const outer = yield* RequestConnection.make()
      const inner = yield* RequestConnection.make({ transaction: true, priority: "high" })
      const route = inner(Effect.zipRight(Sql.query("insert"), HttpServerResponse.text("done")))
      const app = HttpRouter.empty.pipe(
        HttpRouter.post("/", Effect.zipRight(Sql.query("select"), route)),
        HttpRouter.use(outer)
      )
      const url = yield* serving(app)
      assert.strictEqual((yield* get(url, { method: "POST" })).status, 200)
      assert.deepStrictEqual(fake.log, ["0: select", "0: BEGIN", "0: insert", "0: COMMIT"])
      yield* idle
    }).pipe(Effect.provide(layer(fake)))
  })

  it.scopedLive("serves HTTP/2, and interrupts the request of a client that resets its stream", () => {
    const fake = FakeDriver.make()
    fake.answers.set("hang", "hang")
    return Effect.gen(function* () {
      const app = HttpRouter.empty.pipe(
        HttpRouter.get("/hang", Effect.as(Sql.query("hang"), HttpServerResponse.text("never"))),
        HttpRouter.get("/", Effect.as(Sql.query("select"), HttpServerResponse.text("done"))),
        HttpRouter.use(yield* RequestConnection.make())
      )
      const url = yield* serving(app, undefined, createHttp2Server() as any)
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => connect(url)),
        (session) => Effect.sync(() => session.destroy())
      )
      const ask = (path: string) => session.request({ ":path": path }).on("error", () => {})
      const hanging = [ask("/hang"), ask("/hang")]
      yield* eventually(
        "both run",
        Effect.map(using, (n) => n === 2)
      )
      for (const one of hanging) one.close(constants.NGHTTP2_CANCEL)
      yield* idleSoon
      const text = yield* Effect.promise(() => new Response(Readable.toWeb(ask("/")) as ReadableStream).text())
      assert.strictEqual(text, "done")
      yield* idle
    }).pipe(Effect.provide(layer(fake)))
  })
})
