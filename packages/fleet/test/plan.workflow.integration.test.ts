/** The example workflow, run by a shell as GitHub runs it, with the real command. */
import { spawnSync } from "node:child_process"
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { parse } from "yaml"

const home = mkdtempSync(join(tmpdir(), "sluice-workflow-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const examples = join(import.meta.dirname, "../examples")
const workflow: {
  readonly jobs: { readonly plan: { readonly steps: ReadonlyArray<{ readonly name?: string; readonly run?: string }> } }
} = parse(readFileSync(join(examples, ".github/workflows/capacity.yml"), "utf8"))

const commandOf = (name: string): string => workflow.jobs.plan.steps.find((step) => step.name === name)!.run!

beforeAll(() => {
  cpSync(examples, home, { recursive: true })
  mkdirSync(join(home, "bin"))
  // `npx sluice` of a project that has installed the package.
  const tsx = createRequire(import.meta.url).resolve("tsx")
  const bin = join(import.meta.dirname, "../src/bin.ts")
  writeFileSync(join(home, "bin/npx"), `#!/bin/sh\nshift\nexec "${process.execPath}" --import "${tsx}" "${bin}" "$@"\n`)
  chmodSync(join(home, "bin/npx"), 0o755)
})

const shell = (command: string) => {
  const env = {
    ...process.env,
    PATH: `${join(home, "bin")}:${process.env["PATH"]}`,
    GITHUB_STEP_SUMMARY: join(home, "summary.md")
  }
  const { status, stdout } = spawnSync("bash", ["-e", "-o", "pipefail", "-c", command], {
    cwd: home,
    env,
    encoding: "utf8"
  })
  return { status, stdout }
}

const step = (name: string) => shell(commandOf(name))

const change = (from: RegExp, to: string) => {
  const file = join(home, "sluice.yaml")
  writeFileSync(file, readFileSync(file, "utf8").replace(from, to))
}

/** A safety net: each test starts the command, which takes long on a busy machine. */
const timeout = 300_000

describe("the example workflow", { timeout }, () => {
  it("refuses a deploy in which each pod has a second pool of 10, and says why at the line of the service", () => {
    const { status, stdout } = step("Plan the connections")
    expect(stdout).toContain(
      "::error file=deploy/shop.yaml,line=4,title=sluice plan%3A overcommitted::4 connections (and nightly sync 10 in each pod)"
    )
    expect(stdout).toContain("520 at rest, 650 with surge, 780 while old pods terminate, of 497")
    expect(status).not.toBe(0)
  })

  it("lets the deploy go on without that pool, also with a warning, and shows the arithmetic", () => {
    change(/ {4}pools:\n.*\n/, "")
    change(/maxSize: 4/, "maxSize: 4\n    requestsPerSecond: 400\n    holdMs: 20")
    const warned = step("Plan the connections")
    expect(warned.stdout).toContain("::warning file=deploy/shop.yaml,line=4,title=sluice plan%3A below-need::")
    expect(warned.status).toBe(0)
    expect(step("Show the arithmetic").status).toBe(0)
    const summary = readFileSync(join(home, "summary.md"), "utf8")
    expect(summary).toContain("| while old pods terminate | 30 | 120 | 480 | fits |")
  })
})

describe("a manifest that is piped into the command", { timeout }, () => {
  it("is planned", () => {
    const { status, stdout } = shell(
      "cat deploy/shop.yaml | npx sluice plan --max-connections 500 --workers 4 --max-size 6 -"
    )
    expect(stdout).toContain(
      "480 at rest, 600 with surge, 720 while old pods terminate, of 497. At most 4 fit. (stdin:4)"
    )
    expect(status).toBe(2)
  })
})
