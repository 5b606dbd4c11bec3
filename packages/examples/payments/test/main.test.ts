/** The demo as its user starts it: a process of its own. */
import { spawn } from "node:child_process"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"

const home = fileURLToPath(new URL("..", import.meta.url))

const processes = () =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")]
      } catch {
        return [] // it has ended meanwhile
      }
    })

/** Starts it in a process group and with a temporary folder of its own, as a terminal would; kills what is left. */
const start = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "sluice-demo-"))
      chmodSync(folder, 0o755) // as root, the servers run as another user
      const child = spawn(join(home, "node_modules", ".bin", "tsx"), ["src/main.ts", ...args], {
        cwd: home,
        detached: true,
        env: { PATH: process.env["PATH"], TMPDIR: folder },
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
      return { child, folder, said, ended: Effect.promise(() => ended) }
    }),
    ({ child, folder }) =>
      Effect.sync(() => {
        try {
          process.kill(-child.pid!, "SIGKILL")
        } catch {
          // it has ended: the usual case
        }
        rmSync(folder, { recursive: true, force: true })
      })
  )

const clusters = (folder: string) => readdirSync(folder).filter((name) => name.startsWith("sluice-pg-"))

/** The cluster's name is in the command line or title of each of its processes, and in the folder's name. */
const awaitCluster = (folder: string): Effect.Effect<string> =>
  Effect.flatMap(
    Effect.sync(() => clusters(folder)[0]),
    (name) => (name === undefined ? Effect.delay(awaitCluster(folder), "20 millis") : Effect.succeed(name))
  )

const leftOf = (folder: string, name: string) => ({
  folders: clusters(folder),
  processes: processes().filter((text) => text.includes(name) || text.includes(folder))
})

const says = (said: { readonly out: string }, text: string) =>
  Effect.repeat(
    Effect.sync(() => said.out.includes(text)),
    { until: (met) => met, schedule: Schedule.spaced("20 millis") }
  )

/**
 * What the servers' own watchman sees to may take a moment longer than the demo itself, on a machine that is busy; what is
 * still there after ten seconds has been left behind.
 */
const leavesNothing = (folder: string, name: string) =>
  Effect.gen(function* () {
    const left = yield* Effect.repeat(
      Effect.sync(() => leftOf(folder, name)),
      {
        until: ({ folders, processes }) => folders.length === 0 && processes.length === 0,
        schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo("10 seconds"))
      }
    ).pipe(Effect.zipRight(Effect.sync(() => leftOf(folder, name))))
    assert.deepStrictEqual(left, { folders: [], processes: [] })
  })

/** Claims about time are true of the demo, but not of a machine that is busy with other tests. */
const timed = /≤ \d+ (?:s|ms)|within \d+ s|at once/

describe.sequential("npx pnpm demo", () => {
  it.scopedLive(
    "ends by itself with exit code 0, every claim held, and leaves no process and no folder",
    () =>
      Effect.gen(function* () {
        const { ended, folder, said } = yield* start()
        const name = yield* awaitCluster(folder)
        yield* says(said, "✓ start")
        assert.isNotEmpty(leftOf(folder, name).processes)
        const code = yield* ended
        const failed = said.out.split("\n").filter((line) => line.includes("✗"))
        assert.deepStrictEqual(
          failed.filter((line) => !timed.test(line)),
          [],
          said.out + said.err
        )
        assert.strictEqual(code, failed.length === 0 ? 0 : 1, said.out + said.err)
        assert.match(said.out, failed.length === 0 ? /All 18 claims held/ : /of 18 claims failed/)
        assert.notInclude(said.out, "\u001b") // without a terminal it does not draw
        assert.strictEqual(said.err, "")
        yield* leavesNothing(folder, name)
      }),
    120_000
  )

  it.scopedLive("Ctrl-C in the middle ends it cleanly, with exit code 130, and leaves nothing", () =>
    Effect.gen(function* () {
      const { child, ended, folder, said } = yield* start()
      const name = yield* awaitCluster(folder)
      yield* says(said, "✓ normal load")
      // To the whole group, and twice, as terminals and package managers do.
      process.kill(-child.pid!, "SIGINT")
      process.kill(-child.pid!, "SIGINT")
      assert.strictEqual(yield* ended, 130, said.out + said.err)
      assert.strictEqual(said.err, "")
      yield* leavesNothing(folder, name)
    })
  )

  it.scopedLive("--serve stays up, prints its address and curl examples, and ends with Ctrl-C", () =>
    Effect.gen(function* () {
      const { child, ended, folder, said } = yield* start("--serve")
      const name = yield* awaitCluster(folder)
      yield* says(said, "Ctrl-C")
      const url = /^http:\/\/\S+$/m.exec(said.out)?.[0]
      assert.include(said.out, `curl -i ${url}/payments`)
      const stats = yield* Effect.promise(() => fetch(`${url}/stats`))
      assert.strictEqual(stats.status, 200)
      process.kill(-child.pid!, "SIGINT")
      assert.strictEqual(yield* ended, 130, said.out + said.err)
      yield* leavesNothing(folder, name)
    })
  )

  it.scopedLive(
    "unknown arguments are named on stderr, with what there is instead, and exit code 2; nothing runs",
    () =>
      Effect.gen(function* () {
        const { ended, folder, said } = yield* start("--server", "--serve", "now")
        assert.strictEqual(yield* ended, 2)
        assert.strictEqual(said.out, "")
        assert.match(said.err, /^sluice demo: unknown argument --server now\. Known are --serve and --help\.\n\n/)
        assert.match(said.err, /Usage: npx pnpm demo/)
        assert.deepStrictEqual(clusters(folder), [])
      })
  )

  it.scopedLive("--help explains itself with examples", () =>
    Effect.gen(function* () {
      const { ended, said } = yield* start("--help")
      assert.strictEqual(yield* ended, 0)
      assert.match(said.out, /Examples:\n\s+npx pnpm demo/)
    })
  )
})
