/** The pool engine by itself: resources that do nothing, so that every nanosecond is the pool's. */
import type { Results } from "./harness/results.js"
import { atLeast, atMost } from "./harness/results.js"
import type { Benchmark, Case, Scenario } from "./harness.js"
import type { PoolSettings } from "./pool/settings.js"

const size = 10
const workers = 1_000
const depths = [1_000, 10_000, 100_000] as const
const memoryWaiters = 20_000

type Subjects = ReadonlyArray<readonly [name: string, file: string, start: string, deepest?: number]>

const cases = (subjects: Subjects, settings: PoolSettings): ReadonlyArray<Case> =>
  subjects
    .filter(([, , , deepest = Infinity]) => settings.callers <= deepest)
    .map(([name, file, start]) => ({
      name,
      module: new URL(`./pool/${file}.ts`, import.meta.url).href,
      start,
      settings
    }))

const uncontended: Scenario = {
  name: "uncontended",
  title: "acquire and release of a free resource",
  unit: "ns/op",
  measure: "wall",
  opsPerCall: 1,
  reference: "v3 acquireUseRelease of no-ops",
  cases: cases(
    [
      ["floor, no promises", "floor", "sync"],
      ["floor, await", "floor", "uncontended"],
      ["sluice engine alone", "sluice", "engine"],
      ["v3 empty loop", "effect3", "emptyLoop"],
      ["v3 one mask over the floor", "effect3", "oneMask.uncontended"],
      ["v3 acquireUseRelease of no-ops", "effect3", "acquireUseRelease"],
      ["v3 acquireUseRelease over the floor", "effect3", "acquireUseReleaseFloor"],
      ["sluice use", "sluice", "use.uncontended"],
      ["sluice use, status and validate", "sluice", "checkedUse.uncontended"],
      ["sluice share", "sluice", "share.uncontended"],
      ["sluice shareAsync", "sluice", "shareAsync.uncontended"],
      ["v3 Pool", "effect3", "scopedPool.uncontended"],
      ["v4 empty loop", "effect4", "emptyLoop"],
      ["v4 acquireUseRelease of no-ops", "effect4", "acquireUseRelease"],
      ["v4 Pool.use", "effect4", "poolUse.uncontended"],
      ["mysql2", "mysql2", "uncontended"],
      ["generic-pool", "genericPool", "uncontended"],
      ["sequelize-pool", "sequelizePool", "uncontended"],
      ["pg-pool", "pgPool", "uncontended"],
      ["pg-pool, callbacks", "pgPool", "callback"],
      ["tarn", "tarn", "uncontended"]
    ],
    { size, callers: 1 }
  )
}

const scoped: Scenario = {
  name: "scoped",
  title: "acquire in a scope of its own, closed at once",
  unit: "ns/op",
  measure: "wall",
  opsPerCall: 1,
  reference: "v3 scoped(acquireRelease) of no-ops",
  cases: cases(
    [
      ["v3 scoped(acquireRelease) of no-ops", "effect3", "scopedAcquireRelease"],
      ["sluice acquire", "sluice", "acquire.uncontended"],
      ["v3 Pool", "effect3", "scopedPool.uncontended"],
      ["v4 Pool.get", "effect4", "poolGet.uncontended"]
    ],
    { size, callers: 1 }
  )
}

const contended: Scenario = {
  name: "contended",
  title: `${workers.toLocaleString("en-US")} workers over ${size} resources, each held for a microtask`,
  unit: "ns/op",
  measure: "wall",
  opsPerCall: workers,
  reference: "v3 one mask over the floor",
  cases: cases(
    [
      ["floor, await", "floor", "contended"],
      ["v3 one mask over the floor", "effect3", "oneMask.contended"],
      ["sluice use", "sluice", "use.contended"],
      ["v3 Pool", "effect3", "scopedPool.contended"],
      ["v4 Pool.use", "effect4", "poolUse.contended"],
      ["mysql2", "mysql2", "contended"],
      ["generic-pool", "genericPool", "contended"],
      ["sequelize-pool", "sequelizePool", "contended"],
      ["pg-pool", "pgPool", "contended"],
      ["tarn", "tarn", "contended"]
    ],
    { size, callers: workers }
  )
}

const queueOf = (depth: number): string => `queue ${depth.toLocaleString("en-US")}`

const queues = depths.map(
  (depth): Scenario => ({
    name: queueOf(depth),
    title: `${depth.toLocaleString("en-US")} waiters parked, then served: time for one hand-off`,
    unit: "ns/hand-off",
    measure: "handOff",
    opsPerCall: depth,
    reference: "v4 Pool.use",
    cases: cases(
      [
        ["floor, promises", "floor", "queue"],
        ["v3 parked, resumed at once", "effect3", "parked.queue"],
        ["v3 one mask over the floor", "effect3", "oneMask.queue"],
        ["sluice use", "sluice", "use.queue"],
        // Each release wakes everybody who waits: quadratic in time, and 10,000 waiters run out of memory.
        ["v3 Pool", "effect3", "scopedPool.queue", 1_000],
        ["v4 Pool.use", "effect4", "poolUse.queue"],
        ["mysql2", "mysql2", "queue"],
        ["generic-pool", "genericPool", "queue"],
        // They shift an array: above some 50,000 entries each hand-off moves all of them (30 µs at 100,000).
        ["sequelize-pool", "sequelizePool", "queue", 10_000],
        ["pg-pool", "pgPool", "queue", 10_000],
        ["tarn", "tarn", "queue", 10_000]
      ],
      { size, callers: depth }
    )
  })
)

