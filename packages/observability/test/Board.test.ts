/**
 * Who may see and do what on a board, and what it does with too many viewers. Requests go through a real server on this machine; those
 * "from elsewhere" have the header of a proxy, because a test has no other machine.
 */
import { createConnection } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, TestClock } from "effect"
import { ADMIN, type Asked, ask, bearer, ofPage, READER, serving, signedIn, toldIn } from "./support/asking.js"
import * as Boards from "./support/boards.js"
import * as Reports from "./support/reports.js"

const target = JSON.stringify({ pool: 1 })

const elsewhere = { "x-forwarded-for": "192.0.2.7" }

/** Awaits a condition of the outside world, in real time. */
const until = <A>(effect: Effect.Effect<A>, is: (a: A) => boolean): Effect.Effect<A> =>
  Effect.promise(() => new Promise((go) => setTimeout(go, 5))).pipe(
    Effect.zipRight(effect),
    Effect.repeat({ until: is })
  )

const routes: ReadonlyArray<readonly [name: string, path: string, asked: Asked]> = [
  ["the page", "/", {}],
  ["the events", "/events", { until: "\n\n" }],
  ["stats.json", "/stats.json", {}],
  ["an action", "/actions/reset", { method: "POST", body: target }]
]

/** Status by the routes above. An action without a token is refused to everybody but a page that has one: see below. */
const table: ReadonlyArray<
  readonly [who: string, headers: Record<string, string>, cookie: string | undefined, statuses: ReadonlyArray<number>]
> = [
  ["somebody from elsewhere", elsewhere, undefined, [401, 401, 401, 401]],
  [
    "somebody with a wrong token, from elsewhere",
    { ...elsewhere, ...bearer("x".repeat(20)) },
    undefined,
    [401, 401, 401, 401]
  ],
  ["anyone on this machine", {}, undefined, [200, 200, 200, 403]],
  ["a reader by token", { ...elsewhere, ...bearer(READER) }, undefined, [200, 200, 200, 403]],
  ["a reader by cookie", elsewhere, READER, [200, 200, 200, 403]],
  ["the admin by token", { ...elsewhere, ...bearer(ADMIN) }, undefined, [200, 200, 200, 200]],
  ["the admin by cookie, without the page's token", elsewhere, ADMIN, [200, 200, 200, 403]]
]

describe("The rights of a board", () => {
  it.scoped.each(table)("%s", ([who, headers, token, statuses]) =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const cookie = token === undefined ? {} : { cookie: yield* signedIn(port, token) }
      for (const [i, [name, path, asked]] of routes.entries()) {
        const { status } = yield* ask(port, path, { ...asked, headers: { ...headers, ...cookie } })
        assert.strictEqual(status, statuses[i], `${who}: ${name}`)
      }
    })
  )

  it.scoped("numbers alone are shown to those who have not signed in: no activity, no span, no message", () =>
    Effect.gen(function* () {
      const secret = Boards.stuck({ lastTimeout: { at: 0, message: "secret message of a timeout" } })
      const reports = [Reports.report([Reports.database([secret])])]
      const { port } = yield* serving({}, Effect.succeed({ reports, silent: [] }))
      for (const path of ["/stats.json", "/events"]) {
        const numbers = yield* ask(port, path, { until: "\n\n" })
        const texts = yield* ask(port, path, { until: "\n\n", headers: bearer(READER) })
        for (const text of ["select * from orders", "POST /orders/:id/pay", "secret message"]) {
          assert.notInclude(numbers.body, text)
          assert.include(texts.body, text)
        }
        assert.include(numbers.body, '"waiting":17')
      }
    })
  )

  it.scoped("a hook is asked instead of the tokens, also for requests from this machine", () =>
    Effect.gen(function* () {
      const { port } = yield* serving({
        tokens: {},
        authorize: ({ headers }) =>
          Effect.succeed({ rights: headers["x-user"] === "ann" ? "texts" : "none", who: headers["x-user"] ?? "" })
      })
      assert.strictEqual((yield* ask(port, "/stats.json")).status, 401)
      const { body, status } = yield* ask(port, "/stats.json", { headers: { "x-user": "ann" } })
      assert.strictEqual(status, 200)
      assert.include(body, "select * from orders")
    })
  )
})

