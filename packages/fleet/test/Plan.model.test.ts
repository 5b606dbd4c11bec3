/** The arithmetic of the planner against a simulation of every course that a rollout can take. */
import { describe, expect, it } from "@effect/vitest"
import { Plan, type PlanInput } from "@sluice/fleet"
import fc from "fast-check"
import { mostPods, type Rules } from "./support/rollout.js"

const ends: Readonly<Record<PlanInput.Terminating, Rules["ends"]>> = {
  none: "before its successor starts",
  wave: "before the next is ready",
  together: "before the next are ready",
  full: "whenever"
}

const share = fc.oneof(
  fc.integer({ min: 0, max: 8 }),
  fc.integer({ min: 0, max: 100 }).map((n): `${number}%` => `${n}%`)
)

const rolling = fc
  .record({
    pods: fc.integer({ min: 1, max: 10 }),
    surge: share,
    unavailable: share,
    terminating: fc.constantFrom<PlanInput.Terminating>("none", "wave", "together", "full")
  })
  .filter(({ surge, unavailable }) => Number.parseInt(`${surge}`, 10) + Number.parseInt(`${unavailable}`, 10) > 0)

const service = fc.record({
  rollout: rolling,
  processes: fc.integer({ min: 1, max: 5 }),
  weight: fc.integer({ min: 1, max: 3 }),
  listen: fc.integer({ min: 0, max: 2 }),
  jobs: fc.integer({ min: 1, max: 6 }),
  each: fc.constantFrom("process" as const, "pod" as const)
})

const fleet = fc.record({
  maxConnections: fc.integer({ min: 20, max: 2000 }),
  reserve: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constantFrom("3%", "10%")),
  bi: fc.integer({ min: 0, max: 20 }),
  services: fc.array(service, { minLength: 1, maxLength: 3 })
})

type Fleet = typeof fleet extends fc.Arbitrary<infer A> ? A : never

const inputOf = ({ bi, maxConnections, reserve, services }: Fleet): PlanInput.PlanInput => {
  const [first, ...rest] = services.map(({ each, jobs, listen, processes, rollout, weight }, i) => ({
    name: `service ${i}`,
    ...rollout,
    processes,
    weight,
    extras: { listen },
    pools: [{ name: "jobs", maxSize: jobs, each }]
  }))
  return { database: { maxConnections, reserve, others: { bi } }, services: [first!, ...rest] }
}

/** What the server sees at worst if each service of weight 1 has pools of `size`. */
const simulated = ({ services }: Fleet, size: number): number =>
  services
    .map(({ each, jobs, listen, processes, rollout, weight }) => {
      const inProcess = size * weight + listen + (each === "process" ? jobs : 0)
      const inPod = processes * inProcess + (each === "pod" ? jobs : 0)
      return mostPods({ ...rollout, ends: ends[rollout.terminating] }) * inPod
    })
    .reduce((a, b) => a + b, 0)

describe("the planner, against every course that a rollout can take", () => {
  it("counts as many pods at worst as the worst course has, no fewer and no more", () => {
    fc.assert(
      fc.property(rolling, (rollout) => {
        const database = { maxConnections: 1000 }
        const [planned] = Plan.plan({ database, services: [{ name: "web", ...rollout }] }).services
        expect(planned!.pods.worst).toBe(mostPods({ ...rollout, ends: ends[rollout.terminating] }))
      }),
      { numRuns: 400 }
    )
  })

  it("never recommends what takes more than is usable, and one connection more in each pool would", () => {
    fc.assert(
      fc.property(fleet, (fleet) => {
        const { limits, recommended } = Plan.plan(inputOf(fleet))
        if (recommended > 0) expect(simulated(fleet, recommended)).toBeLessThanOrEqual(limits.usable)
        expect(simulated(fleet, recommended + 1)).toBeGreaterThan(limits.usable)
      }),
      { numRuns: 150 }
    )
  })

  it("says of a size that is given that it fails exactly if the server has too few connections for it", () => {
    fc.assert(
      fc.property(fleet, fc.integer({ min: 1, max: 20 }), (fleet, size) => {
        const input = inputOf(fleet)
        const [first, ...rest] = input.services.map((one) => ({ ...one, maxSize: size * one.weight! }))
        const { fits, limits, verdict } = Plan.plan({ ...input, services: [first!, ...rest] })
        expect(fits).toBe(simulated(fleet, size) <= limits.open)
        if (verdict === "fits") expect(simulated(fleet, size)).toBeLessThanOrEqual(limits.usable)
      }),
      { numRuns: 150 }
    )
  })
})
