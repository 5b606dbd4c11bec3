/** The scoreboard as Markdown, made of the numbers and of nothing else. */
import { claimsOf, limitOf, type Spread, shown, spreadOf } from "./judge.js"
import {
  type Measured,
  type NumberOf,
  type Place,
  reasonNotToRun,
  type Scenario,
  type Subject,
  titleOf
} from "./model.js"
import type { Kept, Store } from "./store.js"

const row = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n")

/** What an empty cell means when the scenario could be run there. */
const NOT_YET = "not measured yet"

const spreadText = ({ max, median, min }: Spread, unit: NumberOf["unit"]): string => {
  const [low, middle, high] = [shown(min), shown(median), shown(max)]
  return low === high ? shown(median, unit) : `${low} / ${middle} / ${shown(max, unit)}`
}

/** The verdict on one cell: `holds`, or each number that breaks the contract. */
export const verdictOf = (
  scenario: Scenario,
  cell: Kept
): { readonly holds: boolean; readonly broken: ReadonlyArray<string> } => {
  const broken = claimsOf(scenario, cell.runs)
    .filter((claim) => !claim.holds)
    .map(({ actual, limit, title }) => `${title} ${actual} (${limit})`)
  const failures = [...new Set(cell.failures)].map((story) => `no numbers: ${story}`)
  const crashes = cell.uncaught > 0 ? [`${cell.uncaught} errors that nobody could catch`] : []
  const all = [...broken, ...failures, ...crashes]
  return { holds: all.length === 0 && cell.runs.length > 0, broken: all }
}

const value = (measured: Measured | undefined): number =>
  measured === undefined ? Number.NaN : measured === "never" ? Infinity : measured

/** Where another client is better than ours by more than the noise: a fifth, and 5 of whatever is counted. */
const lossesIn = (scenario: Scenario, ours: Kept, peers: ReadonlyArray<Kept>): ReadonlyArray<string> =>
  Object.entries(scenario.numbers).flatMap(([key, number]) => {
    const own = value(spreadOf(ours.runs, key)?.median)
    return peers.flatMap((peer) => {
      const theirs = value(spreadOf(peer.runs, key)?.median)
      const gain = number.atLeast === undefined ? own - theirs : theirs - own
      const noise = number.unit === "count" ? 0 : 5
      return gain > Math.max(noise, 0.2 * Math.min(own, theirs))
        ? [
            `${number.title}: ${peer.subject} ${shown(theirs === Infinity ? "never" : theirs, number.unit)}, ours ${shown(own === Infinity ? "never" : own, number.unit)}`
          ]
        : []
    })
  })

interface Line {
  readonly scenario: Scenario
  readonly place: Place
  readonly cells: ReadonlyMap<string, Kept>
}

const linesOf = (store: Store, scenarios: ReadonlyArray<Scenario>): ReadonlyArray<Line> =>
  scenarios.flatMap((scenario) =>
    scenario.places.map((place) => ({
      scenario,
      place,
      cells: new Map(
        store.cells
          .filter((cell) => cell.scenario === titleOf(scenario) && cell.place === place)
          .map((cell) => [cell.subject, cell])
      )
    }))
  )

const placeNames: Readonly<Record<Place, string>> = {
  postgresql: "PostgreSQL",
  mysql: "MariaDB",
  virtual: "virtual clock"
}

const overview = (lines: ReadonlyArray<Line>, subjects: ReadonlyArray<Subject>): string =>
  table(
    ["fault", "database", ...subjects.map(({ name }) => name)],
    lines.map(({ cells, place, scenario }) => [
      titleOf(scenario),
      placeNames[place],
      ...subjects.map((subject) => {
        const cell = cells.get(subject.name)
        if (cell === undefined) return reasonNotToRun(scenario, subject, place) === undefined ? NOT_YET : ""
        const { broken, holds } = verdictOf(scenario, cell)
        if (holds) return "holds"
        return `${subject.isOurs ? "**DOES NOT HOLD**" : "does not hold"}: ${broken.join("; ")}`
      })
    ])
  )

const details = ({ cells, place, scenario }: Line, subjects: ReadonlyArray<Subject>): string => {
  const here = subjects.filter((subject) => cells.has(subject.name))
  const numbers = table(
    ["", "contract", ...here.map(({ name }) => name)],
    Object.entries(scenario.numbers).map(([key, number]) => [
      number.title,
      limitOf(number) ?? "",
      ...here.map(({ name }) => {
        const spread = spreadOf(cells.get(name)!.runs, key)
        return spread === undefined ? "" : spreadText(spread, number.unit)
      })
    ])
  )
  const absent = subjects
    .map((subject) => [subject, reasonNotToRun(scenario, subject, place)] as const)
    .filter(([{ name }, reason]) => reason !== undefined && reason !== "another database" && !cells.has(name))
    .map(([{ name }, reason]) => `${name}: not run, ${reason}.`)
  const ours = here.find(({ isOurs }) => isOurs)
  const losses =
    ours === undefined
      ? []
      : lossesIn(
          scenario,
          cells.get(ours.name)!,
          here.filter(({ isOurs }) => !isOurs).map(({ name }) => cells.get(name)!)
        )
  const kept = [...cells.values()]
  const measured = here.map(({ name }) => {
    const cell = cells.get(name)!
    return `${name} ${cell.runs.length} ${cell.runs.length === 1 ? "run" : "runs"}, ${cell.date.slice(0, 16).replace("T", " ")} UTC, load ${cell.load}`
  })
  return [
    `### ${titleOf(scenario)}, ${placeNames[place]}`,
    "",
    scenario.name,
    ...(kept.length === 0 ? ["", "Not measured yet."] : ["", numbers, "", `${measured.join(" · ")}.`]),
    ...(losses.length === 0 ? [] : ["", `Better than ours: ${losses.join("; ")}.`]),
    ...(absent.length === 0 ? [] : ["", absent.join(" ")])
  ].join("\n")
}

export const page = (store: Store, scenarios: ReadonlyArray<Scenario>, subjects: ReadonlyArray<Subject>): string => {
  const lines = linesOf(store, scenarios)
  const { machine } = store
  const loads = store.cells.map(({ load }) => load)
  const dates = store.cells.map(({ date }) => date.slice(0, 10)).sort()
  const busiest = Math.max(0, ...loads)
  const isLoaded = busiest > machine.cores
  return `# Fault scoreboard

Made by \`pnpm faults\`, never by hand; the numbers are in \`scoreboard.json\`. Each cell is the verdict on the contract of the fault, by the
same measurement for every client. A time is judged by its median, and may be 50 ms or a fifth longer; everything else is judged by the
worst run, and limits of rates have that fifth in them. \`never\`: not within the time that the scenario waits. An empty cell is a
fault that this client cannot be asked about: the reason stands with its numbers.

- Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, Node ${machine.node}.
- Measured: ${dates[0] === dates.at(-1) ? dates[0] : `${dates[0]} to ${dates.at(-1)}`}, last by \`${store.command}\`.
- Load of the machine when cells were begun: ${Math.min(...loads)} to ${busiest}.${isLoaded ? " **Other programs were running: times are those of a loaded machine.**" : ""}
- Versions: ${Object.entries(store.versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(" · ")}.
- Settings: 10 connections at most, and the acquire timeout of the scenario where a client has one; everything else is the default of the
  client, except where the scenario says so. mysql2 and postgres.js wait for a connection without a bound. Reads of mysql2 on replicas go
  through its PoolCluster.

## Verdicts

${overview(lines, subjects)}

## Numbers

Each is min / median / max of the runs.

${lines.map((line) => details(line, subjects)).join("\n\n")}
`
}
