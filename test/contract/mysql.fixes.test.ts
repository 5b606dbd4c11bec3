/**
 * Where `@effect/sql-mysql2` is wrong: the rows M1 to M9 (M8 is in `startup.test.ts`, M10 in `fixes.test.ts`), and what the
 * suites have found besides.
 */
import { SqlClient } from "@effect/sql"
import { SqlReason } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { Chunk, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { eventually, idsOf, noSessions, table, unique } from "./contract.js"
import { databases, Server } from "./databases.js"
import * as Drivers from "./drivers.js"
import { after, codeOf, endsAfter, failureOf, type On, pairs, run, running, stopped, verdict } from "./pair.js"

const sleep = (seconds: number) => run(`select sleep(${seconds})`)

/** Slow after its first rows, which are so wide that the server does not keep them back. */
const slow = "select seq, repeat('x', 1000) as pad, sleep(if(seq > 300, 0.05, 0)) as s from seq_1_to_100000"

/** Ours, told what the original cannot be told. */
const told =
  (more: MysqlSql.MysqlSqlConfig): On<"mysql"> =>
  (options, body) =>
    Effect.gen(function* () {
      const server = yield* Server
      const name = unique("told")
      const config = Drivers.ours.mysql({ ...(yield* server.client(name)), ...options })
      const outcome = yield* Effect.scoped(body(name, 2_000)).pipe(
        Effect.provide(MysqlSql.layer({ ...config, ...more, pool: { ...config.pool, ...more.pool } }))
      )
      yield* noSessions(name)
      return outcome
    })

pairs(
  "MySQL, fixes",
  ({ fix, fixOn, onOurs, original, ours }) => {
    fix(
      "M1: an interrupted statement ends on the server too, and the next caller is served",
      "the statement goes on, and its connection, given back, serves nobody",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const fiber = yield* Effect.forkDaemon(sleep(20))
          yield* running(name, "sleep")
          const interrupt = yield* endsAfter(patience, Fiber.interrupt(fiber))
          const ended = yield* endsAfter(patience, stopped(name, "sleep"))
          return [interrupt, ended, yield* endsAfter(patience, sql`select 1`)]
        }),
      { ours: ["done", "done", "done"], original: ["done", "not done", "not done"] }
    )

    fix(
      "M2: inside of a transaction a statement can be interrupted at once",
      "the ROLLBACK waits behind the statement, and the caller with it",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const fiber = yield* Effect.forkDaemon(
            sql.withTransaction(Effect.zipRight(sql`insert into ${sql(t)} (id) values (${1})`, sleep(20)))
          )
          yield* running(name, "sleep")
          return yield* endsAfter(patience, Fiber.interrupt(fiber))
        }),
      { ours: "done", original: "not done" }
    )

    fix(
      "M3: a fiber that waits in reserve can be interrupted, and the next caller is served",
      "it cannot",
      { maxConnections: 1 },
      (_, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const holder = yield* Scope.make()
          yield* Scope.extend(sql.reserve, holder)
          const fiber = yield* Effect.forkDaemon(Effect.scoped(sql.reserve))
          // It waits from the first time that it is suspended.
          yield* Effect.repeatN(Effect.yieldNow(), 10)
          const interrupt = yield* endsAfter(patience, Fiber.interrupt(fiber))
          yield* Scope.close(holder, Exit.void)
          return [interrupt, yield* endsAfter(patience, sql`select 1`)]
        }),
      { ours: ["done", "done"], original: ["not done", "done"] }
    )

    fix(
      "M4: a stream that is left early does not read the rest",
      "all of it is read before the connection serves again",
      { maxConnections: 1 },
      (_, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const five = yield* Stream.runCount(Stream.take(sql.unsafe(slow).stream, 5))
          return [five, yield* endsAfter(patience, sql`select 1`)]
        }),
      { ours: [5, "done"], original: [5, "not done"] }
    )

    fixOn(
      "M5: poolConfig holds beside a url as well",
      "it is ignored",
      (on) =>
        Effect.gen(function* () {
          const server = yield* Server
          const url = yield* server.url(unique("url"))
          return yield* on({ url, poolConfig: { dateStrings: true } }, () =>
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              const [row] = yield* sql<{ d: unknown }>`select cast('2024-02-29' as date) as d`
              return typeof row!.d
            })
          )
        }),
      { ours: "string", original: "object" }
    )

    fixOn(
      "M5: connectionTTL replaces a connection, although it is in use again and again",
      "it counts from the last use, and beside a url not at all",
      (on) =>
        Effect.gen(function* () {
          const server = yield* Server
          const url = yield* server.url(unique("aged"))
          return yield* on({ url, maxConnections: 1, connectionTTL: "500 millis" }, (_, patience) =>
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              const session = Effect.map(sql<{ id: number }>`select connection_id() as id`, (rows) => rows[0]!.id)
              const first = yield* session
              return yield* endsAfter(
                Math.max(1_500, patience),
                eventually(
                  "another connection serves",
                  Effect.map(session, (id) => id !== first)
                )
              )
            })
          )
        }),
      { ours: "done", original: "not done" }
    )

    fixOn(
      "M6: statements need not be prepared, for proxies that lose them",
      "they always are",
      (on) =>
        (on === onOurs ? told({ prepare: false }) : on)({ maxConnections: 1 }, () =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            for (let i = 0; i < 3; i++) yield* sql`select ${i} as n, ${"it's"} as t`
            const [row] = yield* sql<{ Value: string }>`show session status like 'Com_stmt_prepare'`.unprepared
            return Number(row!.Value) > 0 ? "prepared" : "never prepared"
          })
        ),
      { ours: "never prepared", original: "prepared" }
    )

    fixOn(
      "M7: closing waits for running statements as long as it was told, and ends them on the server",
      "it waits until they have ended",
      (on) =>
        Effect.gen(function* () {
          const server = yield* Server
          const name = unique("closing")
          const client = yield* server.client(name)
          const isOurs = on === onOurs
          const scope = yield* Scope.make()
          const layer = isOurs
            ? MysqlSql.layer({ ...Drivers.ours.mysql(client), pool: { drainTimeout: "200 millis" } })
            : original.layer(client)
          const context = yield* Layer.buildWithScope(layer as ReturnType<typeof ours.layer>, scope)
          yield* Effect.forkDaemon(Effect.provide(sleep(20), context))
          yield* running(name, "sleep")
          const closed = yield* endsAfter(isOurs ? 5_000 : 700, Scope.close(scope, Exit.void))
          const ended = yield* endsAfter(isOurs ? 5_000 : 100, stopped(name, "sleep"))
          yield* server.end(name)
          return [closed, ended]
        }),
      { ours: ["done", "done"], original: ["not done", "not done"] }
    )

    fix(
      "M9: updateValues updates each row with its own values",
      "it compiles to nothing",
      {},
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key, name varchar(10)")
          yield* sql`insert into ${sql(t)} ${sql.insert([1, 2, 3].map((id) => ({ id, name: "old" })))}`
          const values = sql.updateValues(
            [
              { id: 1, name: "one" },
              { id: 3, name: "three" }
            ],
            "data"
          )
          const exit = yield* Effect.exit(
            sql`update ${sql(t)} as t join ${values} on t.id = data.id set t.name = data.name`
          )
          const rows = yield* sql`select name from ${sql(t)} order by id`.values
          return [verdict(exit), ...rows.flat()]
        }),
      { ours: ["success", "one", "old", "three"], original: ["failure", "old", "old", "old"] }
    )

    fixOn(
      "transactions: a COMMIT that the server refuses is a typed failure with its code",
      "it is a defect",
      (on) =>
        on(
          { maxConnections: 1 },
          () =>
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              const server = yield* Server
              const t = yield* table("id int primary key")
              const refused = server.query("set global read_only = 1")
              const exit = yield* Effect.exit(
                sql.withTransaction(Effect.zipRight(sql`insert into ${sql(t)} (id) values (${1})`, refused))
              )
              const written = yield* server.query(`select id from ${t}`)
              return [verdict(exit), SqlReason.of(failureOf(exit))._tag, codeOf(failureOf(exit)), written.length]
            })
          // A server of its own, because nobody can write on it then.
        ).pipe(Effect.provide(databases.mysql.layer())),
      {
        ours: ["failure", "NotWritable", "ER_OPTION_PREVENTS_STATEMENT", 0],
        original: ["defect", "Unclassified", undefined, 0]
      }
    )

    fix(
      "transactions: one that the server has undone (a deadlock) cannot end well, although its body has ignored that",
      "success is reported, and only what came after is written",
      { maxConnections: 3 },
      (name) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key, n int")
          const insert = (id: number) => sql`insert into ${sql(t)} (id, n) values (${id}, 0)`
          yield* Effect.forEach([1, 2], insert)
          const touch = (id: number) => sql`update ${sql(t)} set n = n + 1 where id = ${id}`
          const [first, second] = [yield* Effect.makeLatch(), yield* Effect.makeLatch()]
          // The server undoes the one that has written less.
          const winner = yield* Effect.fork(
            sql.withTransaction(
              Effect.forEach([11, 12, 13], insert).pipe(
                Effect.zipRight(touch(1)),
                Effect.zipRight(first.open),
                Effect.zipRight(second.await),
                Effect.zipRight(touch(2))
              )
            )
          )
          const loser = yield* Effect.exit(
            sql.withTransaction(
              first.await.pipe(
                Effect.zipRight(touch(2)),
                Effect.zipRight(second.open),
                Effect.zipRight(running(name, "update")),
                Effect.zipRight(Effect.ignore(touch(1))),
                Effect.zipRight(Effect.ignore(insert(99)))
              )
            )
          )
          yield* Fiber.join(winner)
          return [verdict(loser), SqlReason.of(failureOf(loser))._tag, (yield* idsOf(t)).includes(99)]
        }),
      { ours: ["failure", "TransactionAborted", false], original: ["success", "Unclassified", true] }
    )

    fix(
      "what one user has changed in a session, the next does not find",
      "settings, temporary tables and open transactions stay",
      { maxConnections: 1 },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const server = yield* Server
          const t = yield* table("id int primary key")
          yield* sql`set time_zone = '+05:00'`
          yield* sql`create temporary table left_behind (id int)`
          yield* sql.unsafe("start transaction").unprepared
          yield* sql`insert into ${sql(t)} (id) values (${1})`
          const [row] = yield* sql<{ zone: string }>`select @@time_zone as zone`
          const temporary = yield* Effect.isSuccess(sql`select * from left_behind`)
          const written = yield* server.query(`select id from ${t}`)
          return { zone: row!.zone, temporary, written: written.length }
        }),
      {
        ours: { zone: "SYSTEM", temporary: false, written: 1 },
        original: { zone: "+05:00", temporary: true, written: 0 }
      }
    )

    fix(
      "an array where a list is meant is refused",
      "it is sent as JSON, and matches nothing",
      {},
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int")
          yield* sql`insert into ${sql(t)} (id) values (${7})`
          const exit = yield* Effect.exit(sql`select id from ${sql(t)} where id in (${[7, 8] as any})`)
          return Exit.isSuccess(exit) ? exit.value.length : verdict(exit)
        }),
      { ours: "failure", original: 0 }
    )

    fix(
      "a stream gives the values that the statement gives",
      "it writes its parameters into the text, which gives others",
      {},
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("v float")
          yield* sql`insert into ${sql(t)} (v) values (${1.1})`
          const same: Array<boolean> = []
          for (const statement of [
            sql`select v from ${sql(t)}`,
            sql`select ${2.5} as v`,
            sql`select ${new Date(0)} as v`
          ]) {
            const streamed = Chunk.toReadonlyArray(yield* Stream.runCollect(statement.stream))
            same.push(JSON.stringify(streamed) === JSON.stringify(yield* statement))
          }
          return same
        }),
      { ours: [true, true, true], original: [false, false, false] }
    )

    fix(
      "a statement without rows is a stream without rows",
      "the stream gives what mysql2 tells of the statement, as if it were a row",
      {},
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          return yield* Stream.runCount(sql`insert into ${sql(t)} (id) values (${1})`.stream)
        }),
      { ours: 0, original: 1 }
    )

    fix(
      "several statements in one text give the rows of each, without being marked unprepared",
      "they are a syntax error",
      {},
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const exit = yield* Effect.exit(sql`select 1 as a; select 2 as b`)
          return Exit.isSuccess(exit) ? (exit.value as ReadonlyArray<unknown>) : verdict(exit)
        }),
      { ours: [[{ a: 1 }], [{ b: 2 }]], original: "failure" }
    )

    fix(
      "a stream whose session is ended on the server fails, and its connection is replaced",
      "its fiber hangs",
      { maxConnections: 1 },
      (name, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const server = yield* Server
          const rows = sql`select sleep(seq * 10) from seq_1_to_3`.stream
          const fiber = yield* Effect.forkDaemon(Effect.exit(Stream.runDrain(rows)))
          yield* running(name, "sleep")
          yield* server.end(name)
          const exit = yield* after(patience, Fiber.join(fiber))
          return [exit === "not done" ? exit : verdict(exit), yield* endsAfter(patience, sql`select 1`)]
        }),
      { ours: ["failure", "done"], original: ["not done", "done"] }
    )

    fix(
      "LOAD DATA LOCAL fails, because there is no file",
      "it hangs",
      { maxConnections: 1 },
      (_, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const load = sql.unsafe(`load data local infile '/none' into table ${t}`)
          const exit = yield* after(patience, Effect.exit(load))
          return exit === "not done" ? exit : verdict(exit)
        }),
      { ours: "failure", original: "not done" }
    )
  },
  { database: "mysql" }
)
