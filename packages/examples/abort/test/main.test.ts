import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Example from "../../../../test/support/example.js"

const { common, holds, start } = Example.make(import.meta.url, "npx pnpm demo:abort")

describe("npx pnpm demo:abort", () => {
  it.scopedLive(
    "the middleware leaks, its fix drops POSTs, and ours does neither; it ends with exit code 0",
    () =>
      Effect.gen(function* () {
        const started = yield* start()
        // How soon a request is served is true of the example, but not of a machine that is busy with other tests.
        yield* holds(started, 8, / 7\. /)
        const { out } = started.said
        assert.match(out, /1\. the middleware of the report: .*\n +10 in use and 0 statements running/)
        assert.match(
          out,
          /4\. but it drops every healthy POST.*\n +0 of \d+ POSTs answered, \d+ of \d+ GETs answered\n/
        )
        assert.match(out, /5\. Sluice, 10,000 aborted requests: .*\n +0 in use and 0 statements running/)
        assert.match(out, /6\. no healthy request is dropped meanwhile\n/)
      }),
    // On a busy machine the flood takes its time.
    240_000
  )

  common({ middle: "aborted requests to the middleware" })
})
