import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { circlesOf } from "./house/circles.js"
import { importsOf, pastEffect } from "./house/source.js"

const root = join(import.meta.dirname, "../..")

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly exports?: Record<string, unknown>
  readonly publishConfig?: { readonly exports?: Record<string, unknown> }
  readonly dependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
  readonly devDependencies?: Record<string, string>
  readonly scripts?: Record<string, string>
}

const onSql = ["@sluice/pool", "@sluice/sql"]

/** Which packages a package may be built on. A package that is not named here may not exist. */
const arrows: Record<string, ReadonlyArray<string>> = {
  "@sluice/pool": [],
  "@sluice/sql": ["@sluice/pool"],
  "@sluice/sql-mysql2": onSql,
  "@sluice/sql-pg": onSql,
  "@sluice/http": onSql,
  "@sluice/observability": onSql,
  "@sluice/promise": onSql,
  "@sluice/fleet": [...onSql, "@sluice/sql-mysql2", "@sluice/sql-pg", "@sluice/observability"],
  "@sluice/testkit": []
}

/** The testkit works on processes in real time, and code without Effect uses the Promise face: both may go past Effect. */
const edges = ["@sluice/testkit", "@sluice/promise"]

const longest = 500

/** A package, and its sources by their path from the root. */
const packageAt = (home: string) => {
  const manifest: Manifest = JSON.parse(readFileSync(join(root, home, "package.json"), "utf8"))
  const files = existsSync(join(root, home, "src"))
    ? readdirSync(join(root, home, "src"), { recursive: true, encoding: "utf8" })
        .filter((file) => /\.(?:ts|js|css|html)$/.test(file))
        .map((file) => `${home}/src/${file.replaceAll("\\", "/")}`)
    : []
  const texts = files.map((file) => [file, readFileSync(join(root, file), "utf8")] as const)
  return {
    name: manifest.name,
    manifest,
    sources: new Map(texts.filter(([file]) => file.endsWith(".ts"))),
    /** What a browser runs and shows. */
    pages: texts.filter(([file]) => !file.endsWith(".ts"))
  }
}

const foldersIn = (path: string) =>
  readdirSync(join(root, path)).filter((name) => existsSync(join(root, path, name, "package.json")))

const packages = foldersIn("packages").map((name) => packageAt(`packages/${name}`))
const examples = foldersIn("packages/examples").map((name) => packageAt(`packages/examples/${name}`))

const circles = circlesOf(new Map([...packages, ...examples].flatMap(({ sources }) => [...sources])))

describe.each([...packages, ...examples])("the files of $name", ({ pages, sources }) => {
  it("import in one direction: no two of them import each other, straight or round a corner, types included", () => {
    expect(circles.filter((circle) => [...sources.keys()].some((file) => circle.includes(file)))).toEqual([])
  })

  it(`have at most ${longest} lines`, () => {
    const linesOf = (source: string) => source.split("\n").length - 1
    const long = [...sources, ...pages].filter(([, source]) => linesOf(source) > longest)
    expect(long.map(([file, source]) => `${file}: ${linesOf(source)} lines`)).toEqual([])
  })
})

describe.each(packages)("the house: $name", ({ manifest, sources }) => {
  it("stands on nothing but the packages beneath it", () => {
    const used = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
    const sluice = used.filter((name) => name.startsWith("@sluice/"))
    expect(arrows[manifest.name], "a package that the house does not have").toBeDefined()
    expect(sluice.filter((name) => !arrows[manifest.name]!.includes(name))).toEqual([])
  })

  it("imports nothing that its users would not get with it", () => {
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
    const foreign = [...sources.values()]
      .flatMap(importsOf)
      .filter((specifier) => !specifier.startsWith(".") && !specifier.startsWith("node:"))
      .filter((specifier) => !declared.some((name) => specifier === name || specifier.startsWith(`${name}/`)))
    expect([...new Set(foreign)]).toEqual([])
  })

  it("keeps its internals to itself", () => {
    expect(manifest.exports?.["./internal/*"]).toBeNull()
    expect(manifest.publishConfig?.exports?.["./internal/*"]).toBeNull()
    const specifiers = [...sources.values()].flatMap(importsOf)
    expect(specifiers.filter((specifier) => /^@sluice\/.*internal/.test(specifier))).toEqual([])
  })
})

describe.each(packages.filter(({ name }) => !edges.includes(name)))("the house: $name", ({ sources }) => {
  it("takes time, chance, output and fibers from Effect", () => {
    const found = [...sources].flatMap(([file, source]) => pastEffect(source).map((word) => `${file}: ${word}`))
    expect(found).toEqual([])
  })
})

/** Where nobody's statement waits: a connection is opened or closed there, or the wait is begun by `AsyncContext` elsewhere. */
const ownWaits = /\/(?:AsyncContext|internal\/runtime\/lend|driver\/(?:Connect|Runtime)|internal\/cancel)\.ts$/

describe.each(packages.filter(({ name }) => /^@sluice\/(?:pool|sql(?:-\w+)?)$/.test(name)))(
  "the house: $name",
  ({ sources }) => {
    it("waits by AsyncContext.async, so that a caller goes on in its own async context", () => {
      const found = [...sources].filter(([file, source]) => /\bEffect\.async\b/.test(source) && !ownWaits.test(file))
      expect(found.map(([file]) => file)).toEqual([])
    })
  }
)

describe("the house", () => {
  it("has a root that depends on none of its packages", () => {
    const { dependencies, devDependencies } = packageAt(".").manifest
    const used = Object.keys({ ...dependencies, ...devDependencies })
    expect(used.filter((name) => name.startsWith("@sluice/"))).toEqual([])
  })

  it("starts its demos in their folders: pnpm's --filter would turn each of their exit codes into 1", () => {
    const { scripts = {} } = packageAt(".").manifest
    const demos = Object.entries(scripts).filter(([name]) => name.startsWith("demo"))
    expect(demos).not.toEqual([])
    for (const [, command] of demos) expect(command).toMatch(/^pnpm --silent -C packages\/examples\/\S+ start$/)
  })

  it("lets the pool know nothing of SQL: it is built on effect alone", () => {
    const pool = packages.find((one) => one.manifest.name === "@sluice/pool")!
    const { dependencies, peerDependencies } = pool.manifest
    expect(Object.keys({ ...dependencies, ...peerDependencies })).toEqual(["effect"])
  })
})