describe("Signing in to a board", () => {
  it.scoped("a right token gives a cookie that no program of a page can read and no other site sends", () =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const answer = yield* ask(port, "/", {
        method: "POST",
        headers: ofPage(port),
        body: `token=${encodeURIComponent(READER)}`
      })
      assert.strictEqual(answer.status, 303)
      assert.match(answer.headers["set-cookie"]![0]!, /; HttpOnly; SameSite=Strict$/)
      assert.notInclude(answer.headers["set-cookie"]![0]!, READER)
    })
  )

  it.scoped("a wrong token is answered with the form again, and no cookie", () =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const answer = yield* ask(port, "/", { method: "POST", headers: ofPage(port), body: "token=wrong" })
      assert.strictEqual(answer.status, 401)
      assert.include(answer.body, "This token is not right.")
      assert.isUndefined(answer.headers["set-cookie"])
    })
  )

  it.scoped("another site cannot sign somebody in", () =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const headers = { ...ofPage(port), origin: "http://evil.example", "sec-fetch-site": "cross-site" }
      const answer = yield* ask(port, "/", { method: "POST", headers, body: `token=${encodeURIComponent(ADMIN)}` })
      assert.strictEqual(answer.status, 403)
    })
  )

  it.scoped("a cookie that was changed, and one that is too old, are worth nothing", () =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const cookie = yield* signedIn(port, READER)
      const rights = (cookie: string) =>
        Effect.map(ask(port, "/", { headers: { cookie } }), ({ body }) => toldIn(body)["rights"])
      assert.strictEqual(yield* rights(cookie), "texts")
      assert.strictEqual(yield* rights(cookie.replace("read.", "admin.")), "numbers")
      assert.strictEqual(yield* rights(cookie.replace(/\.(\d+)\./, (_, at) => `.${Number(at) + 1}.`)), "numbers")
      yield* TestClock.adjust("13 hours")
      assert.strictEqual(yield* rights(cookie), "numbers")
    })
  )
})

describe("An action on a board", () => {
  const page = (port: number): Effect.Effect<Record<string, string>> =>
    Effect.gen(function* () {
      const cookie = yield* signedIn(port, ADMIN)
      const { body } = yield* ask(port, "/", { headers: { cookie } })
      return { ...ofPage(port), cookie, "x-sluice-board": String(toldIn(body)["forgeryToken"]) }
    })

  it.scoped("is done for the page of an admin, and for no request that another site could have made", () =>
    Effect.gen(function* () {
      const { done, port } = yield* serving()
      const right = yield* page(port)
      const { "x-sluice-board": _, ...noToken } = right
      const { origin: __, "sec-fetch-site": ___, ...noOrigin } = right
      const forged: ReadonlyArray<Record<string, string>> = [
        noToken,
        noOrigin,
        { ...right, "x-sluice-board": "forged" },
        { ...right, origin: "http://evil.example" },
        { ...right, "sec-fetch-site": "cross-site" },
        { ...right, "sec-fetch-site": "same-site" }
      ]
      for (const headers of forged) {
        const { status } = yield* ask(port, "/actions/reset", { method: "POST", headers, body: target })
        assert.strictEqual(status, 403, JSON.stringify(headers))
      }
      assert.deepStrictEqual(done, [])
      assert.strictEqual(
        (yield* ask(port, "/actions/reset", { method: "POST", headers: right, body: target })).status,
        200
      )
      assert.deepStrictEqual(done, [{ _tag: "reset", ...JSON.parse(target) }])
    })
  )

  it.scoped("is never a GET", () =>
    Effect.gen(function* () {
      const { done, port } = yield* serving()
      assert.strictEqual((yield* ask(port, "/actions/reset", { headers: bearer(ADMIN) })).status, 404)
      assert.deepStrictEqual(done, [])
    })
  )

  it.scoped("that nobody knows, or whose body cannot be read, or is too long, is refused with 400", () =>
    Effect.gen(function* () {
      const { done, port } = yield* serving()
      const refused = [
        ["/actions/explode", target],
        ["/actions/reset", "{"],
        ["/actions/reset", "{}"],
        ["/actions/cancel", target],
        ["/actions/reset", JSON.stringify({ ...JSON.parse(target), pad: "x".repeat(100_000) })]
      ] as const
      for (const [path, body] of refused) {
        const { status } = yield* ask(port, path, { method: "POST", headers: bearer(ADMIN), body })
        assert.strictEqual(status, 400, `${path} ${body.slice(0, 40)}`)
      }
      assert.deepStrictEqual(done, [])
    })
  )

  it.scoped("is logged with who has done it; the log says so too when it could not be done", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function* () {
      const { port } = yield* serving()
      const nobody = JSON.stringify({ pool: 404 })
      yield* ask(port, "/actions/suspend", { method: "POST", headers: bearer(ADMIN), body: target })
      const refused = yield* ask(port, "/actions/drain", { method: "POST", headers: bearer(ADMIN), body: nobody })
      assert.strictEqual(refused.status, 409)
      assert.deepStrictEqual(lines, [
        'the admin has had the board suspend pool "orders"',
        "the board could not drain for the admin: This pool is not open any more."
      ])
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })
})

