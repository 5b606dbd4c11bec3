/** `sluice top` on a real terminal. */
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Pods, Top } from "@sluice/observability"
import { Effect, type Scope } from "effect"
import { describe, expect, it } from "vitest"
import { reports } from "../../observability/test/support/incident.js"
import { AT, database, pool, report } from "../../observability/test/support/reports.js"
import { nowhere, type Served, serve } from "./support/served.js"
import * as Terminal from "./support/terminal.js"

const pods = Effect.forEach(reports, serve)

const urlsOf = (served: ReadonlyArray<Served>): ReadonlyArray<string> => served.map(({ url }) => url)

const test = (name: string, body: Effect.Effect<void, never, Scope.Scope>) =>
  // The bound is inside, so that the terminal is closed also when a condition never comes.
  it(name, () => Effect.runPromise(Effect.timeout(Effect.scoped(body), "170 seconds")), 180_000)

/** A command that writes into pipes. */
const piped = (
  args: ReadonlyArray<string>
): Effect.Effect<{ readonly code: number; readonly out: string; readonly err: string }> =>
  Effect.async((resume) => {
    const [program, ...rest] = Terminal.sluice(args)
    const { NO_COLOR: _, ...env } = process.env
    execFile(program!, rest, { env }, (error, out, err) =>
      resume(Effect.succeed({ code: typeof error?.code === "number" ? error.code : 0, out, err }))
    )
  })

const withoutTime = (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.map((line) => line.replace(/\d\d:\d\d:\d\d UTC/, "time"))

describe("sluice top on a terminal", () => {
  test(
    "draws the screen of 80 by 24 as the picture, follows keys and sizes, and leaves what was there before",
    Effect.gen(function* () {
      const served = yield* pods
      const terminal = yield* Terminal.open(Terminal.sluice(["top", ...urlsOf(served), "-i", "100ms"]), {
        columns: 80,
        rows: 24
      })
      yield* terminal.until((screen) => screen.includes("3 pods "))
      const footer = "q quit  p pause  s sort: saturation  / filter  ↑ ↓ scroll"
      const asked = reports.map((report): Pods.Pod => ({ url: "", report, ageMs: 0, error: undefined }))
      const picture = (columns: number, rows: number) =>
        withoutTime(Top.draw({ pods: asked, at: AT, columns, rows, colour: false, footer }).lines)
      // The screen may be read in the middle of a drawing, so it is awaited, not looked at once.
      const shows = (columns: number, rows: number) =>
        terminal.until((screen) => withoutTime(screen.split("\n")).join("\n") === picture(columns, rows).join("\n"))
      yield* shows(80, 24)
      expect(yield* terminal.modes).toEqual({ isOther: true, hasCursor: false })
      expect((yield* terminal.screen("colours")).join("\n")).toContain("\u001b[")

      // A larger screen is filled, and a smaller one again.
      yield* terminal.resize(120, 40)
      yield* shows(120, 40)
      yield* terminal.resize(60, 20)
      yield* shows(60, 20)
      yield* terminal.resize(80, 24)
      yield* shows(80, 24)

      yield* terminal.press("s")
      yield* terminal.until((screen) => screen.includes("s sort: waiting") && screen.includes("by waiting"))
      yield* terminal.press("/", "c", "3")
      yield* terminal.until((screen) => screen.includes("filter: c3▏"))
      yield* terminal.press("Enter")
      const filtered = yield* terminal.until(
        (screen) => screen.includes("filter: c3") && screen.includes("escape: all")
      )
      expect(filtered).toContain("shop-7d9f-c3")
      expect(filtered).not.toContain("shop-7d9f-a1")
      yield* terminal.press("Escape")
      yield* terminal.until((screen) => screen.includes("shop-7d9f-a1"))

      // What is scrolled to was not on the screen before.
      yield* terminal.press("End")
      const end = yield* terminal.until((screen) => /10: \d+ % wait/.test(screen))
      expect(end.split("\n")).toHaveLength(24)
      yield* terminal.press("Home")
      yield* terminal.until((screen) => screen.includes("CRITICAL"))

      // A pause keeps the picture; what has come meanwhile is shown afterwards.
      yield* terminal.press("p")
      yield* terminal.until((screen) => screen.includes("paused"))
      const before = served[0]!.asked()
      served[0]!.answer = report([database([pool()])], { pod: "calm-after-the-storm" })
      yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => served[0]!.asked() > before + 2 })
      expect((yield* terminal.screen()).join("\n")).not.toContain("calm-after")
      yield* terminal.press("p")
      yield* terminal.until((screen) => screen.includes("calm-after-the-storm"))

      yield* terminal.press("q")
      const left = yield* terminal.until((screen) => screen.includes(Terminal.AFTER))
      expect(left.trim().split(/\n+/)).toEqual([Terminal.BEFORE, `${Terminal.AFTER} 0`])
      expect(yield* terminal.modes).toEqual({ isOther: false, hasCursor: true })
    })
  )

  test(
    "has no colours with NO_COLOR; pods that hang, are down or lie hold up nobody; SIGTERM gives the terminal back",
    Effect.gen(function* () {
      const [first] = yield* pods
      const urls = [first!.url, (yield* serve(undefined)).url, (yield* serve('{"version":2}')).url, yield* nowhere]
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "sluice-top-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
      )
      const file = join(folder, "pid")
      const command = Terminal.sluice(["top", ...urls, "-i", "100ms"])
      // The shell becomes the command, so its number is that of the command.
      const terminal = yield* Terminal.open(
        ["sh", "-c", 'echo $$ > "$0"; exec "$@"', file, ...command],
        { columns: 120, rows: 40 },
        { NO_COLOR: "1" }
      )
      const screen = yield* terminal.until((screen) =>
        ["ECONNREFUSED", "version 2", "a1"].every((part) => screen.includes(part))
      )
      expect(screen).toContain("1 of 4 pods answer")
      expect(screen).toMatch(/does not answer ▲ +no report: it is of version 2/)
      expect(screen).toMatch(/no answer (?:yet|within 2000 ms)/)
      expect(screen).toMatch(/shop-7d9f-a1 +█/)
      expect((yield* terminal.screen("colours")).join("\n")).not.toContain("\u001b")

      process.kill(Number(readFileSync(file, "utf8")), "SIGTERM")
      const left = yield* terminal.until((screen) => screen.includes(Terminal.AFTER))
      expect(left.trim().split(/\n+/)).toEqual([Terminal.BEFORE, `${Terminal.AFTER} 143`])
      expect(yield* terminal.modes).toEqual({ isOther: false, hasCursor: true })
    })
  )
})

