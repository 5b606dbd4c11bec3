import { readFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg, totalmem, type } from "node:os"

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  readonly node: string
  readonly v8: string
  /** Processes that wanted a core, on average over the last minute: above 1 before the start, somebody else is busy. */
  readonly load: number
}

export const describeMachine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${type()} ${process.arch}`,
  node: process.version,
  v8: process.versions.v8,
  load: Math.round(loadavg()[0]! * 10) / 10
})

/** The installed versions of packages that `test` depends on. */
export const versionsOf = (packages: ReadonlyArray<string>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    packages.map((name) => {
      const manifest = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
      return [name, String(JSON.parse(readFileSync(manifest, "utf8")).version)]
    })
  )
