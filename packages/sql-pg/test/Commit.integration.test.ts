import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Effect, Fiber } from "effect"
import { backends, eventually, onPool, rowsOf, table, urlThrough } from "./support/fixture.js"

/** A table whose rows make COMMIT sleep, and a transaction that writes one, counting its runs. */
const slowCommit = (name: string, seconds: number) =>
  Effect.gen(function* () {
    yield* table(name, "id int")
    yield* Sql.query(
      `create or replace function ${name}_sleep() returns trigger language plpgsql as $$ begin perform pg_sleep(${seconds}); return null; end $$`
    )
    yield* Sql.query(
      `create constraint trigger slow after insert on ${name} deferrable initially deferred for each row execute function ${name}_sleep()`
    )
    const runs = { count: 0 }
    const insert = (options?: Sql.TransactionOptions) =>
      Effect.zipRight(
        Effect.sync(() => runs.count++),
        Sql.query(`insert into ${name} values (1)`)
      ).pipe(Sql.withTransaction({ verifyCommit: true, retry: true, ...options }), Sql.retry(), Sql.idempotent)
    return { insert, runs }
  })

const committing = (name: string) =>
  eventually(
    "COMMIT runs",
    Effect.map(backends(name), (all) => all.some((one) => one.query === "COMMIT" && one.state === "active"))
  )

const nobody = (name: string) =>
  eventually(
    "COMMIT is over",
    Effect.map(backends(name), (all) => all.every((one) => one.state !== "active"))
  )

const unknown = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const reason = SqlReason.of(error)
    assert.deepStrictEqual([reason._tag, reason.outcome, reason.connection], ["CommitUnknown", "unknown", "destroy"])
    assert.match((error as Error).message, /COMMIT was sent and its answer did not come.*either written or not/)
    return reason as Extract<SqlReason.SqlReason, { readonly _tag: "CommitUnknown" }>
  })

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("a COMMIT without an answer", (it) => {
  it.effect("F16: the network is lost after COMMIT was sent: never run again, and verify finds it committed", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: { maxSize: 2 } }, (name) =>
        Effect.gen(function* () {
          const { insert, runs } = yield* slowCommit("f16_committed", 0.3)
          for (const fault of [proxy.cut, proxy.reset]) {
            runs.count = 0
            yield* Sql.query("delete from f16_committed")
            const fiber = yield* Effect.fork(unknown(insert()))
            yield* committing(name)
            yield* proxy.blackhole()
            yield* nobody(name)
            yield* fault
            const { verify } = yield* Fiber.join(fiber)
            yield* proxy.heal
            assert.strictEqual(yield* verify, "committed")
            assert.strictEqual(runs.count, 1)
            assert.deepStrictEqual(yield* rowsOf("f16_committed"), [1])
          }
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("F16: the backend is ended in COMMIT: never run again, and verify finds it rolled back", () =>
    onPool({ pool: { maxSize: 2 } }, (name) =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const { insert, runs } = yield* slowCommit("f16_ended", 20)
        const fiber = yield* Effect.fork(unknown(insert()))
        yield* committing(name)
        yield* cluster.primary.terminateBackends({ applicationName: name })
        const reason = yield* Fiber.join(fiber)
        assert.strictEqual(reason.code, "57P01")
        assert.strictEqual(yield* reason.verify, "rolledBack")
        assert.strictEqual(runs.count, 1)
        assert.deepStrictEqual(yield* rowsOf("f16_ended"), [])
      })
    )
  )

  it.effect(
    "F16: verify waits while the transaction is open, outlives a restart, and trusts no number after a crash",
    () =>
      onPool({ pool: { maxSize: 2 } }, (name) =>
        Effect.gen(function* () {
          const cluster = yield* PgCluster.PgCluster
          const { insert, runs } = yield* slowCommit("f16_late", 20)
          // The answer is late; what runs is cancelled by the pool, and that is what verify waits for.
          const late = yield* unknown(insert({ commitTimeout: "100 millis" }))
          assert.strictEqual(yield* late.verify, "rolledBack")
          assert.strictEqual(runs.count, 1)
          // A crash may forget a number and give it out again, so after one nobody knows; a clean restart forgets nothing.
          for (const [mode, fate] of [
            ["fast", "rolledBack"],
            ["immediate", "unknown"]
          ] as const) {
            const fiber = yield* Effect.fork(unknown(insert()))
            yield* committing(name)
            yield* cluster.primary.restart(mode)
            const { verify } = yield* Fiber.join(fiber)
            yield* table("f16_other", "id int")
            assert.strictEqual(yield* verify, fate, mode)
          }
          assert.deepStrictEqual(yield* rowsOf("f16_late"), [])
        })
      )
  )

  it.effect("nobody knows without verifyCommit, or when the server does not answer", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: { maxSize: 2, acquireTimeout: "1 second", closeTimeout: "200 millis" } }, (name) =>
        Effect.gen(function* () {
          const { insert } = yield* slowCommit("f16_unknown", 20)
          const lost = (options?: Sql.TransactionOptions) =>
            Effect.gen(function* () {
              const fiber = yield* Effect.fork(unknown(insert(options)))
              yield* committing(name)
              yield* cluster.primary.terminateBackends({ applicationName: name })
              return yield* Fiber.join(fiber)
            })
          assert.strictEqual(yield* (yield* lost({ verifyCommit: false })).verify, "unknown")
          const { verify } = yield* lost()
          yield* proxy.refuse
          yield* proxy.cut
          assert.strictEqual(yield* verify, "unknown")
          yield* proxy.heal
          assert.strictEqual(yield* verify, "rolledBack")
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("verifyCommit changes nothing about a transaction that succeeds, whether it writes or only reads", () =>
    onPool({ pool: { maxSize: 2 } }, () =>
      Effect.gen(function* () {
        yield* table("f16_plain", "id int")
        yield* Sql.withTransaction({ verifyCommit: true })(Sql.query("insert into f16_plain values (1)"))
        yield* Sql.withTransaction({ verifyCommit: true, readOnly: true })(Sql.query("select 1"))
        assert.deepStrictEqual(yield* rowsOf("f16_plain"), [1])
      })
    )
  )

  it.effect("statementTimeout does not bound COMMIT: one that takes longer is written, and says so", () =>
    onPool({ statementTimeout: "300 millis", pool: { maxSize: 2 } }, () =>
      Effect.gen(function* () {
        const { insert } = yield* slowCommit("patient", 2.2)
        yield* insert({ commitTimeout: "30 seconds", verifyCommit: false, retry: false })
        assert.deepStrictEqual(yield* rowsOf("patient"), [1])
      })
    )
  )
})
