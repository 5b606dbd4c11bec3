/** A real terminal: a pane of tmux, on a server of its own, in which a shell runs one command and says how it ended. */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { Effect, Schedule, type Scope } from "effect"

const execute = promisify(execFile)

const bin = join(import.meta.dirname, "../../src/bin.ts")

/** Runs `sluice` of the sources. */
export const sluice = (args: ReadonlyArray<string>): ReadonlyArray<string> => [
  process.execPath,
  "--import",
  createRequire(import.meta.url).resolve("tsx"),
  bin,
  ...args
]

export interface Terminal {
  /** What is on the screen, each line without the spaces at its end. With `colours` also the codes of colours. */
  readonly screen: (colours?: "colours") => Effect.Effect<ReadonlyArray<string>>
  /** The screen as soon as it is so. */
  readonly until: (is: (screen: string) => boolean) => Effect.Effect<string>
  readonly press: (...keys: ReadonlyArray<string>) => Effect.Effect<void>
  readonly resize: (columns: number, rows: number) => Effect.Effect<void>
  /** Whether the other screen is on, and whether the cursor is seen. */
  readonly modes: Effect.Effect<{ readonly isOther: boolean; readonly hasCursor: boolean }>
}

/** What the shell has written before the command, and writes after it with its exit code. */
export const BEFORE = "this was here before"
export const AFTER = "it has ended with"

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

export const open = (
  command: ReadonlyArray<string>,
  size: { readonly columns: number; readonly rows: number },
  env: Readonly<Record<string, string>> = {}
): Effect.Effect<Terminal, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "sluice-tmux-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const tmux = (...args: ReadonlyArray<string>): Effect.Effect<string> =>
      Effect.promise(
        async () => (await execute("tmux", ["-S", join(folder, "socket"), "-f", "/dev/null", ...args])).stdout
      )
    const variables = Object.entries({ NO_COLOR: "", ...env }).map(([name, value]) => `${name}=${quoted(value)}`)
    const line = ["env", ...variables, ...command.map(quoted)].join(" ")
    const shell = `printf '%s\\n' ${quoted(BEFORE)}; ${line}; printf '\\n%s %s\\n' ${quoted(AFTER)} $?; exec cat`
    yield* Effect.acquireRelease(
      tmux("new-session", "-d", "-x", `${size.columns}`, "-y", `${size.rows}`, "sh", "-c", shell),
      () => Effect.ignore(tmux("kill-server"))
    )
    const screen = (colours?: "colours") =>
      Effect.map(tmux("capture-pane", "-p", ...(colours === undefined ? [] : ["-e"])), (text) =>
        text.split("\n").slice(0, -1)
      )
    const text = Effect.map(screen(), (lines) => lines.join("\n"))
    return {
      screen,
      until: (is) =>
        Effect.repeat(text, { until: is, schedule: Schedule.spaced("50 millis") }).pipe(Effect.zipRight(text)),
      press: (...keys) => tmux("send-keys", ...keys),
      resize: (columns, rows) => tmux("resize-window", "-x", `${columns}`, "-y", `${rows}`),
      modes: Effect.map(tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}"), (flags) => ({
        isOther: flags.startsWith("1"),
        hasCursor: flags.trim().endsWith("1")
      }))
    }
  })
