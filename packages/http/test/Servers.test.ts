/** The bindings of servers, on a database in memory and real sockets: what is answered, and what is left behind. */
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { ClientGone } from "@sluice/http"
import * as Express from "@sluice/http/Express"
import * as Fastify from "@sluice/http/Fastify"
import { Sql } from "@sluice/sql"
import { Cause, Data, Effect, Exit, Logger, Redacted, Scope, Stream } from "effect"
import express from "express"
import fastify from "fastify"
import { eventually } from "../../sql/test/support/eventually.js"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { clean, idle, layer, reasonOf, texts } from "../../sql/test/support/sql.js"
import * as Clients from "./support/clients.js"
import { ask, leave, type Server, type Site, servers } from "./support/servers.js"

class Refused extends Data.TaggedError("Refused")<{}> {}

const using = Effect.map(Sql.stats, ({ write }) => write.using)

/** Runs a body with a server, then checks the books. */
const onServer = <A, E>(
  server: Server,
  site: Site,
  body: (port: number, fake: FakeDriver.Fake) => Effect.Effect<A, E, Sql.Sql | Scope.Scope>,
  options?: Parameters<typeof layer>[1]
) => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    yield* Effect.scoped(Effect.flatMap(server.serve(site), (port) => body(port, fake)))
    yield* idle
    clean(fake)
  }).pipe(
    Effect.provide(layer(fake, options)),
    Effect.provide(
      Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ cause }) => void site.errors?.push(Cause.squash(cause)))
      )
    )
  )
}

