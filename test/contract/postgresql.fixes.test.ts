/** Where `@effect/sql-pg` is wrong: the rows P1 to P17, and what only PostgreSQL can show of `withTransaction`. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Effect, Exit, Fiber, Layer, Queue, Redacted, Scope, Stream } from "effect"
import { eventually, idsOf, table, unique } from "./contract.js"
import { Server } from "./databases.js"
import { door } from "./door.js"
import type * as Drivers from "./drivers.js"
import { active, after, type Body, codeOf, failureOf, pairs, run, running, stopped, verdict } from "./pair.js"

const sleep = (seconds: number) => run(`select pg_sleep(${seconds})`)

pairs(
  "PostgreSQL, fixes",
  ({ fix, fixOn, it, onOurs, original, ours }) => {
    fix(
      "transactions: a COMMIT that the server refuses is a typed failure with its code",
      "it is a defect",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const parent = yield* table("id int primary key")
          const child = yield* table(`id int references ${parent} (id) deferrable initially deferred`)
          const exit = yield* Effect.exit(sql.withTransaction(sql`insert into ${sql(child)} (id) values (${1})`))
          const error = failureOf(exit)
          return [verdict(exit), codeOf(error), (yield* idsOf(child)).length]
        }),
      { ours: ["failure", "23503", 0], original: ["defect", undefined, 0] }
    )

    fix(
      "transactions: a serialization failure at COMMIT can be caught, and the transaction run again",
      "it is a defect, which no retry sees",
      { maxConnections: 2 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          let runs = 0
          const [read, written, committed] = [
            yield* Effect.makeLatch(),
            yield* Effect.makeLatch(),
            yield* Effect.makeLatch()
          ]
          const serializable = <A, E, R>(body: Effect.Effect<A, E, R>) =>
            sql.withTransaction(
              Effect.suspend(() => {
                runs++
                return Effect.zipRight(sql.unsafe("set transaction isolation level serializable"), body)
              })
            )
          const insert = (id: number) => sql`insert into ${sql(t)} (id) values (${id})`
          // Write skew: each has read, before the other has written. The second to commit is refused, at its COMMIT.
          const first = serializable(
            idsOf(t).pipe(Effect.zipRight(read.await), Effect.zipRight(insert(1)), Effect.zipRight(written.await))
          )
          const second = serializable(
            idsOf(t).pipe(
              Effect.zipRight(read.open),
              Effect.zipRight(insert(2)),
              Effect.zipRight(written.open),
              Effect.zipRight(committed.await)
            )
          )
          const exits = yield* Effect.all(
            [Effect.ensuring(first, committed.open), second].map((transaction) =>
              Effect.exit(Effect.retry(transaction, { times: 3, while: (error) => codeOf(error) === "40001" }))
            ),
            { concurrency: 2 }
          )
          return [exits.map(verdict), runs, yield* idsOf(t)]
        }),
      { ours: [["success", "success"], 3, [1, 2]], original: [["success", "defect"], 2, [1]] }
    )

    fix(
      "transactions: a COMMIT that the server answers with ROLLBACK is a failure",
      "success is reported and nothing was written",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const exit = yield* Effect.exit(
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`insert into ${sql(t)} (id) values (${1})`
                yield* Effect.ignore(sql`insert into ${sql(t)} (id) values (${1})`)
              })
            )
          )
          const error = failureOf(exit)
          return [verdict(exit), SqlReason.of(error)._tag, (yield* idsOf(t)).length]
        }),
      { ours: ["failure", "TransactionAborted", 0], original: ["success", "Unclassified", 0] }
    )

    const interruptedWaiter =
      (waits: "reserve" | "stream"): Body<string, "postgresql"> =>
      (_, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const holder = yield* Scope.make()
          yield* Scope.extend(sql.reserve, holder)
          const fiber = yield* Effect.fork(
            waits === "reserve" ? Effect.scoped(sql.reserve) : Stream.runDrain(sql`select 1`.stream)
          )
          // It waits from the first time that it is suspended.
          yield* Effect.repeatN(Effect.yieldNow(), 10)
          yield* Fiber.interrupt(fiber)
          yield* Scope.close(holder, Exit.void)
          return (yield* after(patience, sql`select 1`)) === "not done" ? "starves" : "is served"
        })

    for (const waits of ["reserve", "stream"] as const) {
      fix(
        `P1: a fiber interrupted while its ${waits} waits for a connection loses none; the next caller is served`,
        "the connection is lost and the next caller starves",
        { maxConnections: 1 },
        interruptedWaiter(waits),
        { ours: "is served", original: "starves" }
      )
    }

    fix(
      "P2: with every connection in use, an interrupted statement ends at once, on the server too",
      "the cancel waits for a connection of the pool, the caller with it, and the statement goes on",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkDaemon(sleep(20))
          yield* running(name, "pg_sleep")
          const interrupt = yield* after(patience, Fiber.interrupt(fiber))
          const ended = yield* after(patience, stopped(name, "pg_sleep"))
          return [interrupt === "not done" ? interrupt : "done", ended === "not done" ? "goes on" : "has ended"]
        }),
      { ours: ["done", "has ended"], original: ["not done", "goes on"] }
    )

    fix(
      "P3: a cancel never hits the statement of another fiber",
      "a cancel that waited for a connection hits whoever runs on the old one by then (57014)",
      { maxConnections: 2 },
      (name) =>
        Effect.gen(function* () {
          const interrupted = yield* Effect.forkDaemon(sleep(1.2))
          const other = yield* Effect.forkDaemon(sleep(2))
          yield* eventually(
            "both run",
            Effect.map(active(name, "pg_sleep"), (n) => n === 2)
          )
          // Waits for a connection, and gets the one of the interrupted statement.
          const innocent = yield* Effect.forkDaemon(sleep(3))
          yield* Effect.repeatN(Effect.yieldNow(), 10)
          yield* Effect.forkDaemon(Fiber.interrupt(interrupted))
          yield* Fiber.await(other)
          const exit = yield* Fiber.await(innocent)
          return Exit.isSuccess(exit) ? "untouched" : codeOf(failureOf(exit))
        }),
      { ours: "untouched", original: "57014" }
    )

    fix(
      "P4: inside of a transaction, with every connection in use, a statement can be interrupted at once",
      "it cannot",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const fiber = yield* Effect.forkDaemon(sql.withTransaction(sleep(20)))
          yield* running(name, "pg_sleep")
          return (yield* after(patience, Fiber.interrupt(fiber))) === "not done" ? "not done" : "done"
        }),
      { ours: "done", original: "not done" }
    )

    // A door that leads to another server each time.
    const turningDoor = Effect.gen(function* () {
      const { primary, replicas } = yield* PgCluster.PgCluster
      const nodes = [primary, replicas[0]!]
      let turn = 0
      const port = yield* door(() => nodes[turn++ % 2]!)
      return Redacted.make(Redacted.value(primary.url).replace(`:${primary.port}/`, `:${port}/`))
    })

    fixOn(
      "P5: behind one address with several servers, a statement is cancelled where it runs",
      "the cancel goes to another server, where the process id means another session",
      (on) =>
        Effect.flatMap(turningDoor, (url) =>
          on({ url, maxConnections: 2, minConnections: 0 }, (name, patience) =>
            Effect.gen(function* () {
              const fiber = yield* Effect.forkDaemon(sleep(20))
              yield* running(name, "pg_sleep")
              yield* Effect.forkDaemon(Fiber.interrupt(fiber))
              const ended = yield* after(patience, stopped(name, "pg_sleep"))
              return ended === "not done" ? "goes on" : "has ended"
            })
          )
        ),
      { ours: "has ended", original: "goes on" }
    )

    fix(
      "P6: interrupting a stream does not wait for the server",
      "it waits until the server has answered",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const fiber = yield* Effect.forkDaemon(Stream.runDrain(sql`select pg_sleep(20)`.stream))
          yield* running(name, "pg_sleep")
          return (yield* after(patience, Fiber.interrupt(fiber))) === "not done" ? "not done" : "done"
        }),
      { ours: "done", original: "not done" }
    )

    fix(
      "P7: a stream whose session is ended on the server fails",
      "its fiber hangs, and cannot be interrupted",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { primary } = yield* PgCluster.PgCluster
          const fiber = yield* Effect.forkDaemon(
            Effect.exit(Stream.runDrain(sql`select pg_sleep(i * 20) from generate_series(0, 3) as i`.stream))
          )
          yield* running(name, "pg_sleep")
          yield* primary.terminateBackends({ applicationName: name })
          const exit = yield* after(patience, Fiber.join(fiber))
          return exit === "not done" ? exit : verdict(exit)
        }),
      { ours: "failure", original: "not done" }
    )

    const listenTo = (channel: string) =>
      Effect.gen(function* () {
        const client = yield* PgClient.PgClient
        const arrived = yield* Queue.unbounded<string>()
        const ready = unique("ready")
        let isReady = false
        const fiber = yield* client.listen(channel).pipe(
          Stream.runForEach((payload) => {
            if (payload.startsWith("ready")) {
              isReady ||= payload === ready
              return Effect.void
            }
            return Queue.offer(arrived, payload)
          }),
          Effect.forkDaemon
        )
        yield* eventually(
          "it is listened to",
          Effect.zipRight(
            client`select pg_notify(${channel}, ${ready})`,
            Effect.sync(() => isReady)
          )
        )
        return { arrived, fiber, stop: Fiber.interrupt(fiber) }
      })

    const send = (channel: string, payload: string) =>
      Effect.flatMap(PgClient.PgClient, (sql) => Effect.asVoid(sql`select pg_notify(${channel}, ${payload})`))

    const listeners = Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
      Effect.map(primary.activity, (all) => all.filter((one) => /^\s*listen/i.test(one.query)))
    )

    const killListener = (name: string) =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const [listener] = (yield* listeners).filter((one) => one.applicationName === name)
        yield* primary.query("select pg_terminate_backend($1)", [listener!.pid])
        yield* eventually(
          "that session is gone",
          Effect.map(primary.activity, (all) => all.every((one) => one.pid !== listener!.pid))
        )
      })

    fix(
      "P9: a listener whose session is ended on the server notices: it fails, typed, or goes on hearing",
      "it hears nothing any more, and says nothing",
      {},
      (name, patience) =>
        Effect.gen(function* () {
          const channel = unique("c")
          const { arrived, fiber, stop } = yield* listenTo(channel)
          yield* killListener(name)
          const heard = Effect.repeat(send(channel, "again"), {
            until: () => Effect.map(Queue.size(arrived), (n) => n > 0)
          })
          const exit = yield* after(
            patience,
            Effect.raceFirst(Effect.asVoid(Effect.exit(Fiber.join(fiber))), Effect.asVoid(heard))
          )
          yield* Effect.forkDaemon(stop)
          return exit === "not done" ? "deaf" : "notices"
        }),
      { ours: "notices", original: "deaf" }
    )

    it.effect(
      "P9: a listener whose session is ended subscribes again by itself, and hears what is sent after that",
      () =>
        onOurs({}, (name) =>
          Effect.gen(function* () {
            const channel = unique("c")
            const { arrived, stop } = yield* listenTo(channel)
            yield* killListener(name)
            yield* eventually(
              "it hears again",
              Effect.zipRight(
                send(channel, "again"),
                Effect.map(Queue.size(arrived), (n) => n > 0)
              )
            )
            yield* stop
          })
        )
    )

    it.effect("the sessions of a client that listens are never more than maxConnections and one", () =>
      onOurs({ maxConnections: 3 }, (name) =>
        Effect.gen(function* () {
          const server = yield* Server
          const { stop } = yield* listenTo(unique("c"))
          // Shorter than what the server is asked about, on a connection that is counted apart.
          const sleeping = yield* Effect.fork(
            Effect.forEach(Array.from({ length: 12 }), () => sleep(0.2), { concurrency: "unbounded", discard: true })
          )
          yield* running(name, "pg_sleep")
          const most = yield* Effect.iterate(
            { most: 0, done: false },
            {
              while: ({ done }) => !done,
              body: ({ most }) =>
                Effect.map(Effect.zip(server.sessions(name), sleeping.status), ([sessions, status]) => ({
                  most: Math.max(most, sessions.length),
                  done: status._tag === "Done"
                }))
            }
          )
          yield* stop
          assert.isAtMost(most.most, 4)
        })
      )
    )

    fix(
      "P10: a listener that ends takes nothing from the others of its channel",
      "its UNLISTEN ends them all",
      {},
      (_, patience) =>
        Effect.gen(function* () {
          const channel = unique("c")
          const one = yield* listenTo(channel)
          const two = yield* listenTo(channel)
          yield* one.stop
          yield* send(channel, "news")
          const heard = yield* after(patience, Queue.take(two.arrived))
          yield* two.stop
          return heard
        }),
      { ours: "news", original: "not done" }
    )

    fix(
      "P11: a notification without a payload is an empty text",
      "it is dropped",
      {},
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const channel = unique("c")
          const { arrived, stop } = yield* listenTo(channel)
          yield* sql.unsafe(`notify ${channel}`)
          yield* send(channel, "next")
          const first = yield* Queue.take(arrived)
          yield* stop
          return first
        }),
      { ours: "", original: "next" }
    )

    it.effect("P11: what is sent in the moment that LISTEN is answered is not lost", () =>
      onOurs({}, () =>
        Effect.gen(function* () {
          const client = yield* PgClient.PgClient
          // Sent without a pause, by another session: whatever comes after the first that is heard must be heard.
          for (let round = 0; round < 5; round++) {
            const channel = unique("c")
            const sending = yield* Effect.fork(
              Effect.forEach(
                Array.from({ length: 200 }, (_, i) => i),
                (i) => send(channel, String(i))
              )
            )
            const heard = yield* Effect.fork(
              client.listen(channel).pipe(
                Stream.map(Number),
                Stream.takeUntil((i) => i === 199),
                Stream.runCollect
              )
            )
            yield* Fiber.join(sending)
            yield* eventually(
              "the last one is heard",
              Effect.zipRight(
                send(channel, "199"),
                Effect.map(heard.status, (status) => status._tag === "Done")
              )
            )
            const numbers = Array.from(yield* Fiber.join(heard))
            assert.deepStrictEqual(
              numbers,
              Array.from({ length: 200 - numbers[0]! }, (_, i) => numbers[0]! + i)
            )
          }
        })
      )
    )

    fix(
      "P12: notify sends",
      "it is a syntax error, always",
      {},
      () =>
        Effect.gen(function* () {
          const client = yield* PgClient.PgClient
          const channel = `Odd "channel" ${unique("c")}`
          const { arrived, stop } = yield* listenTo(channel)
          const exit = yield* Effect.exit(client.notify(channel, "it's a payload"))
          const heard = Exit.isSuccess(exit) ? yield* Queue.take(arrived) : codeOf(failureOf(exit))
          yield* stop
          return heard
        }),
      { ours: "it's a payload", original: "42601" }
    )

    fix(
      "P15: a statement that is used again is prepared once",
      "it is parsed and planned each time",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          for (let i = 0; i < 3; i++) yield* sql`select ${i}::int as n`
          const rows = yield* sql<{
            n: number
          }>`select count(*)::int as n from pg_prepared_statements where statement like 'select $1::int%'`
          return rows[0]!.n
        }),
      { ours: 1, original: 0 }
    )

    fix(
      "P15: what one user has changed in a session, the next does not find",
      "settings, temporary tables and open transactions stay",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { primary } = yield* PgCluster.PgCluster
          const t = yield* table("id int primary key")
          yield* sql`set statement_timeout = 12345`
          yield* sql`create temporary table left_behind (id int)`
          yield* sql.unsafe("begin")
          yield* sql`insert into ${sql(t)} (id) values (${1})`
          const [row] = yield* sql<{ setting: string; temporary: boolean }>`
          select current_setting('statement_timeout') as setting,
            to_regclass('pg_temp.left_behind') is not null as temporary`
          const written = yield* primary.query(`select id from ${t}`)
          return { ...row!, written: written.length }
        }),
      {
        ours: { setting: "0", temporary: false, written: 1 },
        original: { setting: "12345ms", temporary: true, written: 0 }
      }
    )

    fix(
      "P17: a cancel that comes late is never an error of the next statement",
      "the next statement of the connection fails with 57014",
      { maxConnections: 2 },
      (name) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const connection = yield* sql.reserve
          const run = (seconds: number) => connection.execute(`select pg_sleep(${seconds})`, [], undefined)
          const other = yield* Effect.forkDaemon(sleep(2))
          const interrupted = yield* Effect.forkDaemon(run(0.8))
          yield* eventually(
            "both run",
            Effect.map(active(name, "pg_sleep"), (n) => n === 2)
          )
          yield* Effect.forkDaemon(Fiber.interrupt(interrupted))
          const exit = yield* Effect.exit(run(3))
          yield* Fiber.await(other)
          return Exit.isSuccess(exit) ? "untouched" : codeOf(failureOf(exit))
        }),
      { ours: "untouched", original: "57014" }
    )

    it.effect("path is the folder of the server's Unix socket", () =>
      Effect.gen(function* () {
        // The original knows the option and does not look at it: it asks for port 5432 of this machine over TCP.
        const gone = "/nonexistent/folder"
        const refusalOf = (driver: Drivers.Driver<"postgresql">) =>
          Effect.map(Effect.flip(Effect.scoped(Layer.build(driver.layer({ path: gone, port: 6_543 })))), (error) =>
            JSON.stringify(error.cause, Object.getOwnPropertyNames(error.cause))
          )
        assert.include(yield* refusalOf(ours), gone)
        assert.notInclude(yield* refusalOf(original), gone)
      })
    )
  },
  { database: "postgresql", replicas: 1 }
)
