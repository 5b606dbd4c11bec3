/**
 * Requests whose clients hang up, on real sockets and real servers. A client leaves in one of these phases, in one of these ways, and
 * afterwards nothing of it is left:
 *
 * | phase | how it is reached |
 * | --- | --- |
 * | before the handler | the request is aborted as soon as it is sent |
 * | waiting | the only connection is in use |
 * | connecting | the server is reached through a proxy that lets nothing pass |
 * | running | a statement that takes half a minute |
 * | in a transaction | the same, after a row was written |
 * | between two statements | a transaction whose handler waits for something else |
 * | streaming | rows without end, of which some were read |
 * | pipelined | behind another request on the same socket, so that Node tells nobody |
 */
import { request as send } from "node:http"
import { connect, type Socket } from "node:net"
import { type HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Health, RequestConnection } from "@sluice/http"
import { Sql } from "@sluice/sql"
import { Effect, Fiber, Stream } from "effect"
import { flood } from "../../packages/http/test/support/curl.js"
import { get, serving } from "../../packages/http/test/support/serving.js"
import { eventually, unique } from "../contract/contract.js"
import { booksBalance, proxy, running, type Scenario, Server, scenarios } from "../fault/rig.js"

/** The routes of these tests. `table` is written to by `POST /pay`. */
const served = ({ sleep }: Pick<Scenario, "sleep">) =>
  Effect.gen(function* () {
    const table = unique("requests")
    yield* numbersOf(table)
    const withConnection = yield* RequestConnection.make()
    const inTransaction = yield* RequestConnection.make({ transaction: true })
    const sql = yield* SqlClient.SqlClient
    const insert = Sql.query(`insert into ${table} values (1)`)
    const done = HttpServerResponse.text("done")
    const numbers = sql.unsafe<{ id: number }>(`select a.id from ${table}_n a, ${table}_n b, ${table}_n c`).stream.pipe(
      Stream.map(({ id }) => `${id}\n`),
      Stream.encodeText
    )
    const echo = Effect.gen(function* () {
      const body = yield* (yield* HttpServerRequest.HttpServerRequest).text
      yield* Sql.query("select 1 as n")
      return HttpServerResponse.text(body)
    })
    const rows = Effect.as(Sql.query("select 1 as n"), HttpServerResponse.stream(numbers))
    /** Runs what it is around in a fiber of its own, which ends before the body of the response is sent. */
    const inFiber = <E, R>(app: HttpApp.Default<E, R>) => Effect.flatMap(Effect.fork(app), Fiber.join)
    const around = HttpRouter.empty.pipe(
      HttpRouter.get("/around/rows", rows),
      HttpRouter.use(withConnection),
      HttpRouter.use(inFiber)
    )
    const inside = HttpRouter.empty.pipe(
      HttpRouter.get("/inside/rows", rows),
      HttpRouter.use(inFiber),
      HttpRouter.use(withConnection)
    )
    const routes = HttpRouter.empty.pipe(
      HttpRouter.get("/one", Effect.as(Sql.query("select 1 as n"), done)),
      HttpRouter.all("/slow", Effect.as(sleep(30), done)),
      HttpRouter.get("/rows", rows),
      HttpRouter.get("/large", Effect.as(Sql.query("select 1 as n"), HttpServerResponse.text("x".repeat(50_000_000)))),
      HttpRouter.post("/echo", echo),
      HttpRouter.use(withConnection)
    )
    const transactions = HttpRouter.empty.pipe(
      HttpRouter.all("/pay", insert.pipe(Effect.zipRight(sleep(30)), Effect.as(done))),
      HttpRouter.post("/think", insert.pipe(Effect.zipRight(Effect.never), Effect.as(done))),
      HttpRouter.post("/paid", Effect.as(insert, done)),
      HttpRouter.use(inTransaction)
    )
    const url = yield* serving(
      HttpRouter.concatAll(routes, transactions, around, inside).pipe(
        HttpRouter.mount("/health", Health.router)
      ) as HttpRouter.HttpRouter
    )
    return { table, url }
  })

const numbersOf = (table: string) =>
  Effect.gen(function* () {
    yield* Sql.query(`create table ${table} (id int)`)
    yield* Sql.query(`create table ${table}_n (id int)`)
    yield* Sql.query(`insert into ${table}_n values ${Array.from({ length: 300 }, (_, i) => `(${i})`).join()}`)
  })

