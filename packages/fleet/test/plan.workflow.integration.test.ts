/** The example workflow, run by a shell as GitHub runs it, with the real command. */
import { execFile } from "node:child_process"
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { parse } from "yaml"

const examples = join(import.meta.dirname, "../examples")
const workflow: {
  readonly jobs: { readonly plan: { readonly steps: ReadonlyArray<{ readonly name?: string; readonly run?: string }> } }
} = parse(readFileSync(join(examples, ".github/workflows/capacity.yml"), "utf8"))

const commandOf = (name: string): string => workflow.jobs.plan.steps.find((step) => step.name === name)!.run!

const home = mkdtempSync(join(tmpdir(), "sluice-workflow-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

beforeAll(() => {
  // `npx sluice` of a project that has installed the package.
  const tsx = createRequire(import.meta.url).resolve("tsx")
  const bin = join(import.meta.dirname, "../src/bin.ts")
  mkdirSync(join(home, "bin"))
  writeFileSync(join(home, "bin/npx"), `#!/bin/sh\nshift\nexec "${process.execPath}" --import "${tsx}" "${bin}" "$@"\n`)
  chmodSync(join(home, "bin/npx"), 0o755)
})

let projects = 0

/** A project like the example, with these changes of its `sluice.yaml`. */
const project = (...changes: ReadonlyArray<readonly [from: RegExp, to: string]>) => {
  const cwd = join(home, `project-${projects++}`)
  cpSync(examples, cwd, { recursive: true })
  const file = join(cwd, "sluice.yaml")
  const text = changes.reduce((text, [from, to]) => text.replace(from, to), readFileSync(file, "utf8"))
  writeFileSync(file, text)
  const summary = join(cwd, "summary.md")
  const env = { ...process.env, PATH: `${join(home, "bin")}:${process.env["PATH"]}`, GITHUB_STEP_SUMMARY: summary }
  return {
    summary: () => readFileSync(summary, "utf8"),
    /** Runs it as a step of a workflow. */
    shell: (command: string) =>
      new Promise<{ readonly status: number; readonly stdout: string }>((resolve) => {
        const child = execFile("bash", ["-e", "-o", "pipefail", "-c", command], { cwd, env }, (_, stdout) =>
          resolve({ status: child.exitCode ?? -1, stdout })
        )
      })
  }
}

const withoutJobs = [/ {4}pools:\n.*\n/, ""] as const

/** A safety net: each test starts the command, which takes long on a busy machine. */
const timeout = 300_000

describe("the example workflow", { timeout }, () => {
  it("refuses a deploy in which each pod has a second pool of 10, and says why at the line of the service", async () => {
    const { status, stdout } = await project().shell(commandOf("Plan the connections"))
    expect(stdout).toContain(
      "::error file=deploy/shop.yaml,line=4,title=sluice plan%3A overcommitted::4 connections (and nightly sync 10 in each pod)"
    )
    expect(stdout).toContain("520 at rest, 650 with surge, 780 while old pods terminate, of 497")
    expect(status).not.toBe(0)
  })

  it("lets the deploy go on without that pool, also with a warning, and shows the arithmetic", async () => {
    const { shell, summary } = project(withoutJobs, [
      /maxSize: 4/,
      "maxSize: 4\n    requestsPerSecond: 400\n    holdMs: 20"
    ])
    const warned = await shell(commandOf("Plan the connections"))
    expect(warned.stdout).toContain("::warning file=deploy/shop.yaml,line=4,title=sluice plan%3A below-need::")
    expect(warned.status).toBe(0)
    expect((await shell(commandOf("Show the arithmetic"))).status).toBe(0)
    expect(summary()).toContain("| while old pods terminate | 30 | 120 | 480 | fits |")
  })
})

describe("the command", { timeout }, () => {
  it("plans a manifest that is piped into it", async () => {
    const plan = "npx sluice plan --max-connections 500 --workers 4 --max-size 6 -"
    const { status, stdout } = await project().shell(`cat deploy/shop.yaml | ${plan}`)
    expect(stdout).toContain(
      "480 at rest, 600 with surge, 720 while old pods terminate, of 497. At most 4 fit. (stdin:4)"
    )
    expect(status).toBe(2)
  })

  it("plans the sluice.yaml of the folder if nothing is said of what runs", async () => {
    const { shell } = project(withoutJobs, [/maxSize: 4/, "pods: 20\n    maxSize: 6"])
    const { status, stdout } = await shell("npx sluice plan --format github")
    expect(stdout).toContain("::error file=sluice.yaml,line=5,title=sluice plan%3A overcommitted::6 connections")
    expect(status).toBe(2)
  })
})
