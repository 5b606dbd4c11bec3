/** PostgreSQL behind a real server: ours, the other clients, and how fast it can be at all. */
import type { Results } from "./harness/results.js"
import { atLeast, atMost } from "./harness/results.js"
import type { Benchmark, Case, Scenario } from "./harness.js"
import { findPgbench } from "./pg/pgbench.js"
import { farMillis, serverSettings, startServer } from "./pg/server.js"
import {
  at,
  comparing,
  connections,
  type Database,
  layerScenario,
  levels,
  millis,
  scenariosOf,
  share,
  warmMillis
} from "./sql/scenarios.js"

/** `pg` in pipeline mode is fastest with two: more of them leave less to send at once. */
const packed = 2
/** Where postgres.js reads single rows fastest. It sends ahead, so connections beyond that only split its writes. */
const bestForPostgresJs = (callers: number): number => (callers <= 50 ? 1 : 2)

const reference = "pg-pool named"
const raw = "raw pg pipelined"
const ours = "sluice Sql.query"
const client = "sluice SqlClient"
const theirs = "@effect/sql-pg"
const bestPostgresJs = "postgres.js best max"
const pgbench = findPgbench()

const subjects = {
  [raw]: ["pg/raw", "pipelined"],
  [ours]: ["pg/clients", "sluiceQuery"],
  [client]: ["pg/clients", "sluiceClient"],
  [theirs]: ["pg/clients", "effectClient"],
  [reference]: ["pg/pgPool", "withNames"],
  "pg-pool unnamed": ["pg/pgPool", "withoutNames"],
  "postgres.js": ["pg/postgresJs", "query"],
  [bestPostgresJs]: ["pg/postgresJs", "query"],
  "Sequelize 6": ["sql/sequelize", "query"],
  "generic-pool + pg": ["pg/genericPool", "withNames"]
} as const satisfies Record<string, readonly [file: string, start: string]>

type Name = keyof typeof subjects

const pooled: ReadonlyArray<Name> = [ours, client, theirs, reference, "postgres.js", "Sequelize 6", "generic-pool + pg"]

const database: Database<Name> = {
  dialect: "postgresql",
  subjects,
  reference,
  pooled,
  pinning: pooled.filter((name) => name !== theirs && name !== "Sequelize 6"),
  distant: [raw, ours, client, theirs, reference, "postgres.js"],
  slowish: [ours, client, reference, "postgres.js"],
  connectionsOf: (name, callers) =>
    name === raw ? packed : name === bestPostgresJs ? bestForPostgresJs(callers) : connections,
  limits: (url, callers): ReadonlyArray<Case> =>
    pgbench === undefined
      ? []
      : [false, true].map((pipelined) => ({
          name: pipelined ? "pgbench pipelined" : "pgbench -M prepared",
          module: new URL("./pg/pgbench.ts", import.meta.url).href,
          start: "pgbench",
          settings: { url, connections, callers, pipelined, program: pgbench.program },
          external: true
        }))
}

const cold = "cold pool"

const coldPool = (url: string): Scenario => ({
  name: cold,
  title: `ten statements of 1 s on a pool without connections, through a network with a round trip of ${farMillis} ms`,
  unit: "ns",
  measure: "wall",
  opsPerCall: connections,
  reference: reference,
  roundMillis: 1_000,
  warmMillis: 1_000,
  cases: (
    [
      [ours, "sluice"],
      [reference, "pgPool"]
    ] as const
  ).map(([name, start]) => ({
    name,
    module: new URL("./pg/cold.ts", import.meta.url).href,
    start,
    settings: { url, connections, seconds: 1 }
  }))
})

const goals = (results: Results) => {
  const { p99, rate } = comparing(results)
  const alone = at("point read", 1)
  const delay = at("delay", 200)
  const mix = at("mix", 50)
  const late = at("late", 50)
  const slowish = at("20 ms", 50)
  return [
    ...[10, 50, 200].flatMap((callers) => {
      const point = at("point read", callers)
      return [
        atLeast(`${point}: Sql.query, against raw pg pipelined`, rate(point, ours, raw), 0.85),
        atLeast(`${point}: Sql.query, against pg-pool named`, rate(point, ours, reference), callers === 10 ? 1.5 : 2),
        atLeast(
          `${point}: Sql.query, against postgres.js at its best`,
          rate(point, ours, bestPostgresJs),
          callers === 10 ? 1.5 : 2
        ),
        atLeast(`${point}: Sql.query, against pgbench -M prepared`, rate(point, ours, "pgbench -M prepared"), 1.3),
        atLeast(
          `${point}: Sql.query, slowest caller against the mean`,
          results.value(point, ours, "fairness")?.median,
          0.5,
          share
        ),
        atMost(`${point}: Sql.query, p99 against pg-pool's`, p99(point, ours, reference), 1),
        atLeast(`${point}: SqlClient, against @effect/sql-pg`, rate(point, client, theirs), 2.5),
        atLeast(`${point}: SqlClient, against pg-pool named`, rate(point, client, reference), 1.1)
      ]
    }),
    atLeast(`${alone}: Sql.query, against pg-pool named`, rate(alone, ours, reference), 0.95),
    atMost(`${alone}: Sql.query, p99 against pg-pool's`, p99(alone, ours, reference), 1 / 0.95),
    atLeast(`${delay}: Sql.query, against pg-pool named`, rate(delay, ours, reference), 12),
    atLeast(`${delay}: Sql.query, against postgres.js`, rate(delay, ours, "postgres.js"), 1.1),
    ...["pinned", "transaction", "ten rows", "thousand rows", "1 MB"].map((name) =>
      atLeast(`${at(name, 50)}: Sql, against pg-pool named`, rate(at(name, 50), ours, reference), 1)
    ),
    atMost(`${mix}: Sql.query, p99 of the others against pg-pool's`, p99(mix, ours, reference), 1.2),
    atMost(
      `${late}: Sql.query, the slowest of the others`,
      results.value(late, ours, "worst")?.median,
      100_000,
      millis
    ),
    atLeast(`${slowish}: Sql.query, against pg-pool named`, rate(slowish, ours, reference), 0.95),
    atMost(`${cold}: Sql.query, time against pg-pool's`, results.ratio(cold, ours, reference)?.median, 1.2),
    atMost("layer: SqlClient, time against @effect/sql-pg's", results.ratio("layer", client, theirs)?.median, 1.2)
  ]
}

export const pg: Benchmark = {
  name: "pg",
  summary: "clients of PostgreSQL on one real server",
  packages: ["effect", "@effect/sql", "@effect/sql-pg", "pg", "postgres", "sequelize", "generic-pool"],
  settings: {
    "warm-up CPU ms, full run": warmMillis,
    connections: `${connections} (raw pg ${packed})`,
    callers: levels.join(" / "),
    pgbench: pgbench?.version ?? "not installed",
    ...serverSettings
  },
  scenarios: async () => {
    const server = await startServer()
    return {
      scenarios: [
        ...scenariosOf(database, server),
        coldPool(server.farUrl),
        layerScenario(server.url, new URL("./pg/clients.ts", import.meta.url).href, { ours: client, theirs })
      ],
      close: server.close,
      serverCpu: server.cpu
    }
  },
  goals
}
