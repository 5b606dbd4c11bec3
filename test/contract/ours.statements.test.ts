/** Statements on a pool of ours: who shares a connection, who keeps one, and for how long. */
import { SqlClient, SqlResolver } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Chunk, Effect, Schema, Stream } from "effect"
import { Server } from "./databases.js"
import { ours, reasonOf, rowsOf, table } from "./ours.js"

ours("statements of ours", ({ it, onPool, session, sleep, words }) => {
  it.effect("names of rows and of columns are transformed, and withoutTransforms leaves them alone", () =>
    onPool(
      {
        transformResultNames: (name) => name.replace(/_(\w)/g, (_, c) => c.toUpperCase()),
        transformQueryNames: (name) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
      },
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* table("transforms", "user_id int")
          assert.deepStrictEqual(yield* sql`insert into transforms ${sql.insert({ userId: 7 })} returning *`, [
            { userId: 7 }
          ])
          assert.deepStrictEqual(yield* sql`select * from transforms`, [{ userId: 7 }])
          assert.deepStrictEqual(yield* sql.withoutTransforms()`select * from transforms`, [{ user_id: 7 }])
          assert.deepStrictEqual(Chunk.toArray(yield* Stream.runCollect(sql`select * from transforms`.stream)), [
            { userId: 7 }
          ])
        })
    )
  )

  it.effect("fifty fibers share three connections: all are served, and the server never has a fourth", () =>
    onPool({ pool: { maxSize: 3 } }, (name) =>
      Effect.gen(function* () {
        const server = yield* Server
        const ids = yield* Effect.forEach(
          Array.from({ length: 50 }),
          () => Sql.query<{ id: number }>(`${words.sleep(0.01)} as s, ${words.session} as id`),
          { concurrency: "unbounded" }
        )
        assert.isAtMost(new Set(ids.map((rows) => rows[0]!.id)).size, 3)
        assert.isAtMost((yield* server.sessions(name)).length, 3)
      })
    )
  )

  it.effect("withConnection runs everything on one session: concurrent, nested, reads, transactions", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const ids = yield* Effect.all(
          [
            session,
            Sql.withConnection(session),
            Sql.withConnection({ intent: "write" })(session),
            Sql.read(session),
            Sql.withTransaction(session),
            sql.withTransaction(sql.withTransaction(session)),
            Effect.map(sql.unsafe<{ id: number }>(`select ${words.session} as id`), (rows) => rows[0]!.id)
          ],
          { concurrency: "unbounded" }
        ).pipe(Sql.withConnection)
        assert.strictEqual(ids.length, 7)
        assert.strictEqual(new Set(ids).size, 1)
        assert.strictEqual((yield* Sql.stats).write.acquired, 2)
      })
    )
  )

  it.effect(
    "while a stream is read, other statements run: in a transaction on its connection, on a pin beside it",
    () =>
      onPool({ pool: { maxSize: 2 } }, () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* table("beside", "id int")
          const copy = sql
            .unsafe<{ i: number }>(`select i from ${words.series(300)}`)
            .stream.pipe(Stream.runForEach(({ i }) => sql`insert into beside values (${i})`))
          yield* Sql.withTransaction(copy)
          assert.strictEqual((yield* rowsOf("beside")).length, 300)
          yield* Effect.ignore(Sql.withTransaction(Effect.zipRight(copy, Effect.fail("no"))))
          assert.strictEqual((yield* rowsOf("beside")).length, 300)
          yield* Sql.withConnection(copy)
          assert.strictEqual((yield* rowsOf("beside")).length, 600)
        })
      )
  )

  it.effect("reserve is a connection for its owner alone, until the scope closes", () =>
    onPool({ pool: { maxSize: 2 } }, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* sql.reserve
            const of = Effect.map(
              connection.executeRaw(`select ${words.session} as id`, []),
              (raw: any) => (raw.rows ?? raw)[0].id as number
            )
            const mine = yield* of
            assert.isNumber(mine)
            assert.strictEqual(yield* of, mine)
            assert.notStrictEqual(yield* session, mine)
            const copy = { ...connection }
            assert.deepStrictEqual(yield* copy.executeValues("select 1", []), [[1]])
          })
        )
      })
    )
  )

  it.effect("a resolver inside a transaction runs in it, and on a pinned connection on that", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* table("resolved", "id int")
        const make = (withContext: boolean) =>
          SqlResolver.ordered("Insert", {
            withContext: withContext as true,
            Request: Schema.Number,
            Result: Schema.Struct({ id: Schema.Number, session: Schema.Number }),
            execute: (ids) =>
              sql`insert into resolved ${sql.insert(ids.map((id) => ({ id })))} returning id, ${sql.literal(words.session)} as session`
          })
        for (const withContext of [true, false]) {
          const Insert = yield* make(withContext)
          yield* Effect.all([Insert.execute(1), Insert.execute(2)], { batching: true, concurrency: 2 }).pipe(
            Effect.zipRight(Effect.fail("roll back")),
            sql.withTransaction,
            Effect.ignore
          )
        }
        assert.deepStrictEqual(yield* rowsOf("resolved"), [])
        const Insert = yield* make(false)
        yield* sql.withTransaction(Insert.execute(3))
        yield* Sql.withConnection(
          Effect.gen(function* () {
            const before = yield* session
            yield* Sql.withTransaction(Effect.asVoid(Insert.execute(4)))
            assert.strictEqual((yield* Insert.execute(5)).session, before)
          })
        )
        assert.deepStrictEqual(yield* rowsOf("resolved"), [3, 4, 5])
      })
    )
  )

  it.effect("a statement timeout is the server's, and the connection goes on", () =>
    onPool({ statementTimeout: "500 millis", pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const before = yield* session
        assert.strictEqual((yield* reasonOf(sleep(30)))._tag, "StatementTimeout")
        assert.strictEqual(yield* session, before)
      })
    )
  )
})
