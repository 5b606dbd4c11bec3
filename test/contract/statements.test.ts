import { SqlClient, SqlSchema, Statement } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { contract, idsOf, spansOf, table, unique } from "./contract.js"
import { Server } from "./databases.js"

const camel = (s: string) => s.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase())
const snake = (s: string) => s.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)

contract("statements", ({ driver, it, run }) => {
  it.effect("a statement is an effect of its rows; parameters are sent beside the text, never inside", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, name varchar(100)")
        const evil = "'; drop table payments; --"
        yield* sql`insert into ${sql(t)} (id, name) values (${1}, ${evil})`
        assert.deepStrictEqual(yield* sql`select id, name from ${sql(t)} where name = ${evil}`, [{ id: 1, name: evil }])
        assert.deepStrictEqual(yield* sql`select id from ${sql(t)} where id = ${2}`, [])
        assert.deepStrictEqual(yield* sql`delete from ${sql(t)}`, [])
      })
    )
  )

  it.effect("one statement value can be run many times and at once; each caller gets its own rows", () =>
    run(
      { maxConnections: 3 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const one = sql<{ n: number }>`select 1 as n`
        assert.deepStrictEqual(yield* one, yield* one)
        const answers = yield* Effect.forEach(
          Array.from({ length: 60 }, (_, i) => i),
          (i) => Effect.map(sql<{ n: string }>`select ${String(i)} as n`, (rows) => Number(rows[0]!.n)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          answers,
          Array.from({ length: 60 }, (_, i) => i)
        )
      })
    )
  )

  it.effect("identifiers are quoted, also those that are keywords or have spaces, quotes and dots", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key")
        assert.deepStrictEqual(yield* sql`select 1 as ${sql("select")}, 2 as ${sql("odd name")}`, [
          { select: 1, "odd name": 2 }
        ])
        yield* sql`insert into ${sql(t)} (id) values (${1})`
        assert.deepStrictEqual(yield* sql`select ${sql(`${t}.id`)} from ${sql(t)}`, [{ id: 1 }])
      })
    )
  )

  it.effect("literal, unsafe and fragments make one statement with its parameters in order", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(yield* sql`select ${sql.literal("1 + 1")} as n`, [{ n: 2 }])
        assert.deepStrictEqual(yield* sql.unsafe<{ n: string }>(`select ${driver.words.placeholder(1)} as n`, ["x"]), [
          { n: "x" }
        ])
        assert.deepStrictEqual(yield* sql.unsafe("select 3 as n"), [{ n: 3 }])
        const t = yield* table("id int primary key, name varchar(10)")
        yield* sql`insert into ${sql(t)} ${sql.insert([
          { id: 1, name: "a" },
          { id: 2, name: "b" },
          { id: 3, name: "c" }
        ])}`
        const named = (name: string) => sql`name = ${name}`
        const inner = sql`select id from ${sql(t)} where ${named("b")} or ${named("c")}`
        assert.deepStrictEqual(
          yield* sql`select id from ${sql(t)} where id > ${0} and id in (${inner}) and id < ${3}`,
          [{ id: 2 }]
        )
        assert.deepStrictEqual(
          yield* sql`select id from ${sql(t)} where ${Statement.unsafeFragment("1 = 1")} and id = ${1}`,
          [{ id: 1 }]
        )
      })
    )
  )

  it.effect("insert takes one record or many, whose columns may differ; missing values are null", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, name varchar(10), age int")
        yield* sql`insert into ${sql(t)} ${sql.insert({ id: 1, name: "a", age: null })}`
        yield* sql`insert into ${sql(t)} ${sql.insert([
          { id: 2, name: "b", age: 7 },
          { id: 3, name: undefined, age: 8 }
        ])}`
        assert.deepStrictEqual(yield* sql`select * from ${sql(t)} order by id`, [
          { id: 1, name: "a", age: null },
          { id: 2, name: "b", age: 7 },
          { id: 3, name: null, age: 8 }
        ])
      })
    )
  )

  it.effect("update writes one record without the omitted columns", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, name varchar(10), age int")
        yield* sql`insert into ${sql(t)} ${sql.insert([
          { id: 1, name: "a", age: 1 },
          { id: 2, name: "b", age: 2 }
        ])}`
        yield* sql`update ${sql(t)} set ${sql.update({ id: 1, name: "z", age: 9 }, ["id"])} where id = ${1}`
        assert.deepStrictEqual(yield* sql`select * from ${sql(t)} order by id`, [
          { id: 1, name: "z", age: 9 },
          { id: 2, name: "b", age: 2 }
        ])
      })
    )
  )

  it.effect("in takes a list, with its column or without; an empty one matches nothing", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key")
        yield* sql`insert into ${sql(t)} ${sql.insert([{ id: 1 }, { id: 2 }, { id: 3 }])}`
        const where = (fragment: Statement.Fragment) =>
          Effect.map(sql<{ id: number }>`select id from ${sql(t)} where ${fragment} order by id`, (rows) =>
            rows.map((row) => row.id)
          )
        assert.deepStrictEqual(yield* where(sql.in("id", [1, 3])), [1, 3])
        assert.deepStrictEqual(yield* where(sql`id in ${sql.in([2, 3])}`), [2, 3])
        assert.deepStrictEqual(yield* where(sql.in("id", [])), [])
      })
    )
  )

  it.effect("and, or, csv and join put clauses together; without clauses they change nothing", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, name varchar(10)")
        yield* sql`insert into ${sql(t)} ${sql.insert([
          { id: 1, name: "a" },
          { id: 2, name: "a" },
          { id: 3, name: "c" }
        ])}`
        const where = (fragment: Statement.Fragment, order: Statement.Fragment = sql`order by id`) =>
          Effect.map(sql<{ id: number }>`select id from ${sql(t)} where ${fragment} ${order}`, (rows) =>
            rows.map((row) => row.id)
          )
        assert.deepStrictEqual(yield* where(sql.and([sql`name = ${"a"}`, sql`id > ${1}`])), [2])
        assert.deepStrictEqual(yield* where(sql.or([sql`id = ${1}`, "id = 3"])), [1, 3])
        assert.deepStrictEqual(yield* where(sql.and([])), [1, 2, 3])
        assert.deepStrictEqual(
          yield* where(sql.and([sql.or([sql`id = ${1}`, sql`id = ${2}`]), sql`name = ${"a"}`])),
          [1, 2]
        )
        assert.deepStrictEqual(yield* where(sql`1 = 1`, sql.csv("ORDER BY", ["name DESC", sql`id DESC`])), [3, 2, 1])
        assert.deepStrictEqual(yield* where(sql.join(" AND ")([sql`id > ${1}`, sql`id < ${3}`])), [2])
        assert.deepStrictEqual(yield* where(Statement.and([sql`id = ${3}`])), [3])
      })
    )
  )

  it.effect("onDialect chooses the branch of this database", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const branch = sql.onDialect({
          pg: () => "postgresql",
          mysql: () => "mysql",
          sqlite: () => "sqlite",
          mssql: () => "mssql",
          clickhouse: () => "clickhouse"
        })
        assert.strictEqual(branch, driver.database)
        assert.strictEqual(sql.onDialectOrElse({ sqlite: () => "sqlite", orElse: () => "else" }), "else")
      })
    )
  )

  it.effect("compile gives text and parameters without running anything", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const statement = sql`select ${1} as a, ${"b"} as b`
        assert.deepStrictEqual(statement.compile(), [
          `select ${driver.words.placeholder(1)} as a, ${driver.words.placeholder(2)} as b`,
          [1, "b"]
        ])
      })
    )
  )

  it.effect("values gives rows as arrays, in the order of the columns, with those of one name all there", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(yield* sql`select 1 as a, 2 as b, 3 as a`.values, [[1, 2, 3]])
        assert.deepStrictEqual(yield* sql`select 1 as a, 2 as b, 3 as a`, [{ a: 3, b: 2 }])
        assert.deepStrictEqual(yield* sql`select 1 as a where 1 = ${2}`.values, [])
        assert.deepStrictEqual(yield* sql`select ${"x"} as a, ${"y"} as b`.values, [["x", "y"]])
      })
    )
  )

  it.effect("unprepared gives the same rows, with parameters and without", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        for (let i = 0; i < 3; i++) {
          assert.deepStrictEqual(yield* sql`select ${"x"} as a`.unprepared, [{ a: "x" }])
          assert.deepStrictEqual(yield* sql`select 1 as a`.unprepared, [{ a: 1 }])
        }
      })
    )
  )

  it.effect("names are transformed on the way in and on the way out", () =>
    run(
      { transformQueryNames: snake, transformResultNames: camel },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, first_name varchar(10)")
        yield* sql`insert into ${sql(t)} ${sql.insert({ id: 1, firstName: "a" })}`
        yield* sql`update ${sql(t)} set ${sql.update({ firstName: "b" })} where ${sql("firstName")} = ${"a"}`
        assert.deepStrictEqual(yield* sql`select * from ${sql(t)}`, [{ id: 1, firstName: "b" }])
        assert.deepStrictEqual(yield* sql`select * from ${sql(t)}`.unprepared, [{ id: 1, firstName: "b" }])
        assert.deepStrictEqual(yield* sql`select * from ${sql(t)}`.withoutTransform, [{ id: 1, first_name: "b" }])
        assert.deepStrictEqual(yield* sql`select * from ${sql(t)}`.values, [[1, "b"]])

        const plain = sql.withoutTransforms()
        assert.deepStrictEqual(yield* plain`select * from ${plain(t)} where ${plain("first_name")} = ${"b"}`, [
          { id: 1, first_name: "b" }
        ])
        assert.strictEqual(plain.withoutTransforms(), plain)
        assert.strictEqual(plain.safe, plain)
      })
    )
  )

  it.effect("safe is the client; without transforms withoutTransforms is the client too", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual(sql.safe, sql)
        assert.strictEqual(sql.withoutTransforms(), sql)
        assert.isTrue(SqlClient.TypeId in sql)
        assert.deepStrictEqual(yield* sql.safe`select 1 as n`, [{ n: 1 }])
      })
    )
  )

  it.effect("a client without transforms takes part in the transactions of the other", () =>
    run(
      { transformQueryNames: snake, transformResultNames: camel },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const plain = sql.withoutTransforms()
        const t = yield* table("id int primary key")
        yield* plain`insert into ${plain(t)} (id) values (1)`.pipe(
          Effect.zipRight(Effect.fail("no")),
          sql.withTransaction,
          Effect.ignore
        )
        yield* sql`insert into ${sql(t)} (id) values (2)`.pipe(
          Effect.zipRight(Effect.fail("no")),
          plain.withTransaction,
          Effect.ignore
        )
        assert.deepStrictEqual(yield* idsOf(t), [])
      })
    )
  )

  it.effect("a transformer sees every statement below it and may replace it", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const seen: Array<string> = []
        const rewrite: Statement.Statement.Transformer = (statement, sql) =>
          Effect.sync(() => {
            seen.push(statement.compile()[0])
            return sql`select * from (${statement}) as t where n < ${3}`
          })
        const rows = sql`select 2 as n union all select 4 as n`
        assert.deepStrictEqual(yield* rows.pipe(Statement.withTransformer(rewrite)), [{ n: 2 }])
        assert.deepStrictEqual(yield* rows.pipe(Effect.provide(Statement.setTransformer(rewrite))), [{ n: 2 }])
        assert.strictEqual(
          (yield* rows.pipe(Statement.withTransformerDisabled, Statement.withTransformer(rewrite))).length,
          2
        )
        assert.strictEqual(seen.length, 2)
      })
    )
  )

  it.effect("a statement that fails is a SqlError with the driver's error; the connection goes on", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key")
        const insert = sql`insert into ${sql(t)} (id) values (${1})`
        yield* insert
        for (const failing of [insert, insert.raw, insert.values, insert.unprepared, insert.withoutTransform]) {
          const error: SqlError = yield* Effect.flip(failing as Effect.Effect<unknown, SqlError>)
          assert.strictEqual(error._tag, "SqlError")
          assert.isString((error.cause as { readonly code: unknown }).code)
        }
        assert.deepStrictEqual(yield* sql`select ${"x"} as n`, [{ n: "x" }])
      })
    )
  )

  it.effect("the code of the driver's error says what was wrong", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, age int not null")
        const codeOf = (statement: Effect.Effect<unknown, SqlError>) =>
          Effect.map(Effect.flip(statement), (error) => (error.cause as { readonly code: string }).code)
        yield* sql`insert into ${sql(t)} ${sql.insert({ id: 1, age: 1 })}`
        const codes = {
          unique: yield* codeOf(sql`insert into ${sql(t)} ${sql.insert({ id: 1, age: 1 })}`),
          syntax: yield* codeOf(sql`selekt 1`),
          noTable: yield* codeOf(sql`select * from ${sql("no_such_table")}`),
          notNull: yield* codeOf(sql`insert into ${sql(t)} (id) values (${2})`)
        }
        assert.deepStrictEqual(codes, driver.words.codes)
      })
    )
  )

  it.effect("every statement is a client span with the documented attributes and the configured ones", () =>
    run(
      { spanAttributes: { "service.name": "payments" } },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const operations: Array<[Effect.Effect<unknown, SqlError>, string]> = [
          [sql`select ${"x"} as n`, "execute"],
          [sql`select ${"x"} as n`.raw, "executeRaw"],
          [sql`select ${"x"} as n`.values, "executeValues"],
          [sql`select ${"x"} as n`.unprepared, "executeUnprepared"],
          [sql`select ${"x"} as n`.withoutTransform, "executeWithoutTransform"]
        ]
        for (const [statement, operation] of operations) {
          const { seen } = yield* spansOf(statement)
          assert.deepStrictEqual(
            seen.map((span) => span.name),
            ["sql.execute"]
          )
          const { attributes } = seen[0]!
          assert.strictEqual(attributes["db.operation.name"], operation)
          assert.strictEqual(attributes["db.query.text"], `select ${driver.words.placeholder(1)} as n`)
          assert.strictEqual(attributes["db.system.name"], driver.database)
          assert.strictEqual(attributes["service.name"], "payments")
          assert.include(Object.keys(attributes), "db.namespace")
          assert.include(Object.keys(attributes), "server.address")
          assert.include(Object.keys(attributes), "server.port")
        }
      })
    )
  )

  it.effect("a transaction is a span, the parent of what runs inside, with the events of its end", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const committed = yield* spansOf(sql.withTransaction(sql`select 1`))
        assert.deepStrictEqual(
          committed.seen.map(({ events, name, parent }) => ({ events, name, parent })),
          [
            { events: ["db.transaction.commit"], name: "sql.transaction", parent: undefined },
            { events: [], name: "sql.execute", parent: "sql.transaction" }
          ]
        )
        const nested = yield* spansOf(
          sql.withTransaction(Effect.zipRight(sql.withTransaction(Effect.void), Effect.fail("no"))).pipe(Effect.ignore)
        )
        assert.deepStrictEqual(
          nested.seen.map(({ events, parent }) => ({ events, parent })),
          [
            { events: ["db.transaction.rollback"], parent: undefined },
            { events: ["db.transaction.savepoint"], parent: "sql.transaction" }
          ]
        )
      })
    )
  )

  it.effect("SqlSchema encodes requests and decodes rows: findAll, findOne, single, void", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, name varchar(10)")
        const Row = Schema.Struct({ id: Schema.Number, name: Schema.String })
        const insert = SqlSchema.void({ Request: Row, execute: (row) => sql`insert into ${sql(t)} ${sql.insert(row)}` })
        yield* insert({ id: 1, name: "a" })
        yield* insert({ id: 2, name: "b" })
        const all = SqlSchema.findAll({
          Request: Schema.NumberFromString,
          Result: Row,
          execute: (from) => sql`select * from ${sql(t)} where id >= ${Number(from)} order by id`
        })
        assert.deepStrictEqual(yield* all(1), [
          { id: 1, name: "a" },
          { id: 2, name: "b" }
        ])
        const one = SqlSchema.findOne({
          Request: Schema.Number,
          Result: Row,
          execute: (id) => sql`select * from ${sql(t)} where id = ${id}`
        })
        assert.deepStrictEqual(yield* one(2), Option.some({ id: 2, name: "b" }))
        assert.deepStrictEqual(yield* one(3), Option.none())
        const single = SqlSchema.single({
          Request: Schema.Number,
          Result: Row,
          execute: (id) => sql`select * from ${sql(t)} where id = ${id}`
        })
        assert.strictEqual((yield* single(1)).name, "a")
        assert.strictEqual((yield* Effect.flip(single(3)))._tag, "NoSuchElementException")
      })
    )
  )

  it.effect("one Layer gives one client to all who need it", () =>
    Effect.gen(function* () {
      const options = yield* Effect.flatMap(Server, (server) => server.client(unique("shared")))
      const One = Context.GenericTag<SqlClient.SqlClient>("One")
      const Two = Context.GenericTag<SqlClient.SqlClient>("Two")
      const shared = driver.layer(options)
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* One, yield* Two)
      }).pipe(
        Effect.provide(
          Layer.merge(
            Layer.provide(Layer.effect(One, SqlClient.SqlClient), shared),
            Layer.provide(Layer.effect(Two, SqlClient.SqlClient), shared)
          )
        )
      )
    })
  )
})
