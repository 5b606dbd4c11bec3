/** The real `promtool`. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Answer {
  readonly isOk: boolean
  readonly output: string
}

/** Runs `promtool` with these files in a folder of its own, and with this as its input. The last arguments are names of the files. */
export const promtool = (
  words: ReadonlyArray<string>,
  files: Readonly<Record<string, string>>,
  input?: string
): Answer => {
  const home = mkdtempSync(join(tmpdir(), "sluice-promtool-"))
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(home, name), text)
    const { error, status, stderr, stdout } = spawnSync("promtool", words, {
      cwd: home,
      encoding: "utf8",
      ...(input === undefined ? {} : { input }),
      maxBuffer: 64 * 1024 * 1024
    })
    if (error !== undefined) throw error
    return { isOk: status === 0, output: `${stdout}${stderr}` }
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}