describe("sluice top without a terminal", () => {
  test(
    "prints one plain report to its output, and nothing else",
    Effect.gen(function* () {
      const served = yield* pods
      const { code, err, out } = yield* piped(["top", ...urlsOf(served)])
      expect([code, err]).toEqual([0, ""])
      expect(out).toMatch(/^Connection Pool Health {2}3 pods/)
      expect(out).toContain("Another maxSize")
      expect(out).not.toContain("\u001b")
      expect(served.map(({ asked }) => asked())).toEqual([1, 1, 1])
    })
  )

  test(
    "prints JSON when it is asked for, with the verdict and each pod; one that does not answer is in it",
    Effect.gen(function* () {
      const [first] = yield* pods
      const { code, out } = yield* piped(["top", "--json", first!.url, yield* nowhere])
      const { pods: told, verdict } = JSON.parse(out)
      expect(code).toBe(0)
      expect(verdict.level).toBe("critical")
      expect(told[0].report).toEqual(JSON.parse(JSON.stringify(reports[0])))
      expect(told[1].error).toContain("ECONNREFUSED")
    })
  )

  test(
    "ends with 69 when no pod answers, and shows them nevertheless; with 64 when the command line is wrong",
    Effect.gen(function* () {
      const url = yield* nowhere
      const none = yield* piped(["top", url])
      expect(none.code).toBe(69)
      expect(none.out).toContain(`${url.slice("http://".length)}  does not answer`)
      expect(none.err).toBe("sluice top: not one pod has answered\n")
      const wrong = yield* piped(["top", url, "--interval", "5d"])
      expect([wrong.code, wrong.out]).toEqual([64, ""])
      expect(wrong.err).toContain("--interval is a time from 100ms to 1h")
    })
  )

  test(
    "helps, with examples and exit codes, and without codes of colours",
    Effect.gen(function* () {
      const [help, version] = yield* Effect.all([piped(["top", "--help"]), piped(["--version"])], { concurrency: 2 })
      expect([help.code, help.err]).toEqual([0, ""])
      for (const part of ["EXAMPLES", "sluice top http://localhost:9470", "EXIT CODES", "--interval", "--json"]) {
        expect(help.out).toContain(part)
      }
      expect(help.out).not.toContain("\u001b")
      expect(version).toEqual({ code: 0, err: "", out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
    })
  )
})
