import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { Either } from "effect"

/** One process of this machine. */
export interface Process {
  readonly pid: number
  readonly parent: number
  /** First letter of its state: `T` is stopped by a signal, `Z` is dead and not yet waited for. */
  readonly state: string
}

const list = (): ReadonlyArray<Process> => {
  if (process.platform !== "linux") {
    const { stdout } = spawnSync("ps", ["-A", "-o", "pid=,ppid=,state="], { encoding: "utf8" })
    return stdout.split("\n").flatMap((line) => {
      const [pid, parent, state] = line.trim().split(/\s+/)
      return state === undefined ? [] : { pid: Number(pid), parent: Number(parent), state: state.slice(0, 1) }
    })
  }
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return []
    // Left: the process has ended between the listing and the reading.
    return Either.match(
      Either.try(() => readFileSync(`/proc/${pid}/stat`, "latin1")),
      {
        onLeft: () => [],
        onRight: (stat) => {
          // The program's name stands in parentheses and may contain some itself, so the fields after the last one
          // count.
          const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
          return [{ pid: Number(pid), parent: Number(parent), state }]
        }
      }
    )
  })
}

/** A process and its children; empty when the process does not run. No process of PostgreSQL is a grandchild. */
export const family = (pid: number): ReadonlyArray<Process> =>
  list().filter((process) => (process.pid === pid || process.parent === pid) && process.state !== "Z")

/** Sends a signal to a process or, with a negative number, to a process group; false when there is none. */
export const signal = (pid: number, name: NodeJS.Signals): boolean =>
  Either.isRight(Either.try(() => process.kill(pid, name)))