describe.each(Object.entries(servers))("%s", (name, server) => {
  it.live("acquires with the first statement, and sends the answer when the connection is back", () => {
    const seen: Array<number> = []
    const look = Effect.map(using, (using) => void seen.push(using))
    const site: Site = {
      handlers: {
        "/": ({ body }) => Effect.as(Effect.zipRight(look, Effect.zipRight(Sql.query("select 1"), look)), { got: body })
      }
    }
    return onServer(server, site, (port) =>
      Effect.gen(function* () {
        const { headers, status, text } = yield* ask(server, port, "/", { body: { a: 1 } })
        assert.deepStrictEqual([status, text], [200, '{"got":{"a":1}}'])
        assert.match(String(headers["content-type"]), /^application\/json/)
        assert.deepStrictEqual(seen, [0, 1])
        yield* idle
      })
    )
  })

  it.live("sends texts, bytes and streams as they are, and what the handler has said of status and headers", () => {
    const site: Site = {
      handlers: {
        "/text": ({ header, status }) => {
          status(201)
          header("x-by", "handler")
          return Effect.succeed("a text")
        },
        "/bytes": () => Effect.succeed(Buffer.from("bytes")),
        "/stream": ({ header }) => {
          header("content-type", "text/plain")
          return Effect.succeed(Stream.make("one ", Buffer.from("two "), "three"))
        },
        "/rows": () =>
          Effect.succeed(
            Stream.unwrap(
              Effect.map(Sql.Sql, ({ client }) =>
                Stream.map(client.unsafe("rows").stream, (row) => JSON.stringify(row))
              )
            )
          )
      }
    }
    return onServer(server, site, (port, fake) =>
      Effect.gen(function* () {
        const first = yield* ask(server, port, "/text")
        assert.deepStrictEqual([first.status, first.text, first.headers["x-by"]], [201, "a text", "handler"])
        assert.strictEqual((yield* ask(server, port, "/bytes")).text, "bytes")
        assert.strictEqual((yield* ask(server, port, "/stream")).text, "one two three")
        assert.strictEqual((yield* ask(server, port, "/rows")).text, '{"piece":2}{"piece":1}{"piece":0}')
        assert.include(fake.connections[0]!.log, "(close)")
      })
    )
  })

  it.live("a body that fails before its first piece is a failure, and one that fails later ends unfinished", () => {
    const errors: Array<unknown> = []
    // A moment later, so that the first piece is on its way.
    const failing = Effect.delay(Effect.fail(new Refused()), "20 millis")
    const site: Site = {
      errors,
      handlers: {
        "/first": () => Effect.succeed(Stream.fail(new Refused())),
        "/later": () => Effect.succeed(Stream.concat(Stream.make("one"), Stream.fromEffect(failing)))
      }
    }
    return onServer(server, site, (port) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* ask(server, port, "/first")).status, 500)
        assert.instanceOf(errors[0], Refused)
        // The client sees it by the end of its connection, or of its stream, in the middle of the answer. Fastify ends the stream of HTTP/2
        // without a code that says so.
        const later = yield* Effect.exit(ask(server, port, "/later"))
        assert.strictEqual(Exit.isFailure(later), name !== "Fastify 5 over HTTP/2")
      })
    )
  })

  it.live(
    "answers a header without meaning with 400, overload with 503, and a value that the database cannot take with 400",
    () => {
      const began: Array<string> = []
      const site: Site = {
        options: { deadlineHeader: "x-deadline" },
        handlers: {
          "/": () =>
            Effect.zipRight(
              Effect.sync(() => began.push("/")),
              Sql.query("select 1")
            ),
          "/hangs": () => Sql.query("hangs")
        }
      }
      return onServer(
        server,
        site,
        (port, fake) =>
          Effect.gen(function* () {
            const bad = yield* ask(server, port, "/", { headers: { "x-deadline": "yesterday" } })
            assert.strictEqual(bad.status, 400)
            assert.include(bad.text, "x-deadline")
            fake.answers.set("hangs", "hang")
            const held = yield* leave(server, port, "/hangs", "POST")
            yield* eventually(
              "the only connection is taken",
              Effect.map(using, (using) => using === 1)
            )
            const late = yield* ask(server, port, "/hangs", { headers: { "x-deadline": "50" } })
            assert.deepStrictEqual([late.status, Number(late.headers["retry-after"]) >= 1], [503, true], late.text)
            assert.deepStrictEqual(began, [])
            held.leave()
            assert.strictEqual((yield* ask(server, port, "/")).status, 200)
          }),
        { pool: { maxSize: 1 } }
      )
    }
  )

  it.live(
    "leaves a handler's own failures to the server: expected, unexpected, and thrown before there is an effect",
    () => {
      const errors: Array<unknown> = []
      const site: Site = {
        errors,
        handlers: {
          "/fails": () => Effect.zipRight(Sql.query("select 1"), Effect.fail(new Refused())),
          "/dies": () => Effect.die(new Error("a defect")),
          "/throws": () => {
            throw new Error("thrown")
          }
        }
      }
      return onServer(server, site, (port) =>
        Effect.gen(function* () {
          for (const path of ["/fails", "/dies", "/throws"]) {
            const { status, text } = yield* ask(server, port, path, { body: {} })
            assert.strictEqual(status, 500)
            assert.strictEqual(
              text,
              name.startsWith("node") ? '{"error":"InternalServerError"}' : "by the error handler"
            )
          }
          if (!name.startsWith("node")) {
            assert.deepStrictEqual(
              errors.map(String).map((error) => error.replace(/^Error: /, "")),
              [String(new Refused()), "a defect", "thrown"]
            )
          }
        })
      )
    }
  )

  it.live("commits before the answer is sent, and rolls back for a failure and for a status of 400 or more", () => {
    const insert = Sql.query("insert")
    const site: Site = {
      options: { transaction: true },
      handlers: {
        "/ok": () => Effect.as(insert, "ok"),
        "/bad": ({ status }) => Effect.as(insert, "bad").pipe(Effect.tap(() => status(422))),
        "/fails": () => Effect.zipRight(insert, Effect.fail(new Refused())),
        "/none": () => Effect.succeed("none")
      }
    }
    return onServer(server, site, (port, fake) =>
      Effect.gen(function* () {
        for (const [path, expected, sent] of [
          ["/ok", 200, ["BEGIN", "insert", "COMMIT"]],
          ["/bad", 422, ["BEGIN", "insert", "ROLLBACK"]],
          ["/fails", 500, ["BEGIN", "insert", "ROLLBACK"]],
          ["/none", 200, []]
        ] as const) {
          fake.log.length = 0
          const { status } = yield* ask(server, port, path, { body: {} })
          assert.deepStrictEqual([path, status, texts(fake)], [path, expected, [...sent]])
        }
      })
    )
  })

  it.live(
    "gives a client the token of its write, beside the cookies of the program, and reads behind no write of it",
    () => {
      const site: Site = {
        options: { consistency: { secret: Redacted.make("at least 16 characters") } },
        handlers: {
          "/write": ({ header }) => {
            header("set-cookie", "own=1")
            return Effect.as(Sql.query("insert"), "written")
          },
          "/read": () => Effect.as(Sql.query("select"), "read")
        }
      }
      return onServer(
        server,
        site,
        (port, fake) =>
          Effect.gen(function* () {
            fake.positions.set("primary", 5).set("replica", 3)
            const { headers } = yield* ask(server, port, "/write", { body: {} })
            const cookies = headers["set-cookie"] as ReadonlyArray<string>
            assert.strictEqual(cookies.length, 2)
            assert.strictEqual(cookies[0], "own=1")
            const cookie = cookies[1]!.split(";")[0]!
            assert.match(cookie, /^sluice-consistency=/)
            fake.log.length = 0
            yield* ask(server, port, "/read", { headers: { cookie } })
            const [primary] = fake.connections.filter(({ host }) => host === "primary")
            assert.include(primary!.log, "select")
          }),
        { replicas: ["replica"] }
      )
    }
  )

  it.live("answers nothing more when a handler has answered itself", () => {
    const errors: Array<unknown> = []
    const site: Site = {
      errors,
      options: { consistency: { secret: Redacted.make("at least 16 characters") } },
      handlers: {
        "/gives": ({ answer }) =>
          Effect.zipLeft(
            Effect.as(Sql.query("insert"), undefined),
            Effect.sync(() => answer("own"))
          ),
        "/fails": ({ answer }) =>
          Effect.zipRight(
            Effect.sync(() => answer("own")),
            Effect.fail(new Refused())
          )
      }
    }
    return onServer(
      server,
      site,
      (port) =>
        Effect.gen(function* () {
          for (const path of ["/gives", "/fails"]) {
            const { status, text } = yield* ask(server, port, path, { body: {} })
            assert.deepStrictEqual([path, status, text], [path, 200, "own"])
          }
        }),
      { replicas: ["replica"] }
    )
  })

  it.live("interrupts the handlers that are left when its scope closes, and answers them with 503", () => {
    const fake = FakeDriver.make()
    fake.answers.set("hangs", "hang")
    return Effect.gen(function* () {
      // The server itself goes on: only the bindings end.
      const bindings = yield* Scope.make()
      const port = yield* server.serve({ bindings, handlers: { "/": () => Sql.query("hangs") } })
      const answer = yield* Effect.fork(ask(server, port, "/", { body: {} }))
      yield* eventually(
        "the statement runs",
        Effect.map(using, (using) => using === 1)
      )
      yield* Scope.close(bindings, Exit.void)
      const { status } = yield* answer
      assert.strictEqual(status, 503)
      yield* idle
      assert.strictEqual(fake.aborts, 1)
      clean(fake)
    }).pipe(Effect.scoped, Effect.provide(layer(fake)))
  })

  it.effect("refuses options that have no meaning", () =>
    Effect.gen(function* () {
      const site: Site = { options: { prioritty: "high" } as any, handlers: {} }
      assert.strictEqual((yield* Effect.scoped(reasonOf(server.serve(site))))._tag, "InvalidUse")
    }).pipe(Effect.provide(layer(FakeDriver.make())))
  )
})

