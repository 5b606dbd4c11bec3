import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Effect, Fiber, Logger } from "effect"
import { eventually, unique } from "../contract/contract.js"
import { pooled, scenarios } from "./rig.js"

scenarios("F17: a handler returns with an open transaction", ({ it, run, sleep }) => {
  it.effect("it is rolled back or destroyed, however the handler ends, and its connection is never reused dirty", () =>
    run({ pool: { maxSize: 1 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const table = unique("left_open")
        const query = (text: string) => Sql.query(text.replaceAll("%", table))
        yield* query("create table % (id int primary key)")
        const begun = query("begin").pipe(Effect.zipRight(query("insert into % values (1)")))
        const endings: Readonly<Record<string, Effect.Effect<unknown, unknown, Sql.Sql>>> = {
          "it succeeds": Effect.void,
          "it fails": Effect.fail("no"),
          "it dies": Effect.die("bug"),
          "it is interrupted": Effect.interrupt,
          "its statement fails": query("select 1 from nowhere"),
          "its statement is interrupted": Effect.timeout(sleep(30), "20 millis"),
          "it is interrupted beside its statement": Effect.gen(function* () {
            const fiber = yield* Effect.fork(sleep(30))
            yield* Effect.sleep("20 millis")
            yield* Fiber.interruptFork(fiber)
          })
        }
        for (const [ending, effect] of Object.entries(endings)) {
          yield* Effect.exit(Sql.withConnection(Effect.zipRight(begun, effect)))
          assert.deepStrictEqual(yield* query("select id from %"), [], ending)
          yield* eventually(
            `${ending}: no transaction is left open`,
            Effect.flatMap(sessions, (all) =>
              pooled(all, (n) => n === 1 && all.every(({ inTransaction }) => !inTransaction))
            )
          )
          // A lock that were left would stop this.
          yield* query("delete from %")
        }
        // What could be cleaned was: nobody paid for a connect.
        assert.strictEqual((yield* Sql.stats).write.connects, 1)
        // Outside of a pin too: the statement after it has the same connection.
        yield* query("begin")
        yield* query("insert into % values (3)")
        yield* Effect.ignore(query("rollback"))
        assert.deepStrictEqual(yield* query("select id from %"), [{ id: 3 }])
      })
    )
  )

  /** What the program is told while a handler runs and the connection comes back. */
  const warnings = <A, E>(handler: Effect.Effect<A, E, Sql.Sql>) =>
    Effect.gen(function* () {
      const logs: Array<string> = []
      const logger = Logger.make(({ message }) => void logs.push(String(message)))
      yield* run({ pool: { maxSize: 1 } }, () =>
        Effect.exit(Effect.withSpan(handler, "handler")).pipe(Effect.zipRight(Sql.query("select 1")))
      ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      return logs
    })

  const begin = Sql.query("begin")
  const leaves = Effect.timeout(sleep(30), "20 millis")

  it.effect("it is reported, with the span of the handler and what it was doing", () =>
    Effect.gen(function* () {
      const idle = yield* warnings(Sql.withConnection(begin))
      assert.lengthOf(idle, 1)
      assert.match(
        idle[0]!,
        /^127\.0\.0\.1:\d+\/sluice: a connection came back with an open transaction.*in span "handler"; it was held for \d+ ms; idle in transaction\)/
      )
      const busy = yield* warnings(Sql.withConnection(Effect.zipRight(begin, leaves)))
      assert.lengthOf(busy, 1)
      assert.match(busy[0]!, /in span "handler"; it was held for \d+ ms; busy: .*sleep\(/)
      // Nobody can end this one: the next statement has another connection, or the same one after it was cleaned.
      const alone = yield* warnings(begin)
      assert.lengthOf(alone, 1)
      assert.match(alone[0]!, /in span "handler"/)
    })
  )

  it.effect("what withTransaction could not end in time is no such thing", () =>
    Effect.gen(function* () {
      for (const handler of [
        Sql.withTransaction(leaves),
        Sql.withTransaction(Effect.zipRight(Sql.query("select 1"), leaves)),
        Sql.withTransaction(Sql.withTransaction(leaves)),
        Sql.withConnection(Sql.withTransaction(leaves)),
        Sql.withTransaction(Sql.query("select 1 from nowhere"))
      ]) {
        assert.deepStrictEqual(yield* warnings(handler), [])
      }
    })
  )
})
