import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Effect, Fiber } from "effect"
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
})
