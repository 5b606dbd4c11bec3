import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Governor from "../src/internal/governor.js"

const settings: Governor.Settings = { backoffBase: 50, backoffCap: 2_000, failFastAfter: 5_000 }
const down = { cause: "refused", kind: "unreachable", open: 0 } as const

/** `n` failures in a row, each as soon as it may happen. */
const failures = (n: number, failure: Parameters<typeof Governor.failed>[2], random = 1, from = Governor.initial) => {
  const all: Array<Governor.Governor> = []
  let g = from
  for (let i = 0, now = 1_000; i < n; i++) {
    g = Governor.failed(Governor.attempted(g), settings, failure, now, random)
    now = g.notBefore
    all.push(g)
  }
  return all
}

describe("the pause after a failed connect", () => {
  it("begins at base, is drawn between base and three times the last one, and ends at cap", () => {
    assert.deepStrictEqual(
      failures(6, down, 1).map((g) => g.pause),
      [50, 150, 450, 1_350, 2_000, 2_000]
    )
    assert.deepStrictEqual(
      failures(4, down, 0).map((g) => g.pause),
      [50, 50, 50, 50]
    )
    assert.deepStrictEqual(
      failures(3, down, 0.5).map((g) => g.pause),
      [50, 100, 175]
    )
  })

  it("is within [base, cap] whatever happens, and the next connect is not before it", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_000 }),
        fc.integer({ min: 0, max: 60_000 }),
        fc.array(
          fc.record({
            kind: fc.constantFrom("unreachable" as const, "overloaded" as const),
            open: fc.integer({ min: 0, max: 3 }),
            random: fc.double({ min: 0, max: 1, noNaN: true }),
            wait: fc.integer({ min: 0, max: 10_000 })
          }),
          { minLength: 1, maxLength: 40 }
        ),
        (base, span, steps) => {
          const own = { backoffBase: base, backoffCap: base + span, failFastAfter: 5_000 }
          let g = Governor.initial
          let now = 0
          for (const { kind, open, random, wait } of steps) {
            now += wait
            g = Governor.failed(g, own, { cause: "x", kind, open }, now, random)
            assert.isTrue(
              g.pause >= own.backoffBase && g.pause <= own.backoffCap,
              `${g.pause} is not in [${own.backoffBase}, ${own.backoffCap}]`
            )
            assert.strictEqual(g.notBefore, now + g.pause)
            assert.isFalse(Governor.permits(g, g.notBefore - 1, open, 0))
            assert.isTrue(Governor.permits(g, g.notBefore, open, 0), "a single connect is always permitted in the end")
          }
        }
      )
    )
  })

  it("is at least a second after a rejected login, even if cap is less", () => {
    const rejected = { cause: "wrong password", kind: "rejected", open: 0 } as const
    for (const random of [0, 0.5, 1]) {
      for (const g of failures(10, rejected, random)) assert.isTrue(g.pause >= 1_000 && g.pause <= 2_000)
    }
    assert.strictEqual(Governor.failed(Governor.initial, { ...settings, backoffCap: 100 }, rejected, 0, 1).pause, 1_000)
  })
})

