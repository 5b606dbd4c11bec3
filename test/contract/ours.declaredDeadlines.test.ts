/**
 * A declared deadline on real servers. Every form of statement fails with `StatementTimeout` by then, whether or not its fiber can
 * be interrupted; the server is told to stop, and the connection serves the next caller.
 */
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Clock, Effect, Schedule, Stream } from "effect"
import { nothingRuns, ours, reasonOf, rowsOf, table } from "./ours.js"

/** Milliseconds. The statements would take a hundred times as long. */
const WAIT = 300

const by = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Sql.withDeadline(now + WAIT)(effect))

ours("declared deadlines", ({ insert, it, onPool, session, sleep, words }) => {
  const long = sleep(30)
  const streamed = Effect.flatMap(SqlClient.SqlClient, (sql) => Stream.runDrain(sql.unsafe(words.sleep(30)).stream))
  const after = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.zipRight(session, effect)
  const forms = {
    "a statement": by(long),
    "a read": by(Sql.read(long)),
    "a pinned statement": by(Sql.withConnection(after(long))),
    "the first statement of a transaction": by(Sql.withTransaction(long)),
    "a later statement of a transaction": Sql.withTransaction(after(by(long))),
    "a statement of a savepoint": by(Sql.withTransaction(after(Sql.withTransaction(after(long))))),
    "a stream": by(streamed),
    "a stream on a pin": by(Sql.withConnection(after(streamed))),
    "a stream in a transaction": by(Sql.withTransaction(after(streamed))),
    "a transaction with a timeout": Sql.withTransaction({ timeout: WAIT })(after(long)),
    "work that a schedule runs again": by(Sql.retry(Schedule.recurs(9))(long))
  }

  for (const [form, statement] of Object.entries(forms)) {
    for (const interruptible of [true, false]) {
      it.effect(`${form} ends by its deadline${interruptible ? "" : ", and cannot be interrupted"}`, () =>
        onPool({ pool: { maxSize: 2 } }, (name) =>
          Effect.gen(function* () {
            const began = performance.now()
            const reason = yield* reasonOf(interruptible ? statement : Effect.uninterruptible(statement))
            const elapsed = performance.now() - began
            assert.strictEqual(reason._tag, "StatementTimeout")
            assert.isTrue(elapsed >= WAIT - 20 && elapsed < 15_000, `${elapsed} ms`)
            yield* nothingRuns(name)
            yield* Effect.all([session, session], { concurrency: 2 })
          })
        )
      )
    }
  }

  it.effect("a transaction whose time is almost over is rolled back instead of committed", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("floors", "id int primary key")
        const slow = (millis: number) => Effect.zipRight(insert("floors", millis), Effect.sleep(millis))
        for (const millis of [490, 495]) {
          const reason = yield* reasonOf(Sql.withTransaction({ timeout: 500 })(slow(millis)))
          assert.deepStrictEqual([reason._tag, reason.outcome], ["StatementTimeout", "rolledBack"])
        }
        yield* Sql.withTransaction({ timeout: "30 seconds" })(slow(1))
        assert.deepStrictEqual(yield* rowsOf("floors"), [1])
      })
    )
  )
})