/** A request that hangs up when the scope closes. */
const sent = (url: string, method: "GET" | "POST") =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const body = method === "POST" ? "x".repeat(1_000) : undefined
      const request = send(url, { method, agent: false, headers: body ? { "content-length": body.length } : {} })
      request.on("error", () => {})
      request.end(body)
      return request
    }),
    (request) => Effect.sync(() => request.destroy())
  )

/** A plain socket to the server. */
const socketTo = (url: string) =>
  Effect.acquireRelease(
    Effect.async<Socket>((resume) => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const statsAre = (what: string, is: (stats: Sql.SqlStats["write"]) => boolean) =>
  eventually(
    what,
    Effect.map(Sql.stats, ({ write }) => is(write))
  )

scenarios("F11: requests whose clients hang up", ({ it, run, sleep }) => {
  const phases: Readonly<
    Record<
      string,
      {
        readonly method: "GET" | "POST"
        readonly path: string
        readonly reached: "waiting" | "using" | "running" | "sent"
      }
    >
  > = {
    "before the handler": { method: "POST", path: "/echo", reached: "sent" },
    running: { method: "GET", path: "/slow", reached: "running" },
    "in a transaction": { method: "POST", path: "/pay", reached: "running" },
    "between two statements": { method: "POST", path: "/think", reached: "using" }
  }

  it.effect("whatever they were doing, nothing of them is left, and the next request is served", () =>
    run({ pool: { maxSize: 2 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const { table, url } = yield* served({ sleep })
        for (const [phase, { method, path, reached }] of Object.entries(phases)) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* sent(url + path, method)
              yield* sent(url + path, method)
              if (reached === "running") yield* eventually(`${phase}: both run`, running(2, sessions))
              if (reached === "using") yield* statsAre(`${phase}: both have a connection`, ({ using }) => using === 2)
            })
          )
          yield* booksBalance
          yield* eventually(
            `${phase}: nothing of them is on the server`,
            Effect.map(sessions, (all) => all.every((one) => !one.isRunning && !one.inTransaction))
          )
          assert.strictEqual((yield* get(`${url}/one`)).status, 200, phase)
          assert.deepStrictEqual(yield* Sql.query(`select id from ${table}`), [], phase)
        }
        // Nothing was lost with them: what ends well is written.
        assert.strictEqual((yield* get(`${url}/paid`, { method: "POST" })).status, 200)
        assert.strictEqual((yield* Sql.query(`select id from ${table}`)).length, 1)
      })
    )
  )

  it.effect("those that wait leave the queue at once, and those in front of them are served", () =>
    // The door would refuse those that are expected to wait too long.
    run({ pool: { maxSize: 1, acquireTimeout: "5 minutes" } }, ({ sessions }) =>
      Effect.gen(function* () {
        const { url } = yield* served({ sleep })
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* sent(`${url}/slow`, "GET")
            yield* eventually("it runs", running(1, sessions))
            yield* Effect.scoped(
              Effect.gen(function* () {
                yield* Effect.replicateEffect(sent(`${url}/echo`, "POST"), 50)
                yield* statsAre("all wait", ({ waiting }) => waiting === 50)
              })
            )
            yield* statsAre(
              "nobody waits, and the first is still served",
              (stats) => stats.waiting === 0 && stats.using === 1
            )
          })
        )
        yield* booksBalance
        assert.strictEqual((yield* get(`${url}/echo`, { method: "POST", body: "hello" })).text, "hello")
      })
    )
  )

  it.scoped("those that wait for a connect leave, and the connect goes on for the next one", () =>
    Effect.flatMap(proxy, (path) =>
      run({ via: path, pool: { maxSize: 1, minIdle: 0, idleTimeout: "100 millis" } }, () =>
        Effect.gen(function* () {
          const { url } = yield* served({ sleep })
          yield* statsAre("no connection is open", ({ size }) => size === 0)
          yield* path.blackhole()
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* sent(`${url}/one`, "GET")
              yield* sent(`${url}/echo`, "POST")
              yield* statsAre("they wait for a connect", (stats) => stats.waiting === 2 && stats.connecting === 1)
            })
          )
          yield* statsAre("nobody waits", ({ waiting }) => waiting === 0)
          yield* path.heal
          assert.strictEqual((yield* get(`${url}/one`)).status, 200)
        })
      )
    )
  )

  it.effect("a streamed response keeps the connection until its end, and gives it back when its client leaves", () =>
    run({ pool: { maxSize: 1 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const { url } = yield* served({ sleep })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const request = yield* sent(`${url}/rows`, "GET")
            yield* Effect.async<void>((resume) => {
              request.once("response", (response) => {
                response.once("data", () => {
                  // Reads no further: the cursor waits for the client.
                  response.pause()
                  resume(Effect.void)
                })
              })
            })
            yield* statsAre("it reads rows", ({ using }) => using === 1)
          })
        )
        yield* booksBalance
        yield* eventually("nothing runs", running(0, sessions))
        // A response to HEAD has the same handler and no body.
        assert.strictEqual((yield* get(`${url}/rows`, { method: "HEAD" })).status, 200)
        yield* booksBalance
      })
    )
  )

  it.effect("rows are given up with their client, also where a middleware runs the handler in a fiber of its own", () =>
    run({ pool: { maxSize: 2 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const { url } = yield* served({ sleep })
        const reads = (using: number) => statsAre("they are read", (stats) => stats.using === using)
        const isOver = Effect.zipRight(booksBalance, eventually("nothing runs", running(0, sessions)))
        for (const path of ["/around/rows", "/inside/rows"]) {
          const rows = `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
          const alone = yield* socketTo(url)
          alone.resume().write(rows)
          yield* eventually(
            `${path}: some are here`,
            Effect.sync(() => alone.bytesRead > 100_000)
          )
          alone.pause()
          yield* reads(1)
          alone.destroy()
          yield* isOver
          // Node tells nobody of the end of a client whose answer waits behind another one.
          const behind = yield* socketTo(url)
          behind.write(`GET /slow HTTP/1.1\r\nHost: x\r\n\r\n${rows}`)
          yield* reads(2)
          behind.destroy()
          yield* isOver
        }
        assert.strictEqual((yield* get(`${url}/one`)).status, 200)
      })
    )
  )

  it.effect("a client that reads slowly holds no connection", () =>
    run({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const { url } = yield* served({ sleep })
        const slow = yield* socketTo(url)
        slow.pause()
        slow.write("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        yield* eventually(
          "its response is under way",
          Effect.sync(() => slow.readableLength > 0 || slow.bytesRead > 0)
        )
        yield* booksBalance
        assert.strictEqual((yield* get(`${url}/one`)).status, 200)
      })
    )
  )

  it.effect("a client that closes its half of the socket has left, because Node closes the other half then", () =>
    run({ pool: { maxSize: 1 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const { url } = yield* served({ sleep })
        for (const path of ["/slow", "/rows"]) {
          const half = yield* socketTo(url)
          half.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
          yield* statsAre("it has a connection", ({ using }) => using === 1)
          half.end()
          yield* booksBalance
          yield* eventually("nothing runs", running(0, sessions))
        }
        assert.strictEqual((yield* get(`${url}/echo`, { method: "POST", body: "hello" })).text, "hello")
      })
    )
  )

  it.effect("pipelined requests are answered in their order, and end all when their client leaves", () =>
    run({ pool: { maxSize: 10 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const { url } = yield* served({ sleep })
        const one = yield* socketTo(url)
        let text = ""
        one.on("data", (data) => {
          text += String(data)
        })
        for (let i = 0; i < 30; i++) {
          one.write(`POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nbody${String(i).padStart(2, "0")}`)
        }
        const bodies = () => [...text.matchAll(/body\d\d/g)].map(([body]) => Number(body.slice(4)))
        yield* eventually(
          "all are answered",
          Effect.sync(() => bodies().length === 30)
        )
        assert.deepStrictEqual(
          bodies(),
          Array.from({ length: 30 }, (_, i) => i)
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            const other = yield* socketTo(url)
            for (let i = 0; i < 5; i++) other.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            other.write("GET /rows HTTP/1.1\r\nHost: x\r\n\r\n")
            yield* eventually(
              "the slow ones run, and rows are read behind them",
              Effect.map(Sql.stats, ({ write }) => write.using === 6)
            )
          })
        )
        yield* booksBalance
        yield* eventually("nothing runs", running(0, sessions))
        assert.strictEqual((yield* get(`${url}/one`)).status, 200)
      })
    )
  )

  it.effect(
    "a flood of requests of curl with a limit of 1 ms leave nothing, and drop no healthy request beside them",
    () =>
      run({ pool: { maxSize: 10, acquireTimeout: "1 minute" } }, ({ sessions }) =>
        Effect.gen(function* () {
          const { table, url } = yield* served({ sleep })
          const cluster = yield* Server
          const body = "x".repeat(1_000)
          const count = cluster.database === "postgresql" ? 2_000 : 400
          let isOver = false
          const healthy = Effect.map(get(`${url}/echo`, { method: "POST", body }), ({ status, text }) => {
            assert.deepStrictEqual([status, text.length], [200, 1_000])
          })
          const [, counts] = yield* Effect.all(
            [
              Effect.ensuring(
                Effect.all([flood(`${url}/slow`, count / 2), flood(`${url}/pay`, count / 2)], {
                  concurrency: "unbounded"
                }),
                Effect.sync(() => {
                  isOver = true
                })
              ),
              Effect.forEach(
                Array.from({ length: 4 }),
                () => Effect.repeat(Effect.as(healthy, 1), { until: () => isOver }),
                { concurrency: "unbounded" }
              )
            ],
            { concurrency: "unbounded" }
          )
          assert.strictEqual(counts.length, 4)
          const health = yield* get(`${url}/health/ready`)
          assert.strictEqual(health.status, 200)
          yield* booksBalance
          yield* eventually(
            "nothing of them is on the server",
            Effect.map(sessions, (all) => all.every((one) => !one.isRunning && !one.inTransaction))
          )
          assert.deepStrictEqual(yield* Sql.query(`select id from ${table}`), [])
          assert.strictEqual((yield* get(`${url}/one`)).status, 200)
        })
      )
  )
})

scenarios("F21: health checks while every connection is in use", ({ it, run, sleep }) => {
  it.effect("both answer while 245 callers wait, without a connection of the pool; ready ends with the pool", () =>
    run({ pool: { maxSize: 10, acquireTimeout: "10 minutes" } }, ({ sessions }) =>
      Effect.gen(function* () {
        const { url } = yield* served({ sleep })
        const health = (check: string) =>
          Effect.map(get(`${url}/health/${check}`), ({ status, text }) => [status, text])
        const busy = yield* Effect.replicateEffect(Effect.fork(sleep(30)), 255)
        const isFull = statsAre("245 wait", ({ using, waiting }) => using === 10 && waiting === 245)
        yield* isFull
        yield* eventually("all run", running(10, sessions))
        // Longer than a byte of the server says that it works: after that it is asked.
        yield* Effect.sleep("1100 millis")
        assert.deepStrictEqual(yield* health("live"), [200, '{"status":"ok"}'])
        assert.deepStrictEqual(yield* health("ready"), [200, '{"status":"ok"}'])
        yield* isFull
        assert.strictEqual((yield* Sql.stats).control[0]!.open, 1)
        yield* Effect.forEach(busy, Fiber.interruptFork, { discard: true })
        yield* booksBalance
        yield* Sql.suspend()
        assert.deepStrictEqual(yield* health("ready"), [
          503,
          '{"status":"unavailable","reason":"the pool is suspended"}'
        ])
        yield* Sql.resume
        yield* Sql.drain()
        assert.deepStrictEqual(yield* health("ready"), [503, '{"status":"unavailable","reason":"the pool is closed"}'])
        assert.deepStrictEqual(yield* health("live"), [200, '{"status":"ok"}'])
      })
    )
  )

  it.scoped("a server that does not answer is not ready, and ready again when it answers", () =>
    Effect.flatMap(proxy, (path) =>
      run({ via: path, pool: { maxSize: 2 } }, () =>
        Effect.gen(function* () {
          const { url } = yield* served({ sleep })
          const status = Effect.map(get(`${url}/health/ready`), ({ status }) => status)
          const isReady = eventually(
            "it is ready",
            Effect.map(status, (status) => status === 200)
          )
          yield* isReady
          yield* path.blackhole()
          yield* eventually(
            "it is not ready",
            Effect.map(status, (status) => status === 503)
          )
          yield* path.reset
          yield* path.heal
          yield* isReady
        })
      )
    )
  )
})
