/** What a report says of another `maxSize`, held against pools that really have it. */
import { assert, describe, it } from "@effect/vitest"
import { Recorder, type Report } from "@sluice/observability"
import { Pool } from "@sluice/pool"
import { Effect, Exit, Fiber, Scope } from "effect"
import { generator } from "../../pool/test/support/generator.js"
import { VirtualClock } from "../../pool/test/support/VirtualClock.js"
import { LeaseLog } from "../src/internal/recorder/leaseLog.js"
import { all, enough, type Recorded, replay } from "../src/internal/recorder/whatIf.js"

interface Caller {
  readonly at: number
  readonly holds: number
}

/** Callers that come by chance, in a burst now and then, and hold a connection for 1 to 200 milliseconds. */
const callers = (seed: number, count: number): ReadonlyArray<Caller> => {
  const next = generator(seed)
  let at = 0
  return Array.from({ length: count }, () => {
    at += next() < 0.2 ? 0 : Math.round(-Math.log(1 - next()) * 30)
    return { at, holds: 1 + Math.round(next() * next() * 200) }
  })
}

/** They come to a pool of this size. What the recorder says of it when all have left. */
const run = (maxSize: number, all: ReadonlyArray<Caller>): Effect.Effect<Report.PoolReport> => {
  const clock = new VirtualClock()
  return Effect.gen(function* () {
    const scope = yield* Scope.make()
    const report = yield* Effect.gen(function* () {
      const recorder = yield* Recorder.make()
      const name = `of ${maxSize}`
      const pool = yield* Pool.make({ name, maxSize, acquireTimeout: "5 minutes", connect: () => Effect.succeed({}) })
      const fibers = yield* Effect.forEach(all, ({ at, holds }) =>
        Effect.fork(
          Effect.zipRight(
            Effect.sleep(at),
            Pool.use(pool, () => Effect.sleep(holds))
          )
        )
      )
      while (fibers.some((fiber) => fiber.unsafePoll() === null)) yield* clock.pass(1_000)
      yield* recorder.report()
      yield* clock.pass(100)
      const { databases } = yield* recorder.report()
      assert.deepInclude(Pool.unsafeStats(pool), { using: 0, waiting: 0, acquired: all.length })
      return databases.flatMap(({ pools }) => pools).find((pool) => pool.name === name)!
    }).pipe(Scope.extend(scope), Effect.orDie)
    const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
    yield* clock.pass(1_000)
    yield* Fiber.join(closing)
    return report
  }).pipe(Effect.withClock(clock))
}

const share = (pool: Report.PoolReport): number => {
  const { count } = pool.waits
  return (count - pool.waitsWithin[0]!.count) / count
}

/** Arrivals and holds, as they are recorded. */
const recorded = (callers: ReadonlyArray<Caller>, more: Partial<Recorded> = {}): Recorded => ({
  warm: 0,
  arrivals: Float64Array.from(callers, ({ at }) => at),
  holds: Float64Array.from(callers, ({ holds }) => holds),
  patience: new Float64Array(callers.length).fill(Infinity),
  duration: Math.max(...callers.map(({ at, holds }) => at + holds)),
  ...more
})

describe("another maxSize", () => {
  it.effect("is told within 10 % of what pools of that size really do with the same callers", () =>
    Effect.gen(function* () {
      const given = callers(11, 300)
      const { whatIf } = yield* run(4, given)
      assert.deepStrictEqual(whatIf.map(({ maxSize }) => maxSize).slice(0, 8), [1, 2, 3, 4, 5, 6, 7, 8])
      for (const maxSize of [2, 3, 6]) {
        const told = whatIf.find((one) => one.maxSize === maxSize)!
        const really = yield* run(maxSize, given)
        assert.approximately(told.waited, share(really), 0.1 * share(really) + 0.005, `waited, of ${maxSize}`)
        // The percentile of the recorder itself is up to 5 % off.
        assert.approximately(told.waitP99Ms, really.waits.p99Ms, 0.1 * really.waits.p99Ms + 1, `p99, of ${maxSize}`)
      }
    })
  )

  it("is exact for a queue that can be computed by hand", () => {
    const two = recorded([
      { at: 0, holds: 10 },
      { at: 0, holds: 10 },
      { at: 5, holds: 10 },
      { at: 30, holds: 10 }
    ])
    assert.deepStrictEqual(replay(two, 1), { maxSize: 1, waited: 0.5, waitP99Ms: 15, utilization: 1 })
    assert.deepStrictEqual(replay(two, 2), { maxSize: 2, waited: 0.25, waitP99Ms: 5, utilization: 0.5 })
    assert.strictEqual(replay(two, 3).waited, 0)
    assert.strictEqual(enough(two), 3)
  })

  it("with the size that is enough nobody waits", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const given = recorded(callers(seed, 200))
      const size = enough(given)
      assert.strictEqual(replay(given, size).waitP99Ms, 0)
    }
  })

  it("counts callers that left without a connection as ones that have waited as long as they did", () => {
    const left = recorded(
      [
        { at: 0, holds: 100 },
        { at: 10, holds: 100 }
      ],
      { patience: Float64Array.from([Infinity, 20]) }
    )
    assert.deepInclude(replay(left, 1), { waited: 0.5, waitP99Ms: 20 })
    assert.deepInclude(replay(left, 2), { waited: 0, waitP99Ms: 0 })
  })

  it("is not told of too few acquires", () => {
    const steps = all(recorded(callers(1, 19)), 4)
    assert.deepStrictEqual(steps.next(), { done: true, value: [] })
  })
})

describe("the log of leases", () => {
  it("keeps the last ten thousand, and knows from when on none is missing", () => {
    const log = new LeaseLog(0)
    for (let i = 0; i < 25_000; i++) {
      log.acquired(1, 0, i)
      log.released(1, i + 0.5)
    }
    const { arrivals, duration, warm } = log.recorded(25_000)
    assert.strictEqual(arrivals.length, 10_000)
    assert.strictEqual(warm, 0)
    assert.strictEqual(duration, 25_000 - 14_999.5)
    assert.strictEqual(arrivals[0], 0.5)
  })

  it("takes holders of one connection for one lease, and leases that are not over for held until now", () => {
    const log = new LeaseLog(0)
    log.acquired(1, 5, 10)
    log.acquired(1, 0, 12)
    log.released(1, 20)
    log.released(1, 30)
    log.acquired(2, 0, 40)
    log.released(3, 41)
    log.left(7, 50)
    const { arrivals, holds, patience } = log.recorded(100)
    assert.deepStrictEqual([...arrivals], [5, 40, 43])
    assert.deepStrictEqual([...holds], [20, 60, 60])
    assert.deepStrictEqual([...patience], [Infinity, Infinity, 7])
  })

  it("forgets what is older than ten minutes", () => {
    const log = new LeaseLog(0)
    log.acquired(1, 0, 0)
    log.released(1, 10)
    log.acquired(2, 0, 20)
    const { arrivals, holds, warm } = log.recorded(700_000)
    assert.deepStrictEqual([arrivals.length, warm, holds[0]], [1, 1, 600_000])
  })
})
