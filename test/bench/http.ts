/** Requests under overload: what is refused at the door, and what has to be refused by the pool, after its handler has begun. */
import { PgCluster } from "@sluice/testkit"
import { Effect, Redacted } from "effect"
import type { Results } from "./harness/results.js"
import { atLeast } from "./harness/results.js"
import type { Benchmark, Case, Scenario } from "./harness.js"
import { capacity, deadlineMillis, type Settings, settings, workMillis } from "./http/settings.js"
import { startServer } from "./sql/server.js"

const door = "refused at the door"
const pool = "shed by the pool"
const neither = "neither"

const subjects = {
  [door]: { admission: true, shedding: true },
  [pool]: { admission: false, shedding: true },
  [neither]: { admission: false, shedding: false }
} as const

/**
 * How many times as many useful requests the door must give as shedding in the pool alone, by the load. At 12 times the pool alone has
 * spells in which it gives nearly all that can be done, because most clients have left before anybody reads what they want; nobody can
 * give more then.
 */
const limits = [
  [3, 1.3],
  [12, 1]
] as const

const loads = limits.map(([load]) => load)

const nameOf = (load: number): string => `overload ${load}`

const scenarioOf = (load: number, url: string): Scenario => ({
  name: nameOf(load),
  title: `${load} times what the database can do: requests that are answered with 200 within ${deadlineMillis} ms`,
  unit: "useful/s",
  measure: "nanos",
  asRate: true,
  opsPerCall: 1,
  columns: [
    { title: "refused/s", metric: "refused" },
    { title: "useless/s", metric: "useless" },
    { title: "p99 of the useful, ms", metric: "p99" }
  ],
  // A call is one spell of load and takes longer than both.
  roundMillis: 1_000,
  warmMillis: 1_000,
  reference: pool,
  cases: Object.entries(subjects).map(
    ([name, subject]): Case => ({
      name,
      module: new URL("./http/server.ts", import.meta.url).href,
      start: "start",
      settings: { ...subject, load, url } satisfies Settings
    })
  )
})

const start = Effect.map(PgCluster.make(), ({ primary }) => ({ url: Redacted.value(primary.url) }))

const goals = (results: Results) =>
  limits.map(([load, limit]) =>
    atLeast(
      `useful requests at ${load} times the load, against shedding in the pool alone`,
      results.ratio(nameOf(load), pool, door)?.median,
      limit
    )
  )

export const http: Benchmark = {
  name: "http",
  summary: "requests under overload: refused at the door, or shed by the pool after their handlers have begun",
  packages: ["effect", "@effect/platform", "@effect/platform-node", "pg"],
  settings: {
    connections: settings.connections,
    "statement ms": settings.statementMillis,
    "work of a handler before it, ms": workMillis,
    "capacity of the database, requests/s": capacity,
    "deadline ms": deadlineMillis
  },
  scenarios: async () => {
    const { close, url } = await startServer(start)
    return { scenarios: loads.map((load) => scenarioOf(load, url)), close }
  },
  goals
}
