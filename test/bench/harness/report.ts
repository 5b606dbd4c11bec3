import type { Benchmark, Scenario } from "../harness.js"
import type { Machine } from "./machine.js"
import { type Goal, type Results, type ScenarioResult, spread } from "./results.js"

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

export const scenarioTable = (scenario: Scenario, result: ScenarioResult, results: Results): string => {
  const rows = result.cases.map((one) => {
    if (one.failed !== undefined) return [one.name, "failed", "", "", ""]
    const value = results.value(scenario.name, one.name)!
    const ratio = results.ratio(scenario.name, one.name, scenario.reference)
    const cpu = spread(one.samples.map((sample) => sample.cpu))
    return [
      one.name + (one.name === scenario.reference ? " *" : ""),
      ratio === undefined ? "?" : `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}..${ratio.max.toFixed(2)})`,
      number(value.median),
      `${number(value.min)}..${number(value.max)}`,
      number(cpu.median)
    ]
  })
  return [
    `## ${scenario.name}: ${scenario.title}`,
    "",
    table(["", "ratio to * (spread)", `median ${scenario.unit}`, "spread", "CPU ns/op"], rows)
  ].join("\n")
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
