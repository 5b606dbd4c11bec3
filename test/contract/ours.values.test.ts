/**
 * A value is the same whichever way it is sent and read: for each type of column, all ways to write × all ways to read.
 *
 * | write and read | prepared, as text · packed, pinned, in a transaction, as a stream · `Sql`, `SqlClient`, `values` |
 * | --- | --- |
 * | the value | the same each time |
 * | what the column, or the protocol, cannot hold | `InvalidData`; the connection is kept and the table as it was |
 * | what is no value at all | `InvalidUse`; the same |
 */
import { inspect } from "node:util"
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Chunk, Effect, Exit, Stream } from "effect"
import { type Options, ours } from "./ours.js"
import * as Values from "./values.js"

/** Ways to run a text. Each gives the values of each row. */
type Ways = Readonly<
  Record<
    string,
    (
      text: string,
      params: ReadonlyArray<unknown>
    ) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError, Sql.Sql>
  >
>

const valuesOf = (rows: ReadonlyArray<object>) => rows.map((row) => Object.values(row))

const ways = (client: SqlClient.SqlClient): { readonly prepared: Ways; readonly asText: Ways } => {
  const first = Sql.query("select 1 as one")
  const stream: Ways[string] = (text, params) =>
    Effect.map(Stream.runCollect(client.unsafe<object>(text, params).stream), (rows) =>
      valuesOf(Chunk.toReadonlyArray(rows))
    )
  const query: Ways[string] = (text, params) => Effect.map(Sql.query(text, params), valuesOf)
  const unprepared: Ways[string] = (text, params) =>
    Effect.map(client.unsafe<object>(text, params).unprepared, valuesOf)
  return {
    prepared: {
      query,
      client: (text, params) => Effect.map(client.unsafe<object>(text, params), valuesOf),
      values: (text, params) => client.unsafe(text, params).values,
      stream,
      "at once": (text, params) =>
        Effect.map(
          Effect.all(
            Array.from({ length: 4 }, () => query(text, params)),
            { concurrency: "unbounded" }
          ),
          (all) => {
            for (const rows of all) assert.strictEqual(inspect(rows, deep), inspect(all[0], deep))
            return all[0]!
          }
        ),
      pinned: (text, params) => Sql.withConnection(Effect.zipRight(first, query(text, params))),
      "a pinned stream": (text, params) => Sql.withConnection(Effect.zipRight(first, stream(text, params))),
      "in a transaction": (text, params) => Sql.withTransaction(query(text, params)),
      "later in a transaction": (text, params) => Sql.withTransaction(Effect.zipRight(first, query(text, params))),
      "a stream in a transaction": (text, params) => Sql.withTransaction(Effect.zipRight(first, stream(text, params)))
    },
    asText: {
      "not prepared": (text, params) => Effect.map(Sql.query(text, params, { prepare: false }), valuesOf),
      unprepared,
      "unprepared in a transaction": (text, params) => Sql.withTransaction(unprepared(text, params)),
      "unprepared and pinned": (text, params) => Sql.withConnection(Effect.zipRight(first, unprepared(text, params)))
    }
  }
}

const deep = { depth: 10, maxStringLength: Number.POSITIVE_INFINITY, maxArrayLength: 1000 } as const

/** As `inspect` shows them two values are the same: with the kind of every part, and the sign of a zero. */
const assertSame = (actual: unknown, expected: unknown, what: () => string): void => {
  if (Object.is(actual, expected)) return
  assert.strictEqual(inspect(actual, deep), inspect(expected, deep), what())
}

/** All ways of the first client, and of the others those in which they may differ from it. */
const some = (ways: Ways, client: string): ReadonlyArray<readonly [string, Ways[string]]> =>
  Object.entries(ways).filter(
    ([how]) => client === "packed" || ["query", "values", "a stream in a transaction", "unprepared"].includes(how)
  )

/** The values of each column that are sent as parameters, and those that are SQL. */
interface Column {
  readonly name: string
  readonly type: string
  readonly values: ReadonlyArray<Values.Row>
  readonly literals: ReadonlyArray<Values.Row>
}

const columnsOf = (rows: ReadonlyArray<Values.Row>): ReadonlyArray<Column> =>
  [...new Set(rows.map(({ type }) => type))].map((type, i) => {
    const own = rows.filter((row) => row.type === type)
    return {
      name: `c${i}`,
      type,
      values: own.filter(({ isSql }) => isSql !== true),
      literals: own.filter(({ isSql }) => isSql === true)
    }
  })

/** A row of the table: what was written for each column, and how. */
interface Written {
  readonly how: string
  readonly cells: ReadonlyArray<Values.Row | undefined>
}

