/** An example as its user starts it: a process of its own, with a temporary folder of its own. */
import { spawn } from "node:child_process"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"

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

/** Awaits a condition, however long it takes. */
export const until = (met: () => boolean): Effect.Effect<unknown> =>
  Effect.repeat(Effect.sync(met), { until: (met) => met, schedule: Schedule.spaced("20 millis") })

/** The example whose test is at this address: `import.meta.url`. `command` is how its user starts it. */
export const make = (url: string, command: string) => {
  const home = fileURLToPath(new URL("..", url))

  /** Starts it in a process group of its own, as a terminal would; kills what is left when the scope closes. */
  const start = (...args: ReadonlyArray<string>) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const folder = mkdtempSync(join(tmpdir(), "sluice-example-"))
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
        /** The folders of servers. The name of a folder is in the command line or title of each of its processes. */
        const servers = () => readdirSync(folder).filter((name) => name.startsWith("sluice-"))
        return {
          said,
          servers,
          ended: Effect.promise(() => ended),
          says: (text: string | RegExp) => until(() => said.out.search(text) >= 0),
          /** To the whole group, as terminals do. */
          interrupt: () => process.kill(-child.pid!, "SIGINT"),
          isLeft: () => servers().length > 0 || processes().some((text) => text.includes(folder)),
          kill: () => {
            try {
              process.kill(-child.pid!, "SIGKILL")
            } catch {
              // it has ended: the usual case
            }
            rmSync(folder, { recursive: true, force: true })
          }
        }
      }),
      ({ kill }) => Effect.sync(kill)
    )

  type Started = Effect.Effect.Success<ReturnType<typeof start>>

  /** The server's own watchman sees to what is left, a moment later. */
  const leavesNothing = ({ isLeft }: Started) => until(() => !isLeft())

  /**
   * It has ended by itself, has judged `claims` claims, and its exit code says so. Claims that `timed` matches are true of the example, but
   * not of a machine that is busy with other tests.
   */
  const holds = (started: Started, claims: number, timed?: RegExp) =>
    Effect.gen(function* () {
      const code = yield* started.ended
      const { err, out } = started.said
      const failed = out.split("\n").filter((line) => line.includes("✗"))
      assert.deepStrictEqual(
        failed.filter((line) => timed === undefined || !timed.test(line)),
        [],
        out + err
      )
      assert.strictEqual(code, failed.length === 0 ? 0 : 1, out + err)
      const verdict = failed.length === 0 ? `All ${claims} claims held` : `of ${claims} claims failed`
      assert.include(out, verdict)
      assert.notInclude(out, "\u001b") // without a terminal it does not draw
      assert.strictEqual(err, "")
      yield* leavesNothing(started)
    })

  /** What is the same of every example. `known`: what it says that it knows. `middle`: what it prints in the middle of its work. */
  const common = ({ known = "is --help", middle }: { readonly known?: string; readonly middle?: string | RegExp }) => {
    if (middle !== undefined) {
      it.scopedLive("Ctrl-C in the middle ends it cleanly, with exit code 130, and leaves nothing", () =>
        Effect.gen(function* () {
          const started = yield* start()
          yield* started.says(middle)
          // Twice, as terminals and package managers do.
          started.interrupt()
          started.interrupt()
          const { said } = started
          assert.strictEqual(yield* started.ended, 130, said.out + said.err)
          assert.strictEqual(said.err, "")
          yield* leavesNothing(started)
        })
      )
    }

    it.scopedLive("--help explains itself with examples, and runs nothing", () =>
      Effect.gen(function* () {
        for (const help of ["--help", "-h"]) {
          const { ended, said, servers } = yield* start(help)
          assert.deepStrictEqual([yield* ended, said.err], [0, ""])
          assert.include(said.out, `Usage: ${command}`)
          assert.match(said.out, new RegExp(`Examples:\\n\\s+${command}`))
          assert.notInclude(said.out, "✓")
          assert.deepStrictEqual(servers(), [])
        }
      })
    )

    it.scopedLive(
      "unknown arguments are named on stderr, with what there is instead, and exit code 2; nothing runs",
      () =>
        Effect.gen(function* () {
          const { ended, said, servers } = yield* start("--bogus", "fast", "--help")
          assert.deepStrictEqual([yield* ended, said.out], [2, ""])
          assert.include(said.err, `sluice demo: unknown argument --bogus fast. Known ${known}.\n\n`)
          assert.include(said.err, `Usage: ${command}`)
          assert.deepStrictEqual(servers(), [])
        })
    )
  }

  return { start, common, holds, leavesNothing }
}
