/** `Sql.execute`: the rows of a statement, what it has written, and which command it was. */
import { Statement } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Effect, Option } from "effect"
import { spansOf } from "./contract.js"
import { type Options, ours, table } from "./ours.js"

ours("Sql.execute", ({ dialect, it, onPool, words }) => {
  const isMysql = dialect.scheme === "mysql"
  const p = words.placeholder
  const configs: ReadonlyArray<Options> = [{}, { pipeline: false }, ...(isMysql ? [{ prepare: false } as Options] : [])]

  /** In how many places a statement can run; each runs it once. */
  const places: ReadonlyArray<
    readonly [string, <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | unknown, R | Sql.Sql>]
  > = [
    ["alone", (effect) => effect],
    ["pinned", (effect) => Sql.withConnection(effect)],
    ["in a transaction", (effect) => Sql.withTransaction(effect)],
    ["later in a transaction", (effect) => Sql.withTransaction(Effect.zipRight(Sql.execute("select 1 as n"), effect))],
    ["in a savepoint", (effect) => Sql.withTransaction(Sql.withTransaction(effect))],
    ["observed", (effect) => Effect.map(spansOf(effect), ({ value }) => value)]
  ]

  const counted = (
    affectedRows: number,
    command: string,
    rows: ReadonlyArray<Record<string, unknown>> = [],
    insertId?: number
  ) => ({
    rows,
    affectedRows,
    insertId,
    command
  })

  for (const [i, config] of configs.entries()) {
    for (const prepare of [true, false]) {
      it.effect(`gives what a statement has written in every place (${i}, prepare: ${prepare})`, () =>
        onPool({ ...config, pool: { maxSize: 2 } }, () =>
          Effect.gen(function* () {
            for (const [place, within] of places) {
              yield* table("executed", "id int primary key, n int")
              const run = (text: string, ...params: ReadonlyArray<unknown>) =>
                within(Sql.execute(text, params, { prepare })) as Effect.Effect<Sql.Executed, unknown, Sql.Sql>
              const insert = yield* run(`insert into executed values (${p(1)}, 0), (${p(2)}, 0), (3, 0)`, 1, 2)
              assert.deepStrictEqual(insert, counted(3, "INSERT"), place)
              assert.deepStrictEqual(
                yield* run(`update executed set n = 5 where id <= ${p(1)}`, 2),
                counted(2, "UPDATE"),
                place
              )
              assert.deepStrictEqual(
                yield* run(`update executed set n = 5 where id > ${p(1)}`, 5),
                counted(0, "UPDATE"),
                place
              )
              assert.deepStrictEqual(
                yield* run(`select id, n from executed where id < ${p(1)} order by id`, 3),
                counted(0, "SELECT", [
                  { id: 1, n: 5 },
                  { id: 2, n: 5 }
                ]),
                place
              )
              assert.deepStrictEqual(
                yield* run(`insert into executed values (${p(1)}, 1), (5, 1) returning id`, 4),
                counted(2, "INSERT", [{ id: 4 }, { id: 5 }]),
                place
              )
              assert.deepStrictEqual(
                yield* run(`delete from executed where id > ${p(1)}`, 1),
                counted(4, "DELETE"),
                place
              )
              assert.deepStrictEqual(yield* run("/* why */ select 1 as n"), counted(0, "SELECT", [{ n: 1 }]), place)
            }
          })
        )
      )
    }
  }

  it.effect("names of columns are transformed, and a transformer of statements is asked", () =>
    onPool({ transformResultNames: (name) => name.replace(/_(\w)/g, (_, c) => c.toUpperCase()) }, () =>
      Effect.gen(function* () {
        const read = Sql.execute("select 1 as user_id")
        assert.deepStrictEqual(yield* read, counted(0, "SELECT", [{ userId: 1 }]))
        const replaced = yield* Effect.locally(
          read,
          Statement.currentTransformer,
          Option.some((_statement, sql) => Effect.succeed(sql`select 2 as user_id`))
        )
        assert.deepStrictEqual(replaced, counted(0, "SELECT", [{ userId: 2 }]))
        const { seen } = yield* spansOf(read)
        assert.strictEqual(seen[0]!.name, "sql.execute")
      })
    )
  )

  it.effect("it fails as a query does, and refuses what is no statement", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("executed", "id int primary key")
        const insert = Sql.execute("insert into executed values (1)")
        yield* insert
        assert.strictEqual(SqlReason.of(yield* Effect.flip(insert))._tag, "UniqueViolation")
        for (const effect of [
          Sql.execute(undefined as never),
          Sql.execute("select 1", "x" as never),
          Sql.execute("select 1", [], { prepared: true } as never)
        ]) {
          const error = yield* Effect.flip(effect)
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidUse")
          assert.match(error.message, /Sql\.execute/)
        }
      })
    )
  )

  if (isMysql) {
    it.effect("insertId is the AUTO_INCREMENT of the first new row, exact also beyond 2^53", () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          for (const prepare of [true, false]) {
            yield* table("numbered", "id bigint auto_increment primary key, n int unique")
            const insert = (...ns: ReadonlyArray<number>) =>
              Sql.execute(`insert into numbered (n) values ${ns.map(() => "(?)").join(", ")}`, ns, { prepare })
            assert.deepStrictEqual(yield* insert(1, 2), counted(2, "INSERT", [], 1))
            assert.deepStrictEqual(yield* Sql.withTransaction(insert(3)), counted(1, "INSERT", [], 3))
            yield* Sql.query("alter table numbered auto_increment = 9007199254740991")
            assert.strictEqual((yield* insert(4)).insertId, 9007199254740991)
            assert.strictEqual((yield* insert(5)).insertId, 9007199254740992n)
            const again = yield* Sql.execute(
              "insert into numbered (n) values (?) on duplicate key update n = n + 100",
              [1],
              { prepare }
            )
            assert.strictEqual(again.affectedRows, 2)
            assert.strictEqual((yield* Sql.execute("update numbered set n = n")).affectedRows, 5)
            assert.strictEqual((yield* Sql.execute("delete from numbered where n = 2 returning id")).affectedRows, 1)
          }
        })
      )
    )

    it.effect("a procedure gives its last rows", () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* Sql.query("drop procedure if exists two_results")
          yield* Sql.query("create procedure two_results(a int) begin select 1 as n; select a as n; end")
          assert.deepStrictEqual(yield* Sql.execute("call two_results(?)", [7]), counted(0, "CALL", [{ n: 7 }]))
          yield* Sql.query("drop procedure two_results")
        })
      )
    )
  } else {
    it.effect("the server says which command it was, and what a new table was filled with", () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* table("filled", "id int")
          const added = yield* Sql.execute("with n as (select 1 as id) insert into filled select id from n")
          assert.deepStrictEqual(added, counted(1, "INSERT"))
          yield* Sql.query("drop table if exists copied")
          assert.deepStrictEqual(
            yield* Sql.execute("create table copied as select generate_series(1, 3) as id"),
            counted(3, "SELECT")
          )
          assert.deepStrictEqual(yield* Sql.execute("drop table copied"), counted(0, "DROP"))
          assert.deepStrictEqual(yield* Sql.execute(""), counted(0, ""))
        })
      )
    )

    it.effect("of several statements it gives what the last one has given", () =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* table("several", "id int")
          assert.deepStrictEqual(
            yield* Sql.execute("insert into several values (1); insert into several values (2), (3)"),
            counted(2, "INSERT")
          )
          assert.deepStrictEqual(
            yield* Sql.execute("delete from several; select 1 as n"),
            counted(0, "SELECT", [{ n: 1 }])
          )
        })
      )
    )
  }
})
