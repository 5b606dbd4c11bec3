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
    const path = mkdtempSync(join(tmpdir(), "sluice-too-many-"))
    chmodSync(path, 0o755) // as root, the server runs as another user
    return path
  }),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const clusters = (path: string) => readdirSync(path).filter((name) => name.startsWith("sluice-"))

const run = (TMPDIR: string, ...args: ReadonlyArray<string>) =>
  Effect.async<{ readonly code: number | null; readonly out: string; readonly err: string }>((resume) => {
    const child = spawn(join(home, "node_modules", ".bin", "tsx"), ["src/main.ts", ...args], {
      cwd: home,
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
    child.once("close", (code) => resume(Effect.succeed({ code, ...said })))
    return Effect.sync(() => void child.kill("SIGTERM"))
  })

describe("npx pnpm demo:too-many", () => {
  it.scopedLive("forty connections are too many, forty callers of query() are not; it ends with exit code 0", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { code, err, out } = yield* run(path)
      assert.strictEqual(err, "")
      assert.match(
        out,
        /✓ 1\. 40 requests at once, a connection each: most are refused\n +\d+ served, \d+ refused: .*Too many connections/
      )
      assert.match(out, /✓ 3\. .*: all are served\n +40 served, 0 refused\n/)
      assert.notInclude(out, "✗")
      assert.match(out, /All 5 claims held/)
      assert.strictEqual(code, 0, out)
      // The server's own watchman sees to what is left, a moment later.
      yield* Effect.repeat(
        Effect.sync(() => clusters(path)),
        { until: (left) => left.length === 0, schedule: Schedule.spaced("50 millis") }
      )
    })
  )

  it.scopedLive("--help explains itself with examples, and runs nothing", () =>
    Effect.gen(function* () {
      for (const help of ["--help", "-h"]) {
        const path = yield* folder
        const { code, err, out } = yield* run(path, help)
        assert.deepStrictEqual([code, err], [0, ""])
        assert.match(out, /Usage: npx pnpm demo:too-many\n[\s\S]*Examples:\n\s+npx pnpm demo:too-many/)
        assert.notInclude(out, "✓")
        assert.deepStrictEqual(clusters(path), [])
      }
    })
  )

  it.scopedLive(
    "unknown arguments are named on stderr, with what there is instead, and exit code 2; nothing runs",
    () =>
      Effect.gen(function* () {
        const path = yield* folder
        const { code, err, out } = yield* run(path, "--bogus", "fast", "--help")
        assert.deepStrictEqual([code, out], [2, ""])
        assert.match(
          err,
          /^sluice demo: unknown argument --bogus fast\. Known is --help\.\n\nSluice demo: [\s\S]*Usage:/
        )
        assert.deepStrictEqual(clusters(path), [])
      })
  )
})
