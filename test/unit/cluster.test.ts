import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"

const read = (path: string) => readFileSync(join(import.meta.dirname, "../..", path), "utf8")

// It needs packages that the install line of the README does not have, so it is not among the programs that are run from there.
it("the README's program for a cluster is a file that the compiler checks, to the letter", () => {
  const programs = Array.from(
    read("packages/sql/README.md").matchAll(/```typescript\n([\s\S]*?)```/g),
    ([, code]) => code
  )
  expect(programs).toEqual([read("test/contract/cluster/readme.ts")])
})
