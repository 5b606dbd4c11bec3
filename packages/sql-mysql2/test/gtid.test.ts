import { assert, describe, it } from "@effect/vitest"
import { reached } from "../src/internal/session/gtid.js"

const a = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
const b = "4e11fa47-71ca-11e1-9e33-c80aa9429562"

type Case = readonly [position: string, wanted: string, boolean | undefined]

const check = (cases: ReadonlyArray<Case>) => {
  for (const [position, wanted, expected] of cases) {
    const short = (text: string) => text.replaceAll(a, "a").replaceAll(b, "b")
    it(`"${short(position)}" has "${short(wanted)}": ${expected}`, () =>
      assert.strictEqual(reached(position, wanted), expected))
  }
}

describe("positions of MariaDB", () =>
  check([
    ["0-1-5", "0-1-5", true],
    ["0-1-6", "0-1-5", true],
    ["0-1-4", "0-1-5", false],
    // Numbers, not texts.
    ["0-1-10", "0-1-9", true],
    ["0-1-9", "0-1-10", false],
    ["0-1-18446744073709551615", "0-1-18446744073709551614", true],
    ["0-1-9007199254740992", "0-1-9007199254740993", false],
    // Each domain counts for itself.
    ["0-1-5,1-1-9", "0-1-5", true],
    ["0-1-5,1-1-9", "1-1-9,0-1-5", true],
    ["0-1-5,1-1-8", "0-1-5,1-1-9", false],
    ["0-1-5", "0-1-5,1-1-9", false],
    ["0-1-5", "7-1-1", false],
    ["10-1-5", "1-1-5", false],
    // Another server has written last.
    ["0-2-5", "0-1-5", undefined],
    ["0-2-6", "0-1-5", undefined],
    ["0-2-4", "0-1-5", false],
    ["0-2-6,1-1-1", "0-1-5,1-1-2", false],
    ["0-1-6,1-2-9", "0-1-5,1-1-9", undefined],
    // No positions.
    ["", "0-1-5", undefined],
    ["0-1-5", "", undefined],
    ["", "", undefined],
    ["0-1", "0-1", undefined],
    ["0-1-5,", "0-1-5", undefined],
    ["0-1-x", "0-1-5", undefined],
    ["0-1--5", "0-1-5", undefined],
    ["0-1-5 ", "0-1-5", undefined],
    [`${a}:1-5`, "0-1-5", undefined],
    ["1:0/3000060", "1:0/3000060", undefined]
  ]))

describe("positions of MySQL", () =>
  check([
    [`${a}:1-5`, `${a}:5`, true],
    [`${a}:1-5`, `${a}:1-5`, true],
    [`${a}:1-5`, `${a}:6`, false],
    [`${a}:1-5`, `${a}:5-6`, false],
    [`${a}:5`, `${a}:5`, true],
    // What lies in a gap is missing.
    [`${a}:1-5:7-9`, `${a}:6`, false],
    [`${a}:1-5:7-9`, `${a}:7`, true],
    [`${a}:1-5:7-9`, `${a}:4-8`, false],
    [`${a}:1-5:7-9`, `${a}:2:8-9`, true],
    // Other servers.
    [`${a}:1-5,${b}:1-3`, `${b}:3`, true],
    [`${a}:1-5,${b}:1-3`, `${b}:3,${a}:5`, true],
    [`${a}:1-5,${b}:1-3`, `${b}:4,${a}:5`, false],
    [`${a}:1-5`, `${b}:1`, false],
    [`${a.toUpperCase()}:1-5`, `${a}:5`, true],
    // Tags.
    [`${a}:1-5:backup:1-3`, `${a}:backup:3`, true],
    [`${a}:1-5:backup:1-3`, `${a}:backup:4`, false],
    [`${a}:1-5`, `${a}:backup:1`, false],
    [`${a}:backup:1-9`, `${a}:5`, false],
    [`${a}:1-9223372036854775806`, `${a}:9223372036854775806`, true],
    // No positions.
    ["", `${a}:1`, undefined],
    [`${a}:1`, "", undefined],
    [`${a}`, `${a}`, undefined],
    [`${a}:`, `${a}:1`, undefined],
    [`${a}:1-`, `${a}:1`, undefined],
    [`${a}:backup`, `${a}:1`, undefined],
    [`${a}:1-5`, "0-1-5", undefined],
    ["x:1", "x:1", undefined]
  ]))
