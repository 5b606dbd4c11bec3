/** Connections that are lost: what callers are told, and how a pool of ours recovers. */
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Cause, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { booksBalance, eventually, noSessions, unique } from "./contract.js"
import { Server } from "./databases.js"
import { assertLost, executing, ours, reasonOf, table } from "./ours.js"

ours("recovery", ({ dialect, end, it, onPool, optionsOf, session, sleep, words }) => {
  it.effect("sessions that end in the middle of statements give typed failures, and the pool goes on", () =>
    onPool({ pool: { maxSize: 5 } }, (name) =>
      Effect.gen(function* () {
        const fibers = yield* Effect.forEach(Array.from({ length: 5 }), () => Effect.fork(Effect.flip(sleep(30))))
        yield* executing(name, "sleep(30)", 5)
        yield* end(name)
        for (const fiber of fibers) {
          const { connection, outcome, retry } = assertLost(yield* Fiber.join(fiber), dialect.lostBy.administrator)
          assert.deepStrictEqual([connection, outcome, retry], ["destroy", "unknown", "idempotent"])
        }
        yield* Effect.forEach(Array.from({ length: 20 }), () => session, { concurrency: "unbounded" })
      })
    )
  )

  it.effect("connections that end while they are idle are not handed out again", () =>
    onPool({ pool: { maxSize: 3 } }, (name) =>
      Effect.gen(function* () {
        const all = Effect.forEach([1, 2, 3], () => sleep(0.02), { concurrency: 3 })
        yield* all
        yield* end(name)
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
        const server = yield* Server
        const load = yield* Effect.forEach(Array.from({ length: 10 }), () =>
          Effect.exit(session).pipe(
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
        yield* server.restart("immediate")
        // How soon is measured by the fault tests, with nothing beside them.
        const before = yield* served
        yield* eventually("a statement succeeds", Effect.map(Effect.exit(session), Exit.isSuccess))
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
        const before = yield* session
        yield* end(name)
        // The death may show only when the next statement is sent.
        const after = yield* Effect.retry(session, { times: 1 })
        assert.notStrictEqual(after, before)
        yield* Sql.query("create temporary table session_state (id int)")
        yield* end(name)
        assert.include(["ConnectionLost", "ServerShutdown"], (yield* reasonOf(session))._tag)
        yield* session
      }).pipe(Sql.withConnection)
    )
  )

  it.effect("F14: a password that is an effect is read for each attempt; open connections outlive its change", () =>
    Effect.gen(function* () {
      const server = yield* Server
      const username = unique("rotated")
      yield* optionsOf(username)
      for (const text of dialect.createUser(username, "one")) yield* server.query(text)
      let password = "one"
      let reads = 0
      const secret = Effect.sync(() => {
        reads++
        return Redacted.make(password)
      })
      const { host, port } = server
      const at = { host, port, database: "sluice", username, password: secret, applicationName: username }
      yield* Effect.gen(function* () {
        const before = yield* session
        yield* server.query(dialect.setPassword(username, "two"))
        assert.strictEqual(yield* session, before)
        assert.strictEqual(reads, 1)
        yield* end(username)
        const reason = yield* reasonOf(
          Effect.retry(session, {
            while: (error) => dialect.lostBy.administrator.tags.includes(SqlReason.of(error)._tag)
          })
        )
        assert.strictEqual(reason._tag, "AuthenticationFailed")
        password = "two"
        const refused = (yield* Sql.stats).write.connectFailures
        assert.isAtLeast(refused, 1)
        assert.isAtMost(reads, 2 + refused)
        yield* eventually("the new password is read", Effect.map(Effect.exit(session), Exit.isSuccess))
        yield* booksBalance
      }).pipe(Effect.provide(dialect.layer({ ...at, pool: { maxSize: 1 } })))
      yield* noSessions(username)
      const unreadable = yield* reasonOf(
        Effect.scoped(Layer.build(dialect.layer({ ...at, password: Effect.fail("the vault is closed") })))
      )
      assert.deepInclude(unreadable, { _tag: "ConnectFailed", cause: "the vault is closed" })
    })
  )

  it.effect("a connection that the network resets, or cuts, is ConnectionLost; the pool connects anew", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* onPool({ at: { port: proxy.port } }, (name) =>
        Effect.gen(function* () {
          for (const fault of [proxy.reset, proxy.cut]) {
            const fiber = yield* Effect.fork(reasonOf(sleep(30)))
            yield* executing(name, "sleep(30)")
            yield* fault
            const reason = yield* Fiber.join(fiber)
            assert.strictEqual(reason._tag, "ConnectionLost")
            assert.strictEqual(reason.outcome, "unknown")
            assert.strictEqual(reason.connection, "destroy")
            yield* session
            // The server goes on with what it was told before the network failed.
            yield* end(name)
          }
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect(
    "when an interrupted statement cannot be cancelled, a pin goes on with another connection, or says what it lost",
    () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ target: yield* Server })
        yield* onPool(
          { at: { port: proxy.port }, pool: { maxSize: 2, abortTimeout: "200 millis", closeTimeout: "200 millis" } },
          (name) =>
            Effect.gen(function* () {
              const stuck = Effect.gen(function* () {
                yield* session
                yield* proxy.blackhole({ forGood: true })
                yield* Effect.timeoutOption(sleep(30), "20 millis")
                const after = yield* Effect.exit(session).pipe(Effect.zipLeft(proxy.heal, { concurrent: true }))
                return Exit.isSuccess(after) ? "went on" : SqlReason.of(Cause.squash(after.cause))._tag
              })
              assert.strictEqual(yield* Sql.withConnection(stuck), "went on")
              const changed = Effect.zipRight(Sql.query("create temporary table mine (id int)"), stuck)
              assert.strictEqual(yield* Sql.withConnection(changed), "ConnectionLost")
              assert.strictEqual((yield* reasonOf(Sql.withTransaction(stuck)))._tag, "ConnectionLost")
              yield* end(name)
            })
        )
      }).pipe(Effect.scoped)
  )

  it.effect("a cancel that gets no answer costs the connection, after abortTimeout, and no caller", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* onPool(
        { at: { port: proxy.port }, pool: { maxSize: 1, abortTimeout: "2 seconds", closeTimeout: "200 millis" } },
        (name) =>
          Effect.gen(function* () {
            const interrupted = (seconds: number) =>
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(sleep(seconds))
                yield* executing(name, `sleep(${seconds})`)
                yield* Fiber.interrupt(fiber)
                yield* session
              })
            const control = Effect.map(Sql.stats, ({ control }) => control[0]!)
            // A cancel that works.
            yield* interrupted(30)
            assert.strictEqual((yield* control).open, dialect.controls)
            const fiber = yield* Effect.fork(sleep(31))
            yield* executing(name, "sleep(31)")
            yield* proxy.blackhole({ forGood: true })
            yield* Fiber.interrupt(fiber)
            assert.strictEqual((yield* Sql.stats).write.closed.error, 0, "the caller left before abortTimeout")
            yield* eventually(
              "it was closed",
              Effect.map(Sql.stats, ({ write }) => write.closed.error === 1)
            )
            yield* proxy.heal
            yield* session
            yield* interrupted(32)
            assert.isAtLeast((yield* control).connects, 2 * dialect.controls, "the control connection is replaced")
            // The server goes on with what it was told before the path froze: it is ended, so that no session is left.
            yield* end(name)
          })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a read whose session is ended is read again, unseen; so is what is idempotent; a write is not", () =>
    onPool({ pool: { maxSize: 1 } }, (name) =>
      Effect.gen(function* () {
        const ended = (around: <A, E>(effect: Effect.Effect<A, E, Sql.Sql>) => Effect.Effect<A, E, Sql.Sql>) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(Effect.exit(around(sleep(1.5))))
            yield* executing(name, "sleep(1.5)")
            yield* end(name)
            return Exit.isSuccess(yield* Fiber.join(fiber))
          })
        assert.isTrue(yield* ended(Sql.read))
        assert.isTrue(yield* ended(Sql.idempotent))
        assert.isFalse(yield* ended((effect) => effect))
      })
    )
  )

  it.effect("an open transaction begun by hand is rolled back, however its handler ends, and is never handed on", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("by_hand", "id int")
        const begun = Effect.zipRight(Sql.query("begin"), Sql.query("insert into by_hand values (1)"))
        const endings: ReadonlyArray<Effect.Effect<unknown, unknown, Sql.Sql>> = [
          Effect.void,
          Effect.fail("no"),
          Effect.die("bug"),
          Effect.interrupt,
          Sql.query("selct"),
          Effect.timeout(sleep(5), "20 millis")
        ]
        for (const ending of endings) {
          yield* Effect.exit(Sql.withConnection(Effect.zipRight(begun, ending)))
          const rows = yield* Sql.query<{ n: unknown; open: unknown }>(
            `select count(*) as n, ${dialect.open} as open from by_hand`
          )
          assert.deepStrictEqual(
            rows.map(({ n, open }) => [Number(n), Number(open)]),
            [[0, 0]]
          )
        }
      })
    )
  )

  it.effect("a server that restarts, or crashes, under a statement and under a transaction", () =>
    onPool({ pool: { maxSize: 1 } }, (name) =>
      Effect.gen(function* () {
        const server = yield* Server
        for (const mode of ["fast", "immediate"] as const) {
          for (const inside of [false, true]) {
            const before = yield* session
            const slow = sleep(33)
            const fiber = yield* Effect.fork(Effect.flip(inside ? Sql.withTransaction(slow) : slow))
            yield* executing(name, "sleep(33)")
            yield* server.restart(mode)
            const { connection, outcome, retry } = assertLost(yield* Fiber.join(fiber), dialect.lostBy[mode])
            assert.deepStrictEqual(
              [connection, outcome, retry],
              ["destroy", inside ? "rolledBack" : "unknown", inside ? "transaction" : "idempotent"]
            )
            // MariaDB counts its sessions anew after a restart.
            const after = yield* session
            if (words.session === "pg_backend_pid()") assert.notStrictEqual(after, before)
            else assert.isNumber(after)
          }
        }
      })
    )
  )
})
