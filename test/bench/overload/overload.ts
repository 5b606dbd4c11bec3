/** What each candidate does with the same overload: `pnpm bench overload`. */

import { type Outcome, play } from "../../support/traffic/play.js"
import { type Shape, trace } from "../../support/traffic/trace.js"
import { all } from "./candidates.js"

const LASTS = 10_000
const SEEDS = [1, 2, 3]

const shape = (load: number, work: number): Shape => ({
  load,
  work,
  millis: LASTS,
  connections: 10,
  patience: 1_000,
  classes: { high: 0.2, normal: 0.6, background: 0.2 }
})

const percent = (part: number): string => `${(100 * part).toFixed(1)} %`

const mean = (values: ReadonlyArray<number>): number => values.reduce((a, b) => a + b, 0) / values.length

/** Milliseconds after the overload until the last caller that had to wait for longer than 50 ms has come. */
const recovery = (outcomes: ReadonlyArray<Outcome>): number =>
  Math.max(
    0,
    ...outcomes.map(({ caller, isUseful, waited = 1e9 }) => (waited > 50 || !isUseful ? caller.at - LASTS : 0))
  )

export const measure = (make: (typeof all)[number], load: number, work: number, target: number) => {
  const runs = SEEDS.map((seed) => {
    const calm = trace({ ...shape(0.7, work), millis: 5_000 }, seed + 100, LASTS)
    const { engine, outcomes } = play(make(target), [...trace(shape(load, work), seed), ...calm], { connections: 10 })
    const during = outcomes.filter(({ caller }) => caller.at < LASTS)
    const useful = during.filter(({ isUseful }) => isUseful)
    const served = (priority: string) => {
      const asked = during.filter(({ caller }) => caller.priority === priority)
      return asked.filter(({ isUseful }) => isUseful).length / asked.length
    }
    return {
      goodput: useful.reduce((sum, { caller }) => sum + caller.work, 0) / (10 * LASTS),
      high: served("high"),
      recovery: recovery(outcomes.filter(({ caller }) => caller.at >= LASTS)),
      late: engine.state.counters.lateGrants
    }
  })
  return {
    goodput: Math.min(...runs.map(({ goodput }) => goodput)),
    high: Math.min(...runs.map(({ high }) => high)),
    recovery: mean(runs.map(({ recovery }) => recovery))
  }
}

/** Prints a table for each mean work and each target: right, ten times too short, ten times too long. */
export const overload = (print: (text: string) => void): void => {
  for (const work of [10, 100]) {
    for (const target of [50, 5, 500]) {
      print(
        `\nwork ${work} ms, target ${target} ms: done in time, of what can be done / class high served / normal again after`
      )
      for (const make of all) {
        const cells = [1.5, 3, 12].map((load) => {
          const { goodput, high, recovery } = measure(make, load, work, target)
          return `${load}x ${percent(goodput)} ${percent(high)} ${recovery.toFixed(0)} ms`.padEnd(34)
        })
        print(`${make(target).name.padEnd(22)} ${cells.join("")}`.trimEnd())
      }
    }
  }
}
