/**
 * A client goes: at every moment of a request, on every server, on a real database.
 *
 * | moment | what becomes of the request |
 * | --- | --- |
 * | before its handler | it never runs |
 * | waiting for a connection | it leaves the queue |
 * | a statement runs | cancelled on the server |
 * | between two statements | the connection goes back |
 * | in a transaction, a statement runs or none does | rolled back |
 * | a stream of rows is sent | the cursor is closed |
 * | its answer was given, and is not read | its connection went back before |
 */
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Layer, Stream } from "effect"
import { booksBalance, eventually } from "../../sql/test/support/eventually.js"
import * as Mysql from "../../sql-mysql2/test/support/fixture.js"
import * as Pg from "../../sql-pg/test/support/fixture.js"
import * as Clients from "./support/clients.js"
import * as Curl from "./support/curl.js"
import { ask, leave, type Server, type Site, servers } from "./support/servers.js"

type Pool = NonNullable<NonNullable<Parameters<typeof Pg.onPool>[0]>["pool"]>

interface Database {
  readonly sleep: (seconds: number) => string
  /** A statement of a million rows, each of them read when it is asked for. */
  readonly rows: string
  /** Runs a body on a pool of its own, then checks the books; `active` counts what runs on the server. */
  readonly onPool: <A, E>(
    pool: Pool,
    body: (active: Effect.Effect<number, unknown>) => Effect.Effect<A, E, Sql.Sql>
  ) => Effect.Effect<unknown, unknown, PgCluster.PgCluster | MariaDbCluster.MariaDbCluster>
}

const postgresql: Database = {
  sleep: (seconds) => `select pg_sleep(${seconds})`,
  rows: "select i from generate_series(1, 1000000) as i",
  onPool: (pool, body) =>
    Effect.flatMap(Effect.context<PgCluster.PgCluster>(), (context) =>
      Pg.onPool({ pool }, (name) =>
        body(
          Effect.map(
            Effect.provide(Pg.backends(name), context),
            (all) => all.filter(({ state }) => state === "active").length
          )
        )
      )
    )
}

const mariadb: Database = {
  sleep: (seconds) => `select sleep(${seconds})`,
  rows: "select seq as i from seq_1_to_1000000",
  onPool: (pool, body) =>
    Effect.flatMap(Effect.context<MariaDbCluster.MariaDbCluster>(), (context) =>
      Mysql.onPool({ pool }, (name) =>
        body(
          Effect.map(
            Effect.provide(Mysql.sessions(name), context),
            (all) => all.filter(({ query }) => /^select/.test(query ?? "")).length
          )
        )
      )
    )
}

const cases: ReadonlyArray<readonly [string, Server, Database]> = [
  ...Object.entries(servers).map(([name, server]) => [`${name}, PostgreSQL`, server, postgresql] as const),
  ["Express 5, MariaDB", servers["Express 5"]!, mariadb]
]

const stats = Effect.map(Sql.stats, ({ write }) => write)

