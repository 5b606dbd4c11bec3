/**
 * The frame of all benchmarks. A benchmark is a list of scenarios; a scenario is a list of cases, each a subject in a
 * process of its own; rounds are interleaved (A B C A B C …), so that what disturbs the machine for a while disturbs
 * all of them; medians of ratios are the result.
 */
import { join } from "node:path"
import { type Machine, versionsOf } from "./harness/machine.js"
import { Measurer } from "./harness/measurer.js"
import { goalTable, heading, scenarioTable } from "./harness/report.js"
import { type CaseResult, type Goal, Results, type ScenarioResult, valueOf } from "./harness/results.js"
import type { Sample } from "./harness/subject.js"

export interface Case {
  readonly name: string
  /** URL of the module that exports the subject. Only its process loads it. */
  readonly module: string
  /** Name of the exported `Start`, or its path: `use.uncontended`. */
  readonly start: string
  /** Handed to `start`; must survive JSON. */
  readonly settings?: unknown
  /** The work is done by another program, which the server's clock cannot tell from its own start and end. */
  readonly external?: boolean
}

/** One more number of each case, as the subjects measured it. */
export interface Column {
  readonly title: string
  /** A key of `Sample.metrics`. A subject that does not measure it shows none. */
  readonly metric: string
}

export interface Scenario {
  readonly name: string
  readonly title: string
  readonly unit: string
  /** What is compared: `wall` or `cpu` time for an operation, or a metric that the subjects measure. Less is better. */
  readonly measure: string
  /** Operations that one call of `run` stands for. */
  readonly opsPerCall: number
  /** Shows operations per second and ratios of them, so that more is better. For `wall`; goals are asked in times. */
  readonly asRate?: boolean
  readonly columns?: ReadonlyArray<Column>
  /** Length of a round where the usual one is too short, for example for a percentile. */
  readonly roundMillis?: number
  /** Warm-up, where compiling takes longer than usual. */
  readonly warmMillis?: number
  /** Runs only when `--scenario` names a part of it. */
  readonly onRequest?: boolean
  /** Name of the case that the others are compared with. */
  readonly reference: string
  readonly cases: ReadonlyArray<Case>
}

export interface Benchmark {
  readonly name: string
  readonly summary: string
  /** Dependencies of `test` whose versions decide the numbers. */
  readonly packages: ReadonlyArray<string>
  readonly settings: Readonly<Record<string, unknown>>
  /** Builds the scenarios, after starting what all cases share, for example a server. */
  readonly scenarios: () => Promise<Opened> | Opened
  readonly goals: (results: Results) => ReadonlyArray<Goal>
}

export interface Opened {
  readonly scenarios: ReadonlyArray<Scenario>
  readonly close?: () => Promise<void> | void
  /** CPU nanoseconds that the shared server has used so far. `undefined` where the system does not tell. */
  readonly serverCpu?: () => number | undefined
}

export interface RunOptions {
  readonly rounds: number
  readonly roundMillis: number
  readonly warmMillis: number
  /** Applied to the times that a scenario asks for itself. */
  readonly scale: number
  /** Parts of names; an empty list takes everything. */
  readonly scenarioFilter: ReadonlyArray<string>
  readonly caseFilter: ReadonlyArray<string>
  readonly profileDir: string | undefined
  readonly progress: (line: string) => void
  readonly print: (text: string) => void
}

export interface Report {
  readonly benchmark: string
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, unknown>>
  readonly scenarios: ReadonlyArray<ScenarioResult>
  readonly goals: ReadonlyArray<Goal>
}

/** One start, warm-up or round. Far above what any subject needs: only one that hangs meets it. */
const stepLimit = 60_000

const live = new Set<Measurer>()

/** Ends every measuring process at once; for a signal. */
export const abandon = (): void => {
  for (const measurer of live) measurer.kill()
}

const matches = (name: string, parts: ReadonlyArray<string>): boolean =>
  parts.length === 0 || parts.some((part) => name.toLowerCase().includes(part.toLowerCase()))

interface Running {
  readonly one: Case
  readonly measurer: Measurer
  readonly samples: Array<Sample>
  failed: string | undefined
}

