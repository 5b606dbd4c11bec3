import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs"
import { join } from "node:path"
import { Clock, Deferred, Effect, FiberId, Ref } from "effect"
import { live, until } from "./live.js"
import { type Binaries, environment } from "./pgBinaries.js"
import { PgClusterError, reasonOf } from "./pgClusterError.js"
import * as Processes from "./processes.js"

/** How a server is asked to stop. */
export type StopMode = "smart" | "fast" | "immediate"

const signals = { smart: "SIGTERM", fast: "SIGINT", immediate: "SIGQUIT" } as const

/** Longest time from spawning a server until it accepts connections; a busy machine needs a few seconds at most. */
const startTimeout = "30 seconds"

interface Running {
  readonly child: ChildProcess
  readonly pid: number
  readonly exited: Deferred.Deferred<void>
  /** Length of the log before it wrote its first line. */
  readonly logStart: number
  /** Somebody asked it to stop. */
  stopping: boolean
  /** How it ended; undefined while it runs. */
  ending: string | undefined
}

/**
 * One server process.
 *
 * ```
 * stopped --start--> starting --pid file says ready--> running --stop, crash--> stopped
 *                                                      running <--pause, resume--> paused
 * ```
 */
export interface Postmaster {
  readonly start: Effect.Effect<void, PgClusterError>
  readonly stop: (mode: StopMode) => Effect.Effect<void, PgClusterError>
  readonly pause: Effect.Effect<void, PgClusterError>
  readonly resume: Effect.Effect<void, PgClusterError>
  readonly log: Effect.Effect<string>
}

/** The end of a file, cut at a line's start and not before a position. Empty when there is none. */
const tail = (path: string, bytes: number, from = 0) =>
  Effect.try(() => {
    const file = openSync(path, "r")
    const size = fstatSync(file).size - from
    const buffer = Buffer.alloc(Math.min(size, bytes))
    readSync(file, buffer, 0, buffer.length, from + size - buffer.length)
    closeSync(file)
    const text = buffer.toString("utf8")
    return size > bytes ? text.slice(text.indexOf("\n") + 1) : text
  }).pipe(Effect.orElseSucceed(() => ""))

/** True for the failure that another port or some patience can cure. */
export const isPortTaken = (error: PgClusterError): boolean =>
  error.phase === "start" && /could not bind|Address already in use/.test(error.log ?? "")

