/** The scenarios of overload on a virtual clock: the engine of the pool under the same callers each time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { scenarios } from "../fault/scenarios/overload.js"
import { claimsOf } from "../fault/scoreboard/judge.js"
import type { Rig } from "../fault/scoreboard/model.js"
import { play } from "../support/traffic/play.js"
import { trace } from "../support/traffic/trace.js"

describe("overload", () => {
  for (const scenario of scenarios.filter(({ places }) => places.includes("virtual"))) {
    // What F27 costs is measured by the command.
    if (scenario.id === "F27") continue
    it.effect(`${scenario.id}: ${scenario.name}`, () =>
      Effect.gen(function* () {
        const numbers = yield* Effect.orDie(Effect.scoped(scenario.run(undefined as unknown as Rig)))
        for (const { actual, holds, limit, title } of claimsOf(scenario, [numbers])) {
          assert.isTrue(holds, `${title}: ${actual} (${limit})`)
        }
      })
    )
  }

  const callers = trace(
    { load: 3, work: 20, millis: 5_000, connections: 10, patience: 1_000, classes: { high: 0.2, normal: 0.8 } },
    1
  )
  for (const target of [5, 50, 500]) {
    it(`with a target of ${target} ms at least 90 % of what can be done is done in time, and everybody is answered once`, () => {
      const pool = { shedding: { mode: "on" as const, target } }
      const { engine, outcomes } = play({ name: "ours", pool }, callers, { connections: 10 })
      const done = outcomes.filter(({ isUseful }) => isUseful).reduce((sum, { caller }) => sum + caller.work, 0)
      assert.isAbove(done / (10 * 5_000), 0.9)
      assert.strictEqual(new Set(outcomes.map(({ caller }) => caller)).size, callers.length)
      const stats = engine.stats(6_000)
      assert.deepInclude(stats, { using: 0, waiting: 0, lateGrants: 0, connecting: 0, size: 10 })
      assert.strictEqual(stats.acquired + stats.shed + stats.timeouts, callers.length)
    })
  }
})