const runScenario = async (
  scenario: Scenario,
  options: RunOptions,
  serverCpu: () => number | undefined
): Promise<ScenarioResult> => {
  const startedAt = performance.now()
  const roundMillis = scenario.roundMillis === undefined ? options.roundMillis : scenario.roundMillis * options.scale
  const warmMillis = scenario.warmMillis === undefined ? options.warmMillis : scenario.warmMillis * options.scale
  const cases: Array<Running> = scenario.cases
    .filter((one) => matches(one.name, options.caseFilter))
    .map((one) => {
      const measurer = new Measurer()
      live.add(measurer)
      return { one, measurer, samples: [], failed: undefined }
    })

  /** Runs a step of one case; a case that fails is reported and sits out, the others go on. */
  const step = async (running: Running, what: string, act: () => Promise<unknown>): Promise<void> => {
    if (running.failed !== undefined) return
    try {
      await act()
    } catch (error) {
      const story = error instanceof Error ? error.message : String(error)
      // The whole stack as it happens; its first line in the summary.
      options.progress(`  ${running.one.name} failed: ${what}: ${story}`)
      running.failed = `${what}: ${story.split("\n")[0]}`
    }
  }

  try {
    // Processes may start side by side; from the warm-up on, only one works at a time.
    await Promise.all(
      cases.map((running) => {
        const { module, start, settings } = running.one
        return step(running, "start", () => running.measurer.start(module, start, settings, stepLimit))
      })
    )
    for (const running of cases) {
      options.progress(`  ${scenario.name}: warm-up of ${running.one.name}`)
      await step(running, "warm-up", () =>
        running.measurer.warm(warmMillis, roundMillis, scenario.opsPerCall, stepLimit)
      )
    }
    if (options.profileDir !== undefined) {
      for (const running of cases) {
        const name = `${scenario.name} ${running.one.name}`.replace(/[^\w.]+/g, "-")
        const file = join(options.profileDir, `${name}.cpuprofile`)
        await step(running, "profile", () => running.measurer.profile(file, stepLimit))
      }
    }
    for (let round = 1; round <= options.rounds; round++) {
      options.progress(`  ${scenario.name}: round ${round} of ${options.rounds}`)
      for (const running of cases) {
        await step(running, `round ${round}`, async () => {
          const before = serverCpu()
          const sample = await running.measurer.round(stepLimit)
          const after = serverCpu()
          valueOf(sample, scenario.measure)
          const measured = before !== undefined && after !== undefined && running.one.external !== true
          const ops = sample.calls * scenario.opsPerCall
          running.samples.push(measured ? { ...sample, serverCpu: (after - before) / ops } : sample)
        })
      }
    }
  } finally {
    await Promise.all(
      cases.map(async ({ measurer }) => {
        await measurer.close()
        live.delete(measurer)
      })
    )
  }
  options.progress(`  ${scenario.name}: done in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
  return {
    name: scenario.name,
    measure: scenario.measure,
    cases: cases.map(({ one, samples, failed }): CaseResult => ({ name: one.name, samples, failed }))
  }
}

/** Runs a benchmark, prints a table for each scenario as soon as it is measured, and judges the goals. */
export const runBenchmark = async (benchmark: Benchmark, machine: Machine, options: RunOptions): Promise<Report> => {
  const versions = versionsOf(benchmark.packages)
  const settings = {
    rounds: options.rounds,
    "round ms": options.roundMillis,
    "warm-up ms": options.warmMillis,
    ...benchmark.settings
  }
  options.print(heading(benchmark, machine, versions, settings))
  const measured: Array<ScenarioResult> = []
  const results = new Results(measured)
  const opened = await benchmark.scenarios()
  try {
    for (const scenario of opened.scenarios) {
      if (!matches(scenario.name, options.scenarioFilter)) continue
      if (scenario.onRequest === true && options.scenarioFilter.length === 0) continue
      const result = await runScenario(scenario, options, opened.serverCpu ?? (() => undefined))
      measured.push(result)
      if (result.cases.length > 0) options.print(`\n${scenarioTable(scenario, result, results)}`)
    }
  } finally {
    await opened.close?.()
  }
  const goals = benchmark.goals(results)
  options.print(`\n${goalTable(goals)}`)
  return { benchmark: benchmark.name, machine, versions, settings, scenarios: measured, goals }
}
