/** `pnpm faults` in short: the command's core, on two quick scenarios. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { scenarios } from "./scenarios/index.js"
import { type Scenario, titleOf } from "./scoreboard/model.js"
import { peers } from "./scoreboard/peers.js"
import { runScoreboard, storeOf } from "./scoreboard/scoreboard.js"
import { sluice } from "./scoreboard/sluice.js"
import * as Store from "./scoreboard/store.js"

const named = (title: string): Scenario => scenarios.find((one) => titleOf(one) === title)!

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "scoreboard-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

const all = { scenarios, subjects: [sluice, ...peers] }
const pgPool = peers.find(({ name }) => name === "pg-pool")!

describe("the scoreboard of faults", () => {
  it.scopedLive(
    "two scenarios are measured on ours and on another client, and the page has the matrix and the numbers",
    () =>
      Effect.gen(function* () {
        const out = join(yield* temporary, "SCOREBOARD.md")
        const printed: Array<string> = []
        const run = (titles: ReadonlyArray<string>, subjects: typeof all.subjects) =>
          runScoreboard({
            all,
            scenarios: titles.map(named),
            places: ["postgresql", "mysql"],
            subjects,
            runs: 1,
            out,
            command: "a test",
            progress: () => undefined,
            print: (line) => void printed.push(line)
          })
        const broken = yield* run(["F17", "F16"], [sluice, pgPool])
        assert.deepStrictEqual(broken, [])
        assert.lengthOf(printed, 4)
        const page = readFileSync(out, "utf8")
        assert.match(page, /^\| F17 \| PostgreSQL \| holds \| does not hold: rows of it that the next user sees/m)
        assert.match(page, /^\| F16 \| MariaDB \| holds \|/m)
        assert.match(page, /^\| rows of it that the next user sees \| ≤ 0 \| 0 \| [1-9]/m)
        // What was not run says so, and what cannot be run says why.
        assert.match(page, /^\| F1 \| PostgreSQL \| not measured yet \|/m)
        assert.include(page, "mysql2: not run, it knows one server.")

        const before = Store.read(storeOf(out))!
        assert.lengthOf(before.cells, 6)
        yield* run(["F16"], [sluice])
        const after = Store.read(storeOf(out))!
        const changed = after.cells.filter((cell, i) => cell.date !== before.cells[i]!.date)
        assert.deepStrictEqual(
          changed.map(({ place, scenario, subject }) => [scenario, place, subject]),
          [
            ["F16", "mysql", "sluice"],
            ["F16", "postgresql", "sluice"]
          ]
        )
      }),
    180_000
  )

  it.scopedLive(
    "a run that never ends is given up, and what breaks the contract is named",
    () =>
      Effect.gen(function* () {
        const out = join(yield* temporary, "SCOREBOARD.md")
        const numbers = { lost: { title: "lost", unit: "count", atMost: 0 } } as const
        const made = { name: "It holds.", places: ["virtual"], patience: 1, numbers } as const
        const some: ReadonlyArray<Scenario> = [
          { ...made, id: "F98", run: () => Effect.uninterruptible(Effect.never) },
          { ...made, id: "F99", run: () => Effect.succeed({ lost: 3 }) }
        ]
        const broken = yield* runScoreboard({
          all: { scenarios: some, subjects: [sluice] },
          scenarios: some,
          places: ["virtual"],
          subjects: [sluice],
          runs: 2,
          out,
          command: "a test",
          progress: () => undefined,
          print: () => undefined
        })
        assert.lengthOf(broken, 2)
        assert.match(broken[0]!, /^F98.*the run hangs: not done within 1 s/)
        assert.match(broken[1]!, /^F99.*lost 3 \(≤ 0\)/)
        assert.include(readFileSync(out, "utf8"), "**DOES NOT HOLD**: lost 3 (≤ 0)")
      }),
    60_000
  )
})
