/**
 * What a stranger gets: tarballs whose types, maps and metadata are whole, and READMEs whose install lines are enough for their
 * programs. Only the test that installs with npm downloads something; `pnpm test:packages` does more with npm, pnpm and yarn.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Exit, Scope } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as everything from "./everything.js"
import * as packed from "./packed.js"

const scope = Effect.runSync(Scope.make())
let folder: string
let all: ReadonlyArray<packed.Packed>
let urls: packed.Urls

const made = (name: packed.Name): packed.Packed => all.find((one) => one.name === name)!

/** A folder with what an install line names, and nothing else. */
const stranger = (name: string, words: ReadonlyArray<string>): string => {
  const home = join(folder, "strangers", name)
  mkdirSync(home, { recursive: true })
  packed.linkInto(home, words, all)
  return home
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-packages-"))
  ;[all, urls] = await Promise.all([packed.pack(folder), Effect.runPromise(Scope.extend(packed.servers, scope))])
  packed.linkAll(all)
}, 300_000)

afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  rmSync(folder, { recursive: true, force: true })
})

/** The program of a development dependency. */
const tool = (path: string): string => join(packed.root, "test/node_modules", path)

describe.each(packed.names)("the tarball of %s", (name) => {
  it("has a changelog, a licence, and a manifest that says whose it is, where it lives and what it needs", () => {
    const { folder, manifest } = made(name)
    for (const field of ["description", "license", "author", "homepage", "bugs"])
      expect(manifest[field], field).toBeTruthy()
    expect(manifest["keywords"]).not.toEqual([])
    expect(manifest["repository"]).toMatchObject({ type: "git", directory: `packages/${name}` })
    expect(manifest).toMatchObject({ type: "module", sideEffects: false, engines: { node: ">=20" } })
    expect(manifest.peerDependencies?.["effect"]).toMatch(/^\^3\./)
    for (const file of ["README.md", "LICENSE", "CHANGELOG.md"]) expect(existsSync(join(folder, file)), file).toBe(true)
    // The newest heading of the changelog is the version that is published.
    const newest = /^## (\S+)$/m.exec(readFileSync(join(folder, "CHANGELOG.md"), "utf8"))?.[1]
    expect(manifest.version).toBe(newest)
  })

  it("is what publint wants", async () => {
    const { tarball } = made(name)
    expect(await packed.run(process.execPath, [tool("publint/src/cli.js"), tarball, "--strict"], folder)).toContain(
      "All good!"
    )
  })

  it("has types that every resolution of ES modules finds", async () => {
    const { folder, tarball } = made(name)
    const modules = packed.modulesOf(folder)
    const attw = tool("@arethetypeswrong/cli/dist/index.js")
    const args = [attw, tarball, "--profile", "esm-only", "--format", "json", "--include-entrypoints", ...modules]
    const found = JSON.parse(await packed.run(process.execPath, args, folder))
    expect(Object.keys(found.analysis.entrypoints)).toEqual(expect.arrayContaining([".", ...modules]))
  })

  it("has maps that lead to sources in it", () => {
    const { folder } = made(name)
    const maps = packed.filesOf(join(folder, "dist")).filter((file) => file.endsWith(".map"))
    expect(maps.some((file) => file.endsWith(".js.map")) && maps.some((file) => file.endsWith(".d.ts.map"))).toBe(true)
    const lost = maps.flatMap((file) => {
      const path = join(folder, "dist", file)
      const { sources } = JSON.parse(readFileSync(path, "utf8")) as { readonly sources: ReadonlyArray<string> }
      return sources.filter((source) => !existsSync(resolve(dirname(path), source)))
    })
    expect(lost).toEqual([])
  })
})

describe("a README", () => {
  it.each(Object.entries(packed.readmes))(
    "of %s begins with what to install, and says Effect 3, ESM and Node",
    (_, text) => {
      const beginning = text.slice(0, text.indexOf("\n## ") === -1 ? 1_500 : Math.min(1_500, text.indexOf("\n## ")))
      const words = packed.installLine(beginning)
      // A version for everything that has other majors, because the newest `effect` is of another line.
      for (const word of words) if (!word.startsWith("@sluice/")) expect(word).toMatch(/.@\d+$/)
      expect(words).toContain("effect@3")
      expect(beginning).toMatch(/Effect 3 .*Node 20 or newer, ES modules only/)
    }
  )

  it.each(Object.keys(packed.readmes))(
    "of %s: its programs, and the examples of the package, compile with all types looked into; the programs run",
    async (name) => {
      const programs = packed.programsOf(name)
      expect(programs).not.toEqual([])
      // Examples may be for those who have what is optional.
      const optional = all.find((one) => one.name === name)?.manifest["peerDependenciesMeta"] ?? {}
      const home = stranger(name, [...packed.installLine(packed.readmes[name]!), ...Object.keys(optional)])
      packed.writePrograms(home, [...programs, ...packed.examplesOf(name)], urls)
      await packed.compile(home)
      for (const program of programs) {
        expect(await packed.runProgram(home, program, urls), program.name).toMatch(packed.prints[program.name] ?? /^$/)
      }
    },
    120_000
  )
})

