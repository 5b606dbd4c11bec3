import { assert, describe, it } from "@effect/vitest"
import { Panels, Thresholds } from "@sluice/observability"
import { Either } from "effect"

const problems = (options: object): ReadonlyArray<string> =>
  Either.match(Thresholds.make(options), { onLeft: ({ problems }) => problems, onRight: () => [] })

describe("Thresholds", () => {
  it("are the defaults where nothing else is said, also in half of a pair", () => {
    const given = { waitP95Ms: 250, slowMs: undefined, lagMs: { critical: 300_000, warning: undefined } }
    assert.deepStrictEqual(Either.getOrThrow(Thresholds.make(given)), {
      ...Thresholds.standard,
      waitP95Ms: 250,
      lagMs: { warning: 10_000, critical: 300_000 }
    })
    assert.deepStrictEqual(Either.getOrThrow(Thresholds.make()), Thresholds.standard)
  })

  it("every default is in its range, and a number below or above each range is refused by its name", () => {
    assert.isTrue(Either.isRight(Thresholds.make(Thresholds.standard)))
    for (const [name, value] of Object.entries(Thresholds.standard)) {
      for (const wrong of [-1, 1e12, Number.NaN, Infinity, "1"]) {
        const given = typeof value === "number" ? wrong : { critical: wrong }
        assert.include(problems({ [name]: given })[0], `${name}`, `${name} takes ${wrong}`)
      }
    }
  })

  it("an unknown name, and a warning above its critical, are refused; all problems are told at once", () => {
    assert.deepStrictEqual(problems({ utilization: { warning: 0.99 } }), [
      "utilization.warning (0.99) is above utilization.critical (0.95)"
    ])
    assert.lengthOf(problems({ waitP95: 100, slowMs: 0 }), 2)
    assert.include(problems({ waitP95: 100 })[0], "did you mean waitP95Ms?")
  })
})

describe("Panels", () => {
  it("each has an id and a title of its own, and a sentence", () => {
    const { all, get } = Panels
    for (const what of ["id", "title", "description"] as const)
      assert.strictEqual(new Set(all.map((panel) => panel[what])).size, all.length)
    for (const panel of all) {
      assert.match(panel.description, /^[A-Z].*\.$/)
      assert.strictEqual(get(panel.id), panel)
    }
  })
})
