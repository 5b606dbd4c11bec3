import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
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
  for (const [way, config] of ways) {
    it.effect(`a row that cannot be read fails the statement in every form, and its connection goes on (${way})`, () =>
      onPool({ ...failing, ...config, pool: { maxSize: 1 } }, () =>
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
      onPool({ ...config, pool: { maxSize: 1 } }, () =>
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
    onPool({ pool: { maxSize: 1 } }, () =>
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
          "set names latin1",
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
})
