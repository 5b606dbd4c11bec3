import { spawn } from "node:child_process"
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename } from "node:path"
import { Effect } from "effect"
import { type Fail, reasonOf } from "./clusterError.js"
import { signal } from "./processes.js"

/** The user that owns the data and runs the servers, where that cannot be the user of this process. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** The environment of every program. Variables of this process would configure a server, or change its locale. */
export const environment = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" }

/** Runs a program to its end and succeeds with what it printed. An interruption kills the program and its children. */
export const run = <E, Phase extends string>(
  fail: Fail<E, Phase>,
  command: {
    readonly phase: Phase
    readonly where: string
    readonly program: string
    readonly args: ReadonlyArray<string>
    readonly account: Account | undefined
    /** What the program reads from its standard input. */
    readonly input?: string
  }
): Effect.Effect<string, E> =>
  Effect.async((resume) => {
    const { account, args, input, phase, program, where } = command
    const child = spawn(program, args, {
      cwd: "/",
      detached: true, // a process group of its own: Ctrl-C does not reach it, and one signal ends the whole group
      env: environment,
      stdio: ["pipe", "pipe", "pipe"],
      ...account
    })
    let output = ""
    const collect = (text: Buffer) => {
      output += text.toString()
    }
    child.stdout.on("data", collect)
    child.stderr.on("data", collect)
    child.stdin.on("error", () => {}) // the program has ended before it read everything; how it ended is reported below
    child.stdin.end(input)
    const failed = (reason: string, cause?: unknown) =>
      resume(Effect.fail(fail({ phase, where, reason: `${basename(program)} ${reason}`, cause, log: output.trim() })))
    child.once("error", (cause) => failed(reasonOf(cause), cause))
    child.once("close", (code, killed) =>
      code === 0 ? resume(Effect.succeed(output)) : failed(`ended with ${killed ?? `code ${code}`}`)
    )
    return Effect.sync(() => {
      if (child.pid !== undefined && child.exitCode === null) signal(-child.pid, "SIGKILL")
    })
  })

/**
 * The servers refuse to run as root, and some of their programs refuse a user that has no name, so root needs a named
 * user without rights: `nobody`, else any other that is not root.
 */
export const findAccount = <E>(fail: Fail<E>): Effect.Effect<Account | undefined, E> =>
  Effect.suspend(() => {
    if (process.getuid?.() !== 0) return Effect.succeed(undefined)
    const users = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .map((line) => line.split(":"))
      .filter((fields) => Number(fields[2]) > 0)
    const user = users.find(([name]) => name === "nobody") ?? users[0]
    return user === undefined
      ? Effect.fail(
          fail({
            phase: "binaries",
            where: "/etc/passwd",
            reason: "the server does not run as root, and there is no other user. Add one, for example nobody"
          })
        )
      : Effect.succeed({ uid: Number(user[2]), gid: Number(user[3]) })
  })

const owned = <E>(fail: Fail<E>, path: string, account: Account | undefined, make: () => void) =>
  Effect.try({
    try: () => {
      make()
      if (account !== undefined) chownSync(path, account.uid, account.gid)
    },
    catch: (cause) => fail({ phase: "directory", where: path, reason: reasonOf(cause), cause })
  })

/** Makes a folder that the account owns. */
export const makeFolder = <E>(fail: Fail<E>, path: string, account: Account | undefined): Effect.Effect<void, E> =>
  owned(fail, path, account, () => void mkdirSync(path, { mode: 0o700 }))

/** Writes a file that only the account can read. */
export const makeFile = <E>(
  fail: Fail<E>,
  path: string,
  text: string,
  account: Account | undefined
): Effect.Effect<void, E> => owned(fail, path, account, () => writeFileSync(path, text, { mode: 0o600 }))
