import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Example from "../../../../test/support/example.js"

const { common, holds, start } = Example.make(import.meta.url, "npx pnpm demo:recover")

describe.sequential("npx pnpm demo:recover", () => {
  it.scopedLive(
    "shows both sides, judges ours, ends with exit code 0, and leaves no server",
    () =>
      Effect.gen(function* () {
        const started = yield* start()
        yield* holds(started, 17, /≤ \d+ s |within \d+ s|connects a second/)
        const { out } = started.said
        assert.match(out, /\d s {2}Sluice +\d+ +\d+ .*\n +\d s {2}Sequelize 6 +\d+ +\d+ /)
        assert.match(out, /writes at full throughput +\S+/)
      }),
    150_000
  )

  common({ middle: /Sequelize 6 +\d/ })
})
