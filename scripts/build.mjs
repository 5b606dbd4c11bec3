// Compiles the sources of all packages together (they import each other by name) and gives each package its `dist`.
// `node scripts/build.mjs [package ...]`: only those packages; without a name, all.
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
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
      sourceMap: true,
      inlineSources: true,
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

for (const name of wanted) {
  const dist = join(root, "packages", name, "dist")
  rmSync(dist, { recursive: true, force: true })
  cpSync(join(out, "packages", name, "src"), dist, { recursive: true })
  console.log(`built packages/${name}/dist`)
}
