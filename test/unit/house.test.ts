import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"

const root = join(import.meta.dirname, "../..")

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly exports?: Record<string, unknown>
  readonly publishConfig?: { readonly exports?: Record<string, unknown> }
  readonly dependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
  readonly devDependencies?: Record<string, string>
}

/** Which packages a package may be built on. What is not here may not exist. */
const arrows: Record<string, ReadonlyArray<string>> = {
  "@sluice/pool": [],
  "@sluice/sql": ["@sluice/pool"],
  "@sluice/sql-mysql2": ["@sluice/pool", "@sluice/sql"],
  "@sluice/sql-pg": ["@sluice/pool", "@sluice/sql"],
  "@sluice/testkit": []
}

const manifestOf = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))

const packages = readdirSync(join(root, "packages"))
  .filter((name) => name !== "examples")
  .map((name) => {
    const folder = join(root, "packages", name)
    return { folder, manifest: manifestOf(folder) }
  })

const sourcesOf = (folder: string): ReadonlyArray<string> =>
  readdirSync(join(folder, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(folder, "src", file))

const importsOf = (file: string): ReadonlyArray<string> => {
  const code = readFileSync(file, "utf8").replaceAll(/\/\*[\s\S]*?\*\//g, "")
  return [...code.matchAll(/^(?:import|export)\s[^"'`;=()]*?from "([^"]+)"|^import "([^"]+)"/gm)].map(
    (match) => (match[1] ?? match[2])!
  )
}

describe.each(packages)("the house: $manifest.name", ({ folder, manifest }) => {
  it("stands on nothing but the packages beneath it", () => {
    const used = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
    const sluice = used.filter((name) => name.startsWith("@sluice/"))
    expect(arrows[manifest.name], "a package that the house does not have").toBeDefined()
    expect(sluice.filter((name) => !arrows[manifest.name]!.includes(name))).toEqual([])
  })

  it("imports nothing that its users would not get with it", () => {
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
    const foreign = sourcesOf(folder)
      .flatMap(importsOf)
      .filter((specifier) => !specifier.startsWith(".") && !specifier.startsWith("node:"))
      .filter((specifier) => !declared.some((name) => specifier === name || specifier.startsWith(`${name}/`)))
    expect([...new Set(foreign)]).toEqual([])
  })

  it("keeps its internals to itself", () => {
    expect(manifest.exports?.["./internal/*"]).toBeNull()
    expect(manifest.publishConfig?.exports?.["./internal/*"]).toBeNull()
    expect(
      sourcesOf(folder)
        .flatMap(importsOf)
        .filter((specifier) => /^@sluice\/.*internal/.test(specifier))
    ).toEqual([])
  })

  it("has no file over 800 lines", () => {
    const long = sourcesOf(folder).filter((file) => readFileSync(file, "utf8").split("\n").length > 801)
    expect(long).toEqual([])
  })
})

describe("the house", () => {
  it("has a root that depends on none of its packages", () => {
    const { dependencies, devDependencies } = manifestOf(root)
    const used = Object.keys({ ...dependencies, ...devDependencies })
    expect(used.filter((name) => name.startsWith("@sluice/"))).toEqual([])
  })

  it("lets the pool know nothing of SQL: it is built on effect alone", () => {
    const pool = packages.find((one) => one.manifest.name === "@sluice/pool")!
    const { dependencies, peerDependencies } = pool.manifest
    expect(Object.keys({ ...dependencies, ...peerDependencies })).toEqual(["effect"])
  })
})
