/** The scenarios of `pnpm faults` as tests: each is measured once on ours, and its contract is asserted. */
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Effect } from "effect"
import { eventually } from "../contract/contract.js"
import { Server } from "./clusters.js"
import { scenarios } from "./scenarios/index.js"
import { Patience } from "./scenarios/support.js"
import { claimsOf } from "./scoreboard/judge.js"
import { type Client, type Numbers, type Rig, titleOf } from "./scoreboard/model.js"
import { rigOf } from "./scoreboard/runner.js"
import { sluice } from "./scoreboard/sluice.js"

/**
 * Asserts the contract of a scenario, then checks the books. A machine that does other things too may be late, so of a time only
 * that it ends is asserted: how long it takes is on the scoreboard. `measure` is how the scenario measures, unless it says otherwise.
 */
export const holds = (title: string, measure?: (rig: Rig) => ReturnType<(typeof scenarios)[number]["run"]>) =>
  Effect.gen(function* () {
    const scenario = scenarios.find((one) => titleOf(one) === title)
    if (scenario === undefined) return yield* Effect.dieMessage(`there is no scenario "${title}"`)
    const rig = rigOf(sluice, yield* Server)
    const clients: Array<Client> = []
    const open: Rig["open"] = (options) =>
      Effect.tap(rig.open(options), (client) => Effect.sync(() => clients.push(client)))
    const numbers: Numbers = yield* Effect.scoped((measure ?? scenario.run)({ ...rig, open })).pipe(
      Effect.provideService(Patience, 10)
    )
    const broken = claimsOf(scenario, [numbers]).filter(({ holds, key }) =>
      scenario.numbers[key]!.unit === "ms" ? numbers[key] === "never" : !holds
    )
    assert.deepStrictEqual(
      broken.map(({ actual, limit, title }) => `${title}: ${actual} (${limit})`),
      []
    )
    for (const client of clients) {
      const { read, write } = yield* Effect.provide(Sql.stats, client.sluice!)
      for (const { closed, connects, size } of [write, ...read]) {
        const all = Object.values(closed).reduce((sum, n) => sum + n, 0)
        assert.deepStrictEqual({ size, all }, { size: 0, all: connects }, "connections opened and closed")
      }
    }
    // What a broken path has left behind is nobody's fault.
    yield* rig.cluster.end(rig.name)
    yield* eventually(
      "no session is left on the server",
      Effect.map(rig.cluster.sessions(rig.name), (left) => left.length === 0)
    )
    return numbers
  })
