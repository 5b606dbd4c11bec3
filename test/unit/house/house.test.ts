/** The rules of the house find what they look for: each is shown made-up files. The house itself is in ../house.test.ts. */
import { describe, expect, it } from "vitest"
import { circlesOf } from "./circles.js"
import { codeOf, importsOf, pastEffect } from "./source.js"

const circlesIn = (files: Record<string, string>) => circlesOf(new Map(Object.entries(files)))

describe("the circle finder", () => {
  it("says nothing about files that import in one direction, also when two ways lead to the same file", () => {
    expect(
      circlesIn({
        "packages/a/src/Top.ts":
          'import * as Left from "./internal/left.js"\nimport { right } from "./internal/right.js"',
        "packages/a/src/internal/left.ts": 'export * from "./base.js"',
        "packages/a/src/internal/right.ts": 'import type { Base } from "./base.js"\nimport { Effect } from "effect"',
        "packages/a/src/internal/base.ts": "export interface Base {}"
      })
    ).toEqual([])
  })

  it("finds two files that import each other, and says which arrow closes the circle", () => {
    expect(circlesIn({ "a.ts": 'import { b } from "./b.js"', "b.ts": 'import { a } from "./a.js"' })).toEqual([
      "a.ts → b.ts → a.ts: cut b.ts → a.ts"
    ])
  })

  it("finds a circle round a corner, and cuts the arrow that leads back to the package's face", () => {
    expect(
      circlesIn({
        "src/internal/node.ts": 'import { Made } from "../Cluster.js"',
        "src/internal/cluster.ts": 'import * as Node from "./node.js"',
        "src/Cluster.ts": 'import { make } from "./internal/cluster.js"'
      })
    ).toEqual([
      "src/Cluster.ts → src/internal/cluster.ts → src/internal/node.ts → src/Cluster.ts: cut src/internal/node.ts → src/Cluster.ts"
    ])
  })

  it.each([
    ["import type", 'import type { A } from "./a.js"'],
    ["a type among values", 'import { type A, make } from "./a.js"'],
    ["an import over several lines", 'import {\n  type A, // of a\n  make\n} from\n  "./a.js"'],
    ["export … from", 'export { A } from "./a.js"'],
    ["export type … from", "export type { A } from './a.js'"],
    ["export *", 'export * as A from "./a.js"'],
    ["an import() type", 'export const make = (a: import("./a.js").A) => a'],
    ["a dynamic import", 'const a = await import("./a.js")'],
    ["an import for its effects", 'import "./a.js"'],
    ["an import after a template with braces", `const s = \`\${{ a: \`}\` }.a} '\`\nimport { a } from "./a.js"`],
    ["an import after a regular expression with quotes", 'const r = text.split(/["\'`]/)\nimport { a } from "./a.js"']
  ])("sees %s", (_, source) => {
    expect(circlesIn({ "a.ts": 'import type { B } from "./b.js"', "b.ts": source })).toEqual([
      "a.ts → b.ts → a.ts: cut b.ts → a.ts"
    ])
  })

  it("finds a circle across packages, through their names", () => {
    expect(
      circlesIn({
        "packages/pool/src/index.ts": 'export * as Pool from "./Pool.js"',
        "packages/pool/src/Pool.ts": 'import type { Driver } from "@sluice/sql/driver"',
        "packages/sql/src/driver/index.ts": 'export * as Driver from "./Driver.js"',
        "packages/sql/src/driver/Driver.ts": 'import { Pool } from "@sluice/pool"'
      })
    ).toHaveLength(1)
  })

  it("does not take for an import what stands in a comment, a string or a template", () => {
    expect(
      importsOf(`
        // import { a } from "./a.js"
        /** @example import { a } from "./a.js" */
        const sql = \`select * from "./a.js" where \${import.meta.url + "from './a.js'"}\`
        const list = Array.from("./a.js")
      `)
    ).toEqual([])
  })
})

describe("the reader of code", () => {
  it("keeps the length and every line, and blanks nothing but comments and texts", () => {
    const source = `const a = \`x \${b /* c */ + \`y\`} z\` // d\nconst half = a / 2 / b // "e\nconst f = 'g'`
    const code = codeOf(source)
    expect(code).toHaveLength(source.length)
    expect(code.split("\n").map((line) => line.trimEnd().replaceAll(/ +/g, " "))).toEqual([
      "const a = b +",
      "const half = a / 2 / b",
      "const f = ' '"
    ])
  })
})

describe("the finder of time, chance and fibers that Effect does not know", () => {
  it.each([
    ["const now = Date.now()", "Date.now in line 1"],
    ["\nsetTimeout(f, 5)", "setTimeout in line 2"],
    ["const id = globalThis.setInterval(f)", "setInterval in line 1"],
    ["const roll = Math.random()", "Math.random in line 1"],
    ["console.log(1)", "console. in line 1"],
    [`const text = \`\${Date.now()}\``, "Date.now in line 1"],
    ['import { Scope } from "effect"\nEffect.runFork(f)', "Effect.runFork in line 2"],
    ['import { Runtime } from "effect"\nRuntime.runFork(r)(f)', "Runtime.runFork in line 2"]
  ])("finds it in %j", (source, expected) => {
    expect(pastEffect(source)).toEqual([expected])
  })

  it.each([
    ["// Date.now() steps"],
    ["/** `console.log` */ const a = 1"],
    ['const message = "Math.random() is not seeded"'],
    ["const resetTimeout = options.resetTimeout"],
    ['import type { Scope } from "effect"\nconst fiber = Runtime.runFork(runtime, sleep)']
  ])("finds nothing in %j", (source) => {
    expect(pastEffect(source)).toEqual([])
  })
})
