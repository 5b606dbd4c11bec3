import * as EventJournal from "@effect/experimental/EventJournal"
import { SqlClient, SqlEventJournal } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Chunk, Effect, Stream } from "effect"
import type { QueryError, ResultSetHeader } from "mysql2"
import { contract, idsOf, table, unique } from "./contract.js"

const camel = (s: string) => s.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase())

/** The type of a column, what goes in, and what comes out. */
const values: ReadonlyArray<readonly [type: string, sent: unknown, received: unknown]> = [
  ["int", 42, 42],
  ["int", null, null],
  ["bigint", 42, 42],
  ["bigint", -9007199254740991n, -9007199254740991],
  // What a number cannot hold is a text.
  ["bigint", 9007199254740993n, "9007199254740993"],
  ["bigint unsigned", "18446744073709551615", "18446744073709551615"],
  ["boolean", true, 1],
  ["tinyint(1)", false, 0],
  ["double", 1.5, 1.5],
  ["double", -1e300, -1e300],
  ["decimal(30, 10)", "12345678901234567890.5", "12345678901234567890.5000000000"],
  ["decimal(10, 2)", 1.25, "1.25"],
  ["varchar(100)", 'it\'s "quoted" \\ and 🦆\nnew line', 'it\'s "quoted" \\ and 🦆\nnew line'],
  ["text", "", ""],
  ["longtext", "x".repeat(1_000_000), "x".repeat(1_000_000)],
  ["datetime(3)", new Date(1_700_000_000_123), new Date(1_700_000_000_123)],
  ["timestamp(3) null", new Date(1_700_000_000_123), new Date(1_700_000_000_123)],
  ["datetime", "2024-02-29 12:34:56", new Date(2024, 1, 29, 12, 34, 56)],
  ["date", "2024-02-29", new Date(2024, 1, 29)],
  ["time(3)", "-01:02:03.004", "-01:02:03.004"],
  ["year", 2024, 2024],
  ["blob", Buffer.from([0, 1, 254, 255]), Buffer.from([0, 1, 254, 255])],
  ["varbinary(10)", new Uint8Array([7, 0, 255]), Buffer.from([7, 0, 255])],
  ["bit(8)", 5, Buffer.from([5])],
  ["json", JSON.stringify({ a: [1, { b: null }] }), { a: [1, { b: null }] }],
  ["json", { a: [1, { b: null }] }, { a: [1, { b: null }] }],
  ["enum('a', 'b')", "b", "b"],
  ["uuid", "a81bc81b-dead-4e5d-abff-90865d1e13b1", "a81bc81b-dead-4e5d-abff-90865d1e13b1"]
]

