import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import type { MysqlSql } from "@sluice/sql-mysql2"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Stream } from "effect"
import { booksBalance, onPool, reasonOf, table, thread } from "./support/fixture.js"

const failing = {
  mysql2: {
    typeCast: (field: any, next: () => unknown) => {
      const value = next()
      if (field.name === "g" && Number(value) === 300) throw new Error("the connection is closed to 300")
      return value
    }
  } as any
}

const thousand = "select seq as g from seq_1_to_1000 order by seq"

/** More than one row in a subquery, from row 300 on. */
const divided =
  "select s.seq as g, (select t.seq from seq_1_to_2 t where t.seq <= if(s.seq >= 300, 2, 1)) as n from seq_1_to_1000 s order by s.seq limit 1000"

const forms = (text: string) =>
  Effect.map(Sql.Sql, ({ client }) => {
    const stream = Stream.runCount(client.unsafe(text).stream)
    const query = Effect.map(Sql.query(text), (rows) => rows.length)
    const form = (name: string, effect: typeof query, inside = false) => ({ name, effect, inside })
    return [
      form("a query", query),
      form(
        "unprepared",
        Effect.map(client.unsafe(text).unprepared, (rows) => rows.length)
      ),
      form(
        "values",
        Effect.map(client.unsafe(text).values, (rows) => rows.length)
      ),
      form(
        "several statements",
        Effect.map(Sql.query(`select 1; ${text}`), (rows) => rows.length)
      ),
      form("a stream", stream),
      form("a pinned query", Sql.withConnection(Effect.zipRight(thread, query))),
      form("a pinned stream", Sql.withConnection(Effect.zipRight(thread, stream))),
      form("a query in a transaction", Sql.withTransaction(query), true),
      form("a later query in a transaction", Sql.withTransaction(Effect.zipRight(thread, query)), true),
      form("a stream in a transaction", Sql.withTransaction(stream), true)
    ]
  })

const ways: ReadonlyArray<readonly [string, MysqlSql.MysqlSqlConfig]> = [
  ["prepared", {}],
  ["as text", { prepare: false }],
  ["not packed", { pipeline: false }]
]

