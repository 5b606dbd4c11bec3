import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Start } from "../harness/subject.js"
import { findProgram, type Program, runTimed } from "../sql/external.js"
import { itemCount } from "../sql/workload.js"

export interface PgbenchSettings {
  readonly program: string
  readonly url: string
  readonly connections: number
  readonly callers: number
  readonly pipelined: boolean
}

/** PostgreSQL's own client in C, if it is installed. Debian keeps it beside the server, one for each version. */
export const findPgbench = (): Program | undefined => {
  const debian = "/usr/lib/postgresql"
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  return findProgram([...versions.map((version) => join(debian, version, "bin", "pgbench")), "pgbench"], (printed) =>
    printed.replace(/^pgbench \(PostgreSQL\) /, "")
  )
}

const pointRead = `\\set id random(1, ${itemCount})\nselect id, name, price from items where id = :id;\n`

/** Statements in flight on each connection; more gain nothing. */
const depth = 50

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
    const { cpuSeconds, stdout } = await runTimed(program, [...args, ...where], {
      PGPASSWORD: decodeURIComponent(password)
    })
    const rate = Number(/^tps = ([\d.]+) \(without initial connection time\)$/m.exec(stdout)?.[1])
    if (!Number.isFinite(rate)) throw new Error(`pgbench said something else: ${stdout}`)
    return { wall: 1e9 / (rate * perRun), cpu: (cpuSeconds * 1e9) / (runs * clients * perRun) }
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
