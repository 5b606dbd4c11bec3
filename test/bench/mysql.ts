/** MariaDB behind a real server: ours, the other clients, and how fast it can be at all. */
import type { Results } from "./harness/results.js"
import { atLeast, atMost } from "./harness/results.js"
import type { Benchmark } from "./harness.js"
import { serverSettings, startServer } from "./mysql/server.js"
import { findSlap } from "./mysql/slap.js"
import {
  at,
  comparing,
  connections,
  type Database,
  layerScenario,
  levels,
  millis,
  scenariosOf,
  warmMillis
} from "./sql/scenarios.js"

const reference = "mysql2 execute"
const ours = "sluice Sql.query"
const client = "sluice SqlClient"
const theirs = "@effect/sql-mysql2"
const slap = findSlap()

const subjects = {
  [ours]: ["mysql/clients", "sluiceQuery"],
  [client]: ["mysql/clients", "sluiceClient"],
  [theirs]: ["mysql/clients", "effectClient"],
  [reference]: ["mysql/pool", "execute"],
  "mysql2 query": ["mysql/pool", "query"],
  "Sequelize 6": ["sql/sequelize", "query"],
  "generic-pool + mysql2": ["mysql/genericPool", "execute"]
} as const satisfies Record<string, readonly [file: string, start: string]>

type Name = keyof typeof subjects

const pooled = Object.keys(subjects) as Array<Name>

const database: Database<Name> = {
  dialect: "mysql",
  subjects,
  reference,
  pooled,
  pinning: pooled.filter((name) => name !== theirs && name !== "Sequelize 6"),
  distant: [ours, client, theirs, reference],
  slowish: [ours, client, reference],
  connectionsOf: () => connections,
  limits: (url, callers) =>
    slap === undefined
      ? []
      : [
          {
            name: "mariadb-slap",
            module: new URL("./mysql/slap.ts", import.meta.url).href,
            start: "slap",
            settings: { url, connections, callers, program: slap.program },
            external: true
          }
        ]
}

const goals = (results: Results) => {
  const { p99, rate } = comparing(results)
  const crowd = at("point read", 200)
  const delay = at("delay", 200)
  const late = at("late", 50)
  const slowish = at("20 ms", 50)
  const works = ["ten rows", "thousand rows", "1 MB", "insert", "transaction", "pinned", "mix"]
  return [
    ...[...levels.map((callers) => at("point read", callers)), ...works.map((name) => at(name, 50))].map((scenario) =>
      atLeast(`${scenario}: Sql, against mysql2 execute`, rate(scenario, ours, reference), 1)
    ),
    ...[10, 50, 200]
      .map((callers) => at("point read", callers))
      .map((point) => atLeast(`${point}: SqlClient, against @effect/sql-mysql2`, rate(point, client, theirs), 2)),
    atLeast(`${delay}: Sql.query, against mysql2 execute`, rate(delay, ours, reference), 8),
    atMost(
      `${late}: Sql.query, the slowest of the others`,
      results.value(late, ours, "worst")?.median,
      100_000,
      millis
    ),
    atLeast(`${slowish}: Sql.query, against mysql2 execute`, rate(slowish, ours, reference), 0.95),
    atMost(`${crowd}: Sql.query, p99 against mysql2's`, p99(crowd, ours, reference), 1),
    atMost("layer: SqlClient, time against @effect/sql-mysql2's", results.ratio("layer", client, theirs)?.median, 1.2)
  ]
}

export const mysql: Benchmark = {
  name: "mysql",
  summary: "clients of MariaDB on one real server",
  packages: ["effect", "@effect/sql", "@effect/sql-mysql2", "mysql2", "sequelize", "generic-pool"],
  settings: {
    "warm-up CPU ms, full run": warmMillis,
    connections,
    callers: levels.join(" / "),
    "mariadb-slap": slap?.version ?? "not installed",
    ...serverSettings
  },
  scenarios: async () => {
    const server = await startServer()
    return {
      scenarios: [
        ...scenariosOf(database, server),
        layerScenario(server.url, new URL("./mysql/clients.ts", import.meta.url).href, { ours: client, theirs })
      ],
      close: server.close,
      serverCpu: server.cpu
    }
  },
  goals
}
