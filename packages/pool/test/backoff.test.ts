import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, Schedule, ScheduleDecision, ScheduleIntervals } from "effect"
import * as fc from "fast-check"
import { Backoff } from "../src/index.js"
import * as State from "../src/internal/backoff.js"

const settings: State.Settings = { failFastAfter: 5_000 }
const down = { cause: "refused", kind: "unreachable", open: 0 } as const

/** `n` failures in a row, each as soon as it may happen. */
const failures = (n: number, failure: Parameters<typeof State.failed>[2], pause = 50, from = State.initial) => {
  const all: Array<State.Backoff> = []
  let b = from
  for (let i = 0, now = 1_000; i < n; i++) {
    b = State.paused(State.failed(b, settings, failure, now), pause, now)
    now = b.notBefore
    all.push(b)
  }
  return all
}

/** The first `n` pauses of a schedule, with a random source that always gives `random`. */
const pauses = (schedule: Schedule.Schedule<unknown, unknown>, n: number, random: number): ReadonlyArray<number> => {
  const all: Array<number> = []
  let state: unknown = schedule.initial
  const chance = { ...Random.make(0), next: Effect.succeed(random) }
  for (let i = 0, now = 5_000; i < n; i++) {
    const [next, , decision] = Effect.runSync(Effect.withRandom(schedule.step(now, "refused", state), chance))
    assert.isTrue(ScheduleDecision.isContinue(decision))
    if (ScheduleDecision.isContinue(decision)) all.push(ScheduleIntervals.start(decision.intervals) - now)
    state = next
    now += all.at(-1)!
  }
  return all
}

describe("the schedule of jittered pauses", () => {
  const schedule = Backoff.jittered({ base: 50, cap: "2 seconds" })

  it("draws each pause from the upper half of its bound, which begins at base, is tripled each time, and ends at cap", () => {
    assert.deepStrictEqual(pauses(schedule, 6, 1), [50, 150, 450, 1_350, 2_000, 2_000])
    assert.deepStrictEqual(pauses(schedule, 6, 0), [25, 75, 225, 675, 1_000, 1_000])
    assert.deepStrictEqual(pauses(schedule, 3, 0.5), [37.5, 112.5, 337.5])
  })

  it("is within half of base and cap, whatever is drawn", () => {
    const random = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 3_000 }), fc.integer({ min: 0, max: 60_000 }), random, (base, span, r) => {
        const own = Backoff.jittered({ base, cap: base + span })
        for (const pause of pauses(own, 20, r)) assert.isTrue(pause >= base / 2 && pause <= base + span + 1e-6)
      })
    )
  })

  it("is never shorter than a millisecond, and a cap below base is base", () => {
    assert.deepStrictEqual(pauses(Backoff.jittered({ base: 0, cap: 0 }), 3, 0), [1, 1, 1])
    assert.deepStrictEqual(pauses(Backoff.jittered({ base: 70, cap: 10 }), 3, 1), [70, 70, 70])
  })

  it("is the default, from 50 ms to 1 s", () => {
    assert.deepStrictEqual(pauses(Backoff.standard, 5, 1), [50, 150, 450, 1_000, 1_000])
  })

  it("can be combined like any other schedule", () => {
    assert.isTrue(Schedule.isSchedule(Schedule.intersect(schedule, Schedule.recurs(3))))
  })
})

describe("the pause after a failed connect", () => {
  it("is unknown at first: no connect is permitted until it is", () => {
    const b = State.failed(State.initial, settings, down, 1_000)
    assert.isFalse(State.permits(b, 1_000_000, 0, 0, 4))
    const paused = State.paused(b, 50, 1_000)
    assert.isFalse(State.permits(paused, 1_049, 0, 0, 4))
    assert.isTrue(State.permits(paused, 1_050, 0, 0, 4), "a single connect is always permitted in the end")
  })

  it("is not shortened by that of an earlier failure that becomes known later", () => {
    const b = State.paused(State.failed(State.initial, settings, down, 0), 500, 0)
    assert.strictEqual(State.paused(b, 10, 5).notBefore, 500)
  })

  it("is at least a second after a rejected login, and at least a millisecond after anything", () => {
    const rejected = { cause: "wrong password", kind: "rejected", open: 0 } as const
    for (const pause of [0, 5, 999]) {
      assert.strictEqual(State.paused(State.failed(State.initial, settings, rejected, 0), pause, 0).notBefore, 1_000)
    }
    assert.strictEqual(State.paused(State.failed(State.initial, settings, rejected, 0), 1_500, 0).notBefore, 1_500)
    assert.strictEqual(State.paused(State.failed(State.initial, settings, down, 0), 0, 0).notBefore, 1)
  })
})

