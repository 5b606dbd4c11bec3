import { SqlClient, Statement } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Chunk, Deferred, Effect, Fiber, Redacted, Stream, Tracer } from "effect"
import { driver } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import * as Pg from "../src/internal/wire/pg.js"
import { eventually, onPool, pid, reasonOf, rowsOf, table } from "./support/fixture.js"

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("statements", (it) => {
  it.effect("a program written for @effect/sql runs: helpers, values, raw, unprepared, json, several statements", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        yield* table("helpers", "id int primary key, tags jsonb")
        const inserted = yield* sql`insert into helpers ${sql.insert([
          { id: 1, tags: sql.json({ a: [1] }) },
          { id: 2, tags: sql.json(null) }
        ])} returning *`
        assert.deepStrictEqual(inserted, [
          { id: 1, tags: { a: [1] } },
          { id: 2, tags: null }
        ])
        assert.deepStrictEqual(yield* sql`select id from ${sql("helpers")} where ${sql.in("id", [2, 3])}`, [{ id: 2 }])
        assert.deepStrictEqual(yield* sql`select id, 'x' from helpers order by id`.values, [
          [1, "x"],
          [2, "x"]
        ])
        assert.strictEqual(((yield* sql`update helpers set tags = '{}'`.raw) as any).rowCount, 2)
        assert.deepStrictEqual(yield* sql`select ${1}::int as one`.unprepared, [{ one: 1 }])
        assert.deepStrictEqual(yield* sql.unsafe("select 1 as a; select 2 as b"), [[{ a: 1 }], [{ b: 2 }]] as any)
        assert.deepStrictEqual(yield* Sql.query("select $1::text as t", ["it's"]), [{ t: "it's" }])
      })
    )
  )

  it.effect("a failure says why, keeps the driver's error as its cause, and shows no parameter", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("failures", "id int primary key")
        yield* Sql.query("insert into failures values (1)")
        const error = yield* Effect.flip(Sql.query("insert into failures values ($1)", [1]))
        assert.strictEqual(error._tag, "SqlError")
        assert.strictEqual((error.cause as any).constraint, "failures_pkey")
        assert.strictEqual((yield* reasonOf(Sql.query("insert into failures values (1)")))._tag, "UniqueViolation")
        const invalid = yield* Effect.flip(Sql.query("select $1::int", ["tops3cret"]))
        assert.notInclude(invalid.message, "tops3cret")
        assert.strictEqual((yield* reasonOf(Sql.query("select * from nowhere")))._tag, "SyntaxError")
        const circular: Record<string, unknown> = {}
        circular["self"] = circular
        const unsendable = yield* Effect.flip(Sql.query("select $1::json", [circular]))
        assert.include(unsendable.message, "parameter")
        assert.deepStrictEqual(yield* Sql.query("select $1::json as j", [{}]), [{ j: {} }])
      })
    )
  )

  it.effect("withConnection leases nothing before its first statement, and gives it back at its end", () =>
    onPool({ pool: { maxSize: 2 } }, () =>
      Effect.gen(function* () {
        yield* Effect.gen(function* () {
          assert.strictEqual((yield* Sql.stats).write.using, 0)
          yield* pid
          assert.strictEqual((yield* Sql.stats).write.using, 1)
        }).pipe(Sql.withConnection)
        assert.strictEqual((yield* Sql.stats).write.using, 0)
      })
    )
  )

  it.effect(
    "a fiber that outlives its withConnection goes on with the pool; its running statement is not cut short",
    () =>
      onPool({}, () =>
        Effect.gen(function* () {
          const fiber = yield* Effect.zipRight(
            Sql.query<{ x: number }>("select 1 as x, pg_sleep(1)"),
            Sql.query<{ x: number }>("select 2 as x")
          ).pipe(
            Effect.forkDaemon,
            Effect.tap(() =>
              eventually(
                "it runs",
                Effect.map(Sql.stats, ({ write }) => write.using === 1)
              )
            ),
            Sql.withConnection
          )
          assert.deepStrictEqual(yield* Fiber.join(fiber), [{ x: 2 }])
        })
      )
  )

  it.effect(
    "what a session has collected is gone for its next user: settings, temporary tables, listens, an open BEGIN",
    () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const before = yield* pid
          yield* Sql.query("set work_mem = '1MB'")
          yield* Sql.query("create temporary table leftover (id int)")
          yield* Sql.query("select 1 as x into temporary leftover2")
          yield* Sql.query("listen leftover")
          yield* Sql.query("do $$ begin perform set_config('app.x', 'y', false); end $$")
          assert.deepStrictEqual(yield* Sql.query("select current_setting('work_mem') as m"), [{ m: "4MB" }])
          assert.strictEqual((yield* reasonOf(Sql.query("select * from leftover")))._tag, "SyntaxError")
          assert.strictEqual((yield* reasonOf(Sql.query("select * from leftover2")))._tag, "SyntaxError")
          assert.deepStrictEqual(yield* Sql.query("select current_setting('app.x', true) as x"), [{ x: "" }])
          assert.deepStrictEqual(yield* Sql.query("select count(*)::int as n from pg_listening_channels()"), [{ n: 0 }])
          yield* table("begun", "id int")
          yield* Sql.query("begin")
          yield* Sql.query("begin; insert into begun values (1)")
          assert.deepStrictEqual(yield* rowsOf("begun"), [])
          assert.strictEqual(yield* pid, before)
        })
      )
  )

  it.effect("resetOnRelease: always forgets what SELECT has set, never forgets nothing but the transaction", () =>
    Effect.gen(function* () {
      const set = Sql.query("select set_config('app.x', 'kept', false)")
      const get = Effect.map(
        Sql.query<{ x: string | null }>("select current_setting('app.x', true) as x"),
        (rows) => rows[0]!.x
      )
      assert.isEmpty(yield* onPool({ pool: { maxSize: 1 }, resetOnRelease: "always" }, () => Effect.zipRight(set, get)))
      assert.strictEqual(
        yield* onPool({ pool: { maxSize: 1 }, resetOnRelease: "never" }, () => Effect.zipRight(set, get)),
        "kept"
      )
      assert.strictEqual(
        yield* onPool({ pool: { maxSize: 1 }, resetOnRelease: "never" }, () =>
          Effect.zipRight(Sql.query("set app.x = 'kept'"), get)
        ),
        "kept"
      )
    })
  )

  it.effect("a stream gives every row in order, and holds its connection only while it is read", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const all = yield* Stream.runCollect(sql<{ i: number }>`select generate_series(1, ${1000}::int) as i`.stream)
        assert.deepStrictEqual(
          Chunk.toArray(all).map(({ i }) => i),
          Array.from({ length: 1000 }, (_, i) => i + 1)
        )
        // Two thousand million rows: who reads them to the end does not end in the time of a test.
        const some = yield* Stream.runCollect(
          Stream.take(sql<{ i: number }>`select generate_series(1, 2000000000) as i`.stream, 5)
        )
        assert.strictEqual(some.length, 5)
        assert.strictEqual((yield* Stream.runCollect(sql`select 1 where false`.stream)).length, 0)
        assert.strictEqual(
          (yield* Stream.runCollect(sql`select 1 / (3 - i) from generate_series(1, 5) as i`.stream).pipe(reasonOf))
            .code,
          "22012"
        )
        assert.strictEqual(
          (yield* Stream.runCollect(sql`create table if not exists streamed (id int)`.stream)).length,
          0
        )
        assert.isNumber(yield* pid)
      })
    )
  )

  it.effect(
    "a prepared statement survives a change of its table, DEALLOCATE ALL, and being pushed out by 150 others",
    () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* table("stale", "id int")
          const select = Sql.query("select * from stale where id = $1", [1])
          yield* select
          yield* Sql.query("alter table stale add column more text")
          yield* Sql.query("insert into stale values (1, 'x')")
          assert.deepStrictEqual(yield* select, [{ id: 1, more: "x" }])
          yield* Sql.query("deallocate all")
          assert.deepStrictEqual(yield* select, [{ id: 1, more: "x" }])
          yield* Effect.forEach(Array.from({ length: 150 }), (_, i) => Sql.query(`select ${i}`))
          const kept = yield* Sql.query<{ n: number }>("select count(*)::int as n from pg_prepared_statements", [], {
            prepare: false
          })
          assert.isAtMost(kept[0]!.n, 100)
          assert.isAbove(kept[0]!.n, 90)
          assert.deepStrictEqual(yield* select, [{ id: 1, more: "x" }])
        })
      )
  )

  it.effect("a query is a span for a tracer, and a statement for a transformer", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const native = yield* Effect.tracer
        const spans: Array<string> = []
        const tracer = Tracer.make({
          span: (...args) => {
            spans.push(args[0])
            return native.span(...args)
          },
          context: native.context
        })
        yield* Effect.withTracer(Sql.query("select 1"), tracer)
        assert.deepStrictEqual(spans, ["sql.execute"])

        const texts: Array<string> = []
        yield* Statement.withTransformer(Sql.query("select 2"), (statement) =>
          Effect.sync(() => {
            texts.push(statement.compile()[0])
            return statement
          })
        )
        assert.deepStrictEqual(texts, ["select 2"])
      })
    )
  )

  it.effect(
    "in a transaction no plan is stale: what gives all columns is planned anew, other texts keep their name",
    () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* table("stale2", "id int")
          const select = Sql.query("select * from stale2 where id > $1", [0])
          const insert = Sql.query("insert into stale2 (id) values ($1)", [1])
          yield* select
          yield* insert
          yield* Sql.query("alter table stale2 add column more text")
          assert.deepStrictEqual(yield* Sql.withTransaction(Effect.zipRight(insert, select)), [
            { id: 1, more: null },
            { id: 1, more: null }
          ])
          const kept = Sql.query<{ statement: string }>("select statement from pg_prepared_statements")
          const named = Sql.query("select id from stale2 where id > $1", [0])
          const around = [insert, select, named, kept] as const
          const texts = (yield* Sql.withTransaction(Effect.all(around)))[3].map((row) => row.statement)
          assert.include(texts, "insert into stale2 (id) values ($1)")
          assert.include(texts, "select id from stale2 where id > $1")
        })
      )
  )

  it.effect("a plan that turns out to be stale in the first statement of a transaction is made anew, unseen", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("stale3", "id int, what varchar(3)")
        const select = Sql.query("select id, what from stale3 where id > $1", [0])
        const insert = Sql.query("insert into stale3 (id, what) values (1, 'a')")
        yield* Effect.zipRight(insert, select)
        yield* Sql.query("alter table stale3 alter what type int using 7")
        assert.deepStrictEqual(yield* Sql.withTransaction(select), [{ id: 1, what: 7 }])
        yield* Sql.query("alter table stale3 alter what type text")
        // Later in a transaction it costs the transaction, which may then be run again.
        const later = Sql.withTransaction(Effect.zipRight(Sql.query("select 1 as one"), select))
        assert.deepInclude(yield* reasonOf(later), { _tag: "StalePlan", retry: "transaction" })
        assert.deepStrictEqual(yield* later, [{ id: 1, what: "7" }])
      })
    )
  )

  it.effect("BEGIN and the first statement of a transaction leave in one write, whatever its form", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* table("together", "id int")
        const inside = Effect.map(
          Sql.query<{ n: string }>("select pg_current_xact_id_if_assigned() is not null as n"),
          ([row]) => row!.n
        )
        for (const first of [
          Sql.query("insert into together (id) values ($1)", [1]),
          Sql.query("insert into together (id) values (2)", [], { prepare: false }),
          sql`insert into together (id) values (3); insert into together (id) values (4)`,
          sql`insert into together (id) values (${5}) returning id`.values,
          sql`insert into together (id) values (${6})`.raw
        ]) {
          assert.isTrue(yield* Sql.withTransaction(Effect.zipRight(first, inside)))
        }
        assert.deepStrictEqual(yield* rowsOf("together"), [1, 2, 3, 4, 5, 6])
        const several = Sql.withTransaction(sql`select 1 as a; select 2 as b`)
        assert.deepStrictEqual(yield* several, [[{ a: 1 }], [{ b: 2 }]] as any)
        // Where the fault is, is said in the statement's own text.
        for (const prepare of [true, false]) {
          const wrong = yield* Effect.flip(Sql.withTransaction(Sql.query("select nope", [], { prepare })))
          assert.strictEqual((SqlReason.of(wrong).cause as any).position, "8")
        }
      })
    )
  )

  it.effect("a text that could not be prepared right after BEGIN is prepared when it can be", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const select = Sql.query("select id from not_yet where id > $1", [0])
        assert.strictEqual((yield* reasonOf(Sql.withTransaction(select))).code, "42P01")
        yield* table("not_yet", "id int")
        assert.deepStrictEqual(yield* Sql.withTransaction(Effect.zipRight(Sql.query("select 1 as one"), select)), [])
      })
    )
  )

  it.effect("more parameters than the protocol can count are refused with what to do", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const params = Array.from({ length: 65_536 }, () => 1)
        const error = yield* Effect.flip(
          Sql.query(`select ${params.map((_, i) => `$${i + 1}::int`).join("+")}`, params)
        )
        assert.include(error.message, "65536 parameters and may have 65535")
      })
    )
  )

  it.effect(
    "two clients: inside a transaction of one, a statement of the other runs on its own database, untouched",
    () =>
      onPool({}, (name) =>
        Effect.gen(function* () {
          const cluster = yield* PgCluster.PgCluster
          yield* Effect.ignore(cluster.primary.query("create database other"))
          const other = yield* PgSql.make({
            url: Redacted.make(Redacted.value(cluster.primary.url).replace(/\/[^/]*$/, "/other")),
            applicationName: name
          })
          const sql = yield* SqlClient.SqlClient
          const database = (client: SqlClient.SqlClient) =>
            Effect.map(client<{ db: string }>`select current_database() as db`, (rows) => rows[0]!.db)
          yield* other.client`create table if not exists elsewhere (id int)`
          yield* sql
            .withTransaction(
              Effect.gen(function* () {
                assert.strictEqual(yield* database(other.client), "other")
                yield* other.client`insert into elsewhere values (1)`
                assert.strictEqual(yield* other.client.withTransaction(database(sql)), "sluice")
                return yield* Effect.fail("roll back")
              })
            )
            .pipe(Effect.ignore)
          assert.deepStrictEqual(yield* other.client`select id from elsewhere`, [{ id: 1 }])
        }).pipe(Effect.scoped)
      )
  )

  it.effect("the parts of pg that its types leave out are there", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const { client, wire } = yield* driver.connect(at.primary, {
        broken: () => {},
        fatal: () => {},
        isEnding: () => false
      })
      const methods = [
        "connect",
        "requestSsl",
        "cancel",
        "query",
        "parse",
        "bind",
        "describe",
        "execute",
        "close"
      ] as const
      for (const method of [...methods, "flush", "sync", "end"] as const) assert.isFunction(wire[method], method)
      assert.isObject(wire.parsedStatements)
      assert.isObject(wire.submittedNamedStatements)
      assert.isNumber(client.processID)
      assert.isNumber(client.secretKey)
      assert.strictEqual(client.getTransactionStatus(), "I")
      assert.strictEqual(Pg.prepareValue([1, "a"]), '{"1","a"}')
      assert.isFunction((client as any).getStartupConf)
      assert.isFunction(Pg.types.getTypeParser(1184))
    }).pipe(Effect.scoped)
  )

  it.effect(
    "waiting ends with the acquire timeout or the deadline, whichever is first, and a higher priority goes first",
    () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const free = yield* Deferred.make<void>()
          const holder = yield* Effect.fork(Sql.withConnection(Effect.zipRight(pid, Deferred.await(free))))
          yield* eventually(
            "it is held",
            Effect.map(Sql.stats, ({ write }) => write.using === 1)
          )
          const late = yield* reasonOf(Sql.withAcquireTimeout("50 millis")(pid))
          assert.strictEqual(late._tag, "AcquireTimeout")
          assert.include((late.cause as Error).message, "50 ms")
          assert.strictEqual(
            (yield* reasonOf(Sql.withConnection({ acquireTimeout: "50 millis" })(pid)))._tag,
            "AcquireTimeout"
          )
          assert.strictEqual((yield* reasonOf(Sql.withDeadline(Date.now() + 50)(pid)))._tag, "AcquireTimeout")
          const order: Array<string> = []
          const wait = (name: "background" | "critical" | "normal", at: number) =>
            Effect.fork(
              Sql.withPriority(name)(
                Effect.zipRight(
                  pid,
                  Effect.sync(() => order.push(name))
                )
              )
            ).pipe(
              Effect.tap(() =>
                eventually(
                  `${name} waits`,
                  Effect.map(Sql.stats, ({ write }) => write.waiting === at)
                )
              )
            )
          const waiters = [yield* wait("background", 1), yield* wait("normal", 2), yield* wait("critical", 3)]
          yield* Deferred.succeed(free, undefined)
          yield* Effect.forEach(waiters, Fiber.join)
          yield* Fiber.join(holder)
          assert.deepStrictEqual(order, ["critical", "normal", "background"])
        })
      )
  )

  it.effect(
    "suspend holds statements back, resume lets them go, reset replaces the connections, drain ends the pool",
    () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const before = yield* pid
          yield* Sql.suspend()
          const held = yield* Effect.fork(pid)
          yield* eventually(
            "it waits",
            Effect.map(Sql.stats, ({ write }) => write.waiting === 1)
          )
          yield* Sql.resume
          assert.strictEqual(yield* Fiber.join(held), before)
          const replaced = yield* Effect.fork(
            Stream.runHead(Stream.filter(Sql.events, ({ event }) => event._tag === "Connected"))
          )
          yield* Effect.yieldNow()
          yield* Sql.reset()
          assert.notStrictEqual(yield* pid, before)
          assert.isTrue((yield* Fiber.join(replaced))._tag === "Some")
          assert.lengthOf(yield* Sql.drain(), 1)
          assert.strictEqual((yield* reasonOf(pid))._tag, "PoolClosed")
        })
      )
  )
})