describe("A board", () => {
  it.scoped("answers by names that are its own, and by addresses; a name of somebody else leads nowhere", () =>
    Effect.gen(function* () {
      const { port } = yield* serving({ hosts: ["board.example.org"] })
      const status = (host: string, headers = {}) =>
        Effect.map(ask(port, "/stats.json", { headers: { host, ...headers } }), ({ status }) => status)
      assert.strictEqual(yield* status(`localhost:${port}`), 200)
      assert.strictEqual(yield* status("10.1.2.3:80"), 200)
      assert.strictEqual(yield* status("[::1]:80"), 200)
      assert.strictEqual(yield* status("Board.example.org"), 200)
      assert.strictEqual(yield* status("evil.example"), 421)
      assert.strictEqual(yield* status("evil.example.org:80"), 421)
      assert.strictEqual(yield* status("127.0.0.1.evil.example"), 421)
      assert.strictEqual(yield* status("evil.example", bearer(READER)), 200)
    })
  )

  it.scoped("writes a title that is HTML as text, in the page and in what its program is told", () =>
    Effect.gen(function* () {
      const title = `</script><img src=x onerror="alert(1)">'&`
      const { port } = yield* serving({ title })
      const { body, headers } = yield* ask(port, "/")
      assert.strictEqual(toldIn(body)["title"], title)
      assert.notInclude(body, "<img")
      assert.notMatch(body, /<[^>]+ on\w+=/)
      assert.match(
        String(headers["content-security-policy"]),
        /^default-src 'none'; script-src 'sha256-[^;]*'; style-src 'sha256-/
      )
    })
  )

  it.scoped("makes one report a second for all viewers of equal rights, and none while nobody looks", () =>
    Effect.gen(function* () {
      const { made, port, viewers } = yield* serving()
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(made(), 0)
      const look = (headers: Record<string, string>) =>
        Effect.fork(ask(port, "/events", { headers, until: "\n\ndata: " }))
      const fibers = yield* Effect.forEach([...Array(20)], (_, i) => look(i % 2 === 0 ? {} : bearer(READER)))
      yield* until(viewers, (n) => n === 20)
      yield* TestClock.adjust("1 second")
      yield* Fiber.joinAll(fibers)
      // Two rights, and two moments: when they came, and a second later.
      assert.strictEqual(made(), 4)
    })
  )

  it.scoped("has a limit of viewers: one more is answered with 503, and one that leaves makes room", () =>
    Effect.gen(function* () {
      const { port, viewers } = yield* serving({ maxViewers: 2 })
      const one = yield* Effect.fork(ask(port, "/events", { until: "never" }))
      const two = yield* Effect.fork(ask(port, "/events", { until: "never" }))
      yield* until(viewers, (n) => n === 2)
      const three = yield* ask(port, "/events", { until: "\n\n" })
      assert.strictEqual(three.status, 503)
      assert.strictEqual(three.headers["retry-after"], "30")
      yield* Fiber.interrupt(one)
      yield* until(viewers, (n) => n === 1)
      assert.strictEqual((yield* ask(port, "/events", { until: "\n\n" })).status, 200)
      yield* Fiber.interrupt(two)
    })
  )

  it.scoped("drops a viewer that does not read, and keeps one that does", () =>
    Effect.gen(function* () {
      // A few of these are more than the buffers of two sockets hold.
      const pool = Boards.stuck({ name: "x".repeat(500_000) })
      const reports = [Reports.report([Reports.database([pool])])]
      const { port, viewers } = yield* serving({}, Effect.succeed({ reports, silent: [] }))
      const look = Effect.acquireRelease(
        Effect.sync(() => {
          const socket = createConnection(port, "127.0.0.1")
          socket.on("error", () => undefined)
          socket.write("GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n")
          return socket
        }),
        (socket) => Effect.sync(() => socket.destroy())
      )
      const reader = yield* look
      reader.resume()
      const silent = yield* look
      silent.pause()
      yield* until(viewers, (n) => n === 2)
      yield* until(Effect.zipRight(TestClock.adjust("1 second"), viewers), (n) => n === 1)
      const read = reader.bytesRead
      yield* TestClock.adjust("1 second")
      yield* until(
        Effect.sync(() => reader.bytesRead),
        (n) => n > read
      )
    })
  )

  it.scoped("tells its viewers when it ends, and leaves none behind", () =>
    Effect.gen(function* () {
      const looking = yield* Effect.scoped(
        Effect.gen(function* () {
          const { port, viewers } = yield* serving()
          const looking = yield* Effect.fork(ask(port, "/events", { until: "never" }))
          yield* until(viewers, (n) => n === 1)
          return looking
        })
      )
      assert.strictEqual((yield* Fiber.join(looking)).status, 200)
    })
  )
})