ours("values", ({ dialect, it, onPool, words }) => {
  const isMysql = dialect.scheme === "mysql"
  const database = isMysql ? "mysql" : "postgresql"
  const undo = isMysql ? [] : ["drop type mood", "drop type pair", "drop domain positive"]

  /** The clients that values are written and read with. Only what all drivers of ours have is in the type of their options. */
  const configs: ReadonlyArray<readonly [name: string, options: Options, prepares: boolean]> = [
    ["packed", {}, true],
    ["not packed", { pipeline: false }, true],
    ...(isMysql ? ([["prepare: false", { prepare: false } as Options, false]] as const) : [])
  ]

  const onTable = <A, E, R>(columns: ReadonlyArray<readonly [string, string]>, body: Effect.Effect<A, E, R>) =>
    onPool({ pool: { maxSize: 2 } }, () =>
      Effect.gen(function* () {
        for (const text of Values.before[database]) yield* Sql.query(text)
        yield* Sql.query(`create table kept (id int, ${columns.map((column) => column.join(" ")).join(", ")})`)
        return yield* body
      }).pipe(Effect.ensuring(Effect.ignore(Effect.forEach(["drop table kept", ...undo], (text) => Sql.query(text)))))
    )

  const sameInEveryWay = (columns: ReadonlyArray<Column>, refusedAsText: RegExp | undefined) =>
    Effect.gen(function* () {
      const written: Array<Written> = []
      const names = columns.map(({ name }) => name)
      const insert = `insert into kept (id, ${names.join(", ")}) values (${["id", ...names].map((_, i) => words.placeholder(i + 1)).join(", ")})`
      for (const [name, options] of configs) {
        yield* onPool({ ...options, pool: { maxSize: 2 } }, () =>
          Effect.gen(function* () {
            const { asText, prepared } = ways(yield* SqlClient.SqlClient)
            const { "at once": _, ...writes } = { ...prepared, ...asText }
            for (const [how, write] of some(writes, name)) {
              for (let n = 0; columns.some(({ values }) => n < values.length); n++) {
                const cells = columns.map(({ values }) => values[n])
                const id = written.push({ how: `written ${name}, ${how}`, cells }) - 1
                yield* write(insert, [id, ...cells.map((row) => (row === undefined ? null : row.sent))])
              }
            }
          })
        )
      }
      for (const { literals, name } of columns) {
        for (const literal of literals) {
          const id =
            written.push({ how: "a literal", cells: names.map((own) => (own === name ? literal : undefined)) }) - 1
          const text = `insert into kept (id, ${name}) values (${id}, ${literal.sent})`
          yield* Sql.withConnection(Effect.zipRight(Sql.query("set sql_mode = ''"), Sql.query(text)))
        }
      }
      for (const [name, options, prepares] of configs) {
        yield* onPool({ ...options, pool: { maxSize: 2 } }, () =>
          Effect.gen(function* () {
            const all = ways(yield* SqlClient.SqlClient)
            for (const [how, read] of some({ ...all.prepared, ...all.asText }, name)) {
              const what = `read ${name}, ${how}`
              const exit = yield* Effect.exit(read(`select ${names.join(", ")} from kept order by id`, []))
              if (refusedAsText !== undefined && (!prepares || how in all.asText)) {
                assert.match(String(Exit.isFailure(exit) ? exit.cause : "success"), refusedAsText, what)
                continue
              }
              if (Exit.isFailure(exit)) assert.fail(`${what}: ${exit.cause}`)
              assert.strictEqual(exit.value.length, written.length, what)
              for (const [i, { cells, how }] of written.entries()) {
                for (const [at, row] of cells.entries()) {
                  assertSame(exit.value[i]![at], row?.read ?? null, () => `${columns[at]!.type}, ${how}, ${what}`)
                }
              }
            }
          })
        )
      }
    })

  for (const [name, isExact] of [
    ["what is written in any way is read as the same value in every way", true],
    ["what the text protocol cannot give exactly is the same in every other way, and fails in that", false]
  ] as const) {
    const columns = columnsOf(Values.rows[database].filter((row) => (row.refusedAsText === undefined) === isExact))
    if (columns.length === 0) continue
    it.effect(name, () =>
      onTable(
        columns.map(({ name, type }) => [name, type]),
        sameInEveryWay(columns, columns[0]!.values[0]?.refusedAsText)
      )
    )
  }

  it.effect("what cannot be kept is InvalidData, costs no connection, and leaves the table as it was", () => {
    const refusals = Values.refusals[database]
    const types = [...new Set(refusals.map(({ type }) => type))]
    const column = (type: string) => `c${types.indexOf(type)}`
    return onTable(
      types.map((type) => [column(type), type]),
      Effect.gen(function* () {
        for (const [name, options] of configs) {
          yield* onPool({ ...options, pool: { maxSize: 1 } }, () =>
            Effect.gen(function* () {
              const { asText, prepared } = ways(yield* SqlClient.SqlClient)
              const session = Sql.query<any>(`select ${words.session} as v`)
              const before = yield* session
              for (const { isNone, says, sent, type } of refusals) {
                const insert = `insert into kept (id, ${column(type)}) values (${words.placeholder(1)}, ${words.placeholder(2)})`
                for (const [how, write] of some({ ...prepared, ...asText }, name)) {
                  const what = `${type}, ${inspect(sent)}, ${name}, ${how}`
                  const error = yield* Effect.flip(write(insert, [1, sent]))
                  assert.match(error.message, says, what)
                  assert.notInclude(error.message, "secret", what)
                  const { _tag, connection, outcome, retry } = SqlReason.of(error)
                  assert.deepStrictEqual(
                    [_tag, connection, retry],
                    [isNone ? "InvalidUse" : "InvalidData", "keep", "never"],
                    what
                  )
                  assert.include(["none", "rolledBack"], outcome, what)
                }
              }
              assert.deepStrictEqual(yield* session, before)
              assert.deepStrictEqual(yield* Sql.query("select id from kept"), [])
            })
          )
        }
      })
    )
  })
})
