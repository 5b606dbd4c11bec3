import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import { backends, eventually, onPool, pid, reasonOf, rowsOf, table } from "./support/fixture.js"

const insert = (name: string, id: number) => Sql.query(`insert into ${name} values ($1)`, [id])

/** A table whose rows make COMMIT sleep: the only way to stand inside of a COMMIT for a while. */
const slowCommit = (name: string, seconds: number) =>
  Effect.gen(function* () {
    yield* table(name, "id int")
    yield* Sql.query(
      `create or replace function ${name}_sleep() returns trigger language plpgsql as $$ begin perform pg_sleep(${seconds}); return null; end $$`
    )
    yield* Sql.query(
      `create constraint trigger slow after insert on ${name} deferrable initially deferred for each row execute function ${name}_sleep()`
    )
  })

const committing = (name: string) =>
  eventually(
    "COMMIT runs",
    Effect.map(backends(name), (all) => all.some((one) => one.query === "COMMIT" && one.state === "active"))
  )

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("transactions", (it) => {
  it.effect("a constraint that fails at COMMIT is a typed failure, and the connection goes on", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* Sql.query("drop table if exists child, parent")
        yield* Sql.query("create table parent (id int primary key)")
        yield* Sql.query("create table child (id int references parent deferrable initially deferred)")
        const before = yield* pid
        const reason = yield* reasonOf(Sql.withTransaction(insert("child", 1)))
        assert.strictEqual(reason._tag, "ForeignKeyViolation")
        assert.strictEqual(reason.outcome, "rolledBack")
        assert.deepStrictEqual(yield* rowsOf("child"), [])
        assert.strictEqual(yield* pid, before)
      })
    )
  )

  it.effect("a transaction whose failed statement was caught fails: nothing was written", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("swallowed", "id int primary key")
        const error = yield* Effect.flip(
          Sql.withTransaction(insert("swallowed", 1).pipe(Effect.zipRight(Effect.ignore(insert("swallowed", 1)))))
        )
        assert.strictEqual(SqlReason.of(error)._tag, "TransactionAborted")
        assert.strictEqual(SqlReason.of(error).code, "23505")
        assert.include(error.message, "UniqueViolation")
        assert.deepStrictEqual(yield* rowsOf("swallowed"), [])
      })
    )
  )

  it.effect(
    "isolation, readOnly and deferrable are the server's; Sql.read makes it read only; nested ones cannot differ",
    () =>
      onPool({}, () =>
        Effect.gen(function* () {
          const setting = (name: string) =>
            Effect.map(Sql.query<{ v: string }>(`select current_setting('${name}') as v`), (rows) => rows[0]!.v)
          const all = Effect.all([
            setting("transaction_isolation"),
            setting("transaction_read_only"),
            setting("transaction_deferrable")
          ])
          assert.deepStrictEqual(
            yield* Sql.withTransaction({ isolation: "serializable", readOnly: true, deferrable: true })(all),
            ["serializable", "on", "on"]
          )
          assert.deepStrictEqual(yield* Sql.withTransaction({ isolation: "repeatable read" })(all), [
            "repeatable read",
            "off",
            "off"
          ])
          assert.deepStrictEqual(yield* Sql.read(Sql.withTransaction(all)), ["read committed", "on", "off"])
          yield* Sql.withTransaction({ isolation: "serializable" })(
            Effect.gen(function* () {
              const other = yield* reasonOf(Sql.withTransaction({ isolation: "repeatable read" })(all))
              assert.strictEqual(other._tag, "InvalidUse")
              assert.strictEqual((yield* Sql.withTransaction({ isolation: "serializable" })(all))[0], "serializable")
            })
          )
          yield* table("readonly", "id int")
          const write = yield* reasonOf(Sql.withTransaction({ readOnly: true })(insert("readonly", 1)))
          assert.strictEqual(write._tag, "NotWritable")
          assert.strictEqual(write.connection, "keep")
          const announced = yield* reasonOf(Sql.read(Sql.withTransaction(Sql.write(insert("readonly", 1)))))
          assert.strictEqual(announced._tag, "InvalidUse")
        })
      )
  )

  it.effect("of two transactions that cannot both be true, one fails with a typed failure that may be run again", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("skew", "id int")
        const both = yield* Deferred.make<void>()
        let arrived = 0
        const one = (id: number) =>
          Effect.gen(function* () {
            yield* Sql.query("select count(*) from skew")
            if (++arrived === 2) yield* Deferred.succeed(both, undefined)
            yield* Deferred.await(both)
            yield* insert("skew", id)
          }).pipe(Sql.withTransaction({ isolation: "serializable" }), Effect.exit)
        const exits = yield* Effect.all([one(1), one(2)], { concurrency: 2 })
        const failures = exits.flatMap((exit) => (Exit.isFailure(exit) ? [SqlReason.of(Cause.squash(exit.cause))] : []))
        assert.deepStrictEqual(
          failures.map(({ _tag, retry }) => [_tag, retry]),
          [["SerializationFailure", "transaction"]]
        )
        assert.lengthOf(yield* rowsOf("skew"), 1)
      })
    )
  )

  it.effect("a COMMIT whose answer is lost, or late, is CommitUnknown", () =>
    onPool({ pool: { maxSize: 2, abortTimeout: "1 second" } }, (name) =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        yield* slowCommit("lost_commit", 30)
        const lost = yield* Effect.fork(reasonOf(Sql.withTransaction(insert("lost_commit", 1))))
        yield* committing(name)
        yield* cluster.primary.terminateBackends({ applicationName: name })
        const reason = yield* Fiber.join(lost)
        assert.strictEqual(reason._tag, "CommitUnknown")
        assert.strictEqual(reason.outcome, "unknown")
        const late = yield* reasonOf(Sql.withTransaction({ commitTimeout: "100 millis" })(insert("lost_commit", 2)))
        assert.strictEqual(late._tag, "CommitUnknown")
        assert.deepStrictEqual(yield* rowsOf("lost_commit"), [])
      })
    )
  )

  it.effect("an interruption does not cut a COMMIT short", () =>
    onPool({}, (name) =>
      Effect.gen(function* () {
        yield* slowCommit("slow_commit", 0.3)
        const fiber = yield* Effect.fork(Sql.withTransaction(insert("slow_commit", 1)))
        yield* committing(name)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* rowsOf("slow_commit"), [1])
      })
    )
  )
})
