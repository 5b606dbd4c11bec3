/** The example as its user starts it: a process of its own. */
import { spawn } from "node:child_process"
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"

const home = fileURLToPath(new URL("..", import.meta.url))

/** With a temporary folder of its own, to see what is left of it. */
const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const path = mkdtempSync(join(tmpdir(), "sluice-recover-"))
    chmodSync(path, 0o755) // as root, the server runs as another user
    return path
  }),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const clusters = (path: string) => readdirSync(path).filter((name) => name.startsWith("sluice-pg-"))

/** Starts it in a process group of its own, as a terminal would; kills what is left. */
const start = (TMPDIR: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(join(home, "node_modules", ".bin", "tsx"), ["src/main.ts", ...args], {
        cwd: home,
        detached: true,
        env: { PATH: process.env["PATH"], TMPDIR },
        stdio: ["ignore", "pipe", "pipe"]
      })
      const said = { out: "", err: "" }
      child.stdout.on("data", (text) => {
        said.out += text
      })
      child.stderr.on("data", (text) => {
        said.err += text
      })
      const ended = new Promise<number | string | null>((resolve) =>
        child.once("close", (code, signal) => resolve(code ?? signal))
      )
      return { child, said, ended: Effect.promise(() => ended) }
    }),
    ({ child }) =>
      Effect.sync(() => {
        try {
          process.kill(-child.pid!, "SIGKILL")
        } catch {
          // it has ended: the usual case
        }
      })
  )

/** The server's own watchman sees to what is left, a moment later. */
const leavesNothing = (path: string) =>
  Effect.repeat(
    Effect.sync(() => clusters(path)),
    { until: (left) => left.length === 0, schedule: Schedule.spaced("50 millis") }
  )

/** Claims about time are true of the demo, but not of a machine that is busy with other tests. */
const timed = /≤ \d+ s |within \d+ s|connects a second/

describe.sequential("npx pnpm demo:recover", () => {
  it.scopedLive(
    "shows both sides, judges ours, ends with exit code 0, and leaves no server",
    () =>
      Effect.gen(function* () {
        const path = yield* folder
        const { ended, said } = yield* start(path)
        const code = yield* ended
        const failed = said.out.split("\n").filter((line) => line.includes("✗"))
        assert.deepStrictEqual(
          failed.filter((line) => !timed.test(line)),
          [],
          said.out + said.err
        )
        assert.strictEqual(code, failed.length === 0 ? 0 : 1, said.out + said.err)
        assert.match(said.out, failed.length === 0 ? /All 17 claims held/ : /of 17 claims failed/)
        assert.match(said.out, /\d s {2}Sluice +\d+ +\d+ .*\n +\d s {2}Sequelize 6 +\d+ +\d+ /)
        assert.match(said.out, /writes at full throughput +\S+/)
        assert.notInclude(said.out, "\u001b") // without a terminal it does not draw
        assert.strictEqual(said.err, "")
        yield* leavesNothing(path)
      }),
    150_000
  )

  it.scopedLive("Ctrl-C in the middle ends it cleanly, with exit code 130, and leaves nothing", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { child, ended, said } = yield* start(path)
      yield* Effect.repeat(
        Effect.sync(() => /Sequelize 6 +\d/.test(said.out)),
        { until: (met) => met, schedule: Schedule.spaced("20 millis") }
      )
      process.kill(-child.pid!, "SIGINT")
      assert.strictEqual(yield* ended, 130, said.out + said.err)
      assert.strictEqual(said.err, "")
      yield* leavesNothing(path)
    })
  )

  it.scopedLive("--help explains itself with examples, and runs nothing", () =>
    Effect.gen(function* () {
      for (const help of ["--help", "-h"]) {
        const path = yield* folder
        const { ended, said } = yield* start(path, help)
        assert.deepStrictEqual([yield* ended, said.err], [0, ""])
        assert.match(said.out, /Usage: npx pnpm demo:recover\n[\s\S]*Examples:\n\s+npx pnpm demo:recover/)
        assert.notInclude(said.out, "✓")
        assert.deepStrictEqual(clusters(path), [])
      }
    })
  )

  it.scopedLive(
    "unknown arguments are named on stderr, with what there is instead, and exit code 2; nothing runs",
    () =>
      Effect.gen(function* () {
        const path = yield* folder
        const { ended, said } = yield* start(path, "--bogus", "fast", "--help")
        assert.deepStrictEqual([yield* ended, said.out], [2, ""])
        assert.match(
          said.err,
          /^sluice demo: unknown argument --bogus fast\. Known is --help\.\n\nSluice demo: [\s\S]*Usage:/
        )
        assert.deepStrictEqual(clusters(path), [])
      })
  )
})
