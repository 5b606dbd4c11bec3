/** The token that lets a client read what it has written: in a cookie or a header, signed, and of use for a while. */
import { HttpApp, HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { RequestConnection } from "@sluice/http"
import { Consistency, Sql } from "@sluice/sql"
import { Effect, Redacted, type Runtime, TestClock } from "effect"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { advance, layer, texts } from "../../sql/test/support/sql.js"

const secret = Redacted.make("a secret of 16 characters")

/** An application on a primary that has written up to 10, and a replica that has come to 5. */
const onReplica = <A, E>(
  consistency: Omit<RequestConnection.ConsistencyOptions, "secret">,
  body: (
    ask: (method: string, headers?: Record<string, string>) => Effect.Effect<Response>,
    fake: FakeDriver.Fake
  ) => Effect.Effect<A, E, Sql.Sql>
) => {
  const fake = FakeDriver.make()
  fake.positions.set("primary", 10).set("replica", 5)
  fake.standbys.add("replica")
  return Effect.gen(function* () {
    const middleware = yield* RequestConnection.make({ consistency: { secret, ...consistency } })
    const runtime = yield* Effect.runtime<Sql.Sql>()
    const where = Effect.map(Sql.query<{ host: string }>("select"), ([row]) => HttpServerResponse.text(row!.host))
    const app = HttpRouter.empty.pipe(HttpRouter.all("/", where), HttpRouter.use(middleware))
    const handle = HttpApp.toWebHandlerRuntime(runtime as Runtime.Runtime<any>)(app as any)
    yield* advance(3_000)
    return yield* body(
      (method, headers = {}) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(
            Effect.promise(() => handle(new Request("http://test/", { method, headers })))
          )
          while (fiber.unsafePoll() === null) yield* advance(20, 20)
          return yield* fiber
        }),
      fake
    )
  }).pipe(Effect.provide(layer(fake, { replicas: ["replica"] })))
}

const host = (response: Response) => Effect.promise(() => response.text())
const cookieIn = (response: Response) =>
  /^(sluice-consistency=[^;]*)/.exec(response.headers.get("set-cookie") ?? "")?.[1]

describe("a consistency token", () => {
  it.effect("goes into a cookie after a write, and the next read of the client is not behind it", () =>
    onReplica({}, (ask) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* host(yield* ask("GET")), "replica")
        const written = yield* ask("POST")
        assert.match(written.headers.get("set-cookie") ?? "", /Max-Age=60; Path=\/; HttpOnly; SameSite=Lax$/)
        const cookie = cookieIn(written)!
        const read = yield* ask("GET", { cookie: `other=1; ${cookie}` })
        assert.strictEqual(yield* host(read), "primary")
        assert.isNull(read.headers.get("set-cookie"), "a read has written nothing")
      })
    )
  )

  it.effect("is no longer of use after its time", () =>
    onReplica({ maxAge: "2 seconds" }, (ask) =>
      Effect.gen(function* () {
        const cookie = cookieIn(yield* ask("POST"))!
        assert.strictEqual(yield* host(yield* ask("GET", { cookie })), "primary")
        yield* advance(5_000)
        assert.strictEqual(yield* host(yield* ask("GET", { cookie })), "replica")
      })
    )
  )

  it.effect("that was forged, changed, or signed by another is ignored", () =>
    onReplica({}, (ask) =>
      Effect.gen(function* () {
        const cookie = cookieIn(yield* ask("POST"))!
        const foreign = yield* Consistency.sign("0~1~Fake~~99", Redacted.make("another secret of theirs"))
        const forged = [
          `${cookie}x`,
          cookie.replace("~", "~9"),
          "sluice-consistency=",
          "sluice-consistency=%",
          "sluice-consistency=%FF%00",
          `sluice-consistency=${"x".repeat(10_000)}`,
          `sluice-consistency=${encodeURIComponent(foreign)}`
        ]
        for (const cookie of forged) {
          const response = yield* ask("GET", { cookie })
          assert.strictEqual(response.status, 200, cookie.slice(0, 100))
          assert.strictEqual(yield* host(response), "replica", cookie.slice(0, 100))
        }
      })
    )
  )

  it.effect("that is signed, and of another database, is answered with 400 and taken away", () =>
    onReplica({}, (ask) =>
      Effect.gen(function* () {
        const other = yield* Consistency.sign("3~1~Other~~99", secret)
        const response = yield* ask("GET", { cookie: `sluice-consistency=${encodeURIComponent(other)}` })
        assert.strictEqual(response.status, 400)
        assert.match(response.headers.get("set-cookie") ?? "", /^sluice-consistency=; Max-Age=0;/)
      })
    )
  )

  it.effect("goes by a header where the program says so", () =>
    onReplica({ header: "X-Seen" }, (ask) =>
      Effect.gen(function* () {
        const written = yield* ask("POST")
        assert.isNull(written.headers.get("set-cookie"))
        const seen = written.headers.get("x-seen")!
        assert.strictEqual(yield* host(yield* ask("GET", { "x-seen": seen })), "primary")
        assert.strictEqual(yield* host(yield* ask("GET", { "x-seen": `${seen}x` })), "replica")
      })
    )
  )

  it.effect("costs nothing where there is no replica", () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      const middleware = yield* RequestConnection.make({ consistency: { secret } })
      const runtime = yield* Effect.runtime<Sql.Sql>()
      const insert = Effect.as(Sql.query("insert"), HttpServerResponse.text("done"))
      const app = HttpRouter.empty.pipe(HttpRouter.all("/", insert), HttpRouter.use(middleware))
      const handle = HttpApp.toWebHandlerRuntime(runtime as Runtime.Runtime<any>)(app as any)
      const response = yield* Effect.promise(() => handle(new Request("http://test/", { method: "POST" })))
      assert.deepStrictEqual([response.status, response.headers.get("set-cookie")], [200, null])
      assert.deepStrictEqual(texts(fake), ["insert"])
      assert.strictEqual((yield* Sql.stats).control[0]!.connects, 0)
      yield* TestClock.adjust(0)
    }).pipe(Effect.provide(layer(fake)))
  })
})
