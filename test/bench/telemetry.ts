/** What it costs to measure everything: pooled point reads with the Layer of the metrics, and without it. */
import type { Results } from "./harness/results.js"
import { atLeast } from "./harness/results.js"
import type { Benchmark, Case, Scenario } from "./harness.js"
import { serverSettings, startServer } from "./pg/server.js"
import { at, comparing, connections, warmMillis } from "./sql/scenarios.js"
import type { SqlSettings } from "./sql/workload.js"

const without = "without"
const basic = "basic"
const full = "full"

const levels = [1, 10, 50, 200] as const

/** The throughput that must be left with everything measured. */
const GOAL = 0.9

const scenarioOf = (callers: number, url: string): Scenario => ({
  name: at("point read", callers),
  title: `one row of 100,000 by key, with and without metrics; ${callers === 1 ? "1 caller" : `${callers} callers`}`,
  unit: "ops/s",
  measure: "wall",
  asRate: true,
  opsPerCall: callers,
  reference: without,
  columns: [
    { title: "p50 µs", metric: "p50" },
    { title: "p99 µs", metric: "p99" }
  ],
  warmMillis,
  cases: [without, basic, full].map(
    (start): Case => ({
      name: start,
      module: new URL("./telemetry/subjects.ts", import.meta.url).href,
      start,
      settings: { dialect: "postgresql", url, callers, workload: "point", connections } satisfies SqlSettings
    })
  )
})

const goals = (results: Results) => {
  const { rate } = comparing(results)
  return levels.map((callers) => {
    const point = at("point read", callers)
    return atLeast(`${point}: level full, against none`, rate(point, full, without), GOAL)
  })
}

export const telemetry: Benchmark = {
  name: "telemetry",
  summary: "what metrics cost a point read",
  packages: ["effect", "pg"],
  settings: { "warm-up CPU ms, full run": warmMillis, connections, callers: levels.join(" / "), ...serverSettings },
  scenarios: async () => {
    const server = await startServer()
    return {
      scenarios: levels.map((callers) => scenarioOf(callers, server.url)),
      close: server.close,
      serverCpu: server.cpu
    }
  },
  goals
}