layer(Layer.merge(PgCluster.layer(), MariaDbCluster.layer()), { excludeTestServices: true, timeout: "2 minutes" })(
  "a client that goes",
  (it) => {
    for (const [name, server, database] of cases) {
      it.effect(`leaves nothing behind, whenever it goes: ${name}`, () =>
        database.onPool({ maxSize: 1, acquireTimeout: "30 seconds" }, (active) =>
          Effect.gen(function* () {
            const long = Sql.query(database.sleep(30))
            const short = Sql.query("select 1")
            let began = 0
            let entered = 0
            let passed = 0
            const begins = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
              began++
              return effect
            }
            const site: Site = {
              // The only connection is taken, and stays so: this is about those that have been let in.
              options: { admission: false },
              middleware: async (path, transport) => {
                if (path !== "/late") return
                entered++
                await new Promise((resolve) => transport.once("close", resolve))
                passed++
              },
              handlers: {
                "/late": () => begins(short),
                "/statement": () => begins(long),
                "/between": () => begins(Effect.zipRight(short, Effect.never)),
                "/transaction": () => begins(Sql.withTransaction(Effect.zipRight(short, long))),
                "/open": () => begins(Sql.withTransaction(Effect.zipRight(short, Effect.never))),
                "/rows": () =>
                  Effect.succeed(
                    Stream.unwrap(
                      Effect.map(Sql.Sql, ({ client }) =>
                        Stream.map(client.unsafe(database.rows).stream, (row) => JSON.stringify(row).padEnd(1_000))
                      )
                    )
                  ),
                "/long": () => Effect.as(short, "x".repeat(8_000_000)),
                "/next": ({ body }) => Effect.as(short, body)
              }
            }
            const port = yield* server.serve(site)
            const next = Effect.gen(function* () {
              yield* booksBalance
              yield* eventually(
                "no statement of it is on the server",
                Effect.map(active, (n) => n === 0)
              )
              const { status, text } = yield* ask(server, port, "/next", { body: { a: 1 } })
              assert.deepStrictEqual([status, text], [200, '{"a":1}'])
              yield* booksBalance
            })
            yield* next
            const uses = Effect.map(stats, ({ using }) => using === 1)
            for (const method of ["GET", "POST"] as const) {
              const early = yield* leave(server, port, "/late", method)
              const before = began
              yield* eventually(
                "it is in front of its handler",
                Effect.sync(() => entered === passed + 1)
              )
              early.leave()
              yield* eventually(
                "it has come to its handler",
                Effect.sync(() => entered === passed)
              )
              yield* next
              assert.strictEqual(began, before, "its handler has not begun")

              const holder = yield* Effect.fork(long)
              yield* eventually("the only connection is taken", uses)
              const waiter = yield* leave(server, port, "/statement", method)
              yield* eventually(
                "it waits for a connection",
                Effect.map(stats, ({ waiting }) => waiting === 1)
              )
              waiter.leave()
              yield* eventually(
                "it has left the queue",
                Effect.map(stats, ({ using, waiting }) => using === 1 && waiting === 0)
              )
              yield* Fiber.interrupt(holder)
              yield* next

              for (const [path, count] of [
                ["/statement", 1],
                ["/transaction", 1],
                ["/between", 0],
                ["/open", 0]
              ] as const) {
                const before = began
                const client = yield* leave(server, port, path, method)
                yield* eventually(
                  `${path} has its connection, and nothing else runs`,
                  Effect.map(Effect.all([active, uses]), ([n, uses]) => began === before + 1 && uses && n === count)
                )
                client.leave()
                yield* next
              }

              const reader = yield* leave(server, port, "/rows", method)
              yield* eventually(
                "some rows are here",
                Effect.sync(() => reader.read().length > 100_000)
              )
              assert.isTrue(yield* uses)
              reader.leave()
              yield* next
            }
          }).pipe(Effect.scoped)
        )
      )

      if (!server.isHttp2) {
        it.effect(`holds no connection while it reads slowly: ${name}`, () =>
          database.onPool({ maxSize: 1 }, () =>
            Effect.gen(function* () {
              const long = "x".repeat(8_000_000)
              const port = yield* server.serve({
                handlers: { "/": () => Effect.as(Sql.query("select 1"), long) }
              })
              const { socket } = yield* Clients.raw(port, Clients.post)
              socket.pause()
              yield* eventually(
                "the answer is on its way",
                Effect.sync(() => socket.readableLength > 0)
              )
              assert.strictEqual((yield* stats).using, 0)
              // Its socket is full, and is not read.
              assert.isBelow(socket.readableLength, long.length)
              assert.strictEqual((yield* ask(server, port, "/", { body: {} })).text.length, long.length)
            }).pipe(Effect.scoped)
          )
        )

        it.effect(`takes all requests of its pipeline along: ${name}`, () =>
          database.onPool({ maxSize: 2 }, (active) =>
            Effect.gen(function* () {
              const port = yield* server.serve({
                options: { admission: false },
                handlers: { "/": () => Sql.query(database.sleep(30)), "/next": ({ body }) => Effect.succeed(body) }
              })
              const { socket } = yield* Clients.raw(port, Clients.post + Clients.post + Clients.get)
              yield* eventually(
                "two run and one waits",
                Effect.map(stats, ({ using, waiting }) => using === 2 && waiting === 1)
              )
              socket.destroy()
              yield* booksBalance
              yield* eventually(
                "no statement of it is on the server",
                Effect.map(active, (n) => n === 0)
              )
              assert.strictEqual((yield* ask(server, port, "/next", { body: [1] })).text, "[1]")
            }).pipe(Effect.scoped)
          )
        )
      }

      // What one server does with its sockets the others do too: one flood is large.
      const count = name === "Express 5, PostgreSQL" ? 2_000 : 200
      const waiting = Array.from({ length: count / 20 }, (_, n) => n)
      it.effect(`${count} of them, GETs and POSTs with a body, drop no healthy POST and leave nothing: ${name}`, () =>
        database.onPool({ maxSize: 4, acquireTimeout: "30 seconds" }, (active) =>
          Effect.gen(function* () {
            let arrived = 0
            const port = yield* server.serve({
              middleware: (path) => void (path === "/work" && arrived++),
              handlers: {
                "/work": () => Sql.query(database.sleep(0.02)),
                "/healthy": ({ body }) => Effect.as(Sql.query(database.sleep(0.001)), body)
              }
            })
            const flooding = yield* Effect.fork(
              server.isHttp2 ? Clients.resets(port, "/work", count) : Curl.flood(`http://127.0.0.1:${port}/work`, count)
            )
            const healthy = (n: number) => ask(server, port, "/healthy", { body: { n } })
            const answers = yield* Effect.forEach(waiting, healthy, { concurrency: 4 })
            yield* flooding
            assert.deepStrictEqual(
              answers.map(({ status, text }) => [status, text]),
              answers.map((_, n) => [200, `{"n":${n}}`])
            )
            // The others have left before they were accepted.
            assert.isAbove(arrived, count / 10)
            yield* booksBalance
            yield* eventually(
              "no statement of them is on the server",
              Effect.map(active, (n) => n === 0)
            )
            assert.strictEqual((yield* healthy(-1)).text, '{"n":-1}')
          }).pipe(Effect.scoped)
        )
      )
    }
  }
)
