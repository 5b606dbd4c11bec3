/** The page cannot import what the other boards write numbers with, so it has the same once more. */
import { assert, describe, it } from "@effect/vitest"
// @ts-expect-error It is a part of the page, and has no types.
import * as Page from "../src/internal/board/page/words.js"
import * as Words from "../src/internal/words.js"

describe("The page of the board", () => {
  it("writes durations, shares and counts as the other boards do", () => {
    const values = [
      0, 0.04, 0.35, 1, 9.94, 9.96, 100, 999.4, 999.6, 9_949, 9_951, 119_499, 119_501, 7_169_999, 7_170_001, 1e9
    ]
    for (const value of values) {
      assert.strictEqual(Page.duration(value), Words.duration(value))
      assert.strictEqual(Page.counted(value, "caller"), Words.count(value, "caller"))
    }
    for (const share of [0, 0.0001, 0.004, 0.0099, 0.01, 0.5, 0.989, 0.995, 0.9999, 1, 2.7]) {
      assert.strictEqual(Page.percent(share), Words.percent(share))
    }
  })
})
