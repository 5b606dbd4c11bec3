/** The rule by which an overload is seen: pure functions. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Shedding from "../src/internal/shedding.js"

const settings: Shedding.Settings = { mode: "on", target: 50, interval: 500 }

/** What is known after looks at these moments. */
const after = (looks: ReadonlyArray<readonly [at: number, isLate: boolean]>) =>
  looks.reduce((s, [at, isLate]) => Shedding.looked(s, settings, isLate, at), Shedding.initial)

const looks = fc.array(fc.tuple(fc.integer({ min: 0, max: 300 }), fc.boolean()), { maxLength: 50 }).map((steps) => {
  let at = 0
  return steps.map(([ms, isLate]) => {
    at += ms
    return [at, isLate] as const
  })
})

describe("the rule of shedding", () => {
  it("is that every look of a whole interval has found the oldest waiter too old", () => {
    fc.assert(
      fc.property(looks, (all) => {
        const lastGood = all.findLastIndex(([, isLate]) => !isLate)
        const bad = all.slice(lastGood + 1)
        const lasted = bad.length === 0 ? -1 : bad.at(-1)![0] - bad[0]![0]
        assert.strictEqual(after(all).isOverloaded, lasted >= settings.interval)
      })
    )
  })

  it("forgets at the first look that finds nobody too old", () => {
    assert.isTrue(
      after([
        [0, true],
        [500, true]
      ]).isOverloaded
    )
    assert.strictEqual(
      after([
        [0, true],
        [500, true],
        [501, false]
      ]),
      Shedding.initial
    )
  })

  it("lets nobody wait for half of its time, however long the target is", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1, max: 1e6, noNaN: true }),
        fc.double({ min: 1, max: 1e6, noNaN: true }),
        (a, b) => {
          const limit = Shedding.limitOf({ ...settings, target: a }, b)
          assert.isAtMost(limit, b / 2)
          assert.isAtMost(limit, 2 * a)
        }
      )
    )
    assert.strictEqual(Shedding.limitOf(settings, Infinity), 100)
  })

  it("looks again later, and in time to see what it waits for", () => {
    fc.assert(
      fc.property(looks, fc.integer({ min: 0, max: 2_000 }), (all, age) => {
        const s = after(all)
        const at = all.at(-1)?.[0] ?? 0
        const next = Shedding.nextLook(s, settings, age, Infinity, at)
        assert.isAtLeast(next, at + 1)
        assert.isAtMost(next, at + settings.interval)
        if (s.lateSince === Infinity && age < settings.target) assert.strictEqual(next, at + settings.target - age)
      })
    )
  })
})
