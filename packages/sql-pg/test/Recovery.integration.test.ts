import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Cause, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import { driver } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import { backends, eventually, onPool, pid, reasonOf, urlThrough } from "./support/fixture.js"
import * as SlowProxy from "./support/slowProxy.js"

const lost: ReadonlyArray<SqlReason.Tag> = ["ConnectionLost", "ServerShutdown"]

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("recovery", (it) => {
  it.effect("backends that end in the middle of statements give typed failures, and the pool goes on", () =>
    onPool({ pool: { maxSize: 5 } }, (name) =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const running = yield* Effect.forEach(Array.from({ length: 5 }), () =>
          Effect.fork(reasonOf(Sql.query("select pg_sleep(30)")))
        )
        yield* eventually(
          "all run",
          Effect.map(backends(name), (all) => all.filter((one) => one.state === "active").length === 5)
        )
        yield* cluster.primary.terminateBackends({ applicationName: name })
        for (const fiber of running) {
          const reason = yield* Fiber.join(fiber)
          assert.strictEqual(reason._tag, "ServerShutdown")
          assert.strictEqual(reason.code, "57P01")
          assert.strictEqual(reason.outcome, "unknown")
          assert.strictEqual(reason.retry, "idempotent")
        }
        yield* Effect.forEach(Array.from({ length: 20 }), () => pid, { concurrency: "unbounded" })
      })
    )
  )

  it.effect("connections that end while they are idle are not handed out again", () =>
    onPool({ pool: { maxSize: 3 } }, (name) =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const all = Effect.forEach([1, 2, 3], () => Sql.query("select pg_sleep(0.02)"), { concurrency: 3 })
        yield* all
        yield* cluster.primary.terminateBackends({ applicationName: name })
        yield* eventually(
          "the pool has noticed",
          Effect.map(Sql.stats, ({ write }) => write.closed.error + write.closed.validation > 0)
        )
        yield* all
      })
    )
  )

  it.effect("after a crash of the server statements succeed again, under a load that never stops asking", () =>
    onPool({ pool: { maxSize: 5 } }, () =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const load = yield* Effect.forEach(Array.from({ length: 10 }), () =>
          Effect.exit(pid).pipe(
            Effect.tap((exit) =>
              Effect.sync(() => {
                if (Exit.isFailure(exit)) {
                  assert.isTrue(Cause.failureOption(exit.cause)._tag === "Some", "a failure, not a defect")
                }
              })
            ),
            Effect.forever,
            Effect.fork
          )
        )
        const served = Effect.map(Sql.stats, ({ write }) => write.acquired)
        yield* eventually(
          "the load is served",
          Effect.map(served, (n) => n > 10)
        )
        yield* cluster.primary.restart("immediate")
        // How soon is measured by the fault tests, with nothing beside them.
        const before = yield* served
        yield* eventually("a statement succeeds", Effect.map(Effect.exit(pid), Exit.isSuccess))
        yield* eventually(
          "the load is served again",
          Effect.map(served, (n) => n > before + 10)
        )
        yield* Fiber.interruptAll(load)
      })
    )
  )

  it.effect("a pinned connection that is lost is replaced, unless its session or its transaction is lost with it", () =>
    onPool({}, (name) =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const kill = cluster.primary.terminateBackends({ applicationName: name })
        yield* Effect.gen(function* () {
          const before = yield* pid
          yield* kill
          // The death may show only when the next statement is sent.
          const after = yield* Effect.retry(pid, { times: 1 })
          assert.notStrictEqual(after, before)
          yield* Sql.query("create temporary table session_state (id int)")
          yield* kill
          const reason = yield* reasonOf(pid)
          assert.include(lost, reason._tag)
          yield* pid
        }).pipe(Sql.withConnection)
      })
    )
  )

  it.effect("F14: a password that is an effect is read for each attempt; open connections outlive its change", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* primary.query("create role rotated login password 'one'")
      let password = "one"
      let reads = 0
      const secret = Effect.sync(() => {
        reads++
        return Redacted.make(password)
      })
      const { host, port } = primary
      const at = { url: undefined, host, port, database: "sluice", username: "rotated", password: secret }
      yield* onPool({ ...at, pool: { maxSize: 1 } }, (applicationName) =>
        Effect.gen(function* () {
          const before = yield* pid
          yield* primary.query("alter role rotated password 'two'")
          assert.strictEqual(yield* pid, before)
          assert.strictEqual(reads, 1)
          yield* primary.terminateBackends({ applicationName })
          const reason = yield* reasonOf(
            Effect.retry(pid, { while: (error) => SqlReason.of(error)._tag === "ServerShutdown" })
          )
          assert.strictEqual(reason._tag, "AuthenticationFailed")
          password = "two"
          const refused = (yield* Sql.stats).write.connectFailures
          assert.isAtLeast(refused, 1)
          assert.isAtMost(reads, 2 + refused)
          yield* eventually(
            "the new password is read",
            Effect.map(Effect.exit(pid), (exit) => exit._tag === "Success")
          )
        })
      )
      const unreadable = yield* reasonOf(
        Effect.scoped(Layer.build(PgSql.layer({ ...at, password: Effect.fail("the vault is closed") })))
      )
      assert.strictEqual(unreadable._tag, "ConnectFailed")
      assert.strictEqual(unreadable.cause, "the vault is closed")
    })
  )

  it.effect("a connection that the network resets, or cuts, is ConnectionLost; the pool connects anew", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url }, (name) =>
        Effect.gen(function* () {
          for (const fault of [proxy.reset, proxy.cut]) {
            const fiber = yield* Effect.fork(reasonOf(Sql.query("select pg_sleep(30)")))
            yield* eventually(
              "it runs",
              Effect.map(backends(name), (all) => all.some((one) => one.state === "active"))
            )
            yield* fault
            const reason = yield* Fiber.join(fiber)
            assert.strictEqual(reason._tag, "ConnectionLost")
            assert.strictEqual(reason.outcome, "unknown")
            assert.strictEqual(reason.connection, "destroy")
            yield* pid
            // The server goes on with what it was told before the network failed.
            yield* cluster.primary.terminateBackends({ applicationName: name })
          }
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a statement that fails ends only when the server is ready for the next one", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* SlowProxy.make(cluster.primary)
      const at = yield* endpoint.resolve({ url: yield* urlThrough(proxy) })
      const connection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {} })
      const run = (sql: string) => Effect.exit(driver.execute(connection, sql, [], "rows"))
      proxy.delays.ready = 20
      assert.isTrue(Exit.isFailure(yield* run("select 1 / 0")))
      assert.strictEqual(driver.status(connection), "idle")
      yield* run("begin")
      assert.strictEqual(driver.status(connection), "transaction")
      yield* run("select 1 / 0")
      assert.strictEqual(driver.status(connection), "failed")
    }).pipe(Effect.scoped)
  )

  it.effect(
    "a cancel that overtakes its statement is sent again; one that comes after the piece of a stream does no harm",
    () =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const proxy = yield* SlowProxy.make(cluster.primary)
        const url = yield* urlThrough(proxy)
        yield* onPool({ url, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const before = yield* pid
            proxy.delays.split = true
            const interrupted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(effect)
                yield* eventually(
                  "it was sent",
                  Effect.map(Sql.stats, ({ write }) => write.using === 1)
                )
                yield* Effect.sleep("5 millis")
                yield* Fiber.interrupt(fiber)
                assert.strictEqual(yield* pid, before)
              })
            proxy.delays.first = 150
            yield* interrupted(Sql.query("select pg_sleep(30)"))
            proxy.delays.first = 0
            proxy.delays.later = 150
            yield* interrupted(Stream.runDrain(sql`select pg_sleep(0.0005) from generate_series(1, 1000)`.stream))
          })
        )
      }).pipe(Effect.scoped)
  )

  it.effect(
    "when an interrupted statement cannot be cancelled, a pin goes on with another connection, or says what it lost",
    () =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const proxy = yield* FaultProxy.make({ target: cluster.primary })
        const url = yield* urlThrough(proxy)
        yield* onPool({ url, pool: { maxSize: 2, abortTimeout: "200 millis", closeTimeout: "200 millis" } }, (name) =>
          Effect.gen(function* () {
            const stuck = Effect.gen(function* () {
              yield* pid
              yield* proxy.blackhole({ forGood: true })
              yield* Effect.timeoutOption(Sql.query("select pg_sleep(30)"), "20 millis")
              const after = yield* Effect.exit(pid).pipe(Effect.zipLeft(proxy.heal, { concurrent: true }))
              return Exit.isSuccess(after) ? "went on" : SqlReason.of(Cause.squash(after.cause))._tag
            })
            assert.strictEqual(yield* Sql.withConnection(stuck), "went on")
            const session = Effect.zipRight(Sql.query("create temporary table mine (id int)"), stuck)
            assert.strictEqual(yield* Sql.withConnection(session), "ConnectionLost")
            assert.strictEqual((yield* reasonOf(Sql.withTransaction(stuck)))._tag, "ConnectionLost")
            yield* cluster.primary.terminateBackends({ applicationName: name })
          })
        )
      }).pipe(Effect.scoped)
  )

  it.effect("a cancel that gets no answer costs the connection, after abortTimeout, and no caller", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: { maxSize: 1, abortTimeout: "2 seconds", closeTimeout: "200 millis" } }, (name) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(Sql.query("select pg_sleep(30)"))
          yield* eventually(
            "it runs",
            Effect.map(backends(name), (all) => all.some((one) => one.state === "active"))
          )
          yield* proxy.blackhole({ forGood: true })
          yield* Fiber.interrupt(fiber)
          assert.strictEqual((yield* Sql.stats).write.closed.error, 0, "the caller left before abortTimeout")
          yield* eventually(
            "it was closed",
            Effect.map(Sql.stats, ({ write }) => write.closed.error === 1)
          )
          yield* proxy.heal
          yield* pid
          // What the frozen path has left behind on the server is not ours to see: end it, so that the books balance.
          yield* cluster.primary.terminateBackends({ applicationName: name })
        })
      )
    }).pipe(Effect.scoped)
  )
})
