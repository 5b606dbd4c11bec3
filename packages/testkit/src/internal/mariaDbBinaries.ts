import { accessSync, constants, readdirSync, readFileSync, realpathSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { Effect, Either } from "effect"
import { reasonOf } from "./clusterError.js"
import { fail, MariaDbClusterError } from "./mariaDbClusterError.js"
import { type Account, findAccount, run } from "./programs.js"

/** The server's program, the account it runs under, and the statements that fill a new data folder. */
export interface Binaries {
  readonly program: string
  readonly account: Account | undefined
  readonly systemTables: string
}

/**
 * Folders in which systems install servers. They are searched after PATH, which often lacks the administrators'
 * folders.
 */
const known = [
  "/usr/sbin",
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/libexec",
  "/opt/homebrew/opt/mariadb/bin",
  "/usr/local/opt/mariadb/bin"
]

const folders = (): ReadonlyArray<string> => [
  ...(process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== ""),
  ...known
]

const failed = (where: string, reason: string, cause?: unknown) =>
  new MariaDbClusterError({ phase: "binaries", where, reason, cause })

const isProgram = (path: string): boolean => Either.isRight(Either.try(() => accessSync(path, constants.X_OK)))

const findProgram = (searched: ReadonlyArray<string>): Effect.Effect<string, MariaDbClusterError> =>
  Effect.suspend(() => {
    const found = searched.map((folder) => join(folder, "mariadbd")).find(isProgram)
    return found === undefined
      ? failed("program mariadbd", `it is in none of ${[...new Set(searched)].join(", ")}`)
      : Effect.succeed(found)
  })

/** Refuses versions before 10.11, the oldest line of MariaDB that is still maintained. */
const checkVersion = (program: string, printed: string) => {
  const [version, major, minor] = /(\d+)\.(\d+)\.\S*MariaDB/.exec(printed) ?? []
  return Number(major) * 1000 + Number(minor) >= 10_011
    ? Effect.void
    : failed(program, `its version is ${version ?? `unknown: ${printed.trim()}`}`)
}

/**
 * The scripts that `mariadb-install-db` feeds to the server, without those for help texts and the schema `sys`, which
 * take ten times longer than the rest. The program itself is not used, because as root it changes the owner of files of
 * the installation.
 */
const readSystemTables = (program: string) =>
  Effect.try({
    try: () => {
      const prefix = dirname(dirname(realpathSync(program)))
      const scripts = ["system_tables.sql", "performance_tables.sql", "system_tables_data.sql"]
      const shared = ["mysql", "mariadb", ""].map((name) => join(prefix, "share", name))
      for (const folder of shared) {
        const names = Either.getOrElse(
          Either.try(() => readdirSync(folder)),
          () => []
        )
        const found = scripts.flatMap((script) =>
          names.filter((name) => /^(mysql|mariadb)_/.test(name) && name.slice(name.indexOf("_") + 1) === script)
        )
        if (found.length === scripts.length)
          return found.map((name) => readFileSync(join(folder, name), "utf8")).join("\n")
      }
      throw new Error(`no folder of ${shared.join(", ")} has mysql_${scripts[0]} or mariadb_${scripts[0]}`)
    },
    catch: (cause) => failed(program, reasonOf(cause), cause)
  })

/** Finds a server, and makes sure that it starts under the account. */
export const find = (searched = folders()): Effect.Effect<Binaries, MariaDbClusterError> =>
  Effect.gen(function* () {
    const account = yield* findAccount(fail)
    const program = yield* findProgram(searched)
    const args = ["--no-defaults", "--version"]
    yield* checkVersion(program, yield* run(fail, { phase: "binaries", where: program, program, args, account }))
    return { program, account, systemTables: yield* readSystemTables(program) }
  })
