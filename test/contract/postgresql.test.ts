import * as EventJournal from "@effect/experimental/EventJournal"
import { SqlClient, SqlEventJournal } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { PgClient } from "@effect/sql-pg"
import { assert } from "@effect/vitest"
import { Chunk, Effect, Either, Fiber, Queue, Stream } from "effect"
import * as Pg from "pg"
import { contract, idsOf, table, timed, unique } from "./contract.js"
import type * as Drivers from "./drivers.js"

const camel = (s: string) => s.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase())
const snake = (s: string) => s.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)

/** What goes in, the type it is sent as, and what comes out. */
const values: ReadonlyArray<readonly [type: string, sent: unknown, received: unknown]> = [
  ["int4", 42, 42],
  ["int4", null, null],
  ["int4", undefined, null],
  ["int8", 9007199254740993n, "9007199254740993"],
  ["float8", 1.5, 1.5],
  ["float8", Number.NaN, Number.NaN],
  ["float8", Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ["numeric", "12345678901234567890.5", "12345678901234567890.5"],
  ["bool", true, true],
  ["text", "", ""],
  ["text", 'it\'s "quoted" \\ and 🦆\nnew line', 'it\'s "quoted" \\ and 🦆\nnew line'],
  ["text", "x".repeat(1_000_000), "x".repeat(1_000_000)],
  ["uuid", "a81bc81b-dead-4e5d-abff-90865d1e13b1", "a81bc81b-dead-4e5d-abff-90865d1e13b1"],
  ["timestamptz", new Date(1_700_000_000_123), new Date(1_700_000_000_123)],
  ["bytea", Buffer.from([0, 1, 254, 255]), Buffer.from([0, 1, 254, 255])],
  ["bytea", new Uint8Array([7, 0, 255]), Buffer.from([7, 0, 255])],
  ["jsonb", { a: [1, { b: null }] }, { a: [1, { b: null }] }],
  ["int4[]", [1, 2, 3], [1, 2, 3]],
  ["text[]", ["a,b", 'c"d', null, ""], ["a,b", 'c"d', null, ""]],
  [
    "int4[]",
    [
      [1, 2],
      [3, 4]
    ],
    [
      [1, 2],
      [3, 4]
    ]
  ]
]

contract(
  "PostgreSQL",
  ({ it, run }) => {
    it.effect("values go in and come out as pg converts them, in every form of a statement", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          for (const [type, sent, received] of values) {
            const statement = sql<{ v: unknown }>`select ${sent}::${sql.literal(type)} as v`
            for (const form of [
              statement,
              statement.unprepared,
              Effect.map(statement.raw, (result) => (result as Pg.QueryResult).rows),
              Effect.map(statement.values, (rows) => [{ v: rows[0]![0] }]),
              Effect.map(Stream.runCollect(statement.stream), Chunk.toReadonlyArray)
            ]) {
              assert.deepStrictEqual(yield* form as Effect.Effect<ReadonlyArray<{ v: unknown }>, SqlError>, [
                { v: received }
              ])
            }
          }
        })
      )
    )

    it.effect("raw is the result of pg: command, rowCount, fields, rows", () =>
      run(
        { transformResultNames: camel },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("row_id int primary key")
          const inserted = (yield* sql`insert into ${sql(t)} (row_id) values (${1}), (${2})`.raw) as Pg.QueryResult
          assert.deepStrictEqual([inserted.command, inserted.rowCount, inserted.rows], ["INSERT", 2, []])
          const selected = (yield* sql`select row_id from ${sql(t)} where row_id = ${2}`.raw) as Pg.QueryResult
          assert.deepStrictEqual(
            [selected.command, selected.rowCount, selected.fields.map((field) => [field.name, field.dataTypeID])],
            ["SELECT", 1, [["row_id", Pg.types.builtins.INT4]]]
          )
          assert.deepStrictEqual(selected.rows, [{ row_id: 2 }])
        })
      )
    )

    it.effect("text with several statements gives the rows of each; raw gives the result of each", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const several = sql`select 1 as a; insert into ${sql(t)} (id) values (5); select 2 as b; select id from ${sql(t)}`
          assert.deepStrictEqual<unknown>(yield* several, [[{ a: 1 }], [], [{ b: 2 }], [{ id: 5 }]])
          yield* sql`delete from ${sql(t)}`
          assert.deepStrictEqual<unknown>(yield* several.unprepared, [[{ a: 1 }], [], [{ b: 2 }], [{ id: 5 }]])
          yield* sql`delete from ${sql(t)}`
          const results = (yield* several.raw) as ReadonlyArray<Pg.QueryResult>
          assert.deepStrictEqual(
            results.map((result) => result.command),
            ["SELECT", "INSERT", "SELECT", "SELECT"]
          )
          // One semicolon at the end, or inside of a text, is one statement.
          assert.deepStrictEqual(yield* sql`select 1 as a;`, [{ a: 1 }])
          assert.deepStrictEqual(yield* sql`select 'x;y' as a`, [{ a: "x;y" }])
          assert.deepStrictEqual(yield* sql`select ${"z"} || ';y' as a;`, [{ a: "z;y" }])
          assert.deepStrictEqual(yield* sql`select 1 as a; -- the end`, [{ a: 1 }])
        })
      )
    )

    it.effect("several statements in one text are one transaction: a failure undoes those before it", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const error = yield* Effect.flip(
            sql.unsafe(`insert into ${t} (id) values (1); insert into ${t} (id) values (1); select 1`)
          )
          assert.strictEqual((error.cause as Pg.DatabaseError).code, "23505")
          assert.deepStrictEqual(yield* idsOf(t), [])
          // Parameters and several statements do not go together: the server says so.
          assert.strictEqual(
            ((yield* Effect.flip(sql`select ${1}::int; select 2`)).cause as Pg.DatabaseError).code,
            "42601"
          )
          yield* sql.withTransaction(sql.unsafe(`insert into ${t} (id) values (1); insert into ${t} (id) values (2)`))
          assert.deepStrictEqual(yield* idsOf(t), [1, 2])
        })
      )
    )

    it.effect("an empty text, and a comment alone, are statements without rows", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          assert.deepStrictEqual(yield* sql.unsafe(""), [])
          assert.deepStrictEqual(yield* sql.unsafe("-- nothing"), [])
          assert.deepStrictEqual(yield* sql`select 1 as a`, [{ a: 1 }])
        })
      )
    )

    it.effect("the cause of a SqlError is pg's error, with code, constraint, table and position", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key, age int not null check (age > 0)")
          const causeOf = (statement: Effect.Effect<unknown, SqlError>) =>
            Effect.map(Effect.flip(statement), (error) => error.cause as Pg.DatabaseError)
          yield* sql`insert into ${sql(t)} (id, age) values (1, 1)`
          const unique = yield* causeOf(sql`insert into ${sql(t)} (id, age) values (${1}, 1)`)
          assert.instanceOf(unique, Pg.DatabaseError)
          assert.deepStrictEqual([unique.code, unique.constraint, unique.table], ["23505", `${t}_pkey`, t])
          assert.include(unique.detail ?? "", "already exists")
          assert.strictEqual((yield* causeOf(sql`insert into ${sql(t)} (id, age) values (${2}, 0)`)).code, "23514")
          assert.strictEqual((yield* causeOf(sql`insert into ${sql(t)} (id) values (${2})`)).column, "age")
          const syntax = yield* causeOf(sql`select 1 +`)
          assert.deepStrictEqual([syntax.code, syntax.position], ["42601", "11"])
        })
      )
    )

    it.effect("insert and update return rows", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id serial primary key, name text, age int")
          assert.deepStrictEqual(
            yield* sql`insert into ${sql(t)} ${sql
              .insert([
                { name: "a", age: 1 },
                { name: "b", age: 2 }
              ])
              .returning("*")}`,
            [
              { id: 1, name: "a", age: 1 },
              { id: 2, name: "b", age: 2 }
            ]
          )
          assert.deepStrictEqual(
            yield* sql`insert into ${sql(t)} ${sql.insert({ name: "c" }).returning(sql`id, upper(name) as n, ${"x"} as x`)}`,
            [{ id: 3, n: "C", x: "x" }]
          )
          assert.deepStrictEqual(
            yield* sql`update ${sql(t)} set ${sql.update({ name: "z" })} where id = ${1} returning ${sql("name")}`,
            [{ name: "z" }]
          )
          assert.deepStrictEqual(
            yield* sql`update ${sql(t)} set name = data.name from ${sql
              .updateValues([{ name: "all" }], "data")
              .returning(sql`id, data.name`)}`,
            [
              { id: 2, name: "all" },
              { id: 3, name: "all" },
              { id: 1, name: "all" }
            ]
          )
          const named = sql.updateValues(
            [
              { id: 1, name: "one" },
              { id: 2, name: "two" }
            ],
            "data"
          )
          yield* sql`update ${sql(t)} set name = data.name from ${named} where ${sql(t)}.id = data.id::int`
          assert.deepStrictEqual(yield* sql`select name from ${sql(t)} order by id`, [
            { name: "one" },
            { name: "two" },
            { name: "all" }
          ])
        })
      )
    )

    it.effect("json sends a value as one parameter", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          const t = yield* table("id int primary key, doc jsonb")
          const doc = { a: 1, nested: { list: [1, "two", null] } }
          yield* sql`insert into ${sql(t)} (id, doc) values (${1}, ${sql.json(doc)})`
          yield* sql`insert into ${sql(t)} ${sql.insert({ id: 2, doc: sql.json({ b: true }) })}`
          yield* sql`update ${sql(t)} set ${sql.update({ doc: sql.json({ c: 3 }) })} where id = ${2}`
          assert.deepStrictEqual(yield* sql`select doc from ${sql(t)} order by id`, [{ doc }, { doc: { c: 3 } }])
          assert.deepStrictEqual(yield* sql`select ${sql.json({ a: { b: 1 } })}::jsonb -> 'a' as v`, [{ v: { b: 1 } }])
        })
      )
    )

    it.effect("names inside of JSON are transformed too, in and out, unless transformJson is false", () =>
      Effect.gen(function* () {
        const written = (options: Drivers.Options<"postgresql">) =>
          run(
            { transformQueryNames: snake, transformResultNames: camel, ...options },
            Effect.gen(function* () {
              const sql = yield* PgClient.PgClient
              const t = yield* table("id int primary key, big_doc jsonb")
              const doc = { firstName: "a", innerList: [{ lastName: "b" }] }
              yield* sql`insert into ${sql(t)} ${sql.insert({ id: 1, bigDoc: sql.json(doc) })}`
              const plain = sql.withoutTransforms()
              yield* plain`insert into ${plain(t)} ${plain.insert({ id: 2, big_doc: sql.json(doc) })}`
              return {
                read: (yield* sql<{ bigDoc: unknown }>`select * from ${sql(t)} order by id`).map((row) => row.bigDoc),
                stored: (yield* plain<{ d: string }>`select big_doc::text as d from ${plain(t)} order by id`).map(
                  (row) => JSON.parse(row.d)
                )
              }
            })
          )
        const camelDoc = { firstName: "a", innerList: [{ lastName: "b" }] }
        const snakeDoc = { first_name: "a", inner_list: [{ last_name: "b" }] }
        assert.deepStrictEqual(yield* written({}), { read: [camelDoc, camelDoc], stored: [snakeDoc, camelDoc] })
        assert.deepStrictEqual(yield* written({ transformJson: true }), {
          read: [camelDoc, camelDoc],
          stored: [snakeDoc, camelDoc]
        })
        assert.deepStrictEqual(yield* written({ transformJson: false }), {
          read: [camelDoc, camelDoc],
          stored: [camelDoc, camelDoc]
        })
      })
    )

    it.effect("types of the configuration parse the rows of this client, in every form", () =>
      run(
        {
          types: {
            getTypeParser: ((oid: number, format: "text") =>
              oid === Pg.types.builtins.INT8
                ? (text: string) => BigInt(text)
                : Pg.types.getTypeParser(oid, format)) as Pg.CustomTypesConfig["getTypeParser"]
          }
        },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const statement = sql`select 5::int8 as a, 6::int4 as b where ${1} = 1`
          assert.deepStrictEqual(yield* statement, [{ a: 5n, b: 6 }])
          assert.deepStrictEqual(yield* statement.values, [[5n, 6]])
          assert.deepStrictEqual(((yield* statement.raw) as Pg.QueryResult).rows, [{ a: 5n, b: 6 }])
          assert.deepStrictEqual(Array.from(yield* Stream.runCollect(statement.stream)), [{ a: 5n, b: 6 }])
          assert.deepStrictEqual<unknown>(yield* sql`select 1::int8 as a; select 2::int8 as a`, [
            [{ a: 1n }],
            [{ a: 2n }]
          ])
        })
      )
    )

    it.effect("the column types of a statement's tables may change; the statement goes on working", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id serial primary key, v int")
          const insert = (v: unknown) => sql`insert into ${sql(t)} (v) values (${v})`
          const find = (v: unknown) => sql`select id from ${sql(t)} where v = ${v}`
          for (let i = 0; i < 3; i++) {
            yield* insert(i)
            yield* find(i)
          }
          yield* sql.unsafe(`alter table ${t} alter column v type bigint`)
          yield* insert("3000000000")
          assert.deepStrictEqual(yield* find("3000000000"), [{ id: 4 }])
          yield* sql.unsafe(`alter table ${t} alter column v type text`)
          yield* insert("word")
          assert.deepStrictEqual(yield* find("word"), [{ id: 5 }])
        })
      )
    )

    it.effect("search_path decides which table a name means, for one transaction", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const [a, b] = [unique("tenant"), unique("tenant")]
          for (const [schema, columns] of [
            [a, "name text"],
            [b, "id int, name text"]
          ]) {
            yield* sql.unsafe(`create schema ${schema}; create table ${schema}.people (${columns})`)
            yield* sql.unsafe(`insert into ${schema}.people (name) values ('${schema}')`)
          }
          const names = (schema: string) =>
            sql.withTransaction(
              Effect.zipRight(
                sql.unsafe(`set local search_path to ${schema}`),
                sql<{ name: string }>`select * from people where name like ${"tenant%"}`
              )
            )
          for (const schema of [a, b, a, b] as Array<string>) {
            assert.deepStrictEqual(
              (yield* names(schema)).map((row) => row.name),
              [schema]
            )
          }
        })
      )
    )

    it.effect("what cannot be sent is a SqlError, and the connection goes on", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const circular: Record<string, unknown> = {}
          circular["self"] = circular
          const many = Array.from({ length: 70_000 }, (_, i) => i)
          for (const failing of [
            sql`select ${circular}::jsonb`,
            sql`select ${"a\0b"}::text`,
            sql`select 1 where 1 in ${sql.in(many)}`
          ]) {
            assert.strictEqual((yield* Effect.flip(failing))._tag, "SqlError")
            assert.deepStrictEqual(yield* sql`select ${1}::int as n`, [{ n: 1 }])
          }
        })
      )
    )

    it.effect("COPY without a stream ends: from stdin as a failure, to stdout as one or without rows", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          yield* sql`insert into ${sql(t)} (id) values (${1})`
          assert.strictEqual((yield* Effect.flip(sql.unsafe(`copy ${t} from stdin`)))._tag, "SqlError")
          // `pg` gives no rows for it; ours refuses what it cannot give.
          const out = yield* Effect.either(sql.unsafe(`copy ${t} to stdout`))
          if (Either.isRight(out)) assert.deepStrictEqual(out.right, [])
          else assert.include(out.left.message, "COPY TO STDOUT is not supported")
          assert.deepStrictEqual(yield* idsOf(t), [1])
        })
      )
    )

    it.effect("a stream may write: without rows it ends, with RETURNING all is written, however little is read", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          yield* Stream.runDrain(sql`insert into ${sql(t)} (id) values (${0})`.stream)
          const insert = sql`insert into ${sql(t)} (id) select generate_series(1, 1000) returning id`
          assert.strictEqual(yield* Stream.runCount(Stream.take(insert.stream, 1)), 1)
          assert.strictEqual((yield* idsOf(t)).length, 1_001)
        })
      )
    )

    it.effect("a stream reads from a cursor: the server works no further ahead than the reader", () =>
      run(
        { maxConnections: 2 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const seq = unique("seq")
          yield* sql.unsafe(`create sequence ${seq}`)
          const rows = sql<{ n: string }>`select nextval(${seq}) as n from generate_series(1, 100000)`.stream
          const computed = Effect.map(sql.unsafe<{ n: string }>(`select last_value as n from ${seq}`), ([row]) =>
            Number(row!.n)
          )
          const paused = yield* Effect.makeLatch()
          const go = yield* Effect.makeLatch()
          const fiber = yield* rows.pipe(
            Stream.tap(({ n }) => (n === "300" ? Effect.zipRight(paused.open, go.await) : Effect.void)),
            Stream.take(1_000),
            Stream.runCount,
            Effect.fork
          )
          yield* paused.await
          for (let i = 0; i < 20; i++) assert.isAtMost(yield* computed, 1_000)
          yield* go.open
          assert.strictEqual(yield* Fiber.join(fiber), 1_000)
          assert.isAtMost(yield* computed, 2_000)
        })
      )
    )

    it.effect("a stream that is left between two pieces does not wait for the rest", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const slow = sql`select i, pg_sleep(case when i > 200 then 30 else 0 end) from generate_series(1, 1000) as i`
          const [elapsed] = yield* timed(
            Effect.zipRight(Stream.runDrain(Stream.take(slow.stream, 100)), sql`select ${1}::int`)
          )
          assert.isBelow(elapsed, 10_000)
        })
      )
    )

    it.effect("a failure in the middle of a stream comes after the rows before it", () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const seen: Array<number> = []
          const error = yield* sql<{
            n: number
          }>`select 100 / (301 - i) as n from generate_series(1, 1000) as i`.stream.pipe(
            Stream.runForEach(({ n }) => Effect.sync(() => seen.push(n))),
            Effect.flip
          )
          assert.strictEqual((error.cause as Pg.DatabaseError).code, "22012")
          assert.isAtLeast(seen.length, 256)
          assert.isAtMost(seen.length, 300)
          assert.deepStrictEqual(yield* sql`select ${1}::int as n`, [{ n: 1 }])
        })
      )
    )

    it.effect("SqlEventJournal writes an entry together with its effect, or not at all", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const [entryTable, remotesTable] = [unique("entries"), unique("remotes")]
          // Its own table for PostgreSQL has types that its schemas do not read (uuid) and not write (a date as bigint).
          yield* sql.unsafe(
            `create table ${entryTable} (id bytea primary key, event text not null, primary_key text not null, payload bytea not null, timestamp timestamptz not null)`
          )
          yield* sql.unsafe(
            `create table ${remotesTable} (remote_id bytea, entry_id bytea, sequence int not null, primary key (remote_id, entry_id))`
          )
          const journal = yield* SqlEventJournal.make({ entryTable, remotesTable })
          const changes = yield* journal.changes
          const write = <A, E>(primaryKey: string, effect: Effect.Effect<A, E>) =>
            journal.write({ event: "Paid", primaryKey, payload: new Uint8Array([1, 2, 255]), effect: () => effect })
          assert.strictEqual(yield* write("a", Effect.succeed("done")), "done")
          yield* Effect.flip(write("b", Effect.fail("no")))
          const entries = yield* journal.entries
          assert.deepStrictEqual(
            entries.map((entry) => [entry.event, entry.primaryKey, Array.from(entry.payload)]),
            [["Paid", "a", [1, 2, 255]]]
          )
          assert.strictEqual((yield* Queue.take(changes)).primaryKey, "a")
          assert.strictEqual(yield* Queue.size(changes), 0)
          const remoteId = EventJournal.makeRemoteId()
          const uncommitted = yield* journal.withRemoteUncommited(remoteId, (entries) => Effect.succeed(entries.length))
          assert.strictEqual(uncommitted, 1)
          assert.strictEqual(yield* journal.nextRemoteSequence(remoteId), 1)
          yield* journal.destroy
          assert.strictEqual((yield* Effect.flip(journal.entries))._tag, "EventJournalError")
        }).pipe(Effect.scoped)
      )
    )
  },
  { database: "postgresql" }
)
