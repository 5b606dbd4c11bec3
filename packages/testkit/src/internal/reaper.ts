import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { accessSync, constants, existsSync, statfsSync, statSync } from "node:fs"
import { freemem, tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Either, type Scope } from "effect"
import type { Fail } from "./clusterError.js"
import { live } from "./live.js"

/**
 * The program of the reaper: a small process, in a session of its own, that reads from a pipe of the process which made
 * the cluster. The pipe closes when that process closes it, and also when that process dies, even by SIGKILL. The
 * reaper then ends every server process of the cluster and removes the cluster's folder. An orderly end and a crash
 * take the same way, so each test exercises it.
 *
 * The program is plain JavaScript in a string because it must run from TypeScript sources, from `dist`, and inside
 * bundles.
 *
 * - The reaper finds processes by the cluster's unguessable name, which stands in their command line (`-D`,
 *   `--defaults-file`) or title (`cluster_name`), so it finds a process from its first moment on.
 * - PostgreSQL gets SIGQUIT first: a postmaster that ends itself removes its shared memory, and SIGKILL would leave
 *   that behind. MariaDB has no shared memory and would write all data to disk on SIGQUIT, so it gets SIGKILL.
 * - Each process gets SIGCONT as well, because a paused process handles a signal only when it continues.
 */
const program = String.raw`
const fs = require("node:fs"), path = require("node:path"), { spawnSync } = require("node:child_process")
const [dir, ...others] = process.argv.slice(1), name = path.basename(dir)
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"]) process.on(signal, () => {})

const processes = () => {
  if (process.platform !== "linux") {
    return spawnSync("ps", ["-A", "-o", "pid=,ppid=,command="], { encoding: "utf8" }).stdout.split("\n").flatMap((line) => {
      const found = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)
      return found ? [{ pid: +found[1], parent: +found[2], text: found[3] }] : []
    })
  }
  return fs.readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).flatMap((entry) => {
    try {
      const stat = fs.readFileSync("/proc/" + entry + "/stat", "latin1")
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      if (state === "Z" || state === "X") return []
      return [{ pid: +entry, parent: +parent, text: fs.readFileSync("/proc/" + entry + "/cmdline", "utf8").replace(/\0/g, " ") }]
    } catch { return [] }
  })
}
const ours = () => {
  const all = processes()
  const found = new Map(all
    .filter(({ pid, text }) => pid !== process.pid && text.includes(name) && /(^|\/)(postgres|initdb|mariadbd|cp)\b/.test(text))
    .map((one) => [one.pid, one]))
  for (let size = -1; size !== found.size; ) {
    size = found.size
    for (const one of all) if (found.has(one.parent)) found.set(one.pid, one)
  }
  return found
}
const send = (pid, signal) => { try { process.kill(pid, signal) } catch {} }
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const sharedMemory = () => {
  try {
    return fs.readdirSync(dir).flatMap((node) => {
      try {
        const id = fs.readFileSync(path.join(dir, node, "data", "postmaster.pid"), "utf8").split("\n")[6].trim().split(/\s+/)[1]
        return id ? [id] : []
      } catch { return [] }
    })
  } catch { return [] }
}

let told = "", begun = false
const reap = async () => {
  if (begun) return
  begun = true
  const orderly = told.includes("end")
  const start = performance.now()
  const asked = new Set()
  for (let empty = 0; empty < (orderly ? 1 : 3); ) {
    const found = ours()
    empty = found.size === 0 ? empty + 1 : 0
    if (performance.now() - start > 20000) break
    for (const { pid, parent, text } of found.values()) {
      send(pid, "SIGCONT")
      if (performance.now() - start > 3000 || /(^|\/)mariadbd\b/.test(text)) send(pid, "SIGKILL")
      else if (!found.has(parent) && !asked.has(pid)) { asked.add(pid); send(pid, "SIGQUIT") }
    }
    if (found.size > 0 || !orderly) await sleep(15)
  }
  for (const id of sharedMemory()) spawnSync("ipcrm", ["-m", id], { stdio: "ignore" })
  for (let round = 0; round < (orderly ? 1 : 5); round++) {
    for (const one of [dir, ...others]) {
      try { fs.rmSync(one, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 }) } catch {}
    }
    if (!orderly) await sleep(20) // a process caught between fork and exec may still create a file
  }
  process.exit(0)
}
process.stdin.on("data", (text) => { told += text }).on("end", reap).on("close", reap).on("error", reap)
`

