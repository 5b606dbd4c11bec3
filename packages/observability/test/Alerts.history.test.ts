import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { History } from "../src/internal/alerts/history.js"

const SPAN = 60_000

describe("the history of counters", () => {
  it("knows what was counted in a span to the sixtieth part of it, whatever comes when", () => {
    const moments = fc.array(fc.tuple(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 0, max: 9 })), {
      minLength: 1,
      maxLength: 300
    })
    fc.assert(
      fc.property(moments, (moments) => {
        const history = new History([SPAN], 1)
        const all: Array<readonly [at: number, value: number]> = []
        let now = 0
        let value = 0
        for (const [later, more] of moments) {
          now += later
          value += more
          all.push([now, value])
          history.push(now, [value])
        }
        const found = history.increase(SPAN, 0)
        const kept = all.filter(([at]) => at >= now - SPAN)
        const late = kept.filter(([at]) => at <= Math.max(kept[0]![0], now - SPAN + SPAN / 60 + 5_000))
        const possible = late.map(([, old]) => value - old)
        assert.include(possible, found)
      })
    )
  })

  it("begins anew when a counter goes back, because another pool has the name", () => {
    const history = new History([SPAN], 2)
    history.push(0, [100, 100])
    history.push(1_000, [150, 160])
    history.push(2_000, [3, 200])
    assert.strictEqual(history.increase(SPAN, 0), 0)
    history.push(3_000, [7, 210])
    assert.deepStrictEqual([history.increase(SPAN, 0), history.increase(SPAN, 1)], [4, 10])
  })

  it("knows nothing of what it was not told", () => {
    const history = new History([SPAN], 2)
    assert.isNaN(history.increase(SPAN, 0))
    history.push(0, [])
    assert.isNaN(history.increase(SPAN, 0))
    history.push(0, [1, 1])
    assert.isNaN(history.increase(2 * SPAN, 0))
  })
})