describe("the phase", () => {
  const cases: ReadonlyArray<
    readonly [
      name: string,
      from: State.Backoff["phase"],
      kind: "unreachable" | "overloaded" | "rejected",
      open: number,
      failingFor: number,
      to: State.Backoff["phase"]
    ]
  > = [
    ["the first failure", "up", "unreachable", 0, 0, "failing"],
    ["a failure with something open", "up", "unreachable", 1, 60_000, "failing"],
    ["failing for less than failFastAfter", "failing", "unreachable", 0, 4_999, "failing"],
    ["failing for failFastAfter", "failing", "unreachable", 0, 5_000, "down"],
    ["failing for long with something open", "failing", "unreachable", 1, 60_000, "failing"],
    ["a further connect fails", "down", "unreachable", 0, 6_000, "down"],
    ["a further connect fails, but something is open by now", "down", "unreachable", 1, 6_000, "failing"],
    ["a wrong password with nothing open", "up", "rejected", 0, 0, "down"],
    ["a wrong password with something open", "up", "rejected", 1, 0, "failing"],
    ["too many connections with something open", "up", "overloaded", 3, 0, "up"],
    ["too many connections with nothing open", "up", "overloaded", 0, 0, "failing"]
  ]
  for (const [name, phase, kind, open, failingFor, to] of cases) {
    it(`${name}: ${phase} → ${to}`, () => {
      const failing = failingFor > 0
      const from = {
        ...State.initial,
        phase,
        attempts: failing ? 3 : 0,
        since: 0,
        downSince: failing ? 0 : Infinity
      }
      assert.strictEqual(State.failed(from, settings, { cause: "x", kind, open }, failingFor).phase, to)
    })
  }

  it("never gets to down with failFastAfter 0, except by a rejected login", () => {
    let b = State.initial
    for (let now = 0; now < 1_000_000; now += 10_000) {
      b = State.failed(b, { failFastAfter: 0 }, down, now)
      assert.strictEqual(b.phase, "failing")
      assert.isFalse(State.refuses(b, { failFastAfter: 0 }, now, 0))
    }
  })
})

describe("refusing callers", () => {
  const [first] = failures(1, down)

  it("begins failFastAfter after the first failure that found nothing open, without a further one", () => {
    assert.isFalse(State.refuses(first!, settings, 5_999, 0))
    assert.isTrue(State.refuses(first!, settings, 6_000, 0))
    assert.isFalse(State.refuses(first!, settings, 6_000, 1), "something is open")
  })

  it("does not follow from a failure that found something open, however old", () => {
    const [b] = failures(1, { ...down, open: 1 })
    assert.isFalse(State.refuses(b!, settings, 1_000_000, 0))
  })

  it("ends with the first success, and what was before is forgotten when it is proven", () => {
    const b = State.succeeded(failures(20, down).at(-1)!, 0)
    assert.deepStrictEqual([b.phase, State.isFailing(b)], ["up", false])
    assert.isFalse(State.refuses(b, settings, 1_000_000, 0))
    const { attempts, cause, isUnproven, notBefore, phase } = State.proven(b)
    assert.deepStrictEqual([phase, notBefore, attempts, isUnproven, cause], ["up", 0, 0, false, undefined])
  })
})

describe("I10: a success whose connection was never used", () => {
  it("is forgotten by the next failure: the row of failures goes on", () => {
    const before = failures(20, down).at(-1)!
    const after = State.failed(State.succeeded(before, 0), settings, down, 1_000_000)
    assert.deepStrictEqual([after.attempts, after.since, after.downSince], [21, before.since, before.downSince])
    assert.strictEqual(after.phase, "down")
  })

  it("ends the row once it is proven", () => {
    const proven = State.proven(State.succeeded(failures(20, down).at(-1)!, 0))
    const after = State.failed(proven, settings, down, 1_000_000)
    assert.deepStrictEqual([after.attempts, after.since, after.phase], [1, 1_000_000, "failing"])
  })

  it("is not proven by a connection that was opened before the last failure", () => {
    const b = failures(3, down).at(-1)!
    assert.strictEqual(State.proven(b), b)
  })
})

describe("how many connects may be under way", () => {
  it("one after a failure, then 1, 2, 4 … with each success, and never more than the pool wants", () => {
    let [b] = failures(1, down) as [State.Backoff]
    const widths = [b.width]
    for (let i = 0; i < 6; i++) {
      b = State.proven(State.succeeded(b, i))
      widths.push(b.width)
    }
    assert.deepStrictEqual(widths, [1, 1, 2, 4, 8, 16, 16])
    assert.isFalse(State.permits(b, 0, 0, 4, 4))
    assert.isTrue(State.permits(b, 0, 0, 3, 4))
  })

  it("no more than the ramp allows, however many the pool wants", () => {
    const [failed] = failures(1, down) as [State.Backoff]
    const ramp = State.succeeded(State.proven(State.succeeded(failed, 0)), 1)
    assert.strictEqual(ramp.width, 2)
    assert.isFalse(State.permits(ramp, 0, 1, 2, 16))
    assert.isTrue(State.permits(State.initial, 0, 1, 15, 16))
    assert.isFalse(State.permits(State.initial, 0, 1, 16, 16))
  })

  it("when all is well a success changes nothing, not even the object", () => {
    assert.strictEqual(State.succeeded(State.initial, 3), State.initial)
    assert.strictEqual(State.proven(State.initial), State.initial)
  })

  it("F15: one above the size at which the host took no more; that size rises with each success", () => {
    const failure = { cause: "too many", kind: "overloaded", open: 7 } as const
    const b = State.paused(State.failed(State.initial, settings, failure, 0), 50, 0)
    assert.strictEqual(b.softMax, 7)
    assert.isFalse(State.permits(b, 50, 7, 1, 4))
    assert.isTrue(State.permits(b, 50, 7, 0, 4))
    const next = State.proven(State.succeeded(b, 7))
    assert.strictEqual(next.softMax, 8)
    assert.strictEqual(State.succeeded(next, 8).softMax, 9)
    assert.isFalse(State.permits({ ...next, width: 4 }, 50, 7, 1, 4))
    assert.isTrue(State.permits({ ...next, width: 4 }, 50, 6, 1, 4))
  })
})
