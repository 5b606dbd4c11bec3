/** Transactions of ours: what is written, what is taken back, and what a caller is told. */
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { eventually } from "./contract.js"
import { atOnce, ours, reasonOf, rowsOf, table } from "./ours.js"

ours("transactions of ours", ({ dialect, end, insert, it, onPool, session, sleep }) => {
  it.effect("what succeeds is written, what fails or is interrupted is not, and the failure is the body's own", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("basics", "id int")
        assert.strictEqual(yield* Sql.withTransaction(Effect.as(insert("basics", 1), "done")), "done")
        const failed = yield* Effect.exit(Sql.withTransaction(Effect.zipRight(insert("basics", 2), Effect.fail("no"))))
        assert.deepStrictEqual(failed, Exit.fail("no"))
        const died = yield* Effect.exit(Sql.withTransaction(Effect.zipRight(insert("basics", 3), Effect.die("bug"))))
        assert.deepStrictEqual(died, Exit.die("bug"))
        const interrupted = yield* Effect.exit(
          Sql.withTransaction(Effect.zipRight(insert("basics", 4), Effect.interrupt))
        )
        assert.isTrue(Exit.isInterrupted(interrupted))
        assert.deepStrictEqual(yield* rowsOf("basics"), [1])
      })
    )
  )

  it.effect("a nested transaction that fails takes back its own work only", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* table("nested", "id int primary key")
        const add = (id: number) => insert("nested", id)
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* add(1)
            yield* Effect.ignore(Sql.withTransaction(Effect.zipRight(add(2), add(1))))
            yield* Effect.ignore(sql.withTransaction(Effect.zipRight(add(3), Effect.fail("no"))))
            yield* Sql.withTransaction(Effect.zipRight(add(4), Sql.withTransaction(add(5))))
            if (dialect.aborts) {
              // A failure caught inside of the nested one is its failure, and only its.
              const reason = yield* reasonOf(Sql.withTransaction(Effect.zipRight(add(6), Effect.ignore(add(1)))))
              assert.strictEqual(reason._tag, "TransactionAborted")
            }
            yield* add(7)
          })
        )
        assert.deepStrictEqual(yield* rowsOf("nested"), [1, 4, 5, 7])
      })
    )
  )

  it.effect("nested siblings started at once come one after the other: the failed one's row alone is missing", () =>
    onPool({ pool: { maxSize: 2 } }, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* table("siblings", "id int primary key")
        yield* Effect.forEach(
          Array.from({ length: 12 }, (_, id) => id),
          (id) =>
            insert("siblings", id).pipe(
              Effect.zipRight(Effect.yieldNow()),
              Effect.zipRight(sleep(0.002)),
              Effect.zipRight(id % 3 === 0 ? Effect.fail("no") : Effect.void),
              sql.withTransaction,
              Effect.ignore
            ),
          { concurrency: "unbounded" }
        ).pipe(Sql.withTransaction)
        assert.deepStrictEqual(yield* rowsOf("siblings"), [1, 2, 4, 5, 7, 8, 10, 11])
      })
    )
  )

  it.effect(
    "a session that ends inside a transaction gives a typed failure, never a defect, and never hides the body's",
    () =>
      onPool({}, (name) =>
        Effect.gen(function* () {
          yield* table("killed", "id int")
          const kill = Effect.orDie(end(name))
          const next = yield* reasonOf(
            Sql.withTransaction(insert("killed", 1).pipe(Effect.zipRight(kill), Effect.zipRight(insert("killed", 2))))
          )
          assert.include(["ConnectionLost", "ServerShutdown"], next._tag)
          assert.strictEqual(next.retry, "transaction")
          const own = yield* Effect.exit(
            Sql.withTransaction(insert("killed", 3).pipe(Effect.zipRight(kill), Effect.zipRight(Effect.fail("mine"))))
          )
          assert.deepStrictEqual(own, Exit.fail("mine"))
          const unseen = yield* reasonOf(Sql.withTransaction(Effect.zipRight(insert("killed", 4), kill)))
          assert.include(["ConnectionLost", "ServerShutdown", "CommitUnknown"], unseen._tag)
          assert.deepStrictEqual(yield* rowsOf("killed"), [])
        })
      )
  )

  it.effect("a fiber that outlives its transaction gets a typed failure, and writes nothing", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("outlived", "id int")
        const ended = yield* Deferred.make<void>()
        const fiber = yield* Effect.zipRight(Deferred.await(ended), insert("outlived", 1)).pipe(
          Effect.forkDaemon,
          Sql.withTransaction
        )
        yield* Deferred.succeed(ended, undefined)
        const reason = yield* reasonOf(Fiber.join(fiber))
        assert.strictEqual(reason._tag, "InvalidUse")
        assert.deepStrictEqual(yield* rowsOf("outlived"), [])
      })
    )
  )

  it.effect("COMMIT written by hand inside withTransaction is a typed failure", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        for (const by of dialect.endings) {
          assert.strictEqual((yield* reasonOf(Sql.withTransaction(Sql.query(by))))._tag, "InvalidUse", by)
        }
      })
    )
  )

  it.effect("a transaction leases before BEGIN and fails typed when it cannot, without a defect", () =>
    onPool({ pool: { maxSize: 1, acquireTimeout: "400 millis", validateTimeout: "400 millis" } }, () =>
      Effect.gen(function* () {
        const held = yield* Deferred.make<void>()
        const holder = yield* Effect.fork(Sql.withConnection(Effect.zipRight(session, Deferred.await(held))))
        yield* eventually(
          "it is held",
          Effect.map(Sql.stats, ({ write }) => write.using === 1)
        )
        assert.strictEqual((yield* reasonOf(Sql.withTransaction(session)))._tag, "AcquireTimeout")
        yield* atOnce(Effect.timeoutOption(Sql.withTransaction(session), "20 millis"))
        yield* Deferred.succeed(held, undefined)
        yield* Fiber.join(holder)
      })
    )
  )

  it.effect("a transaction on a pinned connection leaves the pin usable, whether it succeeds or fails", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("pinned", "id int")
        yield* Effect.gen(function* () {
          const before = yield* session
          yield* Effect.ignore(Sql.withTransaction(Effect.zipRight(insert("pinned", 1), Effect.fail("no"))))
          yield* Sql.withTransaction(insert("pinned", 2))
          yield* insert("pinned", 3)
          assert.strictEqual(yield* session, before)
        }).pipe(Sql.withConnection)
        assert.deepStrictEqual(yield* rowsOf("pinned"), [2, 3])
      })
    )
  )
})
