import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { join } from "node:path"
import { Deferred, Effect, FiberId, Ref, Schedule } from "effect"
import { type CommonPhase, type Fail, type Failure, reasonOf } from "./clusterError.js"
import { live, monotonicMillis, until } from "./live.js"
import * as Processes from "./processes.js"
import { type Account, environment } from "./programs.js"

/** Longest time from spawning a server until it accepts connections; a busy machine needs a few seconds at most. */
const startTimeout = "30 seconds"

interface Running {
  readonly child: ChildProcess
  readonly pid: number
  readonly exited: Deferred.Deferred<void>
  /** Length of the log before it wrote its first line. */
  readonly logStart: number
  /** It said that it accepts connections. */
  accepted: boolean
  /** Somebody asked it to stop. */
  stopping: boolean
  /** How it ended; undefined while it runs. */
  ending: string | undefined
}

/**
 * One server process.
 *
 * ```
 * stopped --start--> starting --it says so itself--> running --stop, crash--> stopped
 *                                                      running <--pause, resume--> paused
 * ```
 */
export interface Server<E, Mode extends string> {
  /** Starts it where it was; whoever took its port meanwhile gets a second to go away, because clients know the port. */
  readonly start: Effect.Effect<void, E>
  /** Starts it for the first time. The effect chooses ports and configures them, again when another took one of them. */
  readonly startOn: <Ports>(configure: Effect.Effect<Ports, E>) => Effect.Effect<Ports, E>
  readonly stop: (mode: Mode) => Effect.Effect<void, E>
  readonly pause: Effect.Effect<void, E>
  readonly resume: Effect.Effect<void, E>
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

/** A port that was free a moment ago can be lost; after so many losses something else is wrong. */
const attempts = Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(20))

/** True for the failure that another port or some patience can cure. */
const isPortTaken = (error: Failure<string>): boolean =>
  error.phase === "start" && /could not bind|Address already in use/i.test(error.log ?? "")

export const make = <E extends Failure<string>, Mode extends string>(options: {
  readonly fail: Fail<E>
  readonly node: string
  /** For the log. */
  readonly directory: string
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly account: Account | undefined
  readonly signals: Record<Mode, NodeJS.Signals>
  /** Whether the server itself says that it accepts connections, by what it wrote since it was started. */
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
        detached: true, // Ctrl-C in the terminal is for the tests, not for the servers
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

    const kill = (phase: CommonPhase, change: (current: Running) => Effect.Effect<void, E>) =>
      Effect.flatMap(running, (current) =>
        current === undefined ? fail(phase, "it does not run") : Effect.asVoid(change(current))
      )

    const thaw = (pid: number) =>
      Effect.sync(() => {
        for (const process of Processes.family(pid)) Processes.signal(process.pid, "SIGCONT")
      })

    const pause = kill("pause", ({ pid }) =>
      Effect.sync(() => {
        // The server first: after that nobody forks, so the list of children is complete.
        Processes.signal(pid, "SIGSTOP")
        for (const child of Processes.family(pid)) Processes.signal(child.pid, "SIGSTOP")
      }).pipe(
        // Stopping is done by the kernel a moment later; return only when nothing of the server moves.
        Effect.zipRight(until(Effect.sync(() => Processes.family(pid).every(({ state }) => state === "T")))),
        Effect.timeoutFail({ duration: "5 seconds", onTimeout: () => "timeout" as const }),
        Effect.catchAll(() => fail("pause", "its processes did not stop within 5000 ms"))
      )
    )

    const stop = (mode: Mode) =>
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
