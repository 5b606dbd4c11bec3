import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Example from "../../../../test/support/example.js"

const { common, holds, start } = Example.make(import.meta.url, "npx pnpm demo:share")

/** Claims about time are true of the demo, but not of a machine that is busy with other tests. */
const timed = /in class background|99 of 100|of the same class|within \d+ s/

describe.sequential("npx pnpm demo:share", () => {
  it.scopedLive(
    "two pools in each process are too many connections, one Layer is not; a flood in class background holds up no request",
    () =>
      Effect.gen(function* () {
        const started = yield* start()
        yield* holds(started, 13, timed)
        const { out } = started.said
        assert.match(
          out,
          / \d s {2}and the requests of the day come +served +\d+ {2}failed +\d+ {2}connections 27 of 27\n/
        )
        assert.match(
          out,
          /✓ 1\. two pools in each process, 40 connections for 27 places: .*\n +\d+ of \d+; 27 connections/
        )
        assert.match(out, /✓ 3\. one Layer in each process: every request is served\n +0 of \d+ failed\n/)
        assert.match(out, /✓ 10\. .*\n +5,000 in \S+ \S+, 5,000 in /)
      }),
    150_000
  )

  common({ middle: /and the job begins/ })
})
