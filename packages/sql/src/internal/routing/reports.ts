import type { Timer, Timers } from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import { Effect, type Fiber, FiberId, Option, Runtime, RuntimeFlags, type Scope, Stream } from "effect"
import * as Bounded from "../session/bounded.js"
import type { Target } from "./target.js"

/** Milliseconds between two looks. With less, a replica whose only connection is being replaced would be reported as gone. */
const PAUSE = 1_000

/** Milliseconds that a report waits for the next failed connect, so that it can say why the replica is not reached. */
const PATIENCE = 2_000

/** What is wrong with a replica. Reads go on without it, so without a warning nobody would notice. */
interface Trouble {
  /** What collectors of logs call it, and its end. */
  readonly states: readonly [begins: string, ends: string]
  readonly has: (replica: Target<any>) => boolean
  readonly begins: (replica: Target<any>, timers: Timers["Type"]) => Effect.Effect<void>
  /** `undefined`: it is said once and for all. */
  readonly ends: ((replica: Target<any>) => Effect.Effect<void>) | undefined
}

const ONCE = "This is said once, and again when it is back"

const unreachable: Trouble = {
  states: ["unreachable", "reachable"],
  has: ({ isReachable }) => !isReachable,
  begins: (replica, timers) => {
    const failure = Pool.events(replica.pool).pipe(
      Stream.filterMap((event) => (event._tag === "ConnectFailed" ? Option.some(event.cause) : Option.none())),
      Stream.runHead
    )
    return Effect.suspend(() =>
      Bounded.abandonAt(timers, timers.now() + PATIENCE, failure, Effect.succeed(Option.none<unknown>()))
    ).pipe(
      Effect.flatMap((cause) => {
        const why = Option.isSome(cause) && cause.value instanceof Error ? ` (${cause.value.message})` : ""
        return Effect.logWarning(
          `replica ${replica.label} cannot be reached${why}: reads go to the other replicas or to the primary until it answers. ${ONCE}`
        )
      })
    )
  },
  ends: ({ label }) => Effect.logInfo(`replica ${label} answers again: it gets reads as before`)
}

const lagging: Trouble = {
  states: ["lagging", "caughtUp"],
  has: ({ isLagging }) => isLagging,
  begins: ({ label, lag }) =>
    Effect.logWarning(
      `replica ${label} is ${lag === undefined ? "too far" : `${Math.round(lag)} ms`} behind the primary, which is more than the maxLag of the router: reads go to the other replicas or to the primary until it is nearer. ${ONCE}`
    ),
  ends: ({ label }) => Effect.logInfo(`replica ${label} is near enough to the primary again: it gets reads as before`)
}

/** It was asked, or would not be asked, and how far it is behind stays unknown. */
const unmeasurable: Trouble = {
  states: ["lagUnknown", "lagKnown"],
  has: ({ isLagUnknown, isReachable }) => isLagUnknown && isReachable,
  begins: ({ label }) =>
    Effect.logWarning(
      `how far replica ${label} is behind the primary cannot be told, so it gets reads however far that is. Let the user of this program ask for the positions of both servers, or set maxLag of the router to "off" if that does not matter. This is said once`
    ),
  ends: undefined
}

const troubles: ReadonlyArray<Trouble> = [unreachable, lagging, unmeasurable]

/** Says once at WARN what is wrong with a replica, and once when it is over, until the scope closes. */
export const make = (
  targets: ReadonlyArray<Target<any>>,
  timers: Timers["Type"]
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (targets.length < 2) return
    const scope = yield* Effect.scope
    // A Layer is built where nothing can be interrupted, and the fibers that are started here must not inherit that.
    const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
    const say = ({ label, pool }: Target<any>, state: string, message: Effect.Effect<void>) =>
      Runtime.runFork(
        runtime,
        Effect.annotateLogs(message, { pool: pool.name, endpoint: label, role: "replica", state }),
        { scope }
      )
    /** The targets that have the trouble, and the fibers that say so. */
    const said = troubles.map((trouble) => ({ ...trouble, about: new Map<Target<any>, Fiber.RuntimeFiber<void>>() }))
    /** Whether it had been said. If not, it is not said any more: it would be the last word, and wrong. */
    const forget = (about: Map<Target<any>, Fiber.RuntimeFiber<void>>, target: Target<any>): boolean => {
      const report = about.get(target)
      about.delete(target)
      if (report?.unsafePoll() !== null) return report !== undefined
      report.unsafeInterruptAsFork(FiberId.none)
      return false
    }
    const look = (): void => {
      for (const target of targets) {
        // What a primary has is told elsewhere.
        if (target.role === "replica") {
          for (const { about, begins, ends, has, states } of said) {
            if (has(target) === about.has(target)) continue
            if (!about.has(target)) {
              about.set(target, say(target, states[0], begins(target, timers)))
            } else if (ends !== undefined && forget(about, target)) say(target, states[1], ends(target))
          }
        } else for (const { about } of said) forget(about, target)
      }
      timer = timers.set(timers.now() + PAUSE, look)
    }
    let timer: Timer = timers.set(timers.now() + PAUSE, look)
    yield* Effect.addFinalizer(() => Effect.sync(() => timer.cancel()))
  })
