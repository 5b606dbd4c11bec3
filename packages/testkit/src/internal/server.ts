import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { join } from "node:path"
import { Deferred, Effect, FiberId, Ref, Schedule } from "effect"
import { type CommonPhase, type Fail, type Failure, reasonOf } from "./clusterError.js"
import { live, monotonicMillis, until } from "./live.js"
import * as Processes from "./processes.js"
import { type Account, environment } from "./programs.js"

/**
 * Longest time from spawning a server until it accepts connections. Even on a busy machine a few seconds are enough.
 */
const startTimeout = "30 seconds"

interface Running {
  readonly child: ChildProcess
  readonly pid: number
  readonly exited: Deferred.Deferred<void>
  /** Length of the log before this process wrote its first line. */
  readonly logStart: number
  /** Whether the server has said that it accepts connections. */
  accepted: boolean
  /** Whether `stop` was called. */
  stopping: boolean
  /** How the process has ended; undefined while it runs. */
  ending: string | undefined
}

/**
 * One server process.
 *
 * ```
 * stopped --start--> starting --accepts connections--> running --stop, crash--> stopped
 *                                                      running <--pause, resume--> paused
 * ```
 */
export interface Server<E, Mode extends string> {
  /**
   * Starts the server on its old port, which clients know. A process that has taken the port meanwhile has a second to
   * leave it.
   */
  readonly start: Effect.Effect<void, E>
  /**
   * Starts the server for the first time. `configure` chooses ports and writes them down, again if another process
   * takes one.
   */
  readonly startOn: <Ports>(configure: Effect.Effect<Ports, E>) => Effect.Effect<Ports, E>
  readonly stop: (mode: Mode) => Effect.Effect<void, E>
  readonly pause: Effect.Effect<void, E>
  readonly resume: Effect.Effect<void, E>
  readonly log: Effect.Effect<string>
}

/** The last `bytes` of a file behind the position `from`, without a line that is cut. Empty when there is no file. */
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

/** Another process may take a port that was free a moment ago. Twenty times in a row that is not the cause. */
const attempts = Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(20))

/** Whether a server did not start because its port was taken: another port helps, or to try again. */
const isPortTaken = (error: Failure<string>): boolean =>
  error.phase === "start" && /could not bind|Address already in use/i.test(error.log ?? "")

export const make = <E extends Failure<string>, Mode extends string>(options: {
  readonly fail: Fail<E>
  readonly node: string
  /** The folder in which the log is written. */
  readonly directory: string
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly account: Account | undefined
  readonly signals: Record<Mode, NodeJS.Signals>
  /** Whether the server has written, since it was started, that it accepts connections. */
  readonly accepts: (pid: number, log: Effect.Effect<string>) => Effect.Effect<boolean>
}): Effect.Effect<Server<E, Mode>> =>
  Effect.gen(function* () {
    const { account, directory, node, signals } = options
    const logFile = join(directory, "server.log")
    const state = yield* Ref.make<Running | undefined>(undefined)
    const starting = yield* Effect.makeSemaphore(1)

    const log = tail(logFile, 8192)

    const fail = (phase: CommonPhase, reason: string, cause?: unknown, logStart?: number) =>
      Effect.flatMap(tail(logFile, 2048, logStart), (log) =>
        Effect.fail(options.fail({ phase, where: `node "${node}"`, reason, log: log.trim(), cause }))
      )

    const running = Effect.map(Ref.get(state), (current) => (current?.ending === undefined ? current : undefined))

    const launch = Effect.async<Running, E>((resume) => {
      const output = openSync(logFile, "a", 0o600)
      const logStart = fstatSync(output).size
      const child = spawn(options.program, options.args, {
        cwd: "/",
        detached: true, // so that Ctrl-C in a terminal reaches the tests and not the servers
        env: environment,
        stdio: ["ignore", output, output],
        ...account
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
          accepted: false,
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

    const accepts = (current: Running) =>
      current.accepted
        ? Effect.succeed(true)
        : options.accepts(current.pid, tail(logFile, 65536, current.logStart)).pipe(
            Effect.tap((accepted) =>
              Effect.sync(() => {
                current.accepted = accepted
              })
            )
          )

    const awaitAccepting = (current: Running) =>
      Effect.gen(function* () {
        const begun = yield* monotonicMillis
        const took = Effect.map(monotonicMillis, (now) => `after ${Math.round(now - begun)} ms`)
        yield* until(
          Effect.suspend(() => (current.ending !== undefined ? Effect.succeed(true) : accepts(current)))
        ).pipe(
          Effect.timeoutFail({ duration: startTimeout, onTimeout: () => "timeout" as const }),
          Effect.catchAll(() =>
            Effect.flatMap(took, (time) =>
              fail("start", `the server did not accept connections: given up ${time}`, undefined, current.logStart)
            )
          )
        )
        if (current.ending !== undefined) {
          const reason = `the server ended with ${current.ending} ${yield* took}, before it accepted connections`
          return yield* fail("start", reason, undefined, current.logStart)
        }
      })

    const start = starting.withPermits(1)(
      Effect.gen(function* () {
        const current = yield* running
        if (current?.stopping) yield* Deferred.await(current.exited)
        const before = yield* running
        // Uninterruptible: an interruption after spawning would leave a process that no later `start` or `stop` knows.
        yield* awaitAccepting(before ?? (yield* Effect.uninterruptible(launch)))
      })
    )

    const kill = (phase: CommonPhase, change: (current: Running) => Effect.Effect<void, E>) =>
      Effect.flatMap(running, (current) =>
        current === undefined ? fail(phase, "the server does not run") : Effect.asVoid(change(current))
      )

    const thaw = (pid: number) =>
      Effect.sync(() => {
        for (const process of Processes.family(pid)) Processes.signal(process.pid, "SIGCONT")
      })

    const pause = kill("pause", ({ pid }) =>
      Effect.sync(() => {
        // The server stops first: it can then fork no more, so the list of its children is complete.
        Processes.signal(pid, "SIGSTOP")
        for (const child of Processes.family(pid)) Processes.signal(child.pid, "SIGSTOP")
      }).pipe(
        // The kernel stops a process a moment after the signal, so this waits until each of them has stopped.
        Effect.zipRight(until(Effect.sync(() => Processes.family(pid).every(({ state }) => state === "T")))),
        Effect.timeoutFail({ duration: "5 seconds", onTimeout: () => "timeout" as const }),
        Effect.catchAll(() => fail("pause", "the processes of the server did not stop within 5000 ms"))
      )
    )

    const stop = (mode: Mode) =>
      Effect.flatMap(running, (current) => {
        if (current === undefined) return Effect.void
        // A paused server handles the signal only when it continues, so it is resumed right after it.
        return Effect.sync(() => {
          current.stopping = true
          Processes.signal(current.pid, signals[mode])
        }).pipe(
          Effect.zipRight(thaw(current.pid)),
          Effect.zipRight(
            Effect.acquireUseRelease(
              Effect.sync(() => current.child.ref()), // this process must not end while a caller waits here
              () => Deferred.await(current.exited),
              () => Effect.sync(() => current.child.unref())
            )
          )
        )
      })

    const patiently = <A>(attempt: Effect.Effect<A, E>) =>
      Effect.retry(attempt, { while: (error: E) => isPortTaken(error), schedule: attempts })

    return {
      start: live(patiently(start)),
      startOn: (configure) => live(patiently(Effect.zipLeft(configure, start))),
      stop: (mode) => live(stop(mode)),
      pause: live(pause),
      resume: live(kill("pause", ({ pid }) => thaw(pid))),
      log
    }
  })