describe("handlers that are plain Promises", () => {
  const parked = () => {
    const signals: Array<AbortSignal> = []
    /** Holds the first two until all events of their requests have come, and the others until they are left. */
    const park = async (signal: AbortSignal) => {
      signals.push(signal)
      const isHealthy = signals.length <= 2
      await new Promise((resolve) => {
        if (isHealthy) setTimeout(resolve, 20)
        else signal.addEventListener("abort", resolve)
      })
    }
    const arrived = (count: number) =>
      eventually(
        `${count} are here`,
        Effect.sync(() => signals.length === count)
      )
    return { signals, park, arrived }
  }

  const promises: Record<
    string,
    (park: (signal: AbortSignal) => Promise<void>) => Effect.Effect<number, never, Scope.Scope>
  > = {
    "node:http": (park) =>
      Clients.http1(async (request, response) => {
        for await (const _ of request);
        await park(ClientGone.signal(request, response))
        response.end("served")
      }),
    "Express 5": (park) => {
      const app = express()
      app.use(Express.signal, express.json())
      app.all("/", async (_request, response) => {
        await park(response.locals["signal"])
        response.send("served")
      })
      return Clients.http1(app)
    },
    "Fastify 5": (park) =>
      Effect.acquireRelease(
        Effect.promise(async () => {
          const app = fastify()
          app.register(Fastify.plugin)
          // In a context of its own, as plugins of programs are.
          app.register(async (inner) => {
            inner.all("/", async (request) => {
              await park(request.clientSignal)
              return "served"
            })
          })
          await app.listen({ host: "127.0.0.1", port: 0 })
          return app
        }),
        (app) => Effect.promise(() => app.close())
      ).pipe(Effect.map((app) => (app.server.address() as AddressInfo).port))
  }

  for (const [name, serve] of Object.entries(promises)) {
    it.scopedLive(`get a signal that is aborted for a client that goes, and for no healthy POST: ${name}`, () =>
      Effect.gen(function* () {
        const { arrived, park, signals } = parked()
        const server = servers["node:http"]!
        const port = yield* serve(park)
        for (const body of [undefined, { a: 1 }]) {
          assert.strictEqual((yield* ask(server, port, "/", { body })).text, "served")
        }
        assert.deepStrictEqual(
          signals.map(({ aborted }) => aborted),
          [false, false]
        )
        for (const [i, method] of (["GET", "POST"] as const).entries()) {
          const client = yield* leave(server, port, "/", method)
          yield* arrived(3 + i)
          client.leave()
          yield* eventually(
            "the signal is aborted",
            Effect.sync(() => signals[2 + i]!.aborted)
          )
        }
        assert.deepStrictEqual(
          signals.map(({ aborted }) => aborted),
          [false, false, true, true]
        )
      })
    )
  }

  it.scopedLive("do not run for a client that has gone already", () =>
    Effect.gen(function* () {
      const signals: Array<AbortSignal> = []
      let ran = 0
      const app = express()
      app.use(async (request, response, next) => {
        if (!request.socket.destroyed) await new Promise((resolve) => request.socket.once("close", resolve))
        signals.push(ClientGone.signal(request, response))
        next()
      })
      app.use(Express.signal, () => {
        ran++
      })
      const client = yield* leave(servers["node:http"]!, yield* Clients.http1(app), "/", "POST")
      client.leave()
      yield* eventually(
        "it is behind the first middleware",
        Effect.sync(() => signals.length === 1)
      )
      assert.isTrue(signals[0]!.aborted)
      assert.strictEqual(ran, 0)
    })
  )
})

it.scopedLive("Fastify's inject, which has no socket, is served as a request is", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    const route = yield* Fastify.make()
    const app = fastify()
    app.get(
      "/",
      route(() => Sql.query("select 1"))
    )
    const { statusCode } = yield* Effect.promise(() => app.inject("/"))
    assert.strictEqual(statusCode, 200)
    yield* Effect.promise(() => app.close())
    yield* idle
    clean(fake)
  }).pipe(Effect.provide(layer(fake)))
})
