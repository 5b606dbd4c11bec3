import { assert, describe, it } from "@effect/vitest"
import { distribution, Histogram } from "../src/internal/recorder/histogram.js"

/** The same numbers in each run. */
const random = (seed: number) => () => {
  seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32
  return seed / 2 ** 32
}

describe("the histogram", () => {
  it("gives percentiles that are at most 5 % too high or too low, whatever the times are, and exact means and maxima", () => {
    const next = random(7)
    const shapes: Record<string, () => number> = {
      even: () => next() * 1_000,
      exponential: () => -Math.log(1 - next()) * 20,
      "of all sizes": () => 0.01 * 10 ** (next() * 8),
      equal: () => 42,
      "mostly none": () => (next() < 0.9 ? 0 : next() * 5_000)
    }
    for (const [name, one] of Object.entries(shapes)) {
      const parts = [new Histogram(), new Histogram()]
      const values = Array.from({ length: 5_000 }, one)
      for (const [i, value] of values.entries()) parts[i % 2]!.add(value)
      const sorted = values.toSorted((a, b) => a - b)
      const told = distribution(parts)
      for (const [share, value] of [
        [0.5, told.p50Ms],
        [0.95, told.p95Ms],
        [0.99, told.p99Ms]
      ] as const) {
        const exact = sorted[Math.ceil(share * 5_000) - 1]!
        assert.approximately(value, exact < 0.01 ? 0 : exact, exact * 0.05, `${name}, ${share}`)
      }
      assert.strictEqual(told.maxMs, sorted.at(-1))
      assert.approximately(told.meanMs, values.reduce((all, value) => all + value, 0) / 5_000, 1e-6)
    }
  })

  it("counts what is no time, and what is longer than an hour, too", () => {
    const histogram = new Histogram()
    for (const value of [Number.NaN, -1, 0, 1e9]) histogram.add(value)
    assert.deepInclude(distribution([histogram]), { count: 4, p50Ms: 0 })
    histogram.clear()
    assert.deepStrictEqual(distribution([histogram]), { count: 0, meanMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 })
  })
})
