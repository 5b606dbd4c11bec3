import { execFileSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { join, relative, sep } from "node:path"
import { expect, it } from "vitest"

const root = join(import.meta.dirname, "../..")

/** Every test file of the repository, by its path from the root. */
const filesOf = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : filesOf(path)
    return entry.name.endsWith(".test.ts") ? [relative(root, path).split(sep).join("/")] : []
  })

// A file that each of two projects leaves to the other is run by nobody, and the summary is green.
it("every test file is run by exactly one project", () => {
  const vitest = join(root, "node_modules/vitest/vitest.mjs")
  const listed = execFileSync(process.execPath, [vitest, "list", "--filesOnly"], { cwd: root, encoding: "utf8" })
    .split("\n")
    .flatMap((line) => /^(?:\[\w+\] )?(\S+\.test\.ts)$/.exec(line.trim())?.[1] ?? [])
  const all = ["packages", "test"].flatMap((folder) => filesOf(join(root, folder)))
  expect([...listed].sort()).toEqual([...all].sort())
})
