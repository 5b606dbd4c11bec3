/** The scenarios that the benchmarks of databases share: one server, the same work, different clients. */
import type { Results } from "../harness/results.js"
import type { Case, Column, Scenario } from "../harness.js"
import type { LayerSettings } from "./layers.js"
import { roundTripMillis, type Server } from "./server.js"
import type { Dialect, SqlSettings } from "./workload.js"

export const connections = 10

/** Fibers of Effect, and Sequelize, need a second of CPU and more until everything on their way is compiled. */
export const warmMillis = 1_500

export const levels = [1, 10, 50, 200] as const

const columns: ReadonlyArray<Column> = [
  { title: "p50 µs", metric: "p50" },
  { title: "p99 µs", metric: "p99" },
  { title: "slowest/mean", metric: "fairness" }
]

/** Without commas, which separate names on the command line. */
export const at = (name: string, callers: number): string => `${name} at ${callers}`

export interface Database<Name extends string> {
  readonly dialect: Dialect
  /** The module of each subject, in `test/bench` and without its ending, and what it exports. */
  readonly subjects: Readonly<Record<Name, readonly [module: string, start: string]>>
  /** What the others are compared with. */
  readonly reference: Name
  /** Those that do all kinds of work. */
  readonly pooled: ReadonlyArray<Name>
  /** Those that can keep a connection without opening a transaction, by a documented way. */
  readonly pinning: ReadonlyArray<Name>
  /** Those that are compared over a network, and with statements that take the server a while. */
  readonly distant: ReadonlyArray<Name>
  readonly slowish: ReadonlyArray<Name>
  readonly connectionsOf: (name: Name, callers: number) => number
  /** The limits in C, if they are there: they do point reads only. */
  readonly limits: (url: string, callers: number) => ReadonlyArray<Case>
}

export interface Work<Name> {
  readonly name: string
  readonly title: string
  readonly workload: SqlSettings["workload"]
  readonly names: ReadonlyArray<Name>
  readonly roundMillis?: number
  readonly columns?: ReadonlyArray<Column>
}

const worksOf = <Name extends string>({ pinning, pooled }: Database<Name>): ReadonlyArray<Work<Name>> => [
  { name: "ten rows", title: "ten rows by a range of keys, prepared", workload: "ten", names: pooled },
  { name: "thousand rows", title: "a thousand rows by a range of keys", workload: "thousand", names: pooled },
  { name: "1 MB", title: "one row of 1 MiB of text", workload: "megabyte", names: pooled },
  { name: "insert", title: "one row, autocommit", workload: "insert", names: pooled },
  { name: "transaction", title: "BEGIN, read, update, insert, COMMIT", workload: "transaction", names: pooled },
  { name: "pinned", title: "three point reads on one connection", workload: "pinned", names: pinning }
]

export const scenariosOf = <Name extends string>(
  database: Database<Name>,
  { delayedUrl, url: directUrl }: Pick<Server, "url" | "delayedUrl">
): ReadonlyArray<Scenario> => {
  const { connectionsOf, dialect, distant, limits, pooled, reference, slowish, subjects } = database

  const scenario = (
    callers: number,
    { columns: more = [], name, names, roundMillis, title, workload }: Work<Name>,
    url = directUrl
  ): Scenario => ({
    name: at(name, callers),
    title: `${title}; ${callers === 1 ? "1 caller" : `${callers} callers`}`,
    unit: "ops/s",
    measure: "wall",
    asRate: true,
    opsPerCall: callers,
    reference,
    columns: [...columns, ...more],
    warmMillis,
    ...(roundMillis === undefined ? {} : { roundMillis }),
    cases: names.map((name) => {
      const [module, start] = subjects[name]
      const settings: SqlSettings = { dialect, url, callers, workload, connections: connectionsOf(name, callers) }
      return { name, module: new URL(`../${module}.ts`, import.meta.url).href, start, settings }
    })
  })

  const point = levels.map((callers): Scenario => {
    const found = scenario(callers, {
      name: "point read",
      title: "one row of 100,000 by key, prepared where the client can",
      workload: "point",
      names: Object.keys(subjects) as Array<Name>
    })
    return { ...found, cases: [...limits(directUrl, callers), ...found.cases] }
  })
  const works = worksOf(database)
  const mix = scenario(50, {
    name: "mix",
    title: "point reads, and 1 % statements of 100 ms on the same connections; latency of the point reads",
    workload: "mix",
    names: pooled,
    roundMillis: 1_000
  })
  const late = scenario(50, {
    name: "late",
    title: "one read of 1,000 takes 250 ms, and its text does not show it; latency of the others",
    workload: "late",
    names: slowish,
    roundMillis: 1_000,
    columns: [{ title: "worst µs", metric: "worst" }]
  })
  const delay: Work<Name> = {
    name: "delay",
    title: `point reads through a network with a round trip of ${roundTripMillis} ms`,
    workload: "point",
    names: distant,
    roundMillis: 1_000
  }
  const slow: Work<Name> = {
    name: "20 ms",
    title: "a statement that takes the server 20 ms",
    workload: "slowish",
    names: slowish,
    roundMillis: 1_000
  }
  return [
    // Point reads at each level; all other work at 50 callers, and at the other levels on request.
    ...point,
    ...works.map((work) => scenario(50, work)),
    mix,
    late,
    scenario(200, delay, delayedUrl),
    scenario(50, slow),
    ...levels
      .filter((callers) => callers !== 50)
      .flatMap((callers) => works.map((work) => ({ ...scenario(callers, work), onRequest: true })))
  ]
}

/** What a script, a test, or a function that runs once pays. `module` exports `sluiceLayer` and `effectLayer`. */
export const layerScenario = (
  url: string,
  module: string,
  { ours, theirs }: { readonly ours: string; readonly theirs: string }
): Scenario => ({
  name: "layer",
  title: "a Layer is made, used for one statement, and closed",
  unit: "ns",
  measure: "wall",
  opsPerCall: 1,
  reference: theirs,
  roundMillis: 1_000,
  warmMillis: 1_500,
  cases: [
    [ours, "sluiceLayer"],
    [theirs, "effectLayer"]
  ].map(([name, start]) => ({ name: name!, module, start: start!, settings: { url } satisfies LayerSettings }))
})

/** What goals ask of the results. */
export const comparing = (results: Results) => ({
  /** Throughput of one over that of another. */
  rate: (scenario: string, name: string, other: string) => results.ratio(scenario, other, name)?.median,
  p99: (scenario: string, name: string, other: string) => results.ratio(scenario, name, other, "p99")?.median
})

export const millis = (micros: number): string => `${Math.round(micros / 1000)} ms`

export const share = (value: number): string => value.toFixed(2)
