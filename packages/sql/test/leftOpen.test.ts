import { assert, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { Clock, Effect, Logger, TestClock } from "effect"
import * as LeftOpen from "../src/internal/session/leftOpen.js"

it.effect(
  "a handler that leaves a transaction open with every request is reported once in ten seconds, with the number",
  () =>
    Effect.gen(function* () {
      const logs: Array<string> = []
      const logger = Logger.make(({ message }) => void logs.push(String(message)))
      const { report } = LeftOpen.make(Deadline.nowOf(yield* Clock.clockWith(Effect.succeed)))
      const left = { connection: 1, heldMs: 12.4, activity: undefined, span: undefined }
      const again = Effect.repeatN(report("db", {}, "transaction", left), 2)
      yield* Effect.gen(function* () {
        yield* again
        assert.lengthOf(logs, 1)
        assert.include(logs[0], "(it was held for 12 ms)")
        yield* TestClock.adjust("10 seconds")
        yield* again
        assert.lengthOf(logs, 2)
        assert.include(logs[1], "(it was held for 12 ms; and 2 more since the last report)")
      }).pipe(Effect.provide(Logger.add(logger)))
    })
)
