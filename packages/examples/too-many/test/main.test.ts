import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Example from "../../../../test/support/example.js"

const { common, holds, start } = Example.make(import.meta.url, "npx pnpm demo:too-many")

describe("npx pnpm demo:too-many", () => {
  it.scopedLive("forty connections are too many, forty callers of query() are not; it ends with exit code 0", () =>
    Effect.gen(function* () {
      const started = yield* start()
      yield* holds(started, 5)
      const { out } = started.said
      assert.match(
        out,
        /✓ 1\. 40 requests at once, a connection each: most are refused\n +\d+ served, \d+ refused: .*Too many connections/
      )
      assert.match(out, /✓ 3\. .*: all are served\n +40 served, 0 refused\n/)
    })
  )

  common({})
})