contract(
  "MySQL",
  ({ it, run }) => {
    it.effect("values go in and come out as mysql2 converts them, in every form of a statement", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          for (const [type, sent, received] of values) {
            const t = yield* table(`v ${type}`)
            yield* sql`insert into ${sql(t)} (v) values (${sent})`
            const statement = sql<{ v: unknown }>`select v from ${sql(t)}`
            for (const form of [
              statement,
              statement.unprepared,
              statement.raw,
              Effect.map(statement.values, (rows) => [{ v: rows[0]![0] }]),
              Effect.map(Stream.runCollect(statement.stream), Chunk.toReadonlyArray),
              sql.withTransaction(Effect.map(Stream.runCollect(statement.stream), Chunk.toReadonlyArray))
            ]) {
              assert.deepStrictEqual(
                yield* form as Effect.Effect<ReadonlyArray<{ v: unknown }>, SqlError>,
                [{ v: received }],
                type
              )
            }
          }
        })
      )
    )

    it.effect("raw is the result of mysql2: counts and insertId of a write, the rows of a read", () =>
      run(
        { transformResultNames: camel },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("row_id int auto_increment primary key, n int")
          const inserted = (yield* sql`insert into ${sql(t)} (n) values (${1}), (${2})`.raw) as ResultSetHeader
          assert.deepStrictEqual([inserted.affectedRows, inserted.insertId, inserted.fieldCount], [2, 1, 0])
          const updated = (yield* sql`update ${sql(t)} set n = ${1}`.raw) as ResultSetHeader
          assert.deepStrictEqual([updated.affectedRows, updated.changedRows], [2, 1])
          assert.deepStrictEqual<unknown>(yield* sql`select row_id from ${sql(t)} where n = ${1}`.raw, [
            { row_id: 1 },
            { row_id: 2 }
          ])
        })
      )
    )

    it.effect("unprepared text may have several statements: one result for each, parameters included", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const [one, header, two] =
            (yield* sql`select ${1} as a; insert into ${sql(t)} (id) values (${5}); select id from ${sql(t)}`
              .unprepared) as ReadonlyArray<any>
          assert.deepStrictEqual(one, [{ a: 1 }])
          assert.strictEqual((header as ResultSetHeader).affectedRows, 1)
          assert.deepStrictEqual(two, [{ id: 5 }])
          // One semicolon at the end, or inside of a text, is one statement.
          assert.deepStrictEqual(yield* sql`select 1 as a;`, [{ a: 1 }])
          assert.deepStrictEqual(yield* sql`select ${"x"} as a, 'y;z' as b -- the end`, [{ a: "x", b: "y;z" }])
          assert.deepStrictEqual(yield* sql`/* first */ select '?' as q, ${1} as a # last`, [{ q: "?", a: 1 }])
        })
      )
    )

    it.effect("a statement is prepared once, and one that says unprepared never is", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const prepared = Effect.map(
            sql<{ Value: string }>`show session status like 'Com_stmt_prepare'`.unprepared,
            (rows) => Number(rows[0]!.Value)
          )
          const before = yield* prepared
          for (let i = 0; i < 3; i++) yield* sql`select ${i} as n`.unprepared
          assert.strictEqual(yield* prepared, before)
          for (let i = 0; i < 3; i++) yield* sql`select ${i} as n`
          assert.strictEqual(yield* prepared, before + 1)
        })
      )
    )

    it.effect("several statements in one text are written one by one: a failure leaves those before it", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const [insert, last] = [`insert into ${t} (id) values (1)`, `insert into ${t} (id) values (2)`]
          const error = yield* Effect.flip(sql.unsafe(`${insert}; ${insert}; ${last}`).unprepared)
          assert.strictEqual((error.cause as QueryError).code, "ER_DUP_ENTRY")
          assert.deepStrictEqual(yield* idsOf(t), [1])
          yield* sql.withTransaction(sql.unsafe(`${last}; ${insert}`).unprepared).pipe(Effect.ignore)
          assert.deepStrictEqual(yield* idsOf(t), [1])
        })
      )
    )

    it.effect("a procedure gives each of its results, then its counts", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const name = unique("p")
          yield* sql.unsafe(`create procedure ${name} (n int) begin select n as a; select 2 as b; end`)
          for (const call of [sql`call ${sql(name)} (${1})`, sql`call ${sql(name)} (${1})`.unprepared]) {
            const [one, two, header] = (yield* call) as ReadonlyArray<any>
            assert.deepStrictEqual([one, two], [[{ a: 1 }], [{ b: 2 }]])
            assert.strictEqual((header as ResultSetHeader).affectedRows, 0)
          }
          assert.deepStrictEqual(yield* sql`select 1 as a`, [{ a: 1 }])
        })
      )
    )

    it.effect("the cause of a SqlError is mysql2's error, with code, errno, sqlState and sqlMessage", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key, age int not null check (age > 0)")
          const u = yield* table(`id int, foreign key (id) references ${t} (id)`)
          yield* sql`insert into ${sql(t)} (id, age) values (1, 1)`
          const causeOf = (statement: Effect.Effect<unknown, SqlError>) =>
            Effect.map(Effect.flip(statement), (error) => error.cause as QueryError & { sqlState: string })
          const unique = yield* causeOf(sql`insert into ${sql(t)} (id, age) values (${1}, 1)`)
          assert.instanceOf(unique, Error)
          assert.deepStrictEqual([unique.code, unique.errno, unique.sqlState], ["ER_DUP_ENTRY", 1062, "23000"])
          assert.include((unique as { sqlMessage?: string }).sqlMessage ?? "", "Duplicate entry '1'")
          const numbers: Array<number | undefined> = []
          for (const failing of [
            sql`insert into ${sql(t)} (id, age) values (${2}, 0)`,
            sql`insert into ${sql(t)} (id) values (${2})`,
            sql`insert into ${sql(u)} (id) values (${7})`,
            sql`select 1 +`,
            sql`select * from no_such_table`,
            sql`select no_such_column from ${sql(t)}`
          ]) {
            numbers.push((yield* causeOf(failing)).errno)
            numbers.push((yield* causeOf(failing.unprepared)).errno)
          }
          // Check, default, foreign key, syntax, table, column; each in both forms.
          assert.deepStrictEqual(
            numbers,
            [4025, 1364, 1452, 1064, 1146, 1054].flatMap((errno) => [errno, errno])
          )
        })
      )
    )

    it.effect("insert returns rows; an upsert takes what was there", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int auto_increment primary key, name varchar(10) unique, n int default 1")
          assert.deepStrictEqual(
            yield* sql`insert into ${sql(t)} ${sql.insert([{ name: "a" }, { name: "b" }]).returning("*")}`,
            [
              { id: 1, name: "a", n: 1 },
              { id: 2, name: "b", n: 1 }
            ]
          )
          assert.deepStrictEqual(
            yield* sql`insert into ${sql(t)} ${sql.insert({ name: "c" }).returning(sql`id, upper(name) as u, ${"x"} as x`)}`,
            [{ id: 3, u: "C", x: "x" }]
          )
          yield* sql`insert ignore into ${sql(t)} ${sql.insert({ name: "a" })}`
          yield* sql`insert into ${sql(t)} ${sql.insert({ name: "b" })} on duplicate key update n = n + ${4}`
          assert.deepStrictEqual(yield* sql`select name, n from ${sql(t)} order by name`.values, [
            ["a", 1],
            ["b", 5],
            ["c", 1]
          ])
        })
      )
    )

    it.effect("names inside of JSON are transformed too, on the way out", () =>
      run(
        { transformResultNames: camel },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key, big_doc json")
          const doc = { first_name: "a", inner_list: [{ last_name: "b" }] }
          yield* sql`insert into ${sql(t)} (id, big_doc) values (1, ${JSON.stringify(doc)})`
          const camelDoc = { firstName: "a", innerList: [{ lastName: "b" }] }
          assert.deepStrictEqual(yield* sql`select big_doc from ${sql(t)}`, [{ bigDoc: camelDoc }])
          const rows = yield* Stream.runCollect(sql`select big_doc from ${sql(t)}`.stream)
          assert.deepStrictEqual(Array.from(rows), [{ bigDoc: camelDoc }])
          assert.deepStrictEqual(yield* sql`select big_doc from ${sql(t)}`.withoutTransform, [{ big_doc: doc }])
          assert.deepStrictEqual(yield* sql.withoutTransforms()`select big_doc from ${sql(t)}`, [{ big_doc: doc }])
          assert.deepStrictEqual(yield* sql`select big_doc from ${sql(t)}`.values, [[doc]])
        })
      )
    )

    it.effect("an empty text is refused; a comment alone is a statement without rows", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const empty = yield* Effect.flip(sql.unsafe(""))
          assert.strictEqual((empty.cause as QueryError).code, "ER_EMPTY_QUERY")
          assert.deepStrictEqual(yield* sql.unsafe("-- nothing"), [])
          assert.deepStrictEqual(yield* sql`select 1 as a`, [{ a: 1 }])
        })
      )
    )

    it.effect("what cannot be sent is a SqlError, and the connection goes on", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const many = Array.from({ length: 70_000 }, (_, i) => i)
          for (const failing of [
            sql`select ${undefined} as n`,
            sql`select ${(() => 1) as unknown} as n`,
            sql`select 1 where 1 in ${sql.in(many)}`,
            sql.unsafe("select ? as n", [])
          ]) {
            assert.strictEqual((yield* Effect.flip(failing))._tag, "SqlError")
            assert.deepStrictEqual(yield* sql`select ${1} as n`, [{ n: 1 }])
          }
        })
      )
    )

    it.effect("a definition commits the transaction around it, which then still ends well", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const made = unique("made")
          const insert = (id: number) => sql`insert into ${sql(t)} (id) values (${id})`
          yield* sql.withTransaction(Effect.all([insert(1), sql.unsafe(`create table ${made} (id int)`), insert(2)]))
          assert.deepStrictEqual(yield* idsOf(t), [1, 2])
          yield* Effect.all([insert(3), sql.unsafe(`drop table ${made}`), Effect.fail("no")]).pipe(
            sql.withTransaction,
            Effect.ignore
          )
          assert.deepStrictEqual(yield* idsOf(t), [1, 2, 3])
        })
      )
    )

    it.effect("a deadlock fails one of the two, with its code; run again it ends well", () =>
      run(
        { maxConnections: 3 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key, n int")
          yield* sql`insert into ${sql(t)} (id, n) values (1, 0), (2, 0)`
          const touch = (id: number) => sql`update ${sql(t)} set n = n + 1 where id = ${id}`
          const codes: Array<string> = []
          const [one, two] = [yield* Effect.makeLatch(), yield* Effect.makeLatch()]
          const both = (first: number, mine: typeof one, other: typeof one) =>
            sql
              .withTransaction(
                Effect.zipRight(
                  Effect.zipRight(touch(first), mine.open),
                  Effect.zipRight(other.await, touch(3 - first))
                )
              )
              .pipe(
                Effect.retry({
                  times: 3,
                  while: (error: SqlError) => {
                    codes.push((error.cause as QueryError).code)
                    return true
                  }
                })
              )
          yield* Effect.all([both(1, one, two), both(2, two, one)], { concurrency: 2 })
          assert.deepStrictEqual(codes, ["ER_LOCK_DEADLOCK"])
          assert.deepStrictEqual(yield* sql`select n from ${sql(t)}`.values, [[2], [2]])
        })
      )
    )

    it.effect("a failure in the middle of a stream comes after the rows before it", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const seen: Array<number> = []
          // The 301st row asks for one value and finds two.
          const error = yield* sql<{
            i: number
          }>`select seq as i, (select s.seq from seq_1_to_2 as s where t.seq > 300 or s.seq = 1) as v
             from seq_1_to_1000 as t`.stream.pipe(
            Stream.runForEach(({ i }) => Effect.sync(() => seen.push(i))),
            Effect.flip
          )
          assert.strictEqual((error.cause as QueryError).code, "ER_SUBQUERY_NO_1_ROW")
          assert.strictEqual(seen.length, 300)
          assert.deepStrictEqual(yield* sql`select ${1} as n`, [{ n: 1 }])
        })
      )
    )

    it.effect("SqlEventJournal does not know MySQL: what it writes is refused, typed", () =>
      run(
        {},
        Effect.gen(function* () {
          const journal = yield* SqlEventJournal.make({
            entryTable: unique("entries"),
            remotesTable: unique("remotes")
          })
          const error = yield* Effect.flip(
            journal.write({
              event: "Paid",
              primaryKey: "a",
              payload: new Uint8Array([1]),
              effect: () => Effect.void
            })
          )
          assert.instanceOf(error, EventJournal.EventJournalError)
        }).pipe(Effect.scoped)
      )
    )
  },
  { database: "mysql" }
)
