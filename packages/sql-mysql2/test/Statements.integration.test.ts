import { SqlClient } from "@effect/sql"
import { MysqlClient } from "@effect/sql-mysql2"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { MariaDbCluster } from "@sluice/testkit"
import { Chunk, Effect, Redacted, Stream } from "effect"
import { driver } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import * as Commands from "../src/internal/wire/commands.js"
import * as Mysql from "../src/internal/wire/mysql.js"
import { eventually, onPool, reasonOf, rowsOf, table, thread } from "./support/fixture.js"

const ignored = { broken: () => {}, fatal: () => {}, isEnding: () => false }

const variable = (name: string) => Effect.map(Sql.query<{ v: unknown }>(`select ${name} as v`), (rows) => rows[0]!.v)

layer(MariaDbCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("statements", (it) => {
  it.effect("a program written for @effect/sql runs: helpers, values, raw, unprepared, several statements", () =>
    onPool({ multipleStatements: true }, () =>
      Effect.gen(function* () {
        const sql = yield* MysqlClient.MysqlClient
        yield* table("helpers", "id int primary key, name text, tags json")
        const written: any = yield* sql`insert into helpers ${sql.insert([
          { id: 1, name: "a", tags: JSON.stringify({ a: [1] }) },
          { id: 2, name: "b", tags: null }
        ])}`.raw
        assert.strictEqual(written.affectedRows, 2)
        assert.deepEqual(yield* sql`insert into helpers values (3, 'c', '{}') returning id`, [{ id: 3 }])
        assert.deepEqual(yield* sql`select id from ${sql("helpers")} where ${sql.in("id", [2, 4])}`, [{ id: 2 }])
        assert.deepEqual(yield* sql`select tags from helpers where id = ${1}`, [{ tags: { a: [1] } }])
        assert.deepEqual(yield* sql`select id, 'x' from helpers order by id`.values, [
          [1, "x"],
          [2, "x"],
          [3, "x"]
        ])
        yield* sql`update helpers set ${sql.update({ name: "z" })} where id = 3`
        assert.deepEqual(yield* sql`select ${1} as one, ${"it's"} as text`.unprepared, [{ one: 1, text: "it's" }])
        assert.deepEqual(yield* sql.unsafe("select 1 as a; select 2 as b"), [[{ a: 1 }], [{ b: 2 }]] as any)
        assert.deepEqual(yield* sql.unsafe("insert into helpers (id) values (9)"), [])
        assert.deepEqual(yield* Sql.query("select ? as t", ["it's"]), [{ t: "it's" }])
        assert.deepEqual(yield* Sql.query("select ? as t", ["it's"], { prepare: false }), [{ t: "it's" }])
        assert.deepEqual(yield* sql`show tables like 'helpers'`.values, [["helpers"]])
      })
    )
  )

  it.effect("updateValues writes other values into each row", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* table("many", "id int primary key, `first name` text")
        yield* sql`insert into many values (1, 'a'), (2, 'b'), (3, 'c')`
        const values = sql.updateValues(
          [
            { id: 1, "first name": "A" },
            { id: 3, "first name": "C" }
          ],
          "data"
        )
        yield* sql`update many join ${values} on many.id = data.id set many.${sql("first name")} = data.${sql("first name")}`
        assert.deepEqual(yield* sql`select * from many order by id`.values, [
          [1, "A"],
          [2, "b"],
          [3, "C"]
        ])
      })
    )
  )

  it.effect("a failure says why, keeps the driver's error as its cause, and shows no parameter", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("failures", "id int, mail varchar(50) primary key")
        const add = (prepare: boolean) => Sql.query("insert into failures values (1, ?)", ["tops3cret"], { prepare })
        yield* add(true)
        for (const prepare of [true, false]) {
          const error = yield* Effect.flip(add(prepare))
          assert.strictEqual((error.cause as any).code, "ER_DUP_ENTRY")
          assert.strictEqual((error.cause as any).errno, 1062)
          assert.notInclude(error.message, "tops3cret")
          const typed = yield* Effect.flip(
            Sql.query("insert into failures values (?, 'x')", ["tops3cret"], { prepare })
          )
          assert.notInclude(typed.message, "tops3cret")
          const syntax = yield* Effect.flip(Sql.query("select ? fro m x", ["tops3cret"], { prepare }))
          assert.notInclude(syntax.message, "tops3cret")
        }
      })
    )
  )

  it.effect("what cannot be sent fails before it is, and says what to do", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const circular: Record<string, unknown> = {}
        circular["self"] = circular
        const cases: ReadonlyArray<readonly [unknown, RegExp]> = [
          [undefined, /parameter 2 is undefined: write null/],
          [() => 1, /parameter 2 is a function/],
          [Symbol("s"), /parameter 2 is a symbol/],
          [circular, /circular/]
        ]
        const before = yield* thread
        for (const [value, says] of cases) {
          const error = yield* Effect.flip(Sql.query("select ? as a, ? as b", [1, value]))
          assert.match(error.message, says)
          assert.strictEqual((yield* reasonOf(Sql.query("select ? as a, ? as b", [1, value])))._tag, "InvalidUse")
        }
        assert.strictEqual(yield* thread, before)
      })
    )
  )

  it.effect("prepared or not, a value means the same", () =>
    Effect.gen(function* () {
      const values = [
        1,
        -2.5,
        'it\'s \\ "q"',
        null,
        true,
        2n ** 60n,
        new Date(1_700_000_000_000),
        '[1,"a"]',
        { a: [1] }
      ]
      const read = (prepare: boolean) =>
        onPool({ prepare }, () =>
          Effect.gen(function* () {
            yield* table("mean", "n double, d double, s text, z text, b tinyint, i bigint, t datetime, j json, o json")
            yield* Sql.query("insert into mean values (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            const rows = yield* Sql.query<Record<string, unknown>>("select * from mean")
            const found = yield* Sql.query("select 1 from mean where o = ? or s = ?", [{ a: [1] }, "nothing"])
            return [{ ...rows[0] }, found.length]
          })
        )
      const prepared = yield* read(true)
      assert.deepEqual(yield* read(false), prepared)
      assert.deepInclude(prepared[0] as object, {
        s: 'it\'s \\ "q"',
        i: "1152921504606846976",
        j: [1, "a"],
        o: { a: [1] }
      })
    })
  )

  it.effect("what the server cannot prepare is sent as text, once that is known", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const prepares = Effect.map(
          Sql.query<{ Value: string }>("show session status like 'Com_stmt_prepare'", [], { prepare: false }),
          (rows) => Number(rows[0]!.Value)
        )
        const immediate = Sql.query("execute immediate ?", ["select 'it''s' as t"])
        const before = yield* prepares
        assert.deepEqual(yield* immediate, [{ t: "it's" }])
        assert.deepEqual(yield* immediate, [{ t: "it's" }])
        // Each of them prepares what it executes; the text itself is tried once.
        assert.strictEqual((yield* prepares) - before, 2 + 1)
      }).pipe(Sql.withConnection)
    )
  )

  it.effect("in a session without escapes no value is written into a text that could end its literal", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* Sql.query("set sql_mode = 'NO_BACKSLASH_ESCAPES'")
        const read = (value: unknown, prepare: boolean) => Sql.query("select ? as t", [value], { prepare })
        const error = yield* Effect.flip(read("\\' or 1 = 1 -- ", false))
        assert.match(error.message, /NO_BACKSLASH_ESCAPES: prepare the statement/)
        assert.deepEqual(yield* read("\\' or 1 = 1 -- ", true), [{ t: "\\' or 1 = 1 -- " }])
        assert.deepEqual(yield* read("plain", false), [{ t: "plain" }])
        assert.deepEqual(yield* read(7, false), [{ t: 7 }])
      }).pipe(Sql.withConnection)
    )
  )

  it.effect("with prepare: false the server keeps no statement; else it keeps a hundred of each connection", () =>
    Effect.gen(function* () {
      const counted = (prepare: boolean) =>
        onPool({ prepare, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            const { primary } = yield* MariaDbCluster.MariaDbCluster
            const kept = Effect.map(
              primary.query<{ Value: string }>("show global status like 'Prepared_stmt_count'"),
              (rows) => Number(rows[0]!.Value)
            )
            const before = yield* kept
            yield* Effect.forEach(Array.from({ length: 150 }), (_, i) => Sql.query(`select ${i} as i, ? as p`, [i]))
            assert.deepEqual(yield* Sql.query("select 0 as i, ? as p", [5]), [{ i: 0, p: 5 }])
            return (yield* kept) - before
          })
        )
      assert.strictEqual(yield* counted(false), 0)
      assert.isAtMost(yield* counted(true), 100)
      assert.isAbove(yield* counted(true), 90)
    })
  )

  it.effect("a prepared statement survives a change of its table", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("stale", "id int")
        const select = Sql.query("select * from stale where id = ?", [1])
        yield* select
        yield* Sql.query("alter table stale add column more text")
        yield* Sql.query("insert into stale values (1, 'x')")
        assert.deepEqual(yield* select, [{ id: 1, more: "x" }])
        yield* Sql.withTransaction(Effect.map(select, (rows) => assert.lengthOf(rows, 1)))
      })
    )
  )

  it.effect("rows are those of the columns that came with them, whatever the statement had the last time", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const change = (what: string) => Sql.query(`alter table columned ${what}`)
        yield* table("columned", "a int, b varchar(9), c int")
        yield* Sql.query("insert into columned values (1, '2', 3)")
        const read = Sql.withConnection(
          Effect.all([
            Sql.query("select * from columned where a > ?", [0]),
            sql`select * from columned where a > ${0}`.values
          ])
        )
        const gives = (...rows: ReadonlyArray<Record<string, unknown>>) =>
          Effect.gen(function* () {
            for (let i = 0; i < 3; i++) {
              const [objects, arrays] = yield* read
              assert.deepStrictEqual(objects, rows)
              assert.deepStrictEqual(
                arrays,
                rows.map((row) => Object.values(row))
              )
            }
          })
        yield* gives({ a: 1, b: "2", c: 3 })
        // As many columns, of which the last, one in the middle, or the first is another one.
        yield* change("change c d int")
        yield* gives({ a: 1, b: "2", d: 3 })
        yield* change("modify b int")
        yield* gives({ a: 1, b: 2, d: 3 })
        yield* change("add column z int first, drop column d")
        yield* gives({ z: null, a: 1, b: 2 })
        // More, and fewer.
        yield* change("add column e text default 'x'")
        yield* gives({ z: null, a: 1, b: 2, e: "x" })
        yield* change("drop column z, drop column e")
        yield* gives({ a: 1, b: 2 })
        yield* Sql.query("delete from columned")
        yield* gives()
        yield* Sql.query("insert into columned values (5, 6), (7, 8)")
        yield* gives({ a: 5, b: 6 }, { a: 7, b: 8 })
      })
    )
  )

  it.effect("a procedure gives all its results each time, and a statement may fail between its rows", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* Sql.query("drop procedure if exists several")
        yield* Sql.query("create procedure several (n int) begin select n as a; select n + 1 as b, 'x' as c; end")
        for (let n = 0; n < 4; n++) {
          const [first, second] = (yield* Sql.query("call several(?)", [n])) as ReadonlyArray<any>
          assert.deepStrictEqual([first, second], [[{ a: n }], [{ b: n + 1, c: "x" }]])
        }
        // Read from the table in order, so the first rows are sent before the subquery of the last one fails.
        const failing = "select seq, if(seq < ?, 1, (select 1 union select seq)) as v from seq_1_to_3000"
        for (const [limit, fails] of [
          [5_000, false],
          [2_500, true],
          [5_000, false],
          [2_500, true]
        ] as const) {
          const exit = yield* Effect.either(Sql.query(failing, [limit]))
          assert.strictEqual(exit._tag === "Left", fails)
          if (exit._tag === "Right") assert.strictEqual(exit.right.length, 3_000)
        }
        assert.deepStrictEqual(yield* Sql.query("select ? as n", [1]), [{ n: 1 }])
      })
    )
  )

  it.effect("a row may have three hundred columns", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        for (const columns of [249, 250, 251, 252, 300]) {
          const text = `select ${Array.from({ length: columns }, (_, i) => `? + ${i} as c${i}`).join(", ")}`
          for (let n = 0; n < 3; n++) {
            const [row] = yield* Sql.query<Record<string, number>>(
              text,
              Array.from({ length: columns }, () => n)
            )
            assert.deepStrictEqual(
              Object.values(row!).map(Number),
              Array.from({ length: columns }, (_, i) => i + n)
            )
          }
        }
        // The number of columns is written with more than one byte, of which the first is 252.
        yield* table("wide", Array.from({ length: 252 }, (_, i) => `c${i} int`).join(", "))
        yield* Sql.query("insert into wide (c0) values (1)")
        const read = Effect.map(Sql.query("select * from wide where c0 = ?", [1]), ([row]) => Object.keys(row!).length)
        for (let columns = 252; columns < 255; columns++) {
          for (let i = 0; i < 3; i++) assert.strictEqual(yield* read, columns)
          yield* Sql.query(`alter table wide add column more${columns} int`)
        }
      })
    )
  )

  it.effect("a statement that the server has forgotten is prepared again, in a transaction as well", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const connection = yield* driver.connect(at.primary, ignored)
      const text = "select ? as a"
      const run = driver.execute(connection, text, [1], "rows")
      const forget = Effect.sync(() => {
        // As a proxy does that has given us another connection.
        const kept = connection.wire._statements.get(Mysql.keyOf(text))!
        kept.close()
      })
      assert.deepEqual(yield* run, [{ a: 1 }])
      yield* forget
      assert.deepEqual(yield* run, [{ a: 1 }])
      yield* driver.execute(connection, "START TRANSACTION", [], "command")
      yield* forget
      assert.deepEqual(yield* run, [{ a: 1 }])
      assert.strictEqual(driver.status(connection), "transaction")
    }).pipe(Effect.scoped)
  )

  it.effect(
    "what a session has collected is gone for its next user: settings, variables, temporary tables, locks, an open transaction",
    () =>
      onPool({ multipleStatements: true, pool: { maxSize: 1 } }, (user) =>
        Effect.gen(function* () {
          const before = yield* thread
          const { primary } = yield* MariaDbCluster.MariaDbCluster
          yield* primary.query("create database if not exists elsewhere")
          yield* primary.query(`grant all on elsewhere.* to '${user}'@'%'`)
          const normal = yield* Sql.query<object>(
            "select @@time_zone z, @@sql_mode m, @@character_set_client c, @@collation_connection l, @@autocommit a, database() d"
          )
          yield* table("begun", "id int")
          const changes = [
            "set time_zone = '+05:00'",
            "set session sql_mode = ''",
            "set names utf8mb4 collate utf8mb4_bin",
            "set autocommit = 0",
            "use elsewhere",
            "set @mine = 1",
            "create temporary table leftover (id int)",
            "prepare p from 'select 1'",
            "lock tables begun write",
            "select get_lock('mine', 0) as l",
            "start transaction",
            "start transaction; insert into begun values (1)"
          ]
          for (const change of changes) {
            yield* Sql.query(change)
            assert.deepEqual(
              yield* Sql.query(
                "select @@time_zone z, @@sql_mode m, @@character_set_client c, @@collation_connection l, @@autocommit a, database() d"
              ),
              normal,
              change
            )
          }
          assert.isNull(yield* variable("@mine"))
          assert.strictEqual((yield* reasonOf(Sql.query("select * from leftover")))._tag, "SyntaxError")
          assert.strictEqual((yield* reasonOf(Sql.query("execute p"))).code, "1243")
          assert.deepEqual(yield* primary.query("select is_free_lock('mine') as f"), [{ f: 1 }])
          yield* primary.query("insert into begun values (7)")
          assert.deepStrictEqual(yield* rowsOf("begun"), [7])
          assert.strictEqual(yield* thread, before)
        })
      )
  )

  it.effect("a session that nobody changed is not made new: prepared statements stay", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("kept", "id int primary key")
        yield* Sql.query("select ? as a", [1])
        yield* Sql.withTransaction(Sql.query("insert into kept values (?)", [1]))
        yield* Sql.withTransaction({ isolation: "serializable", readOnly: true })(Sql.query("select * from kept"))
        yield* Effect.ignore(Sql.query("insert into kept values (?)", [1]))
        yield* Effect.ignore(Sql.withTransaction(Sql.query("insert into kept values (?)", [1])))
        const prepared = yield* Sql.query<{ Value: string }>("show session status like 'Com_stmt_prepare'", [], {
          prepare: false
        })
        yield* Sql.query("select ? as a", [1])
        // A new session would count from zero.
        const after = yield* Sql.query<{ Value: string }>("show session status like 'Com_stmt_prepare'", [], {
          prepare: false
        })
        assert.strictEqual(after[0]!.Value, prepared[0]!.Value)
        assert.isAbove(Number(after[0]!.Value), 2)
      })
    )
  )

  it.effect("resetOnRelease: always makes each session new, never forgets nothing but the transaction", () =>
    Effect.gen(function* () {
      const run = (resetOnRelease: "always" | "never") =>
        onPool({ pool: { maxSize: 1 }, resetOnRelease }, () =>
          Effect.gen(function* () {
            yield* Sql.query("select @mine := 5 as m", [], { prepare: false })
            yield* Sql.query("start transaction")
            return [yield* variable("@mine"), yield* variable("@@in_transaction")]
          })
        )
      assert.deepEqual(yield* run("always"), [null, 0])
      const [mine, inside] = yield* run("never")
      assert.equal(mine, 5)
      assert.equal(inside, 0)
    })
  )

  it.effect("a stream gives every row in order, as fast as it is read, and holds its connection only meanwhile", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const thousand = Stream.runCollect(
          sql<{ i: number }>`select seq as i from seq_1_to_1000 where seq > ${0}`.stream
        )
        for (const all of [yield* thousand, yield* Sql.withTransaction(thousand)]) {
          assert.deepStrictEqual(
            Chunk.toArray(all).map(({ i }) => i),
            Array.from({ length: 1000 }, (_, i) => i + 1)
          )
        }
        assert.strictEqual((yield* Stream.runCollect(sql`select 1 from dual where false`.stream)).length, 0)
        assert.strictEqual((yield* reasonOf(Stream.runCollect(sql`select * from nowhere`.stream))).code, "1146")
        assert.strictEqual(
          (yield* reasonOf(Stream.runCollect(sql.unsafe("select ? as a", [undefined as never]).stream)))._tag,
          "InvalidUse"
        )
        assert.strictEqual(
          (yield* Stream.runCollect(sql`create table if not exists streamed (id int)`.stream)).length,
          0
        )
        assert.isNumber(yield* thread)
      })
    )
  )

  it.effect("what a program does not read, the server does not send", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const connection = yield* driver.connect(at.primary, ignored)
      // Half a gigabyte; the sockets hold some megabytes of it.
      const cursor = yield* driver.stream(
        connection,
        "select repeat('x', 500) as x from seq_1_to_1000 a, seq_1_to_1000 b",
        []
      )
      assert.isNotEmpty(yield* cursor.next(Infinity))
      const received = () => connection.wire.stream.bytesRead
      yield* eventually(
        "nothing comes any more",
        Effect.suspend(() => {
          const before = received()
          return Effect.as(Effect.sleep("200 millis"), undefined).pipe(Effect.map(() => received() === before))
        })
      )
      assert.isBelow(received(), 50_000_000)
      assert.strictEqual(driver.status(connection), "busy")
      assert.isNotEmpty(yield* cursor.next(Infinity))
      connection.pipeline.destroy()
    }).pipe(Effect.scoped)
  )

  it.effect(
    "in a transaction a stream that cannot have a cursor is read as a whole, and two of one text are read in turn",
    () =>
      onPool({ pool: { maxSize: 2 } }, () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const shown = yield* Sql.withTransaction(Stream.runCount(sql`show variables`.stream))
          assert.isAbove(shown, 128)
          // Two cursors of one text, read in turn.
          const ids = sql<{ i: number }>`select seq as i from seq_1_to_300`.stream
          const pairs = yield* Sql.withTransaction(Stream.runCount(Stream.zip(ids, ids)))
          assert.strictEqual(pairs, 300)
        })
      )
  )

  it.effect("a cursor of a transaction that is left early is forgotten by the server", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const kept = Effect.map(
          Sql.query<{ Value: string }>("show global status like 'Prepared_stmt_count'", [], { prepare: false }),
          (rows) => Number(rows[0]!.Value)
        )
        yield* Sql.withTransaction(
          Effect.gen(function* () {
            const before = yield* kept
            for (let i = 0; i < 5; i++)
              yield* Stream.runDrain(Stream.take(sql`select seq from seq_1_to_5000`.stream, 3))
            yield* Stream.runDrain(sql`select seq from seq_1_to_500`.stream)
            assert.strictEqual(yield* kept, before)
            // Nor do cursors push other statements out.
            yield* Sql.query("select ? as hot", [1])
            const prepares = Effect.map(
              Sql.query<{ Value: string }>("show session status like 'Com_stmt_prepare'", [], { prepare: false }),
              (rows) => Number(rows[0]!.Value)
            )
            const first = yield* prepares
            for (let i = 0; i < 120; i++) yield* Stream.runDrain(sql`select seq from seq_1_to_3`.stream)
            yield* Sql.query("select ? as hot", [2])
            assert.strictEqual((yield* prepares) - first, 120)
          })
        )
      })
    )
  )

  it.effect("two clients: inside a transaction of one, a statement of the other runs on its own database", () =>
    onPool({}, (user) =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        yield* primary.query("create database if not exists other")
        yield* primary.query(`grant all on other.* to '${user}'@'%'`)
        const other = yield* MysqlSql.make({
          host: primary.host,
          port: primary.port,
          database: "other",
          username: user,
          password: Redacted.make("sluice")
        })
        const sql = yield* SqlClient.SqlClient
        yield* other.client`create table if not exists elsewhere (id int)`
        yield* sql
          .withTransaction(
            Effect.gen(function* () {
              yield* other.client`insert into elsewhere values (1)`
              return yield* Effect.fail("roll back")
            })
          )
          .pipe(Effect.ignore)
        assert.deepEqual(yield* other.client`select id from elsewhere`, [{ id: 1 }])
      }).pipe(Effect.scoped)
    )
  )

  it.effect("the position of the last write is that of the server, and reading does not move it", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const connection = yield* driver.connect(at.primary, ignored)
      const run = (sql: string, params: ReadonlyArray<unknown> = []) => driver.execute(connection, sql, params, "rows")
      assert.isUndefined(driver.position!(connection))
      yield* run("create table if not exists positions (id int)")
      const of = Effect.map(run("select @@last_gtid as g"), (rows: any) => rows[0].g as string)
      assert.strictEqual(driver.position!(connection), yield* of)
      yield* run("insert into positions values (?)", [1])
      const first = driver.position!(connection)
      assert.strictEqual(first, yield* of)
      assert.match(first!, /^\d+-\d+-\d+$/)
      yield* run("start transaction")
      yield* run("insert into positions values (?)", [1])
      assert.strictEqual(driver.position!(connection), first)
      yield* run("commit")
      assert.notStrictEqual(driver.position!(connection), first)
      const second = driver.position!(connection)
      yield* run("select * from positions")
      assert.strictEqual(driver.position!(connection), second)
      // The session is new; what it had written is not forgotten, and what it writes is still told.
      yield* run("set @x = 1")
      yield* driver.reset(connection)
      yield* run("insert into positions values (?)", [1])
      assert.notStrictEqual(driver.position!(connection), second)
      assert.strictEqual(driver.position!(connection), yield* of)
    }).pipe(Effect.scoped)
  )

  it.effect("the parts of mysql2 that its types leave out are there", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const { wire } = yield* driver.connect(at.primary, ignored)
      for (const method of [
        "_resetSequenceId",
        "_bumpSequenceId",
        "writePacket",
        "write",
        "addCommand",
        "format",
        "connect",
        "end",
        "pause",
        "resume"
      ] as const) {
        assert.isFunction(wire[method], method)
      }
      assert.isNumber(wire.threadId)
      assert.include(wire._handshakePacket.serverVersion, "MariaDB")
      assert.isNumber(wire.config.charsetNumber)
      assert.isFunction(wire._statements.get)
      for (const method of ["execute", "start", "doneInsert", "row", "resultsetHeader", "fieldsEOF"] as const) {
        assert.isFunction((Commands.Query.prototype as any)[method], method)
        assert.isFunction((Commands.Execute.prototype as any)[method], method)
      }
      assert.strictEqual((Commands.Query.prototype as any).row, (Commands.Execute.prototype as any).row)
      assert.isFunction((Commands.Prepare.prototype as any).prepareHeader)
      assert.isFunction((Commands.Ping.prototype as any).pingResponse)
      assert.isFunction((Commands.Reset.prototype as any).resetConnectionResponse)
    }).pipe(Effect.scoped)
  )

  it.effect("a session that was made new has its statement timeout again", () =>
    onPool({ statementTimeout: "500 millis", pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const before = yield* thread
        const reason = yield* reasonOf(Sql.query("select sleep(30)"))
        assert.strictEqual(reason._tag, "StatementTimeout")
        assert.strictEqual(reason.code, "1969")
        assert.strictEqual(yield* thread, before)
        yield* Sql.query("set max_statement_time = 0")
        // The session is new, and has its limit again.
        assert.strictEqual((yield* reasonOf(Sql.query("select sleep(30)")))._tag, "StatementTimeout")
        assert.strictEqual(yield* thread, before)
      })
    )
  )
})