/** Runs a module of JavaScript among what an install line names. */
const runModule = async (name: string, words: ReadonlyArray<string>, code: string): Promise<string> => {
  const home = stranger(name, words)
  writeFileSync(join(home, "main.mjs"), code)
  return await packed.run(process.execPath, ["--enable-source-maps", "main.mjs"], home, {
    DATABASE_URL: urls.postgres,
    MYSQL_URL: urls.mysql
  })
}

describe("the packed packages", () => {
  it("install into an empty project with npm and work there, down to a real database", async () => {
    const home = join(folder, "installed")
    mkdirSync(home)
    writeFileSync(join(home, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }))
    const tarballs = all.filter(({ name }) => everything.names.includes(name)).map(({ tarball }) => tarball)
    await packed.run("npm", ["install", "--no-audit", "--no-fund", "effect@3", ...tarballs], home)
    writeFileSync(join(home, "main.mjs"), everything.program)
    expect(JSON.parse(await packed.run(process.execPath, ["main.mjs"], home))).toEqual({
      lent: "a connection",
      rows: [{ answer: 42 }],
      more: [{ answer: 42 }],
      driver: [true, true]
    })
  }, 180_000)
})

describe("the packed command", () => {
  const sluice = (...args: ReadonlyArray<string>): Promise<string> => {
    const home = stranger("command", packed.installLine(packed.readmes["fleet"]!))
    const { bin } = made("fleet").manifest as unknown as { readonly bin: { readonly sluice: string } }
    return packed.run(process.execPath, [join(home, "node_modules/@sluice/fleet", bin.sluice), ...args], home)
  }

  it("tells its version, helps, and plans", async () => {
    expect(await sluice("--version")).toBe(`${made("fleet").manifest.version}\n`)
    expect(await sluice("top", "--help")).toContain("EXIT CODES")
    expect(await sluice("plan", "--max-connections", "500", "--pods", "20", "--workers", "4")).toMatch(
      /^app +20 .* 4 /m
    )
  })
})

describe("a packed package", () => {
  it("shows its own sources in stack traces", async () => {
    const printed = await runModule(
      "traces",
      ["@sluice/pool", "effect@3"],
      `import { Pool } from "@sluice/pool"
       import { Effect } from "effect"
       const connect = () => { console.log(new Error("here").stack); return Effect.succeed({}) }
       await Effect.runPromise(Effect.scoped(Effect.flatMap(Pool.make({ connect }), (pool) => Pool.use(pool, () => Effect.void))))`
    )
    const frame = /\(?(?:file:\/\/)?([^\s(]*@sluice\/pool\/[^\s:]*):(\d+):\d+\)?/.exec(printed)
    expect(frame, printed).not.toBeNull()
    const [, path, line] = frame!
    const file = path!.startsWith("file:") ? fileURLToPath(path!) : path!
    expect(file).toMatch(/\/src\/.*\.ts$/)
    expect(readFileSync(file, "utf8").split("\n")[Number(line) - 1]).toContain("options.connect(")
  })

  it.each([
    ["sql-pg", "PgSql", "DATABASE_URL"],
    ["sql-mysql2", "MysqlSql", "MYSQL_URL"]
  ])(
    "keeps no process alive: after a Layer of %s has ended there is no socket and no timer",
    async (name, driver, url) => {
      const printed = await runModule(
        `ending-${name}`,
        packed.installLine(packed.readmes[name]!),
        `import { ${driver}, Sql } from "@sluice/${name}"
       import { Config, Effect } from "effect"
       const layer = ${driver}.layerConfig({ url: Config.redacted("${url}"), pool: { minIdle: 3, maxSize: 3 } })
       const one = Sql.query("select 1 as one")
       await Effect.runPromise(Effect.provide(Effect.all([one, one, one], { concurrency: "unbounded" }), layer))
       // What was closed in this turn of the loop is gone in the next one.
       await new Promise(setImmediate)
       await new Promise(setImmediate)
       console.log(process.getActiveResourcesInfo().filter((one) => /Timeout|TCP|Pipe.*Connect/.test(one)))`
      )
      expect(printed.trim()).toBe("[]")
    }
  )
})
