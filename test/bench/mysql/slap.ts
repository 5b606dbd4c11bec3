import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Start } from "../harness/subject.js"
import { findProgram, type Program, runTimed } from "../sql/external.js"
import { nextKey } from "../sql/workload.js"

export interface SlapSettings {
  readonly program: string
  readonly url: string
  readonly connections: number
  readonly callers: number
}

/** The load program in C that comes with MariaDB or MySQL, if it is installed. */
export const findSlap = (): Program | undefined =>
  findProgram(["mariadb-slap", "mysqlslap"], (printed) => printed.replace(/^\S*(?:mariadb-slap|mysqlslap)\s+/, ""))

/** Its texts are written beforehand: each client runs them one after another, and then again. */
const texts = 2_000

/** A thread for each connection, and the text protocol: it prepares nothing. */
export const slap: Start<SlapSettings> = async ({ callers, connections, program, url }) => {
  const { hostname, password, pathname, port, username } = new URL(url)
  const clients = Math.min(connections, callers)
  const dir = mkdtempSync(join(tmpdir(), "slap-"))
  const script = join(dir, "script.sql")
  const reads = Array.from({ length: texts }, () => `select id, name, price from items where id = ${nextKey()}`)
  writeFileSync(script, `${reads.join(";\n")};\n`)

  const measure = async (operations: number): Promise<{ wall: number; cpu: number }> => {
    const args = ["--no-defaults", "--delimiter=;", "--no-drop", `--create-schema=${pathname.slice(1)}`]
    const work = [`--query=${script}`, `--concurrency=${clients}`, `--number-of-queries=${operations}`]
    const where = ["--protocol=tcp", `--host=${hostname}`, `--port=${port}`, `--user=${decodeURIComponent(username)}`]
    const { cpuSeconds, stdout } = await runTimed(program, [...args, ...work, ...where], {
      MYSQL_PWD: decodeURIComponent(password)
    })
    const seconds = Number(/Average number of seconds to run all queries: ([\d.]+) seconds/.exec(stdout)?.[1])
    if (!Number.isFinite(seconds)) throw new Error(`${program} said something else: ${stdout}`)
    return { wall: seconds * 1e9, cpu: cpuSeconds * 1e9 }
  }

  return {
    run: async (calls) => {
      const operations = Math.ceil((calls * callers) / clients) * clients
      // To start and to connect is not what is measured, but its clock begins before it connects. Asked each time: what
      // it takes depends on what else the machine does.
      const opening = await measure(clients)
      const whole = await measure(operations)
      // Too few operations to tell them from the opening, as at the beginning of the warm-up: then it is in them.
      const isLong = whole.wall > 2 * opening.wall && whole.cpu > opening.cpu
      return {
        wall: (isLong ? whole.wall - opening.wall : whole.wall) / operations,
        cpu: (isLong ? whole.cpu - opening.cpu : whole.cpu) / operations
      }
    },
    close: () => rmSync(dir, { recursive: true, force: true })
  }
}