layer(MariaDbCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("values", (it) => {
  it.effect("a write whose answer cannot be read was executed, says so, and is not run again", () =>
    onPool({ ...failing, pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("written", "g int")
        const before = yield* thread
        const write = Sql.query("insert into written values (?) returning g", [300])
        const reason = SqlReason.of(yield* Effect.flip(write))
        assert.deepStrictEqual(
          [reason._tag, reason.connection, reason.outcome, reason.retry, reason.attempts],
          ["Unclassified", "keep", "executed", "never", 1]
        )
        yield* Effect.flip(Sql.withTransaction(write))
        assert.deepStrictEqual(yield* Sql.query("select cast(count(*) as char) as n from written"), [{ n: "1" }])
        assert.strictEqual(yield* thread, before)
      })
    )
  )

  it.effect(
    "a statement that chooses another character set is refused: parameters would be stored as other texts",
    () =>
      onPool({ multipleStatements: true, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const { client } = yield* Sql.Sql
          yield* table("texts", "t varchar(10) character set utf8mb4")
          const before = yield* thread
          const euro = (choose: string) =>
            Effect.zipRight(Sql.query(choose), Sql.query("insert into texts values (?)", ["€"]))
          for (const choose of [
            "set names latin1",
            "SET NAMES 'latin1' COLLATE 'latin1_bin'",
            "/* all */ set autocommit = 1, names latin1",
            "set character set latin1",
            "set charset latin1",
            "set names default",
            "set @@session.character_set_client = latin1",
            "set session character_set_connection = 'latin1'",
            "select 1; set names latin1"
          ]) {
            const reasons = [
              yield* reasonOf(Sql.withConnection(euro(choose))),
              yield* reasonOf(Sql.withTransaction(euro(choose))),
              yield* reasonOf(Stream.runDrain(client.unsafe(choose).stream)),
              yield* reasonOf(client.unsafe(choose).unprepared)
            ]
            for (const reason of reasons) {
              assert.deepInclude(
                reason,
                { _tag: "InvalidUse", connection: "keep", outcome: "none", retry: "never" },
                choose
              )
            }
          }
          const same = ["set names utf8mb4", "set names 'utf8mb4' collate 'utf8mb4_bin'", "set @names = 'latin1'"]
          yield* Effect.forEach(same, (choose) => Sql.withConnection(euro(choose)))
          assert.deepStrictEqual(yield* Sql.query("select distinct t from texts"), [{ t: "€" }])
          assert.strictEqual(yield* thread, before)
        })
      )
  )

  for (const [way, config] of ways) {
    it.effect(`a row that cannot be read fails the statement in every form, and its connection goes on (${way})`, () =>
      onPool({ ...failing, ...config, multipleStatements: true, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const before = yield* thread
          for (let run = 0; run < 3; run++) {
            for (const { effect, inside, name } of yield* forms(thousand)) {
              const exit = yield* Effect.exit(effect)
              if (exit._tag === "Success") assert.fail(`${name} gave ${exit.value} rows`)
              const reason = yield* reasonOf(effect)
              assert.deepInclude(
                reason,
                {
                  _tag: "Unclassified",
                  connection: "keep",
                  retry: "never",
                  outcome: inside ? "rolledBack" : "executed"
                },
                name
              )
              assert.strictEqual((reason.cause as Error).message, "the connection is closed to 300", name)
              yield* booksBalance
            }
          }
          assert.strictEqual(yield* thread, before)
          const { closed } = (yield* Sql.stats).write
          assert.strictEqual(
            Object.values(closed).reduce((sum, n) => sum + n, 0),
            0
          )
        })
      )
    )

    it.effect(`an error of the server in the middle of a result fails the statement in every form (${way})`, () =>
      onPool({ ...config, multipleStatements: true, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          for (const { effect, name } of yield* forms(divided)) {
            const exit = yield* Effect.exit(effect)
            if (exit._tag === "Success") assert.fail(`${name} gave ${exit.value} rows`)
            assert.strictEqual((yield* reasonOf(effect)).code, "1242", name)
            yield* booksBalance
          }
        })
      )
    )
  }

  it.effect("a read whose rows cannot be read costs no neighbour on its connection", () =>
    onPool({ ...failing, pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const read = (n: number) => Sql.query<{ g: number }>("select cast(? as signed) as g", [n])
        for (let n = 0; n < 10; n++) yield* read(n)
        const exits = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, n) => 250 + n),
          (n) => Effect.exit(read(n)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          exits.map((exit) => (exit._tag === "Success" ? Number(exit.value[0]!.g) : "failed")),
          exits.map((_, n) => (n === 50 ? "failed" : 250 + n))
        )
      })
    )
  )

  it.effect("what init_connect sets is the same after a session was made new, and texts stay UTF-8", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const before = yield* primary.query<{ v: string }>("select @@global.init_connect as v")
      yield* primary.query(
        "set global init_connect = 'set time_zone = ''+05:00'', names latin1, lc_time_names = ''de_DE'''"
      )
      yield* Effect.ensuring(
        onPool({ pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            const settings = Sql.query<any>(
              "select @@time_zone as z, @@lc_time_names as l, @@character_set_client as c, hex('ä') as h"
            )
            for (let run = 0; run < 3; run++) {
              assert.deepStrictEqual(yield* settings, [{ z: "+05:00", l: "de_DE", c: "utf8mb4", h: "C3A4" }])
              assert.deepStrictEqual(yield* Sql.query("select ? as t", ["ä€"]), [{ t: "ä€" }])
              // Another session: the server makes it new.
              yield* Sql.query("set @dirty = 1, time_zone = '-03:00', sql_mode = ''")
            }
          })
        ),
        Effect.orDie(primary.query(`set global init_connect = '${before[0]!.v.replaceAll("'", "''")}'`))
      )
    })
  )

  it.effect("a setting that decides how values are written ends with the lease that has changed it", () =>
    onPool({ multipleStatements: true, pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("written", "at timestamp")
        yield* Sql.query("insert into written values ('2024-03-05 10:00:00')")
        const read = Sql.query<any>(
          "select at, 'x' || 'y' as c, cast('2024-03-05 10:00:00' as char) as t, @@sql_mode as m from written"
        )
        const expected = yield* read
        for (const change of [
          "set time_zone = '+11:00'",
          "set sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
          "set session character_set_results = latin1",
          "do 0; set time_zone = '+11:00'",
          "begin not atomic set time_zone = '+11:00'; end"
        ]) {
          yield* Sql.query(change)
          assert.deepStrictEqual(yield* read, expected, change)
          yield* Effect.exit(Sql.withTransaction(Effect.zipRight(Sql.query(change), Effect.fail("no"))))
          assert.deepStrictEqual(yield* read, expected, change)
        }
      })
    )
  )

  it.effect("a list is written by sql.in, and an array in its place says so, in every form", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const { client: sql } = yield* Sql.Sql
        yield* table("listed", "n int")
        yield* Sql.query("insert into listed values (7), (8), (9)")
        const text = "select n from listed where n in (?)"
        const array: any = [7, 8]
        for (const effect of [
          Sql.query(text, [array]),
          Sql.query(text, [array], { prepare: false }),
          sql.unsafe(text, [array]).values,
          sql.unsafe(text, [array]).unprepared,
          sql`select n from listed where n in (${array})`,
          Stream.runCollect(sql.unsafe(text, [array]).stream),
          Sql.withTransaction(Sql.query(text, [array])),
          Sql.withConnection(Stream.runCollect(sql.unsafe(text, [array]).stream)),
          Sql.query("delete from listed where n in (?)", [array])
        ] as ReadonlyArray<Effect.Effect<unknown, any, Sql.Sql>>) {
          const error = yield* Effect.flip(effect)
          assert.match(error.message, /parameter 1 is an array.*sql\.in/)
          yield* booksBalance
        }
        assert.deepEqual(yield* sql`select n from listed where n in ${sql.in([7, 8])} order by n`, [{ n: 7 }, { n: 8 }])
      })
    )
  )

  it.effect("integers are calculated with all of their digits, prepared or not", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("money", "n bigint, d decimal(38, 2)")
        const rows: ReadonlyArray<readonly [string, ReadonlyArray<unknown>, unknown]> = [
          ["? + 1", [9007199254740993n], "9007199254740994"],
          ["? + 1", [9007199254740991], "9007199254740992"],
          ["? + ?", [2n ** 63n, 1n], "9223372036854775809"],
          ["? + 1", [10n ** 30n], "1000000000000000000000000000001"],
          ["? + 1", [5], 6],
          ["? + 1", [0.5], 1.5],
          ["? / 2", [5], "2.5000"],
          ["? * 2", [2 ** 53], 2 ** 54],
          ["? = 9007199254740993", [9007199254740992n], 0]
        ]
        for (const prepare of [true, false]) {
          for (const [text, params, expected] of rows) {
            const [row] = yield* Sql.query<any>(`select ${text} as v`, params, { prepare })
            assert.strictEqual(String(row.v), String(expected), text)
          }
          yield* Sql.query("delete from money", [], { prepare })
          yield* Sql.query("insert into money values (?, ?)", [9007199254740993n, "123456789012345678.99"], { prepare })
          yield* Sql.query("update money set n = n + ?, d = d + ?", [1, 1], { prepare })
          assert.deepEqual(yield* Sql.query("select n, d from money"), [
            { n: "9007199254740994", d: "123456789012345679.99" }
          ])
        }
      })
    )
  )

  it.effect("more or fewer parameters than placeholders are refused; the server would read other values", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const { client: sql } = yield* Sql.Sql
        const before = yield* thread
        for (const [text, params, says] of [
          ["select ? as v", [1, 2], /1 placeholders and was given 2 parameters/],
          ["select ? as v, ? as w", [1], /2 placeholders and was given 1 parameters/],
          ["select 1 as v", [1], /0 placeholders and was given 1 parameters/],
          ["select ? as v, ? as w", [1, 2, 3], /2 placeholders and was given 3 parameters/]
        ] as const) {
          for (const effect of [
            Sql.query(text, params),
            Sql.query(text, params),
            Sql.query(text, params, { prepare: false }),
            Stream.runCollect(sql.unsafe(text, params as any).stream),
            Sql.withTransaction(Stream.runCollect(sql.unsafe(text, params as any).stream)),
            Effect.all(
              Array.from({ length: 4 }, () => Sql.query(text, params)),
              { concurrency: 4 }
            )
          ] as ReadonlyArray<Effect.Effect<unknown, any, Sql.Sql>>) {
            const error = yield* Effect.flip(effect)
            assert.match(error.message, says)
            assert.deepInclude(yield* reasonOf(effect), { _tag: "InvalidUse", outcome: "none", connection: "keep" })
          }
        }
        assert.strictEqual(yield* thread, before)
      })
    )
  )

  it.effect("a typeCast of the program is given the same values, prepared or not", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const typeCast = (field: { readonly name: string }, next: () => unknown) => {
        const value = next()
        if (field.name.startsWith("c")) seen.push(value)
        return value
      }
      yield* onPool({ pool: { maxSize: 1 }, mysql2: { typeCast: typeCast as any } }, () =>
        Effect.gen(function* () {
          yield* table("casted", "c1 time(3), c2 datetime(3), c3 json, c4 float, c5 double")
          yield* Sql.withConnection(
            Effect.zipRight(
              Sql.query("set sql_mode = ''"),
              Sql.query(
                "insert into casted values ('10:11:12', '2024-00-15', '[9007199254740993]', 0.1, 9.123456789012344)"
              )
            )
          )
          const read = "select c1, c2, c3, c5 from casted"
          yield* Sql.query(read)
          yield* Sql.query(read, [], { prepare: false })
          assert.deepEqual(seen.slice(0, 4), [
            "10:11:12.000",
            new Date(Number.NaN),
            ["9007199254740993"],
            9.123456789012344
          ])
          assert.deepEqual(seen.slice(4), seen.slice(0, 4))
          assert.deepEqual(yield* Sql.query("select c4 from casted"), [{ c4: 0.1 }])
          assert.match(
            (yield* Effect.flip(Sql.query("select c4 from casted", [], { prepare: false }))).message,
            /FLOAT/
          )
        })
      )
    })
  )

  it.effect("dates are read and written in the time zone of the options, prepared or not", () =>
    Effect.gen(function* () {
      for (const timezone of ["Z", "+05:30", "-03:00"]) {
        yield* onPool({ pool: { maxSize: 1 }, mysql2: { timezone } }, () =>
          Effect.gen(function* () {
            yield* table("zoned", "id int, d datetime(3)")
            const offset = timezone === "Z" ? "+00:00" : timezone
            const dates = ["2024-03-05T10:11:12.345", "0050-01-01T00:00:00.000", "9999-12-31T10:00:00.000"].map(
              (text) => new Date(text + offset)
            )
            for (const prepare of [true, false]) {
              yield* Sql.query("delete from zoned")
              for (const [i, date] of dates.entries()) {
                yield* Sql.query("insert into zoned values (?, ?)", [i, date], { prepare })
              }
              assert.deepEqual(yield* Sql.query("select cast(d as char) as t from zoned where id = 0"), [
                { t: "2024-03-05 10:11:12.345" }
              ])
              for (const again of [true, false]) {
                const rows = yield* Sql.query<any>("select d from zoned order by id", [], { prepare: again })
                assert.deepStrictEqual(
                  rows.map(({ d }) => d),
                  dates
                )
              }
            }
          })
        )
      }
    })
  )

  it.effect("a charset without a character refuses a text with it, prepared or not", () =>
    onPool({ pool: { maxSize: 1 }, mysql2: { charset: "latin1_swedish_ci" } }, () =>
      Effect.gen(function* () {
        for (const prepare of [true, false]) {
          assert.deepEqual(yield* Sql.query("select ? as t", ["ä"], { prepare }), [{ t: "ä" }])
          for (const value of ["€😀", { a: "😀" }]) {
            const error = yield* Effect.flip(Sql.query("select ? as t", [value], { prepare }))
            assert.match(error.message, /charset/)
          }
        }
      })
    )
  )

  it.effect("several statements in one text are refused unless asked for, and nothing of them is executed", () =>
    Effect.gen(function* () {
      const stacked = (n: number) => `insert into stacked values (${n}); delete from stacked where n = ${n - 1}`
      const texts = [stacked(1), "select 1; select 2", "do 0; commit", "select 'it''s'; /* ? */ set @a = 1"]
      for (const config of [{}, { prepare: false }, { pipeline: false }]) {
        yield* onPool({ ...config, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            yield* table("stacked", "n int")
            yield* Sql.query("insert into stacked values (0)")
            const { client } = yield* Sql.Sql
            const before = yield* thread
            for (const text of texts) {
              for (const effect of [
                Sql.query(text),
                Sql.query(text, [], { prepare: false }),
                Sql.execute(text),
                client.unsafe(text).unprepared,
                client.unsafe(text).values,
                Stream.runDrain(client.unsafe(text).stream),
                Sql.withTransaction(Sql.query(text)),
                Sql.withTransaction(Stream.runDrain(client.unsafe(text).stream)),
                Sql.withConnection(Sql.query(text))
              ] as ReadonlyArray<Effect.Effect<unknown, any, Sql.Sql>>) {
                assert.match((yield* Effect.flip(effect)).message, /multipleStatements/, text)
                assert.deepInclude(
                  yield* reasonOf(effect),
                  { _tag: "SyntaxError", connection: "keep", outcome: "rolledBack", retry: "never" },
                  text
                )
                yield* booksBalance
              }
            }
            assert.strictEqual(yield* thread, before)
            assert.deepEqual(yield* Sql.query("select n from stacked"), [{ n: 0 }])
            // One statement, whatever is inside of it or behind it.
            assert.deepEqual(yield* Sql.query("select ';' as a, 'b; c' as b; -- d; e"), [{ a: ";", b: "b; c" }])
            yield* Sql.query("create or replace procedure inside() begin select 1 as n; select 2 as n; end")
            yield* Sql.query("begin not atomic insert into stacked values (7); insert into stacked values (8); end")
            assert.strictEqual((yield* Sql.query("select n from stacked")).length, 3)
          })
        )
      }
      yield* onPool({ multipleStatements: true, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* table("stacked", "n int")
          assert.deepEqual(yield* Sql.query("select 1 as a; select 2 as b"), [[{ a: 1 }], [{ b: 2 }]] as any)
          yield* Sql.query(stacked(1))
          assert.deepEqual(yield* Sql.execute("insert into stacked values (5); insert into stacked values (6), (7)"), {
            rows: [],
            affectedRows: 2,
            insertId: undefined,
            command: "INSERT"
          })
        })
      )
    })
  )
})
