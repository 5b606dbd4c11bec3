import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Deferred, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { driver } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import { as, atOnce, eventually, user as makeUser, onPool, running, sessions, thread } from "./support/fixture.js"

const nothingRuns = (user: string) =>
  eventually(
    "nothing runs on the server",
    Effect.map(sessions(user), (all) => all.every(({ command }) => command === "Sleep"))
  )

const ignored = { broken: () => {}, fatal: () => {}, isEnding: () => false }

/** Two connections of the driver, and the second as the side of the first, unless `control` leads elsewhere. */
const alone = Effect.gen(function* () {
  const { primary } = yield* MariaDbCluster.MariaDbCluster
  const at = yield* endpoint.resolve({ url: primary.url })
  const other = yield* driver.connect(at.primary, ignored)
  const connection = yield* driver.connect(at.primary, ignored, (f) => f(other))
  return { connection, other }
})

layer(MariaDbCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("interruption", (it) => {
  it.effect("short statements interrupted at any moment never hand their kill on", () =>
    onPool({ pool: { maxSize: 2 } }, () =>
      Effect.gen(function* () {
        for (let i = 0; i < 150; i++) {
          const fiber = yield* Effect.fork(Sql.query("select sleep(0.002) as s"))
          yield* Effect.sleep(i % 4)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(yield* Sql.query("select sleep(0.002) as s"), [{ s: 0 }])
        }
      })
    )
  )

  it.effect(
    "the connection is busy until the kill is over: the server has confirmed it and a statement went through",
    () =>
      Effect.gen(function* () {
        const { connection, other } = yield* alone
        const held = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(driver.execute(connection, "select sleep(30)", [], "rows"))
        while (driver.status(connection) !== "busy") yield* Effect.yieldNow()
        yield* Effect.sleep("30 millis")
        connection.control = (f) => Effect.tap(f(other), () => Deferred.await(held))
        const abort = yield* Effect.fork(driver.abort(connection))
        // The statement has its answer; the KILL, as far as we know, has not.
        assert.strictEqual((yield* Effect.map(Effect.flip(Fiber.join(fiber)), SqlReason.of))._tag, "Cancelled")
        assert.strictEqual(driver.status(connection), "busy")
        yield* Deferred.succeed(held, undefined)
        yield* Fiber.join(abort)
        assert.strictEqual(driver.status(connection), "idle")
      }).pipe(Effect.scoped)
  )

  it.effect("a control connection that leads to another server kills nothing there: the connection is closed", () =>
    Effect.gen(function* () {
      const { connection } = yield* alone
      connection.server = { ...connection.server, identity: "elsewhere" }
      yield* Effect.fork(driver.execute(connection, "select sleep(30)", [], "rows"))
      while (driver.status(connection) !== "busy") yield* Effect.yieldNow()
      const failed = yield* Effect.flip(driver.abort(connection))
      assert.strictEqual(SqlReason.of(failed).connection, "destroy")
      assert.strictEqual(driver.status(connection), "dead")
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      yield* Effect.ignore(primary.query(`kill connection ${connection.server.thread}`))
    }).pipe(Effect.scoped)
  )

  it.effect("a session that the server does not know any more is closed", () =>
    Effect.gen(function* () {
      const { connection } = yield* alone
      connection.server = { ...connection.server, thread: 999_999_999 }
      yield* Effect.fork(driver.execute(connection, "select sleep(30)", [], "rows"))
      while (driver.status(connection) !== "busy") yield* Effect.yieldNow()
      const failed = yield* Effect.flip(driver.abort(connection))
      assert.strictEqual(SqlReason.of(failed).code, "1094")
      assert.strictEqual(driver.status(connection), "dead")
    }).pipe(Effect.scoped)
  )

  it.effect("a kill that comes before its statement is sent again", () =>
    Effect.gen(function* () {
      const { connection, other } = yield* alone
      const fiber = yield* Effect.fork(driver.execute(connection, "select sleep(36)", [], "unprepared"))
      yield* running("sluice", "sleep(36)")
      let calls = 0
      // The first finds nothing to kill.
      connection.control = (f) => (++calls === 1 ? (Effect.void as Effect.Effect<any>) : f(other))
      yield* driver.abort(connection)
      assert.strictEqual(calls, 2)
      assert.strictEqual((yield* Effect.map(Effect.flip(Fiber.join(fiber)), SqlReason.of))._tag, "Cancelled")
      assert.strictEqual(driver.status(connection), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("a connection that is closed while its kill has no answer takes its session with it", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const { other } = yield* alone
      const at = yield* endpoint.resolve({ url: primary.url })
      const scope = yield* Scope.make()
      const connection = yield* Scope.extend(driver.connect(at.primary, ignored), scope)
      yield* Effect.fork(driver.execute(connection, "select sleep(37)", [], "unprepared"))
      yield* running("sluice", "sleep(37)")
      let calls = 0
      connection.control = (f) => (++calls === 1 ? Effect.never : f(other))
      yield* Effect.timeoutOption(driver.abort(connection), "50 millis")
      assert.strictEqual(driver.status(connection), "busy")
      yield* atOnce(Scope.close(scope, Exit.void))
      yield* eventually(
        "the session is gone",
        Effect.map(primary.activity, (all) => all.every(({ id }) => id !== connection.server.thread))
      )
      assert.strictEqual(calls, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("a way that gave no answer during the abort is not tried again when the connection is closed", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const scope = yield* Scope.make()
      const connection = yield* Scope.extend(driver.connect(at.primary, ignored), scope)
      yield* Effect.fork(driver.execute(connection, "select sleep(38)", [], "unprepared"))
      yield* running("sluice", "sleep(38)")
      let calls = 0
      connection.control = () => {
        calls++
        return Effect.never
      }
      yield* Effect.timeoutOption(driver.abort(connection), "600 millis")
      yield* atOnce(Scope.close(scope, Exit.void))
      assert.strictEqual(calls, 1)
      yield* primary.query(`kill connection ${connection.server.thread}`)
    }).pipe(Effect.scoped)
  )

  it.effect("a full server has no place for a kill: the connection is closed after the bound, and nobody waits", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      // One connection for this user: the pool has it.
      yield* makeUser("lonely", "with max_user_connections 1")
      yield* onPool({ url: as(primary, "lonely"), pool: { maxSize: 1, abortTimeout: "2 seconds" } }, () =>
        Effect.gen(function* () {
          const before = yield* thread
          const fiber = yield* Effect.fork(Sql.query("select sleep(33)"))
          yield* running("lonely", "sleep(33)")
          yield* Fiber.interrupt(fiber)
          assert.strictEqual((yield* Sql.stats).write.closed.error, 0, "the caller left before the bound")
          yield* eventually(
            "it is closed",
            Effect.map(Sql.stats, ({ write }) => write.closed.error === 1)
          )
          yield* primary.terminateBackends({ user: "lonely" })
          assert.notStrictEqual(yield* thread, before)
        })
      )
    })
  )

  it.effect("a stream is left at once, while the server computes and while it sends", () =>
    onPool({ pool: { maxSize: 1 } }, (user) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const before = yield* thread
        const slow = sql`select seq, sleep(if(seq > 300, 30, 0)) as s from seq_1_to_1000`.stream
        const huge = sql`select a.seq from seq_1_to_2000 a, seq_1_to_1000000 b`.stream
        type Program = Effect.Effect<void, SqlError, Sql.Sql>
        const surroundings: ReadonlyArray<(program: Program) => Program> = [
          (program) => program,
          (program) => Sql.withConnection(program)
        ]
        for (const around of surroundings) {
          const fiber = yield* Effect.fork(around(Stream.runDrain(slow)))
          yield* running(user, "sleep(if")
          yield* atOnce(Fiber.interrupt(fiber))
          yield* nothingRuns(user)
          // Two thousand million rows take minutes to send; the next statement does not wait for them.
          yield* atOnce(around(Stream.runDrain(Stream.take(huge, 5))))
          yield* nothingRuns(user)
        }
        const fiber = yield* Effect.fork(Sql.withTransaction(Stream.runDrain(slow)))
        yield* running(user, "sleep(if")
        yield* atOnce(Fiber.interrupt(fiber))
        yield* nothingRuns(user)
        assert.strictEqual(yield* thread, before)
      })
    )
  )
})
