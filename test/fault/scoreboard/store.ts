/** The numbers of all runs so far, in a file. A run replaces its own cells and leaves the others alone. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import type { Machine } from "../../bench/harness/machine.js"
import type { Cell } from "./runner.js"

/** A cell, and where and when it was measured. */
export interface Kept extends Cell {
  readonly date: string
  /** Processes that wanted a core, on average over the minute before. */
  readonly load: number
}

export interface Store {
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  /** As it was typed, the last time. */
  readonly command: string
  readonly cells: ReadonlyArray<Kept>
}

const keyOf = ({ place, scenario, subject }: Cell): string => `${scenario}|${place}|${subject}`

export const read = (file: string): Store | undefined =>
  existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Store) : undefined

/** Cells of scenarios that are no longer there are dropped. */
export const merged = (
  old: Store | undefined,
  fresh: Omit<Store, "cells">,
  cells: ReadonlyArray<Kept>,
  isKnown: (cell: Cell) => boolean
): Store => {
  const all = new Map([...(old?.cells ?? []), ...cells].filter(isKnown).map((cell) => [keyOf(cell), cell]))
  return { ...fresh, cells: [...all.keys()].sort().map((key) => all.get(key)!) }
}

/** One line for each cell, so that a diff shows which ones have changed. */
export const write = (file: string, { cells, ...head }: Store): void => {
  const lines = cells.map(
    (cell) =>
      `    ${JSON.stringify(cell, (_, value) => (typeof value === "number" ? Math.round(value * 10) / 10 : value))}`
  )
  writeFileSync(file, `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "cells": [\n${lines.join(",\n")}\n  ]\n}\n`)
}