const memory: Scenario = {
  name: "memory",
  title: `heap for one of ${memoryWaiters.toLocaleString("en-US")} parked waiters, its fiber or promise included`,
  unit: "bytes",
  measure: "bytes",
  opsPerCall: memoryWaiters,
  reference: "v3 parked fiber",
  cases: cases(
    [
      ["v3 parked fiber", "effect3", "parked.memory"],
      ["v3 one mask over the floor", "effect3", "oneMask.memory"],
      ["sluice use", "sluice", "use.memory"],
      ["v4 parked fiber", "effect4", "parked.memory"],
      ["v4 Pool.use", "effect4", "poolUse.memory"],
      ["floor, promises", "floor", "memory"],
      ["mysql2", "mysql2", "memory"],
      ["generic-pool", "genericPool", "memory"],
      ["sequelize-pool", "sequelizePool", "memory"],
      ["pg-pool", "pgPool", "memory"],
      ["tarn", "tarn", "memory"]
    ],
    { size, callers: memoryWaiters }
  )
}

const router: Scenario = {
  name: "router",
  title: "choice of one of three replicas with pools of their own, before each read",
  unit: "ns/op",
  measure: "wall",
  opsPerCall: 1,
  reference: "Router.roundRobin",
  cases: cases(
    [
      ["Router.leastBusy", "router", "leastBusy"],
      ["Router.roundRobin", "router", "roundRobin"],
      ["Router.random", "router", "random"]
    ],
    { size, callers: 1 }
  )
}

const goals = (results: Results) => {
  const times = (scenario: string, name: string, reference: string) => results.ratio(scenario, name, reference)?.median
  const [few, , many] = depths.map((depth) => results.value(queueOf(depth), "sluice use")?.median)
  const engine = results.value("uncontended", "sluice engine alone")?.median
  const waiter = results.value("memory", "sluice use")?.median
  const masked = results.value("memory", "v3 one mask over the floor")?.median
  const chosen = results.value("router", "Router.leastBusy")?.median
  const nanos = (value: number) => `${Math.round(value)} ns`
  const bytes = (value: number) => `${Math.round(value)} bytes`
  const millions = (value: number) => `${value.toFixed(1)} million/s`
  return [
    atMost(
      "uncontended use, against acquireUseRelease of no-ops",
      times("uncontended", "sluice use", "v3 acquireUseRelease of no-ops"),
      0.8
    ),
    atLeast("uncontended use, faster than Effect 3's Pool by", times("uncontended", "v3 Pool", "sluice use"), 15),
    atMost("uncontended use, against pg-pool", times("uncontended", "sluice use", "pg-pool"), 1),
    atMost("uncontended use, against tarn", times("uncontended", "sluice use", "tarn"), 1),
    atMost("uncontended use, against generic-pool", times("uncontended", "sluice use", "generic-pool"), 1.5),
    atLeast("engine alone, acquire + release", engine && 1000 / engine, 5, millions),
    atMost("hand-off at 100,000 waiters, against 1,000", few && many && many / few, 2),
    // Waking a bare fiber of Effect 3 takes longer than all of Effect 4's hand-off while the heap is small, so there
    // the measure is what Effect 3 allows.
    atMost(
      "hand-off at 1,000 waiters, against one mask over the floor",
      times(queueOf(1_000), "sluice use", "v3 one mask over the floor"),
      1.5
    ),
    ...[10_000, 100_000].map((depth) =>
      atMost(
        `hand-off at ${depth.toLocaleString("en-US")} waiters, against Effect 4's`,
        times(queueOf(depth), "sluice use", "v4 Pool.use"),
        1
      )
    ),
    // The mask is what makes a waiter safe to interrupt; with its frames it takes 1 KB of Effect 3 by itself.
    atMost("memory for a waiter, above a fiber parked in one mask", waiter && masked && waiter - masked, 500, bytes),
    atMost(
      "acquire in a scope, against scoped(acquireRelease) of no-ops",
      times("scoped", "sluice acquire", "v3 scoped(acquireRelease) of no-ops"),
      1.15
    ),
    atMost("Router.choose", chosen, 2_000, nanos)
  ]
}

export const pool: Benchmark = {
  name: "pool",
  summary: "the pool engine against other pools, without a database",
  packages: ["effect", "effect4", "generic-pool", "mysql2", "pg-pool", "sequelize-pool", "tarn"],
  settings: { resources: size, workers, "queue depths": depths.join(" / "), "memory waiters": memoryWaiters },
  scenarios: () => ({ scenarios: [uncontended, scoped, contended, ...queues, memory, router] }),
  goals
}
