/** PostgreSQL behind a real server: ours, the other clients, and how fast it can be at all. */
import type { Results } from "./harness/results.js"
import { atLeast, atMost } from "./harness/results.js"
import type { Benchmark, Case, Column, Scenario } from "./harness.js"
import { findPgbench } from "./pg/pgbench.js"
import { roundTripMillis, type Server, serverSettings, startServer } from "./pg/server.js"
import type { PgSettings } from "./pg/workload.js"

const connections = 10
/** `pg` in pipeline mode is fastest with two: more of them leave less to send at once. */
const packed = 2
/** Where postgres.js reads single rows fastest. It sends ahead, so connections beyond that only split its writes. */
const bestForPostgresJs = (callers: number): number => (callers <= 50 ? 1 : 2)

/** Fibers of Effect, and Sequelize, need a second of CPU and more until everything on their way is compiled. */
const warmMillis = 1_500

const levels = [1, 10, 50, 200] as const
const reference = "pg-pool named"
const raw = "raw pg pipelined"
const ours = "sluice Sql.query"
const client = "sluice SqlClient"
const bestPostgresJs = "postgres.js best max"
const pgbench = findPgbench()

const subjects = {
  [raw]: ["raw", "pipelined"],
  [ours]: ["clients", "sluiceQuery"],
  [client]: ["clients", "sluiceClient"],
  "@effect/sql-pg": ["clients", "effectClient"],
  [reference]: ["pgPool", "withNames"],
  "pg-pool unnamed": ["pgPool", "withoutNames"],
  "postgres.js": ["postgresJs", "query"],
  [bestPostgresJs]: ["postgresJs", "query"],
  "Sequelize 6": ["sequelize", "query"],
  "generic-pool + pg": ["genericPool", "withNames"]
} as const satisfies Record<string, readonly [file: string, start: string]>

type Name = keyof typeof subjects

const pooled: ReadonlyArray<Name> = [
  ours,
  client,
  "@effect/sql-pg",
  reference,
  "postgres.js",
  "Sequelize 6",
  "generic-pool + pg"
]
/** Those that can keep a connection without opening a transaction, by a documented way. */
const pinning = pooled.filter((name) => name !== "@effect/sql-pg" && name !== "Sequelize 6")

const connectionsOf = (name: Name, callers: number): number =>
  name === raw ? packed : name === bestPostgresJs ? bestForPostgresJs(callers) : connections

const cases = (names: ReadonlyArray<Name>, settings: Omit<PgSettings, "connections">): ReadonlyArray<Case> =>
  names.map((name) => {
    const [file, start] = subjects[name]
    return {
      name,
      module: new URL(`./pg/${file}.ts`, import.meta.url).href,
      start,
      settings: { ...settings, connections: connectionsOf(name, settings.callers) }
    }
  })

/** The limit in C, if it is there. */
const limits = (url: string, callers: number): ReadonlyArray<Case> =>
  pgbench === undefined
    ? []
    : [false, true].map((pipelined) => ({
        name: pipelined ? "pgbench pipelined" : "pgbench -M prepared",
        module: new URL("./pg/pgbench.ts", import.meta.url).href,
        start: "pgbench",
        settings: { url, connections, callers, pipelined, program: pgbench.program },
        external: true
      }))

const columns: ReadonlyArray<Column> = [
  { title: "p50 µs", metric: "p50" },
  { title: "p99 µs", metric: "p99" },
  { title: "slowest/mean", metric: "fairness" }
]

/** Without commas, which separate names on the command line. */
const at = (name: string, callers: number): string => `${name} at ${callers}`

interface Work {
  readonly name: string
  readonly title: string
  readonly workload: PgSettings["workload"]
  readonly names: ReadonlyArray<Name>
  readonly roundMillis?: number
}

const scenario = (url: string, callers: number, work: Work): Scenario => ({
  name: at(work.name, callers),
  title: `${work.title}; ${callers === 1 ? "1 caller" : `${callers} callers`}`,
  unit: "ops/s",
  measure: "wall",
  asRate: true,
  opsPerCall: callers,
  reference,
  columns,
  warmMillis,
  ...(work.roundMillis === undefined ? {} : { roundMillis: work.roundMillis }),
  cases: cases(work.names, { url, callers, workload: work.workload })
})

/** Measured at 50 callers; at the other levels on request. */
const works: ReadonlyArray<Work> = [
  { name: "ten rows", title: "ten rows by a range of keys, prepared", workload: "ten", names: pooled },
  { name: "thousand rows", title: "a thousand rows by a range of keys", workload: "thousand", names: pooled },
  { name: "1 MB", title: "one row of 1 MiB of text", workload: "megabyte", names: pooled },
  { name: "insert", title: "one row, autocommit", workload: "insert", names: pooled },
  {
    name: "transaction",
    title: "BEGIN, read, update, insert, COMMIT",
    workload: "transaction",
    names: pooled
  },
  { name: "pinned", title: "three point reads on one connection", workload: "pinned", names: pinning }
]

const scenarios = ({ delayedUrl, url }: Server): ReadonlyArray<Scenario> => {
  const point = levels.map((callers): Scenario => {
    const found = scenario(url, callers, {
      name: "point read",
      title: "one row of 100,000 by key, prepared where the client can",
      workload: "point",
      names: Object.keys(subjects) as Array<Name>
    })
    return { ...found, cases: [...limits(url, callers), ...found.cases] }
  })
  const rest = works.map((work) => scenario(url, 50, work))
  const mix: Scenario = {
    ...scenario(url, 50, {
      name: "mix",
      title: "point reads, and 1 % statements of 100 ms on the same connections; latency of the point reads",
      workload: "mix",
      names: pooled,
      roundMillis: 1_000
    })
  }
  const delayed = scenario(delayedUrl, 200, {
    name: "delay",
    title: `point reads through a network with a round trip of ${roundTripMillis} ms`,
    workload: "point",
    names: [raw, ours, client, "@effect/sql-pg", reference, "postgres.js"],
    roundMillis: 1_000
  })
  const slowish = scenario(url, 50, {
    name: "20 ms",
    title: "a statement that takes the server 20 ms",
    workload: "slowish",
    names: [ours, client, reference, "postgres.js"],
    roundMillis: 1_000
  })
  const others = levels
    .filter((callers) => callers !== 50)
    .flatMap((callers) => works.map((work) => ({ ...scenario(url, callers, work), onRequest: true })))
  return [...point, ...rest, mix, delayed, slowish, ...others]
}

const goals = (results: Results) => {
  /** Throughput of one over that of another. */
  const rate = (scenario: string, name: string, other: string) => results.ratio(scenario, other, name)?.median
  const p99 = (scenario: string, name: string, other: string) => results.ratio(scenario, name, other, "p99")?.median
  const alone = at("point read", 1)
  const delay = at("delay", 200)
  const mix = at("mix", 50)
  const slowish = at("20 ms", 50)
  const share = (value: number) => value.toFixed(2)
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
        atLeast(`${point}: SqlClient, against @effect/sql-pg`, rate(point, client, "@effect/sql-pg"), 2.5),
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
    atLeast(`${slowish}: Sql.query, against pg-pool named`, rate(slowish, ours, reference), 0.95),
    // There is no exporter yet that could be switched on.
    atLeast("telemetry in full, against none", undefined, 0.9)
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
    return { scenarios: scenarios(server), close: server.close, serverCpu: server.cpu }
  },
  goals
}