describe("the phase", () => {
  const cases: ReadonlyArray<
    readonly [
      name: string,
      from: Governor.Governor["phase"],
      kind: "unreachable" | "overloaded" | "rejected",
      open: number,
      failingFor: number,
      to: Governor.Governor["phase"]
    ]
  > = [
    ["the first failure", "closed", "unreachable", 0, 0, "failing"],
    ["a failure with something open", "closed", "unreachable", 1, 60_000, "failing"],
    ["failing for less than failFastAfter", "failing", "unreachable", 0, 4_999, "failing"],
    ["failing for failFastAfter", "failing", "unreachable", 0, 5_000, "open"],
    ["failing for long with something open", "failing", "unreachable", 1, 60_000, "failing"],
    ["the trial fails", "half-open", "unreachable", 0, 6_000, "open"],
    ["the trial fails, but something is open by now", "half-open", "unreachable", 1, 6_000, "failing"],
    ["a wrong password with nothing open", "closed", "rejected", 0, 0, "open"],
    ["a wrong password with something open", "closed", "rejected", 1, 0, "failing"],
    ["too many connections with something open", "closed", "overloaded", 3, 0, "closed"],
    ["too many connections with nothing open", "closed", "overloaded", 0, 0, "failing"]
  ]
  for (const [name, phase, kind, open, failingFor, to] of cases) {
    it(`${name}: ${phase} → ${to}`, () => {
      const failing = failingFor > 0
      const from = {
        ...Governor.initial,
        phase,
        attempts: failing ? 3 : 0,
        since: 0,
        downSince: failing ? 0 : Infinity
      }
      assert.strictEqual(Governor.failed(from, settings, { cause: "x", kind, open }, failingFor, 0.5).phase, to)
    })
  }

  it("goes to half-open when a connect is tried in open, and stays elsewhere", () => {
    for (const phase of ["closed", "failing", "half-open"] as const) {
      assert.strictEqual(Governor.attempted({ ...Governor.initial, phase }).phase, phase)
    }
    assert.strictEqual(Governor.attempted({ ...Governor.initial, phase: "open" }).phase, "half-open")
  })

  it("never gets to open with failFastAfter 0, except by a rejected login", () => {
    let g = Governor.initial
    for (let now = 0; now < 1_000_000; now += 10_000) {
      g = Governor.failed(g, { ...settings, failFastAfter: 0 }, down, now, 0.5)
      assert.strictEqual(g.phase, "failing")
      assert.isFalse(Governor.refuses(g, { ...settings, failFastAfter: 0 }, now, 0))
    }
  })
})

describe("refusing callers", () => {
  const [first] = failures(1, down)

  it("begins failFastAfter after the first failure that found nothing open, without a further one", () => {
    assert.isFalse(Governor.refuses(first!, settings, 5_999, 0))
    assert.isTrue(Governor.refuses(first!, settings, 6_000, 0))
    assert.isFalse(Governor.refuses(first!, settings, 6_000, 1), "something is open")
  })

  it("does not follow from a failure that found something open, however old", () => {
    const [g] = failures(1, { ...down, open: 1 })
    assert.isFalse(Governor.refuses(g!, settings, 1_000_000, 0))
  })

  it("ends with the first success", () => {
    const g = Governor.succeeded(failures(20, down).at(-1)!, 0)
    assert.deepStrictEqual([g.phase, g.attempts, g.pause, g.notBefore], ["closed", 0, 0, 0])
    assert.isFalse(Governor.refuses(g, settings, 1_000_000, 0))
  })
})

describe("how many connects may be under way", () => {
  it("one after a failure, then 1, 2, 4 with each success", () => {
    let [g] = failures(1, down) as [Governor.Governor]
    const widths = [g.width]
    for (let i = 0; i < 4; i++) {
      g = Governor.succeeded(g, i)
      widths.push(g.width)
    }
    assert.deepStrictEqual(widths, [1, 1, 2, 4, 4])
    assert.isFalse(Governor.permits(g, 0, 0, 4))
    assert.isTrue(Governor.permits(g, 0, 0, 3))
  })

  it("when all is well a success changes nothing, not even the object", () => {
    assert.strictEqual(Governor.succeeded(Governor.initial, 3), Governor.initial)
  })

  it("F15: one above the size at which the host took no more; that size rises with each success", () => {
    const g = Governor.failed(Governor.initial, settings, { cause: "too many", kind: "overloaded", open: 7 }, 0, 0)
    assert.strictEqual(g.softMax, 7)
    assert.isFalse(Governor.permits(g, 50, 7, 1))
    assert.isTrue(Governor.permits(g, 50, 7, 0))
    const next = Governor.succeeded(g, 7)
    assert.strictEqual(next.softMax, 8)
    assert.strictEqual(Governor.succeeded(next, 8).softMax, 9)
    assert.isFalse(Governor.permits({ ...next, width: 4 }, 50, 7, 1))
    assert.isTrue(Governor.permits({ ...next, width: 4 }, 50, 6, 1))
  })
})
