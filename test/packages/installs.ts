/**
 * Installs the packages as their READMEs say, in empty folders, with each package manager, from a registry, and runs the READMEs'
 * programs there. Also with the oldest versions that the packages allow, and on other majors of Node.
 * `pnpm test:packages [npm|pnpm|yarn|oldest|node22|node24 …] [package …]`.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as packed from "./packed.js"

const managers = {
  npm: { words: ["install", "--no-audit", "--no-fund"], version: "npm" },
  pnpm: { words: ["add"], version: "pnpm" },
  yarn: { words: ["add", "--no-progress", "--ignore-engines"], version: "yarn@1" }
} as const

type Manager = keyof typeof managers

/** The oldest version of each word of an install line that our ranges allow and that goes with the others. */
const oldest: Readonly<Record<string, string>> = {
  effect: "3.19.0",
  "@effect/experimental": "0.57.0",
  "@effect/platform": "0.93.0",
  "@effect/sql": "0.48.0",
  "@effect/sql-pg": "0.49.0"
}

/** What goes with the oldest driver of `@effect/sql` for MySQL. */
const oldestForMysql: Readonly<Record<string, string>> = {
  effect: "3.19.8",
  "@effect/experimental": "0.57.8",
  "@effect/platform": "0.93.5",
  "@effect/sql": "0.48.5",
  "@effect/sql-mysql2": "0.49.1"
}

interface Case {
  readonly manager: Manager
  readonly isOldest: boolean
  /** Runs the programs on this major of Node. */
  readonly node?: number
}

const cases: Readonly<Record<string, Case>> = {
  npm: { manager: "npm", isOldest: false },
  pnpm: { manager: "pnpm", isOldest: false },
  yarn: { manager: "yarn", isOldest: false },
  oldest: { manager: "npm", isOldest: true },
  node22: { manager: "npm", isOldest: false, node: 22 },
  node24: { manager: "npm", isOldest: false, node: 24 }
}

const install = async (
  home: string,
  { isOldest, manager }: Case,
  readme: string,
  all: ReadonlyArray<packed.Packed>
) => {
  const words = packed.installLine(readme)
  const tarballOf = (name: string) => all.find(({ manifest }) => manifest.name === name)?.tarball
  // Nothing of ours is taken from the registry: what the packages need of each other is what was packed as well.
  const ours = Object.fromEntries(all.map(({ manifest, tarball }) => [manifest.name, `file:${tarball}`]))
  const versions = words.some((word) => word.startsWith("@effect/sql-mysql2")) ? oldestForMysql : oldest
  const asked = words.map((word) => {
    const name = packed.packageOf(word)
    return tarballOf(name) ?? (isOldest ? `${name}@${versions[name]}` : word)
  })
  const own = Object.fromEntries(Object.entries(ours).filter(([name]) => !words.includes(name)))
  const manifest = { name: "stranger", private: true, type: "module" }
  writeFileSync(
    join(home, "package.json"),
    JSON.stringify({ ...manifest, ...(manager === "npm" ? { overrides: own } : { resolutions: ours }) })
  )
  if (manager === "pnpm") {
    // In lines, because pnpm writes into this file.
    const overrides = Object.entries(ours).map(([name, place]) => `  "${name}": "${place}"\n`)
    writeFileSync(join(home, "pnpm-workspace.yaml"), `overrides:\n${overrides.join("")}`)
  }
  const { version, words: command } = managers[manager]
  await packed.run(
    "npx",
    ["-y", version, ...command, ...(manager === "pnpm" ? allowed(readme) : []), ...asked, "@types/node@20"],
    home
  )
}

const nodeOf = ({ node }: Case): readonly [string, ...ReadonlyArray<string>] =>
  node === undefined ? [process.execPath] : ["npx", "-y", "-p", `node@${node}`, "node"]

/** What a README says to tell pnpm about build scripts. */
const allowed = (readme: string): ReadonlyArray<string> =>
  Array.from(readme.matchAll(/--allow-build=[^\s`]+/g), ([flag]) =>
    flag.replace("linux-x64", `${process.platform}-${process.arch}`)
  )

const main = async (
  urls: packed.Urls,
  chosen: ReadonlyArray<string>,
  readmes: ReadonlyArray<string>
): Promise<number> => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-installs-"))
  let failures = 0
  try {
    const all = await packed.pack(folder)
    for (const name of chosen) {
      for (const readme of readmes) {
        const home = join(folder, name, readme)
        mkdirSync(home, { recursive: true })
        const began = performance.now()
        try {
          await install(home, cases[name]!, packed.readmes[readme]!, all)
          const programs = packed.programsOf(readme)
          packed.writePrograms(home, programs, urls)
          await packed.compile(home)
          for (const program of programs) {
            const printed = await packed.runProgram(home, program, urls, nodeOf(cases[name]!))
            const expected = packed.prints[program.name] ?? /^$/
            if (!expected.test(printed))
              throw new Error(`${program.name} has printed ${JSON.stringify(printed)}, not ${expected}`)
          }
          console.log(
            `${name.padEnd(8)} ${readme.padEnd(12)} works (${((performance.now() - began) / 1_000).toFixed(0)} s)`
          )
        } catch (error) {
          failures++
          console.log(`${name.padEnd(8)} ${readme.padEnd(12)} FAILS: ${(error as Error).message}`)
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return failures
}

const words = process.argv.slice(2).filter((word) => word !== "--")
const unknown = words.filter((word) => !(word in cases || word in packed.readmes))
if (unknown.length > 0) {
  const known = [...Object.keys(cases), ...Object.keys(packed.readmes)]
  console.error(`there is no ${unknown.join(", ")}; there is: ${known.join(", ")}`)
  process.exit(2)
}

/** Those of the words that are among the keys; without any, all keys. */
const chosenOf = (of: object): ReadonlyArray<string> => {
  const found = Object.keys(of).filter((key) => words.includes(key))
  return found.length === 0 ? Object.keys(of) : found
}

Effect.gen(function* () {
  const urls = yield* packed.servers
  return yield* Effect.promise(() => main(urls, chosenOf(cases), chosenOf(packed.readmes)))
})
  .pipe(Effect.scoped, Effect.runPromise)
  .then((failures) => process.exit(failures === 0 ? 0 : 1))
