// Compiles the sources of all packages together (they import each other by name) and gives each package its `dist`, with maps
// that lead to its `src`, which is published too, and a copy of the changelog.
// `node scripts/build.mjs [package ...]`: only those packages; without a name, all.
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const json = (file) => JSON.parse(readFileSync(file, "utf8"))

const packages = readdirSync(join(root, "packages")).filter((name) =>
  existsSync(join(root, "packages", name, "package.json"))
)
const wanted = process.argv.length > 2 ? process.argv.slice(2) : packages
const unknown = wanted.filter((name) => !packages.includes(name))
if (unknown.length > 0) {
  console.error(`no such package: ${unknown.join(", ")}; there are ${packages.join(", ")}`)
  process.exit(2)
}

const out = mkdtempSync(join(root, "build-"))
process.on("exit", () => rmSync(out, { recursive: true, force: true }))
const project = join(out, "tsconfig.json")
writeFileSync(
  project,
  JSON.stringify({
    extends: "../tsconfig.json",
    compilerOptions: {
      noEmit: false,
      declaration: true,
      declarationMap: true,
      sourceMap: true,
      rootDir: "..",
      outDir: "."
    },
    include: ["../packages/*/src"],
    exclude: ["../**/node_modules"]
  })
)

const typescript = createRequire(import.meta.url).resolve("typescript/package.json")
const tsc = join(dirname(typescript), json(typescript).bin.tsc)
const compiled = spawnSync(process.execPath, [tsc, "-p", project], { stdio: "inherit" })
if (compiled.status !== 0) process.exit(compiled.status ?? 1)

/**
 * What the compiler infers of an error class names a type that only the newest `effect` has. This is what that type means, in
 * words that every `effect` has that the packages allow.
 */
const forOlderEffect = (declarations) =>
  declarations.replaceAll(
    /import\("effect\/Types"\)\.VoidIfEmpty<(\{[^{}]*\})>/g,
    'import("effect/Types").Equals<A, {}> extends true ? void : $1'
  )

for (const name of wanted) {
  const home = join(root, "packages", name)
  const dist = join(home, "dist")
  const compiledTo = join(out, "packages", name, "src")
  rmSync(dist, { recursive: true, force: true })
  cpSync(compiledTo, dist, { recursive: true })
  // What is no TypeScript is read by the program as it is: the parts of a page.
  cpSync(join(home, "src"), dist, {
    recursive: true,
    filter: (source) => statSync(source).isDirectory() || !source.endsWith(".ts")
  })
  const files = readdirSync(dist, { recursive: true })
  for (const file of files.filter((file) => file.endsWith(".d.ts"))) {
    writeFileSync(join(dist, file), forOlderEffect(readFileSync(join(dist, file), "utf8")))
  }
  for (const file of files.filter((file) => file.endsWith(".map"))) {
    const map = json(join(dist, file))
    const sourceOf = (source) => resolve(dirname(join(compiledTo, file)), source)
    const sources = map.sources.map((source) =>
      relative(dirname(join(dist, file)), sourceOf(source)).replaceAll(sep, "/")
    )
    writeFileSync(join(dist, file), JSON.stringify({ ...map, sources }))
  }
  cpSync(join(root, "CHANGELOG.md"), join(home, "CHANGELOG.md"))
  console.log(`built packages/${name}/dist`)
}
