import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Deferred, Effect, Fiber, Random, Stream } from "effect"
import { driver } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import {
  atOnce,
  backends,
  booksBalance,
  eventually,
  onPool,
  pid,
  rowsOf,
  table,
  urlThrough
} from "./support/fixture.js"

const active = (name: string) => Effect.map(backends(name), (all) => all.filter((one) => one.state === "active"))

const sleeping = (name: string, count = 1) =>
  eventually(
    "it sleeps on the server",
    Effect.map(active(name), (all) => all.length === count)
  )

const nothingRuns = (name: string) =>
  eventually(
    "nothing runs on the server",
    Effect.map(backends(name), (all) => all.every((one) => one.state === "idle"))
  )

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("interruption", (it) => {
  it.effect("an interrupted statement ends on the server, its connection is kept, and nobody waits for that", () =>
    onPool({ pool: { maxSize: 1 } }, (name) =>
      Effect.gen(function* () {
        const before = yield* pid
        const fiber = yield* Effect.fork(Sql.query("select pg_sleep(30)"))
        yield* sleeping(name)
        yield* atOnce(Fiber.interrupt(fiber))
        assert.strictEqual((yield* Sql.stats).write.using, 0)
        yield* nothingRuns(name)
        assert.strictEqual(yield* pid, before)
      })
    )
  )

  it.effect(
    "500 statements interrupted at any moment: nothing runs on, nothing leaks, no statement is hit by another's cancel",
    () =>
      onPool({ pool: { maxSize: 5 } }, (name) =>
        Effect.gen(function* () {
          yield* Effect.forEach(
            Array.from({ length: 500 }),
            () =>
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(Sql.query("select pg_sleep(60)"))
                yield* Effect.sleep(yield* Random.nextIntBetween(0, 12))
                yield* atOnce(Fiber.interrupt(fiber))
              }),
            { concurrency: 25, discard: true }
          )
          yield* nothingRuns(name)
          yield* booksBalance
          yield* Effect.forEach(Array.from({ length: 50 }), () => Sql.query("select 1"), { concurrency: 10 })
          assert.isAtMost((yield* backends(name)).length, 5)
        })
      )
  )

  it.effect("a cancel never reaches the next statement on the connection", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const before = yield* pid
        for (let i = 0; i < 60; i++) {
          const fiber = yield* Effect.fork(Sql.query("select pg_sleep(60)"))
          yield* Effect.sleep(i % 5)
          yield* Fiber.interrupt(fiber)
          yield* Sql.query("select pg_sleep(0.001)")
        }
        assert.strictEqual(yield* pid, before)
      })
    )
  )

  it.effect("an abort that begins after its statement has ended leaves the next one alone", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const connection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {} })
      const first = yield* Effect.fork(driver.execute(connection, "select pg_sleep(0.05)", [], "rows"))
      while (driver.status(connection) !== "busy") yield* Effect.yieldNow()
      const late = driver.abort(connection)
      yield* Fiber.join(first)
      const second = yield* Effect.fork(driver.execute(connection, "select pg_sleep(1)", [], "rows"))
      while (driver.status(connection) !== "busy") yield* Effect.yieldNow()
      yield* late
      assert.strictEqual(driver.status(connection), "busy")
      yield* Fiber.join(second)
      assert.strictEqual(driver.status(connection), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("a caller that waits leaves at once, and takes nothing with it", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const free = yield* Deferred.make<void>()
        const holder = yield* Effect.fork(Sql.withConnection(Effect.zipRight(pid, Deferred.await(free))))
        yield* eventually(
          "it is held",
          Effect.map(Sql.stats, ({ write }) => write.using === 1)
        )
        const sql = yield* SqlClient.SqlClient
        const waits = [pid, Sql.withTransaction(pid), sql.reserve, Stream.runDrain(sql`select 1`.stream)]
        for (const wait of waits)
          yield* atOnce(
            Effect.timeoutOption(Effect.scoped(Effect.asVoid(wait as Effect.Effect<unknown, any, any>)), "20 millis")
          )
        assert.strictEqual((yield* Sql.stats).write.waiting, 0)
        yield* Deferred.succeed(free, undefined)
        yield* Fiber.join(holder)
        yield* pid
      })
    )
  )

  it.effect("a caller that waits for a connect leaves at once; the connect goes on for the next one", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      yield* proxy.blackhole()
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, startup: "lazy", pool: { maxSize: 1, minIdle: 0 } }, () =>
        Effect.gen(function* () {
          yield* Effect.timeoutOption(pid, "20 millis")
          const { connecting, waiting } = (yield* Sql.stats).write
          assert.deepStrictEqual([connecting, waiting], [1, 0])
          yield* proxy.heal
          yield* pid
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
          yield* Sql.query("insert into locked values (1)")
          const fiber = yield* Sql.query("delete from locked").pipe(
            Effect.zipRight(Sql.withTransaction(Sql.query("select pg_sleep(30)"))),
            Sql.withTransaction,
            Effect.fork
          )
          yield* sleeping(name)
          yield* atOnce(Fiber.interrupt(fiber))
          assert.deepStrictEqual(yield* Sql.query("select id from locked for update"), [{ id: 1 }])
          yield* nothingRuns(name)
          yield* booksBalance
          assert.strictEqual((yield* Sql.stats).write.closed.error, 0)
        })
      )
  )

  it.effect("on a pinned connection a timeout stops its own statement; the next one has the same backend", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("innermost", "id int")
        yield* Effect.gen(function* () {
          const before = yield* pid
          yield* Sql.query("create temporary table mine (id int)")
          yield* atOnce(Effect.timeoutOption(Sql.query("select pg_sleep(30)"), "30 millis"))
          yield* Sql.query("insert into mine values (1)")
          // A whole transaction that times out, and one more.
          const slow = Effect.zipRight(Sql.query("insert into innermost values (1)"), Sql.query("select pg_sleep(30)"))
          yield* atOnce(Effect.timeoutOption(Sql.withTransaction(slow), "30 millis"))
          yield* Sql.withTransaction(Sql.query("insert into innermost values (2)"))
          assert.strictEqual(yield* pid, before)
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
          yield* Effect.timeoutOption(Sql.query("select pg_sleep(30)"), "30 millis")
          yield* nothingRuns(name)
          assert.strictEqual((yield* Sql.stats).write.using, 1)
        }).pipe(Sql.withConnection)
      )
  )

  it.effect("inside a transaction a nested one that times out is taken back alone, and the outer one commits", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("outer_", "id int")
        const add = (id: number) => Sql.query("insert into outer_ values ($1)", [id])
        yield* Effect.gen(function* () {
          yield* add(1)
          const slow = Effect.zipRight(
            add(2),
            Sql.withTransaction(Effect.zipRight(add(3), Sql.query("select pg_sleep(30)")))
          )
          yield* atOnce(Effect.timeoutOption(Sql.withTransaction(slow), "30 millis"))
          yield* add(4)
          yield* Effect.ignore(Effect.timeout(Sql.withTransaction(Sql.query("select pg_sleep(30)")), "30 millis"))
        }).pipe(Sql.withTransaction)
        assert.deepStrictEqual(yield* rowsOf("outer_"), [1, 4])
      })
    )
  )

  it.effect("a stream is left at once, in the middle of a piece and between two", () =>
    onPool({ pool: { maxSize: 1 } }, (name) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const before = yield* pid
        const slow = sql`select i, pg_sleep(case when i > 128 then 30 else 0 end) from generate_series(1, 1000) as i`
          .stream
        type Program = Effect.Effect<void, SqlError, Sql.Sql>
        const surroundings: ReadonlyArray<(program: Program) => Program> = [
          (program) => program,
          (program) => Sql.withConnection(program),
          (program) => Sql.withTransaction(program)
        ]
        for (const around of surroundings) {
          const fiber = yield* Effect.fork(around(Stream.runDrain(slow)))
          yield* sleeping(name)
          yield* atOnce(Fiber.interrupt(fiber))
          yield* nothingRuns(name)
          yield* atOnce(around(Stream.runDrain(Stream.take(slow, 3))))
        }
        assert.strictEqual(yield* pid, before)
      })
    )
  )

  it.effect("a stream is left at once also when the server can no longer be reached", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: { maxSize: 2, abortTimeout: "2 seconds", closeTimeout: "200 millis" } }, (name) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const slow = sql`select i, pg_sleep(case when i > 128 then 30 else 0 end) from generate_series(1, 1000) as i`
            .stream
          for (const around of [Sql.withConnection, Sql.withTransaction<Effect.Effect<void, SqlError, Sql.Sql>>]) {
            const fiber = yield* Effect.fork(around(Stream.runDrain(slow)))
            yield* sleeping(name)
            yield* proxy.blackhole({ forGood: true })
            const { error } = (yield* Sql.stats).write.closed
            yield* Fiber.interrupt(fiber)
            assert.strictEqual((yield* Sql.stats).write.closed.error, error, "the caller left before abortTimeout")
            yield* eventually(
              "the connection is given up",
              Effect.map(Sql.stats, ({ write }) => write.closed.error === error + 1)
            )
            yield* proxy.heal
            // What the frozen path has left behind on the server is not ours to see.
            yield* cluster.primary.terminateBackends({ applicationName: name })
          }
        })
      )
    }).pipe(Effect.scoped)
  )
})
