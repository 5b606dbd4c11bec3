import { SqlClient } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { assert } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Scope, Stream } from "effect"
import { contract, idsOf, table } from "./contract.js"

const ids = "id int primary key"

const insert = (t: string, id: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`insert into ${sql(t)} (id) values (${id})`)

const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))

/** What happens to a transaction's body, and what its caller then sees. */
const ends = {
  failure: { body: Effect.fail("no") as Effect.Effect<never, string>, seen: Cause.fail("no") },
  defect: { body: Effect.die("bug") as Effect.Effect<never, string>, seen: Cause.die("bug") }
}

contract("transactions", ({ driver, it, run }) => {
  it.effect("what runs inside is written together; the body's value is the transaction's", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table(ids)
        const value = yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* insert(t, 1)
            yield* insert(t, 2)
            assert.deepStrictEqual(yield* idsOf(t), [1, 2])
            return "done"
          })
        )
        assert.strictEqual(value, "done")
        assert.deepStrictEqual(yield* idsOf(t), [1, 2])
      })
    )
  )

  for (const [name, end] of Object.entries(ends)) {
    it.effect(`a ${name} undoes everything and passes unchanged`, () =>
      run(
        { maxConnections: 1 },
        Effect.gen(function* () {
          const t = yield* table(ids)
          const exit = yield* Effect.exit(transaction(Effect.zipRight(insert(t, 1), end.body)))
          assert.deepStrictEqual(exit, Exit.failCause<string>(end.seen))
          assert.deepStrictEqual(yield* idsOf(t), [])
        })
      )
    )
  }

  it.effect("an interruption undoes everything", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const t = yield* table(ids)
        const written = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          transaction(
            insert(t, 1).pipe(Effect.zipRight(Deferred.succeed(written, void 0)), Effect.zipRight(Effect.never))
          )
        )
        yield* Deferred.await(written)
        const exit = yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.isInterrupted(exit))
        assert.deepStrictEqual(yield* idsOf(t), [])
      })
    )
  )

  it.effect("others see nothing of it before it is committed", () =>
    run(
      {},
      Effect.gen(function* () {
        const t = yield* table(ids)
        const written = yield* Deferred.make<void>()
        const seen = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          transaction(
            insert(t, 1).pipe(Effect.zipRight(Deferred.succeed(written, void 0)), Effect.zipRight(Deferred.await(seen)))
          )
        )
        yield* Deferred.await(written)
        assert.deepStrictEqual(yield* idsOf(t), [])
        yield* Deferred.succeed(seen, void 0)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* idsOf(t), [1])
      })
    )
  )

  it.effect("a nested transaction is a savepoint: its failure undoes it alone", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const t = yield* table(ids)
        yield* transaction(
          Effect.gen(function* () {
            yield* insert(t, 1)
            assert.strictEqual(
              yield* Effect.flip(transaction(Effect.zipRight(insert(t, 2), Effect.fail("inner")))),
              "inner"
            )
            // A statement that fails inside leaves the outer one usable.
            yield* Effect.ignore(transaction(insert(t, 1)))
            yield* transaction(insert(t, 3))
            yield* insert(t, 4)
          })
        )
        assert.deepStrictEqual(yield* idsOf(t), [1, 3, 4])
      })
    )
  )

  it.effect("savepoints nest to any depth, and each depth is undone alone", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const t = yield* table(ids)
        // The seventh of twelve depths fails, and takes those below with it.
        const at = (depth: number): Effect.Effect<void, unknown, SqlClient.SqlClient> =>
          depth > 12
            ? Effect.void
            : transaction(
                Effect.gen(function* () {
                  yield* insert(t, depth)
                  yield* depth === 7 ? Effect.ignore(at(8)) : depth === 6 ? Effect.ignore(at(7)) : at(depth + 1)
                  if (depth === 7) return yield* Effect.fail("seven")
                })
              )
        yield* at(1)
        assert.deepStrictEqual(yield* idsOf(t), [1, 2, 3, 4, 5, 6])
      })
    )
  )

  it.effect("when the outer one fails, what the inner one had kept is undone too", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const t = yield* table(ids)
        yield* Effect.flip(
          transaction(
            Effect.gen(function* () {
              yield* transaction(insert(t, 1))
              yield* transaction(transaction(insert(t, 2)))
              return yield* Effect.fail("outer")
            })
          )
        )
        assert.deepStrictEqual(yield* idsOf(t), [])
      })
    )
  )

  it.effect("siblings one after the other: the failed one is undone, the others are kept", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const t = yield* table(ids)
        yield* transaction(
          Effect.forEach([1, 2, 3, 4], (id) =>
            Effect.ignore(transaction(Effect.zipRight(insert(t, id), id % 2 === 0 ? Effect.fail("even") : Effect.void)))
          )
        )
        assert.deepStrictEqual(yield* idsOf(t), [1, 3])
      })
    )
  )

  it.effect("fibers started inside, and joined inside, are part of it", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const t = yield* table(ids)
        yield* Effect.ignore(
          transaction(
            Effect.gen(function* () {
              yield* Effect.forEach([1, 2, 3, 4, 5], (id) => insert(t, id), { concurrency: "unbounded" })
              assert.deepStrictEqual(yield* idsOf(t), [1, 2, 3, 4, 5])
              return yield* Effect.fail("no")
            })
          )
        )
        assert.deepStrictEqual(yield* idsOf(t), [])
      })
    )
  )

  it.effect("transactions side by side, more than there are connections, all end", () =>
    run(
      { maxConnections: 3 },
      Effect.gen(function* () {
        const t = yield* table(ids)
        yield* Effect.forEach(
          Array.from({ length: 30 }, (_, i) => i),
          (i) =>
            Effect.ignore(transaction(Effect.zipRight(insert(t, i), i % 3 === 0 ? Effect.fail("third") : Effect.void))),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          yield* idsOf(t),
          Array.from({ length: 30 }, (_, i) => i).filter((i) => i % 3 !== 0)
        )
      })
    )
  )

  it.effect("a statement reads the rows of its transaction in every form: values, raw, unprepared, stream", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table(ids)
        yield* transaction(
          Effect.gen(function* () {
            yield* insert(t, 7)
            const all = sql<{ id: number }>`select id from ${sql(t)}`
            assert.deepStrictEqual(yield* all.values, [[7]])
            assert.deepStrictEqual(yield* all.unprepared, [{ id: 7 }])
            assert.deepStrictEqual(yield* all.withoutTransform, [{ id: 7 }])
            assert.deepStrictEqual(Array.from(yield* Stream.runCollect(all.stream)), [{ id: 7 }])
            yield* all.raw
          })
        )
      })
    )
  )

  it.effect("TransactionConnection says whether a fiber is inside one, and how deep", () =>
    run(
      {},
      Effect.gen(function* () {
        const depth = Effect.map(
          Effect.serviceOption(SqlClient.TransactionConnection),
          Option.map(([, depth]) => depth)
        )
        assert.deepStrictEqual(yield* depth, Option.none())
        assert.deepStrictEqual(yield* transaction(depth), Option.some(0))
        assert.deepStrictEqual(yield* transaction(transaction(depth)), Option.some(1))
      })
    )
  )

  it.effect("a statement can be wrapped in a transaction directly", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table(ids)
        yield* sql`insert into ${sql(t)} (id) values (${1})`.pipe(sql.withTransaction)
        assert.deepStrictEqual(yield* idsOf(t), [1])
      })
    )
  )

  it.effect("reserve gives a connection for as long as the scope lives, with every way to execute", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key, name varchar(10)")
        const p = driver.words.placeholder
        yield* Effect.scoped(
          Effect.gen(function* () {
            const connection: Connection = yield* sql.reserve
            const text = `insert into ${t} (id, name) values (${p(1)}, ${p(2)})`
            assert.deepStrictEqual(yield* connection.execute(text, [1, "a"], undefined), [])
            yield* connection.executeRaw(text, [2, "b"])
            const select = `select id, name from ${t} where id >= ${p(1)} order by id`
            const upper = <A extends object>(rows: ReadonlyArray<A>) =>
              rows.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k.toUpperCase(), v]))) as any
            assert.deepStrictEqual(yield* connection.execute(select, [2], upper), [{ ID: 2, NAME: "b" }])
            assert.deepStrictEqual(yield* connection.executeUnprepared(select, [2], undefined), [{ id: 2, name: "b" }])
            assert.deepStrictEqual(yield* connection.executeUnprepared(select, [2], upper), [{ ID: 2, NAME: "b" }])
            assert.deepStrictEqual(yield* connection.executeValues(select, [1]), [
              [1, "a"],
              [2, "b"]
            ])
            assert.deepStrictEqual(Array.from(yield* Stream.runCollect(connection.executeStream(select, [1], upper))), [
              { ID: 1, NAME: "a" },
              { ID: 2, NAME: "b" }
            ])
            // A copy works as the connection does: programs wrap connections so.
            const copy = { execute: connection.execute.bind(connection) }
            assert.strictEqual((yield* copy.execute(select, [1], undefined)).length, 2)
          })
        )
        // The only connection is back.
        assert.deepStrictEqual(yield* idsOf(t), [1, 2])
      })
    )
  )

  it.effect("a failed statement on a reserved connection leaves it usable", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const connection = yield* sql.reserve
        yield* Effect.flip(connection.execute("selekt", [], undefined))
        assert.deepStrictEqual(yield* connection.executeValues("select 1", []), [[1]])
      }).pipe(Effect.scoped)
    )
  )

  it.effect("statements asked for at once on a reserved connection all get their own answers", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const connection = yield* sql.reserve
        const answers = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) => connection.executeValues(`select ${n}`, []), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(answers, [[[1]], [[2]], [[3]], [[4]], [[5]], [[6]]])
      }).pipe(Effect.scoped)
    )
  )

  it.effect("a transaction by hand on a reserved connection is that connection's alone", () =>
    run(
      { maxConnections: 2 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table(ids)
        const scope = yield* Scope.make()
        const connection = yield* Scope.extend(sql.reserve, scope)
        yield* connection.executeUnprepared("BEGIN", [], undefined)
        yield* connection.execute(`insert into ${t} (id) values (1)`, [], undefined)
        assert.deepStrictEqual(yield* idsOf(t), [])
        yield* connection.executeUnprepared("COMMIT", [], undefined)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* idsOf(t), [1])
      })
    )
  )

  it.effect("a temporary table lives as long as its reserved connection, whatever its name hides", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table(ids)
        const select = `select * from ${t}`
        assert.deepStrictEqual(yield* sql.unsafe(select), [])
        yield* Effect.gen(function* () {
          const connection = yield* sql.reserve
          assert.deepStrictEqual(yield* connection.execute(select, [], undefined), [])
          yield* connection.execute(`create temporary table ${t} (name varchar(10))`, [], undefined)
          yield* connection.execute(`insert into ${t} values ('temporary')`, [], undefined)
          assert.deepStrictEqual(yield* connection.execute(select, [], undefined), [{ name: "temporary" }])
          yield* connection.execute(driver.words.dropTemporary(t), [], undefined)
        }).pipe(Effect.scoped)
        assert.deepStrictEqual(yield* sql.unsafe(select), [])
      })
    )
  )

  it.effect("reserve inside a transaction is another connection", () =>
    run(
      { maxConnections: 2 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table(ids)
        yield* transaction(
          Effect.gen(function* () {
            yield* insert(t, 1)
            const connection = yield* sql.reserve
            assert.deepStrictEqual(yield* connection.executeValues(`select id from ${t}`, []), [])
          }).pipe(Effect.scoped)
        )
        assert.deepStrictEqual(yield* idsOf(t), [1])
      })
    )
  )
})
