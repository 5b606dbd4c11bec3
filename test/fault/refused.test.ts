import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Clock, Effect, Stream } from "effect"
import { eventually } from "../contract/contract.js"
import { attemptsIn, scenarios, times } from "./rig.js"

scenarios("F15: the server takes no more connections", ({ it, run, sleep }) => {
  it.effect("callers share those that are open, none fails, and at most 10 connects a second are tried", () =>
    run({ room: 3, pool: { maxSize: 10 } }, ({ sessions }) =>
      Effect.gen(function* () {
        const began = yield* Clock.currentTimeMillis
        let most = 0
        yield* Effect.map(sessions, (all) => {
          most = Math.max(most, all.length)
        }).pipe(Effect.zipRight(Effect.sleep("20 millis")), Effect.forever, Effect.forkScoped)
        const reasons = new Set<string>()
        yield* Effect.forkScoped(
          Stream.runForEach(Sql.events, ({ event }) =>
            Effect.sync(() => {
              if (event._tag === "ConnectFailed") reasons.add(SqlReason.of(event.cause as SqlError)._tag)
            })
          )
        )
        const callers = Effect.all(
          Array.from({ length: 40 }, () => Effect.repeatN(sleep(0.02), 9)),
          { concurrency: "unbounded", discard: true }
        )
        yield* eventually(
          "three are open, and the server has refused more",
          Effect.zipRight(
            callers,
            Effect.map(Sql.stats, ({ write }) => write.size === 3 && write.connectFailures > 0)
          )
        )
        const seconds = ((yield* Clock.currentTimeMillis) - began) / 1_000
        const { connectFailures, connects, size, timeouts } = (yield* Sql.stats).write
        assert.deepStrictEqual([...reasons], ["TooManyConnections"])
        assert.isAtMost(connectFailures, attemptsIn(seconds))
        assert.strictEqual(timeouts, 0)
        assert.strictEqual(size, 3)
        assert.strictEqual(connects, 3)
        assert.isAtMost(most, 3)
        // All of them are used at once.
        yield* times(3, sleep(0.05))
      })
    )
  )
})
