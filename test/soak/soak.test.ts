import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { cancels } from "./cancels.js"
import { chaos } from "./chaos.js"
import { consistency } from "./consistency.js"
import { rows } from "./rows.js"
import type { Settings, Soak } from "./soak.js"

/** The soaks in short: the same claims, but for what the machine decides. `pnpm soak` runs them at full length. */
const holds = (soak: Soak, settings: Omit<Settings, "progress" | "seed"> & { readonly seed?: number }) =>
  Effect.gen(function* () {
    const { seed = Date.now() % 2 ** 32 } = settings
    const claims = yield* soak.run({ progress: () => {}, ...settings, seed })
    const broken = claims.filter((claim) => !claim.holds && claim.isOfTheMachine !== true)
    assert.deepStrictEqual(
      broken.map(({ actual, limit, name }) => `${name}: ${actual} (${limit})`),
      [],
      `seed ${seed}`
    )
  })

describe("soaks in short", () => {
  it.live(
    "interrupts at a thousand a second: no neighbour is hit, never more sessions than maxSize, nothing is left",
    () => holds(cancels, { seconds: 2 })
  )

  it.live("a stream of 300,000 rows at constant memory; interrupted half-way the connection is back, and clean", () =>
    holds(rows, { rows: 300_000 })
  )

  it.live(
    "200 writes on each database, each read at once, while replicas lag, stand still and take over: none is missed",
    () => holds(consistency, { pairs: 200 }),
    180_000
  )

  it.live(
    "faults at random on a primary and two replicas of each database: what 50 workers were told is true",
    () => holds(chaos, { seconds: 4, seed: 130 }),
    300_000
  )
})
