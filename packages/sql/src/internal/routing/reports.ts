import type { Timer, Timers } from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import { Effect, Option, Runtime, RuntimeFlags, type Scope, Stream } from "effect"
import * as Bounded from "../session/bounded.js"
import type { Target } from "./target.js"

/** Milliseconds between two looks. With less, a replica whose only connection is being replaced would be reported as gone. */
const PAUSE = 1_000

/** Milliseconds that a report waits for the next failed connect, so that it can say why the replica is not reached. */
const PATIENCE = 2_000

/**
 * Warns once when a replica cannot be reached, and says once when it can be reached again, until the scope closes. Reads go on
 * without it, so without a warning nobody would notice that the primary does the work of its replicas.
 */
export const unreachable = (
  replicas: ReadonlyArray<Target<any>>,
  timers: Timers["Type"]
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (replicas.length === 0) return
    const scope = yield* Effect.scope
    // A Layer is built where nothing can be interrupted, and the fibers that are started here must not inherit that.
    const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
    const reported = new Set<Target<any>>()
    const look = (): void => {
      for (const replica of replicas) {
        if (replica.isReachable !== reported.has(replica)) continue
        if (reported.delete(replica)) Runtime.runFork(runtime, isBack(replica), { scope })
        else {
          reported.add(replica)
          Runtime.runFork(runtime, isGone(replica, timers), { scope })
        }
      }
      timer = timers.set(timers.now() + PAUSE, look)
    }
    let timer: Timer = timers.set(timers.now() + PAUSE, look)
    yield* Effect.addFinalizer(() => Effect.sync(() => timer.cancel()))
  })

const isGone = (replica: Target<any>, timers: Timers["Type"]): Effect.Effect<void> => {
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
        `replica ${replica.label} cannot be reached${why}: reads go to the other replicas or to the primary until it answers. This is said once, and again when it is back`
      )
    })
  )
}

const isBack = (replica: Target<any>): Effect.Effect<void> =>
  Effect.logInfo(`replica ${replica.label} answers again: it gets reads as before`)