export const make = (options: {
  readonly node: string
  readonly directory: string
  readonly dataDir: string
  readonly binaries: Binaries
}): Effect.Effect<Postmaster> =>
  Effect.gen(function* () {
    const { binaries, dataDir, directory, node } = options
    const logFile = join(directory, "server.log")
    const state = yield* Ref.make<Running | undefined>(undefined)
    const starting = yield* Effect.makeSemaphore(1)

    const log = tail(logFile, 8192)

    const fail = (phase: PgClusterError["phase"], reason: string, cause?: unknown, logStart?: number) =>
      Effect.flatMap(
        tail(logFile, 2048, logStart),
        (log) => new PgClusterError({ phase, where: `node "${node}"`, reason, log: log.trim(), cause })
      )

    const running = Effect.map(Ref.get(state), (current) => (current?.ending === undefined ? current : undefined))

    const launch = Effect.async<Running, PgClusterError>((resume) => {
      const output = openSync(logFile, "a", 0o600)
      const logStart = fstatSync(output).size
      const child = spawn(join(binaries.bin, "postgres"), ["-D", dataDir], {
        cwd: "/",
        detached: true, // Ctrl-C in the terminal is for the tests, not for the servers
        env: environment,
        stdio: ["ignore", output, output],
        ...binaries.account
      })
      closeSync(output)
      child.unref()
      child.once("error", (cause) => resume(fail("start", reasonOf(cause), cause)))
      child.once("spawn", () => {
        const current: Running = {
          child,
          pid: child.pid!,
          exited: Deferred.unsafeMake(FiberId.none),
          logStart,
          stopping: false,
          ending: undefined
        }
        child.once("exit", (code, signal) => {
          current.ending = signal ?? `code ${code}`
          Deferred.unsafeDone(current.exited, Effect.void)
        })
        resume(Effect.as(Ref.set(state, current), current))
      })
    })

    /** The eighth line of the pid file is how the server itself says that it accepts connections. */
    const accepts = ({ pid }: Running) =>
      Effect.try(() => readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n")).pipe(
        Effect.map((lines) => Number(lines[0]) === pid && lines[7]?.trim() === "ready"),
        Effect.orElseSucceed(() => false) // not yet written
      )

    const awaitAccepting = (current: Running) =>
      Effect.gen(function* () {
        const begun = yield* Clock.currentTimeMillis
        const took = Effect.map(Clock.currentTimeMillis, (now) => `after ${now - begun} ms`)
        yield* until(
          Effect.suspend(() => (current.ending !== undefined ? Effect.succeed(true) : accepts(current)))
        ).pipe(
          Effect.timeoutFail({ duration: startTimeout, onTimeout: () => "timeout" as const }),
          Effect.catchAll(() =>
            Effect.flatMap(took, (time) =>
              fail("start", `it did not accept connections ${time}`, undefined, current.logStart)
            )
          )
        )
        if (current.ending !== undefined) {
          const reason = `it ended with ${current.ending} ${yield* took}, before it accepted connections`
          return yield* fail("start", reason, undefined, current.logStart)
        }
      })

    const start = starting.withPermits(1)(
      Effect.gen(function* () {
        const current = yield* running
        if (current?.stopping) yield* Deferred.await(current.exited)
        const before = yield* running
        // Spawning and noting the process must not come apart, or a second start would find no first one.
        yield* awaitAccepting(before ?? (yield* Effect.uninterruptible(launch)))
      })
    )

    const kill = (phase: PgClusterError["phase"], change: (current: Running) => Effect.Effect<void, PgClusterError>) =>
      Effect.flatMap(running, (current) =>
        current === undefined ? fail(phase, "it does not run") : Effect.asVoid(change(current))
      )

    const thaw = (pid: number) =>
      Effect.sync(() => {
        for (const process of Processes.family(pid)) Processes.signal(process.pid, "SIGCONT")
      })

    const pause = kill("pause", ({ pid }) =>
      Effect.sync(() => {
        // The postmaster first: after that nobody forks, so the list of children is complete.
        Processes.signal(pid, "SIGSTOP")
        for (const child of Processes.family(pid)) Processes.signal(child.pid, "SIGSTOP")
      }).pipe(
        // Stopping is done by the kernel a moment later; return only when nothing of the server moves.
        Effect.zipRight(until(Effect.sync(() => Processes.family(pid).every(({ state }) => state === "T")))),
        Effect.timeoutFail({ duration: "5 seconds", onTimeout: () => "timeout" as const }),
        Effect.catchAll(() => fail("pause", "its processes did not stop within 5000 ms"))
      )
    )

    const stop = (mode: StopMode) =>
      Effect.flatMap(running, (current) => {
        if (current === undefined) return Effect.void
        // A paused server would keep the signal for later.
        return Effect.sync(() => {
          current.stopping = true
          Processes.signal(current.pid, signals[mode])
        }).pipe(
          Effect.zipRight(thaw(current.pid)),
          Effect.zipRight(
            Effect.acquireUseRelease(
              Effect.sync(() => current.child.ref()), // the program must not end while somebody waits here
              () => Deferred.await(current.exited),
              () => Effect.sync(() => current.child.unref())
            )
          )
        )
      })

    return {
      start: live(start),
      stop: (mode) => live(stop(mode)),
      pause: live(pause),
      resume: live(kill("pause", ({ pid }) => thaw(pid))),
      log
    }
  })
