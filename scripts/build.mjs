// Compiles the whole workspace once (sources import each other by package name) and gives each package its `dist`.
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const out = mkdtempSync(join(root, "build-"))
process.on("exit", () => rmSync(out, { recursive: true, force: true }))

const require = createRequire(import.meta.url)
const typescript = require.resolve("typescript/package.json")
const tsc = join(dirname(typescript), JSON.parse(readFileSync(typescript, "utf8")).bin.tsc)
const options = [
  "--noEmit",
  "false",
  "--declaration",
  "--sourceMap",
  "--inlineSources",
  "--rootDir",
  root,
  "--outDir",
  out
]
const compiled = spawnSync(process.execPath, [tsc, "-p", root, ...options], { stdio: "inherit" })
if (compiled.status !== 0) process.exit(compiled.status ?? 1)

for (const name of readdirSync(join(root, "packages"))) {
  const manifest = join(root, "packages", name, "package.json")
  if (!existsSync(manifest) || JSON.parse(readFileSync(manifest, "utf8")).private) continue
  const dist = join(root, "packages", name, "dist")
  rmSync(dist, { recursive: true, force: true })
  cpSync(join(out, "packages", name, "src"), dist, { recursive: true })
  console.log(`built packages/${name}/dist`)
}
