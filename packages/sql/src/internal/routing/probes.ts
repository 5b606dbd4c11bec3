import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import { type Instant, never, type Timer, type Timers } from "@sluice/pool/Deadline"
import { Effect, Exit, Runtime, RuntimeFlags, type Scope } from "effect"
import type { Driver, ServerState } from "../../driver/Driver.js"
import * as SqlReason from "../../SqlReason.js"
import type { Members } from "./members.js"
import type { Target } from "./target.js"

/** Milliseconds between two questions to the servers of a cluster while nothing happens. */
const CALM = 2_000

/** Milliseconds between two questions while a server has yet to show that it is back. */
const MISSING = 500

/** Milliseconds between two questions while no server takes writes, until `LONG` have passed so. */
const LOOKING = 100

/**
 * Milliseconds after which a server that could not be reached is asked again. Each question to it is a connect, and its pool tries
 * to connect as well: with 100, a server that starts again got more than ten connects a second from each client.
 */
const REFUSED = 250

/**
 * Milliseconds after which a server is asked again that has not let this client in, because of its login or for want of room. The
 * pool tries both once a second already.
 */
const NOT_LET_IN = 5_000

/** Milliseconds. What has lasted for so long is no failover, but a standby that nobody is about to promote. */
const LONG = 30_000

/** Milliseconds after which a server that is said to take no writes is asked over a new connection. */
const ANEW = 500

/** Milliseconds that the first round waits for the other servers once it is known which one takes writes. */
const OTHERS = 300

/**
 * Asks the servers what they are: all of them every two seconds, ten times a second for half a minute while no server takes writes,
 * and at once after a sign, but one that could not be reached only four times a second. One question is under way for each server,
 * over its control connection. A server that stands alone is asked only after it has refused a write.
 */
export interface Probes {
  /** Something has happened that a failover may be the reason of. */
  readonly sign: () => void
  /** Asks all servers, and ends when each has answered or was too late. */
  readonly ask: Effect.Effect<void>
  /** Nobody uses the pools: asks nobody until `wake`, and closes the control connections. */
  readonly rest: () => void
  /** A pool is used again. Does nothing while they were used all the time. */
  readonly wake: () => void
  /** Asks nobody any more. */
  readonly stop: Effect.Effect<void>
  /** The same at the start: ends when it is known who takes writes and the others have had a moment to answer, or at `until`. */
  readonly first: (until: Instant) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* <Conn>(
  driver: Driver<any, Conn>,
  targets: ReadonlyArray<Target<Conn>>,
  members: Members<Conn>,
  timers: Timers["Type"]
): Effect.fn.Return<Probes, never, Scope.Scope> {
  const scope = yield* Effect.scope
  // A Layer is built where nothing can be interrupted, and the fibers that are started here must not inherit that.
  const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
  const isCluster = targets.length > 1
  const underWay = new Map<Target<Conn>, Set<() => void>>()
  const renewedAt = new Map<Target<Conn>, Instant>()
  /** A server that could not be asked is not asked again before. */
  const notBefore = new Map<Target<Conn>, Instant>()
  let timer: Timer | undefined
  let askedAt = -Infinity
  let lookingSince = never
  let isClosed = false
  let isResting = false

  const isDue = (target: Target<Conn>, now: Instant): boolean => {
    if (members.writable !== undefined || now - (renewedAt.get(target) ?? -Infinity) < Math.max(ANEW, pause(now))) {
      return false
    }
    renewedAt.set(target, now)
    return true
  }

  const tell = (target: Target<Conn>, exit: Exit.Exit<ServerState, SqlError>): void => {
    if (isClosed) return
    if (Exit.isSuccess(exit)) {
      notBefore.delete(target)
      members.answered(target, exit.value)
      return
    }
    const isThere = saysNothing(exit)
    notBefore.set(target, timers.now() + (isThere ? NOT_LET_IN : REFUSED))
    if (isThere) members.unasked(target)
    else members.answered(target, undefined)
  }

  const askOne = (target: Target<Conn>): Set<() => void> => {
    const running = underWay.get(target)
    if (running !== undefined) return running
    const waiters = new Set<() => void>()
    underWay.set(target, waiters)
    const { control } = target
    const run = isDue(target, timers.now()) ? control.runAnew : control.run
    const fiber = Runtime.runFork(runtime, run(driver.probe), { scope })
    fiber.addObserver((exit) => {
      underWay.delete(target)
      tell(target, exit)
      for (const waiter of waiters) waiter()
      plan()
      // A server that stands alone is not asked again before it refuses a write.
      if (!isClosed && (isResting || (!isCluster && !members.isLooking)))
        Runtime.runFork(runtime, control.rest, { scope })
    })
    return waiters
  }

  /** Begins a round; `done` is called when all of these have answered, or were too late. */
  const round = (asked: ReadonlyArray<Target<Conn>>, done: () => void): void => {
    askedAt = timers.now()
    members.roundAt = askedAt
    let left = asked.length
    const one = () => {
      if (--left === 0) done()
    }
    for (const target of asked) askOne(target).add(one)
    plan()
  }

  /** A round that nobody waits for. */
  const look = (): void => {
    const now = timers.now()
    round(
      targets.filter((target) => (notBefore.get(target) ?? now) <= now),
      () => {}
    )
  }

  const pause = (now: Instant): number => {
    lookingSince = members.isLooking ? Math.min(lookingSince, now) : never
    if (members.isLooking && now - lookingSince < LONG) return LOOKING
    return members.isMissing ? MISSING : CALM
  }

  const plan = (): void => {
    timer?.cancel()
    if (isClosed || isResting || !(isCluster || members.isLooking)) return
    const now = timers.now()
    timer = timers.set(Math.max(now, askedAt + pause(now)), look)
  }

  const sign = (): void => {
    if (isClosed || isResting || !(isCluster || members.isLooking)) return
    if (timers.now() - askedAt >= LOOKING) look()
    else {
      timer?.cancel()
      timer = timers.set(askedAt + LOOKING, look)
    }
  }

  const ask = AsyncContext.async<void>((resume) => round(targets, () => resume(Effect.void)))

  const first: Probes["first"] = (until) =>
    AsyncContext.async<void>((resume) => {
      const end = () => {
        late.cancel()
        unlisten()
        resume(Effect.void)
      }
      let late = timers.set(until, end)
      const decided = () => {
        if (members.writable === undefined) return
        late.cancel()
        late = timers.set(Math.min(until, timers.now() + OTHERS), end)
      }
      const unlisten = members.listen(decided)
      round(targets, end)
      return Effect.sync(() => {
        late.cancel()
        unlisten()
      })
    })

  const rest = (): void => {
    isResting = true
    timer?.cancel()
    for (const { control } of targets) Runtime.runFork(runtime, control.rest, { scope })
  }

  const wake = (): void => {
    if (!isResting) return
    isResting = false
    if (isCluster || members.isLooking) look()
  }

  const stop = Effect.sync(() => {
    isClosed = true
    timer?.cancel()
  })
  yield* Effect.addFinalizer(() => stop)
  return { sign, ask, rest, wake, stop, first }
})

/** The server has answered, and does not let this client ask. */
const saysNothing = (exit: Exit.Exit<unknown, SqlError>): boolean => {
  if (Exit.isSuccess(exit) || exit.cause._tag !== "Fail") return false
  const { _tag } = SqlReason.of(exit.cause.error)
  return (
    _tag !== "ConnectFailed" && _tag !== "ConnectionLost" && _tag !== "ServerShutdown" && _tag !== "StatementTimeout"
  )
}
