/** Clients that are programs in C: the limits. */
import { execFile, execFileSync } from "node:child_process"
import { promisify } from "node:util"

export interface Program {
  readonly program: string
  readonly version: string
}

/** The first of these programs that is there. */
export const findProgram = (
  programs: ReadonlyArray<string>,
  read: (printed: string) => string
): Program | undefined => {
  for (const program of programs) {
    try {
      const printed = execFileSync(program, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
      return { program, version: read(printed).trim() }
    } catch {
      // The next one.
    }
  }
  return undefined
}

// `times` is the only thing that tells the CPU of a child exactly; its second line is the children's.
const timed = '"$@" || exit 1; times'
const timesLine = /^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$/gm

/** Runs a program to its end; gives what it has printed and the seconds of CPU that it has used. */
export const runTimed = async (
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>
): Promise<{ readonly stdout: string; readonly cpuSeconds: number }> => {
  const { stdout } = await promisify(execFile)("/bin/sh", ["-c", timed, "sh", program, ...args], {
    env: { ...process.env, ...env, LC_ALL: "C" }
  })
  const times = [...stdout.matchAll(timesLine)].at(-1)
  if (times === undefined) throw new Error(`${program} said something else: ${stdout}`)
  return {
    stdout,
    cpuSeconds: Number(times[1]) * 60 + Number(times[2]) + Number(times[3]) * 60 + Number(times[4])
  }
}