/**
 * The folders of one cluster. The reaper removes them, and ends the cluster's processes, when the scope closes or this
 * process dies.
 */
export interface Reaper {
  /** The folder for data. The caller makes it, after the reaper has started, so it never exists without a reaper. */
  readonly directory: string
  /** The folder for programs, because programs cannot be started from every folder. The caller makes it. */
  readonly programs: string
}

/**
 * As root the servers run under another user, who must be able to reach the folder. If other users cannot reach TMPDIR
 * (it may be in the home of root), the result is the folder that everybody can use.
 */
const temporaryFolder = (): string => {
  const own = tmpdir()
  if (process.getuid?.() !== 0) return own
  const parents = own.split("/").map((_, index, all) => all.slice(0, index + 1).join("/") || "/")
  const open = parents.every((path) => existsSync(path) && (statSync(path).mode & 0o001) !== 0)
  return open ? own : "/tmp"
}

const memoryFolder = "/dev/shm"

/**
 * With less free memory a few clusters with full logs could fill the folder; in a container its default size is 64 MiB.
 */
const memoryNeeded = 4 * 1024 ** 3

/**
 * The folder in memory, if there is plenty of memory and TMPDIR is not set. On a disk the thousand small files of a new
 * cluster take up to two seconds longer, and most of all shortly after other clusters were removed.
 */
const dataFolder = (): string =>
  Either.try(() => {
    if (process.env["TMPDIR"] !== undefined || freemem() < memoryNeeded) return undefined
    accessSync(memoryFolder, constants.W_OK | constants.X_OK)
    const { bavail, bsize } = statfsSync(memoryFolder)
    return bavail * bsize < memoryNeeded ? undefined : memoryFolder
  }).pipe(Either.getOrUndefined) ?? temporaryFolder()

const launch = (folders: Reaper, words: "pipe" | "ignore") =>
  spawn(process.execPath, ["-e", program, folders.directory, folders.programs], {
    cwd: "/",
    detached: true,
    env: { PATH: process.env["PATH"] },
    stdio: [words, "ignore", "ignore"]
  })

/** Starts the reaper. Closing the scope waits until the processes and the folder are gone: about 50 milliseconds. */
export const make = <E>(fail: Fail<E>, kind: "pg" | "mariadb"): Effect.Effect<Reaper, E, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Reaper & { readonly end: Effect.Effect<void, E> }, E>((resume) => {
      const name = `sluice-${kind}-${randomBytes(6).toString("hex")}`
      const folders = { directory: join(dataFolder(), name), programs: join(temporaryFolder(), `${name}-bin`) }
      const child = launch(folders, "pipe")
      // Neither the child nor the pipe keeps this process alive. If it ends without closing its scopes, the pipe
      // closes.
      child.unref()
      ;(child.stdin as unknown as { unref(): void }).unref()
      child.stdin?.on("error", () => {}) // somebody has killed the reaper; `end` starts another one
      child.once("error", (cause) =>
        resume(
          Effect.fail(fail({ phase: "directory", where: folders.directory, reason: "the reaper did not start", cause }))
        )
      )
      child.once("spawn", () => resume(Effect.succeed({ ...folders, end: end(fail, folders, child) })))
    }),
    // Uninterruptible, as every finalizer is, but bounded: the reaper itself ends after 20 seconds.
    ({ end }) => live(Effect.orDie(end))
  )

const end = <E>(fail: Fail<E>, folders: Reaper, child: ReturnType<typeof launch>): Effect.Effect<void, E> => {
  const exit = (one: typeof child) =>
    Effect.async<void>((resume) => {
      if (one.exitCode !== null || one.signalCode !== null) return resume(Effect.void)
      one.ref()
      one.once("exit", () => resume(Effect.void))
    })
  const gone = Effect.sync(() => !existsSync(folders.directory) && !existsSync(folders.programs))
  return Effect.sync(() => void child.stdin?.end("end")).pipe(
    Effect.zipRight(exit(child)),
    // If somebody has killed the reaper, a second one does its work: its input is closed, so it begins at once.
    Effect.zipRight(
      Effect.unlessEffect(
        Effect.suspend(() => exit(launch(folders, "ignore"))),
        gone
      )
    ),
    Effect.zipRight(gone),
    Effect.filterOrFail(
      (removed) => removed,
      () => fail({ phase: "cleanup", where: folders.directory, reason: "the folder could not be removed" })
    ),
    Effect.asVoid
  )
}
