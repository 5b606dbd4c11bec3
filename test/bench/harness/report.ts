import type { Benchmark, Scenario } from "../harness.js"
import type { Machine } from "./machine.js"
import { type CaseResult, type Goal, type Results, type ScenarioResult, type Spread, spread } from "./results.js"
import type { Sample } from "./subject.js"

/** Three significant digits, with separators: `43.1`, `1,180`. */
export const number = (value: number): string => {
  if (!Number.isFinite(value)) return String(value)
  const magnitude = Math.abs(value)
  if (magnitude < 10) return value.toFixed(2)
  if (magnitude < 100) return value.toFixed(1)
  const rounded = magnitude < 1000 ? Math.round(value) : Math.round(value / 10) * 10
  return rounded.toLocaleString("en-US")
}

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)))
  const line = (cells: ReadonlyArray<string>): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd()
  return [line(head), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n")
}

export const heading = (
  benchmark: Benchmark,
  machine: Machine,
  versions: Readonly<Record<string, string>>,
  settings: Readonly<Record<string, unknown>>
): string =>
  [
    `# ${benchmark.name}: ${benchmark.summary}`,
    "",
    `machine   ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, load ${machine.load}`,
    `node      ${machine.node} (V8 ${machine.v8})`,
    `packages  ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(" · ")}`,
    `settings  ${Object.entries(settings)
      .map(([name, value]) => `${name} ${value}`)
      .join(" · ")}`
  ].join("\n")

const medianOf = (one: CaseResult, of: (sample: Sample) => number | undefined): string => {
  const values = one.samples.map(of).filter((value) => value !== undefined)
  return values.length === 0 ? "" : number(spread(values).median)
}

/** Times turn into rates; the smallest time is the largest rate. */
const inverse = ({ max, median, min }: Spread, of: number): Spread => ({
  median: of / median,
  min: of / max,
  max: of / min
})

export const scenarioTable = (scenario: Scenario, result: ScenarioResult, results: Results): string => {
  const { asRate = false, columns = [] } = scenario
  const server = result.cases.some((one) => one.samples.some((sample) => sample.serverCpu !== undefined))
  const head = [
    "",
    "ratio to * (spread)",
    `median ${scenario.unit}`,
    "spread",
    ...(server ? ["client CPU ns/op", "server CPU ns/op"] : ["CPU ns/op"]),
    ...columns.map(({ title }) => title)
  ]
  const rows = result.cases.map((one) => {
    if (one.failed !== undefined) return [one.name, "failed", ...head.slice(2).map(() => "")]
    const time = results.value(scenario.name, one.name)!
    const value = asRate ? inverse(time, 1e9) : time
    const times = results.ratio(scenario.name, one.name, scenario.reference)
    const ratio = times && asRate ? inverse(times, 1) : times
    return [
      one.name + (one.name === scenario.reference ? " *" : ""),
      ratio === undefined ? "?" : `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}..${ratio.max.toFixed(2)})`,
      number(value.median),
      `${number(value.min)}..${number(value.max)}`,
      medianOf(one, (sample) => sample.cpu),
      ...(server ? [medianOf(one, (sample) => sample.serverCpu)] : []),
      ...columns.map(({ metric }) => medianOf(one, (sample) => sample.metrics[metric]))
    ]
  })
  return [`## ${scenario.name}: ${scenario.title}`, "", table(head, rows)].join("\n")
}

export const goalTable = (goals: ReadonlyArray<Goal>): string => {
  const verdict = (goal: Goal): string => (goal.holds === undefined ? "?" : goal.holds ? "holds" : "DOES NOT HOLD")
  return [
    "## Goals",
    "",
    table(
      ["", "limit", "actual", ""],
      goals.map((goal) => [goal.name, goal.limit, goal.actual, verdict(goal)])
    )
  ].join("\n")
}
