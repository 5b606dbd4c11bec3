/** The command's core: runs what was asked for, keeps the numbers, and writes the page after each cell. */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { loadavg } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { describeMachine, versionsOf } from "../../bench/harness/machine.js"
import { type Place, type Scenario, type Subject, titleOf } from "./model.js"
import { page, verdictOf } from "./page.js"
import { type Cell, runPlan } from "./runner.js"
import * as Store from "./store.js"

export interface ScoreboardOptions {
  /** Everything that the page shows, whether it is run this time or not. */
  readonly all: { readonly scenarios: ReadonlyArray<Scenario>; readonly subjects: ReadonlyArray<Subject> }
  readonly scenarios: ReadonlyArray<Scenario>
  readonly places: ReadonlyArray<Place>
  readonly subjects: ReadonlyArray<Subject>
  /** 0: only the page is made anew. */
  readonly runs: number
  readonly out: string
  readonly command: string
  readonly progress: (line: string) => void
  readonly print: (line: string) => void
}

/** The numbers are beside the page. */
export const storeOf = (out: string): string => join(dirname(out), "scoreboard.json")

const revision = (): string => {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"]
    }).trim()
  } catch {
    return "unknown"
  }
}

const loadNow = (): number => Math.round(loadavg()[0]! * 10) / 10

/** Gives what of ours does not hold, one line each, and what could not be run. */
export const runScoreboard = (options: ScoreboardOptions): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const { all, command, out, places, print, progress, runs, scenarios, subjects } = options
    const file = storeOf(out)
    const scenarioOf = ({ scenario }: Pick<Cell, "scenario">) => all.scenarios.find((one) => titleOf(one) === scenario)
    const isKnown = (cell: Cell) =>
      scenarioOf(cell)?.places.includes(cell.place) === true && all.subjects.some(({ name }) => name === cell.subject)
    const old = Store.read(file)
    const head =
      runs === 0 && old !== undefined
        ? { machine: old.machine, versions: old.versions, command: old.command }
        : {
            machine: describeMachine(),
            versions: {
              sluice: revision(),
              ...versionsOf(["effect", ...new Set(all.subjects.flatMap(({ packages }) => packages))])
            },
            command
          }
    const cells: Array<Store.Kept> = []
    const complaints: Array<string> = []
    const save = () => {
      // Read anew: another run may have added its own cells meanwhile.
      const store = Store.merged(Store.read(file), head, cells, isKnown)
      Store.write(file, store)
      writeFileSync(out, page(store, all.scenarios, all.subjects))
    }
    let load = loadNow()
    const done = (cell: Cell) => {
      const kept = { ...cell, date: new Date().toISOString(), load }
      load = loadNow()
      cells.push(kept)
      save()
      const { broken, holds } = verdictOf(scenarioOf(cell)!, kept)
      const line = `${cell.scenario}, ${cell.place}, ${cell.subject}: ${holds ? "holds" : `DOES NOT HOLD: ${broken.join("; ")}`}`
      if (subjects.find(({ name }) => name === cell.subject)?.isOurs !== true) return progress(line)
      print(line)
      if (!holds) complaints.push(line)
    }
    if (runs === 0) save()
    const troubles = runs === 0 ? [] : yield* runPlan({ scenarios, places, subjects, runs, progress, done })
    return [...complaints, ...troubles]
  })
