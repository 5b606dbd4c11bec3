/**
 * Programs that tests need and npm does not have. Installed where that may be done without asking (Debian family, as root);
 * elsewhere the run stops with the command to type, because tests that are left out unseen prove nothing.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"
import { chromiumPath } from "./chromium.js"

interface Part {
  readonly program: string
  readonly debian: string
  readonly macos: string
  /** Whether it is there, where the name of the program does not say it. */
  readonly isThere?: () => boolean
}

const parts: ReadonlyArray<Part> = [
  { program: "pgbouncer", debian: "pgbouncer", macos: "pgbouncer" },
  // The server without the service: `mariadb-server` would start one.
  { program: "mariadbd", debian: "mariadb-server-core", macos: "mariadb" },
  // A client that leaves after a millisecond, as users of a busy site do.
  { program: "curl", debian: "curl", macos: "curl" },
  // A terminal whose screen can be read.
  { program: "tmux", debian: "tmux", macos: "tmux" },
  // Reads our rules and metrics as Prometheus does.
  { program: "promtool", debian: "prometheus", macos: "prometheus" },
  // Looks at the web board.
  { program: "chromium", debian: "chromium", macos: "--cask chromium", isThere: () => chromiumPath() !== undefined }
]

const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"]

const has = (program: string): boolean =>
  folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

const apt = (...args: ReadonlyArray<string>): boolean =>
  spawnSync("apt-get", args, {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdio: ["ignore", "ignore", "inherit"]
  }).status === 0

export default (): void => {
  const missing = parts.filter(({ isThere, program }) => !(isThere?.() ?? has(program)))
  if (missing.length === 0) return
  const packages = missing.map(({ debian }) => debian)
  if (process.getuid?.() === 0 && has("apt-get")) {
    console.log(`installing ${packages.join(", ")} for the integration tests …`)
    if (apt("update", "-qq") && apt("install", "-y", "-qq", "--no-install-recommends", ...packages)) return
  }
  throw new Error(
    `the integration tests need ${missing.map(({ program }) => program).join(", ")}. Install it and run them again:\n` +
      `  Debian, Ubuntu:  sudo apt-get install -y ${packages.join(" ")}\n` +
      `  macOS:           brew install ${missing.map(({ macos }) => macos).join(" ")}\n` +
      "Without them: npx pnpm test:unit"
  )
}
