import { execFile, execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import type { Start } from "../harness/subject.js"
import { itemCount } from "./workload.js"

export interface PgbenchSettings {
  readonly program: string
  readonly url: string
  readonly connections: number
  readonly callers: number
  readonly pipelined: boolean
}

export interface Pgbench {
  readonly program: string
  readonly version: string
}

const versionOf = (program: string): string | undefined => {
  try {
    return execFileSync(program, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
      .replace(/^pgbench \(PostgreSQL\) /, "")
      .trim()
  } catch {
    return undefined
  }
}

/** PostgreSQL's own client in C, if it is installed. Debian keeps it beside the server, one for each version. */
export const findPgbench = (): Pgbench | undefined => {
  const debian = "/usr/lib/postgresql"
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  for (const program of [...versions.map((version) => join(debian, version, "bin", "pgbench")), "pgbench"]) {
    const version = versionOf(program)
    if (version !== undefined) return { program, version }
  }
  return undefined
}

const pointRead = `\\set id random(1, ${itemCount})\nselect id, name, price from items where id = :id;\n`

/** Statements in flight on each connection; more gain nothing. */
const depth = 50

// `times` is the only thing that tells the CPU of a child exactly; its second line is the children's.
const timed = '"$@" || exit 1; times'
const timesLine = /^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$/gm

/** One thread, as a Node process has. */
export const pgbench: Start<PgbenchSettings> = async ({ callers, connections, pipelined, program, url }) => {
  const { hostname, password, pathname, port, username } = new URL(url)
  const clients = Math.min(connections, callers)
  const perRun = pipelined ? depth : 1
  const dir = mkdtempSync(join(tmpdir(), "pgbench-"))
  const script = join(dir, "script.sql")
  writeFileSync(script, pipelined ? `\\startpipeline\n${pointRead.repeat(perRun)}\\endpipeline\n` : pointRead)

  const measure = async (operations: number): Promise<{ wall: number; cpu: number }> => {
    const runs = Math.max(1, Math.round(operations / clients / perRun))
    const args = ["-n", "-M", "prepared", "-j", "1", "-c", String(clients), "-t", String(runs), "-f", script]
    const where = ["-h", hostname, "-p", port, "-U", decodeURIComponent(username), pathname.slice(1)]
    const { stdout } = await promisify(execFile)("/bin/sh", ["-c", timed, "sh", program, ...args, ...where], {
      env: { ...process.env, PGPASSWORD: decodeURIComponent(password), LC_ALL: "C" }
    })
    const rate = Number(/^tps = ([\d.]+) \(without initial connection time\)$/m.exec(stdout)?.[1])
    const times = [...stdout.matchAll(timesLine)].at(-1)
    if (!Number.isFinite(rate) || times === undefined) throw new Error(`pgbench said something else: ${stdout}`)
    const seconds = Number(times[1]) * 60 + Number(times[2]) + Number(times[3]) * 60 + Number(times[4])
    return { wall: 1e9 / (rate * perRun), cpu: (seconds * 1e9) / (runs * clients * perRun) }
  }

  // To start, and to prove its password ten times over, is not what is measured.
  const opening = (await measure(clients * perRun)).cpu * clients * perRun
  return {
    run: async (calls) => {
      const operations = calls * callers
      const { cpu, wall } = await measure(operations)
      return { wall, cpu: Math.max(0, cpu - opening / operations) }
    },
    close: () => rmSync(dir, { recursive: true, force: true })
  }
}
