/** Fibers that are interrupted: nothing runs on, nothing leaks, nobody waits, and no cancel hits a stranger. */
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Deferred, Effect, Fiber, Random, Stream } from "effect"
import { booksBalance, eventually, unique } from "./contract.js"
import { Server } from "./databases.js"
import { atOnce, executing, nothingRuns, ours, rowsOf, table } from "./ours.js"

ours("interruption", ({ dialect, insert, it, onPool, optionsOf, session, sleep, words }) => {
  it.effect("an interrupted statement ends on the server, its connection is kept, and nobody waits for that", () =>
    onPool({ pool: { maxSize: 1 } }, (name) =>
      Effect.gen(function* () {
        const before = yield* session
        const fiber = yield* Effect.fork(sleep(30))
        yield* executing(name, "sleep(30)")
        yield* atOnce(Fiber.interrupt(fiber))
        assert.strictEqual((yield* Sql.stats).write.using, 0)
        yield* nothingRuns(name)
        assert.strictEqual(yield* session, before)
        const { control, write } = yield* Sql.stats
        assert.strictEqual(write.connects, 1)
        // On a busy machine the statement ran for so long that the server was asked about it.
        assert.include([dialect.controls, 1], control[0]!.connects)
      })
    )
  )

  it.effect(
    "500 statements interrupted at any moment: nothing runs on, nothing leaks, no statement is hit by another's cancel",
    () =>
      onPool({ pool: { maxSize: 5 } }, (name) =>
        Effect.gen(function* () {
          const server = yield* Server
          yield* Effect.forEach(
            Array.from({ length: 500 }),
            () =>
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(sleep(60))
                yield* Effect.sleep(yield* Random.nextIntBetween(0, 12))
                yield* atOnce(Fiber.interrupt(fiber))
              }),
            { concurrency: 25, discard: true }
          )
          yield* nothingRuns(name)
          yield* booksBalance
          yield* Effect.forEach(Array.from({ length: 50 }), () => Sql.query("select 1"), { concurrency: 10 })
          const { connects } = (yield* Sql.stats).control[0]!
          assert.include([dialect.controls, 1], connects)
          assert.isAtMost((yield* server.sessions(name)).length, 5 + connects)
        })
      )
  )

  it.effect("a cancel never reaches the next statement on the connection", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const before = yield* session
        for (let i = 0; i < 60; i++) {
          const fiber = yield* Effect.fork(sleep(60))
          yield* Effect.sleep(i % 5)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(yield* Sql.query(`${words.sleep(0.001)} as s`), [{ s: dialect.slept }])
        }
        assert.strictEqual(yield* session, before)
      })
    )
  )

  it.effect("an abort that begins after its statement has ended leaves the next one alone", () =>
    Effect.gen(function* () {
      const { abort, execute, status } = yield* dialect.connect(yield* optionsOf(unique("alone")))
      const first = yield* Effect.fork(execute(words.sleep(0.05)))
      while (status() !== "busy") yield* Effect.yieldNow()
      const late = abort()
      yield* Fiber.join(first)
      const second = yield* Effect.fork(execute(`${words.sleep(1)} as s`))
      while (status() !== "busy") yield* Effect.yieldNow()
      yield* late
      assert.strictEqual(status(), "busy")
      assert.deepStrictEqual(yield* Fiber.join(second), [{ s: dialect.slept }])
      assert.strictEqual(status(), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("a caller that waits leaves at once, and takes nothing with it", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const free = yield* Deferred.make<void>()
        const holder = yield* Effect.fork(Sql.withConnection(Effect.zipRight(session, Deferred.await(free))))
        yield* eventually(
          "it is held",
          Effect.map(Sql.stats, ({ write }) => write.using === 1)
        )
        const sql = yield* SqlClient.SqlClient
        const waits = [session, Sql.withTransaction(session), sql.reserve, Stream.runDrain(sql`select 1`.stream)]
        for (const wait of waits)
          yield* atOnce(
            Effect.timeoutOption(Effect.scoped(Effect.asVoid(wait as Effect.Effect<unknown, any, any>)), "20 millis")
          )
        assert.strictEqual((yield* Sql.stats).write.waiting, 0)
        yield* Deferred.succeed(free, undefined)
        yield* Fiber.join(holder)
        yield* session
      })
    )
  )

  it.effect("a caller that waits for a connect leaves at once; the connect goes on for the next one", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* proxy.blackhole()
      yield* onPool({ at: { port: proxy.port }, startup: "lazy", pool: { maxSize: 1, minIdle: 0 } }, () =>
        Effect.gen(function* () {
          yield* Effect.timeoutOption(session, "20 millis")
          const { connecting, waiting } = (yield* Sql.stats).write
          assert.deepStrictEqual([connecting, waiting], [1, 0])
          yield* proxy.heal
          yield* session
          assert.strictEqual((yield* Sql.stats).write.connects, 1)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect(
    "in a transaction: nothing is written, locks are free, the connection is kept, and nobody waits for that",
    () =>
      onPool({ pool: { maxSize: 2 } }, (name) =>
        Effect.gen(function* () {
          yield* table("locked", "id int primary key")
          yield* insert("locked", 1)
          const fiber = yield* Sql.query("delete from locked").pipe(
            Effect.zipRight(Sql.withTransaction(sleep(30))),
            Sql.withTransaction,
            Effect.fork
          )
          yield* executing(name, "sleep(30)")
          yield* atOnce(Fiber.interrupt(fiber))
          assert.deepStrictEqual(yield* Sql.query("select id from locked for update"), [{ id: 1 }])
          yield* nothingRuns(name)
          yield* booksBalance
          assert.strictEqual((yield* Sql.stats).write.closed.error, 0)
        })
      )
  )

  it.effect("on a pinned connection a timeout stops its own statement; the next one has the same session", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("innermost", "id int")
        yield* Effect.gen(function* () {
          const before = yield* session
          yield* Sql.query("create temporary table mine (id int)")
          yield* atOnce(Effect.timeoutOption(sleep(30), "30 millis"))
          yield* Sql.query("insert into mine values (1)")
          // A whole transaction that times out, and one more.
          const slow = Effect.zipRight(insert("innermost", 1), sleep(30))
          yield* atOnce(Effect.timeoutOption(Sql.withTransaction(slow), "30 millis"))
          yield* Sql.withTransaction(insert("innermost", 2))
          assert.strictEqual(yield* session, before)
        }).pipe(Sql.withConnection)
        assert.deepStrictEqual(yield* rowsOf("innermost"), [2])
      })
    )
  )

  it.effect(
    "on a pinned connection an interrupted statement ends on the server although nobody sends the next one",
    () =>
      onPool({}, (name) =>
        Effect.gen(function* () {
          yield* Effect.timeoutOption(sleep(30), "30 millis")
          yield* nothingRuns(name)
          assert.strictEqual((yield* Sql.stats).write.using, 1)
        }).pipe(Sql.withConnection)
      )
  )

  it.effect("inside a transaction a nested one that times out is taken back alone, and the outer one commits", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("outer_", "id int")
        const add = (id: number) => insert("outer_", id)
        yield* Effect.gen(function* () {
          yield* add(1)
          const slow = Effect.zipRight(add(2), Sql.withTransaction(Effect.zipRight(add(3), sleep(30))))
          yield* atOnce(Effect.timeoutOption(Sql.withTransaction(slow), "30 millis"))
          yield* add(4)
          yield* Effect.ignore(Effect.timeout(Sql.withTransaction(sleep(30)), "30 millis"))
        }).pipe(Sql.withTransaction)
        assert.deepStrictEqual(yield* rowsOf("outer_"), [1, 4])
      })
    )
  )
})
