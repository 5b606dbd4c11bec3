import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Chunk, Effect, Fiber, Stream } from "effect"
import { contract, table } from "./contract.js"

const ROWS = 1_000

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

/** A table with the rows 1 to `ROWS`. */
const filled = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const t = yield* table("row_id int primary key")
  yield* sql`insert into ${sql(t)} ${sql.insert(upTo(ROWS).map((row_id) => ({ row_id })))}`.withoutTransform
  return t
})

contract("streams", ({ driver, it, run }) => {
  it.effect("a stream gives every row once, in order; an empty result is an empty stream", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* filled
        const rows = yield* Stream.runCollect(sql<{ row_id: number }>`select * from ${sql(t)} order by row_id`.stream)
        assert.deepStrictEqual(
          Array.from(rows, (row) => row.row_id),
          upTo(ROWS)
        )
        const none = yield* Stream.runCollect(sql`select * from ${sql(t)} where row_id > ${ROWS}`.stream)
        assert.isTrue(Chunk.isEmpty(none))
        assert.deepStrictEqual(yield* sql`select 1 as ok from ${sql(t)} having count(*) = ${ROWS}`.values, [[1]])
      })
    )
  )

  it.effect("more rows than are read at once: a slow reader gets each once, in order, in a transaction too", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const many = 20_000
        const rows = sql.unsafe<{ i: number }>(`select i, repeat('x', 100) as pad from ${driver.words.series(many)}`)
        const read = Stream.runFoldEffect(rows.stream, 0, (last, { i }) =>
          // Gives others their turn now and then, as a reader does that writes.
          i === last + 1
            ? Effect.as(i % 1_000 === 0 ? Effect.sleep("1 millis") : Effect.void, i)
            : Effect.dieMessage(`${i} came after ${last}`)
        )
        assert.strictEqual(yield* read, many)
        assert.strictEqual(yield* sql.withTransaction(read), many)
      })
    )
  )

  it.effect("the names of a stream's rows are transformed", () =>
    run(
      { transformResultNames: (name) => name.toUpperCase() },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* filled
        const rows = yield* Stream.runCollect(sql`select * from ${sql(t)} where row_id <= ${2} order by row_id`.stream)
        assert.deepStrictEqual(Array.from(rows), [{ ROW_ID: 1 }, { ROW_ID: 2 }])
        const plain = sql.withoutTransforms()
        const raw = yield* Stream.runCollect(plain`select * from ${plain(t)} where row_id = ${1}`.stream)
        assert.deepStrictEqual(Array.from(raw), [{ row_id: 1 }])
      })
    )
  )

  it.effect("a stream that is left early gives its connection back", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* filled
        for (let i = 0; i < 3; i++) {
          const some = yield* sql<{ row_id: number }>`select * from ${sql(t)} order by row_id`.stream.pipe(
            Stream.take(3),
            Stream.runCollect
          )
          assert.deepStrictEqual(
            Array.from(some, (row) => row.row_id),
            [1, 2, 3]
          )
        }
        assert.deepStrictEqual(yield* sql`select 1 as n`, [{ n: 1 }])
      })
    )
  )

  it.effect("a reader that fails, or is interrupted, gives the connection back", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* filled
        const rows = sql`select * from ${sql(t)}`.stream
        assert.strictEqual(yield* Effect.flip(Stream.runForEach(rows, () => Effect.fail("no"))), "no")
        const reading = yield* Effect.makeLatch()
        const fiber = yield* Effect.fork(Stream.runForEach(rows, () => Effect.zipRight(reading.open, Effect.never)))
        yield* reading.await
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* sql`select 1 as n`, [{ n: 1 }])
      })
    )
  )

  it.effect("a statement that the server refuses is the stream's failure", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(Stream.runDrain(sql`select * from ${sql("no_such_table")}`.stream))
        assert.strictEqual(error._tag, "SqlError")
        assert.deepStrictEqual(yield* sql`select 1 as n`, [{ n: 1 }])
      })
    )
  )

  it.effect(
    "a stream inside a transaction reads what the transaction has written; left early, the transaction goes on",
    () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* filled
          yield* sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`insert into ${sql(t)} (row_id) values (${0})`
              const rows = sql<{ row_id: number }>`select * from ${sql(t)} order by row_id`.stream
              const some = yield* Stream.runCollect(Stream.take(rows, 2))
              assert.deepStrictEqual(
                Array.from(some, (row) => row.row_id),
                [0, 1]
              )
              assert.strictEqual(Chunk.size(yield* Stream.runCollect(rows)), ROWS + 1)
              yield* sql`delete from ${sql(t)} where row_id > ${0}`
            })
          )
          assert.deepStrictEqual(yield* sql`select * from ${sql(t)}`, [{ row_id: 0 }])
        })
      )
  )

  it.effect("streams run side by side, and beside statements", () =>
    run(
      { maxConnections: 4 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* filled
        const sums = yield* Effect.forEach(
          [1, 2, 3],
          (k) =>
            sql<{ row_id: number }>`select * from ${sql(t)} where row_id % ${k} = 0 order by row_id`.stream.pipe(
              Stream.tap((row) => (row.row_id % 250 === 0 ? Effect.asVoid(sql`select 1`) : Effect.void)),
              Stream.runFold(0, (sum, row) => sum + row.row_id)
            ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          sums,
          [1, 2, 3].map((k) =>
            upTo(ROWS)
              .filter((n) => n % k === 0)
              .reduce((a, b) => a + b, 0)
          )
        )
      })
    )
  )

  it.effect("one stream value can be read twice", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* filled
        const rows = sql`select * from ${sql(t)}`.stream
        assert.strictEqual(yield* Stream.runCount(rows), ROWS)
        assert.strictEqual(yield* Stream.runCount(rows), ROWS)
      })
    )
  )
})
