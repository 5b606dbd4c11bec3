import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import { Effect, ExecutionStrategy, Exit, Runtime, RuntimeFlags, Scope } from "effect"
import type * as Driver from "../../driver/Driver.js"
import * as SqlReason from "../../SqlReason.js"
import * as Bounded from "../session/bounded.js"
import * as Lock from "../session/lock.js"

/** Milliseconds that it stays open after its last use. With less, each cancel of a burst would open a connection. */
const IDLE = 10_000

/** Milliseconds until the next look at a connection that is still in use after `IDLE`. */
const SHORTEST = 100

/**
 * The control connection of an endpoint: opened when it is first needed, used by one caller at a time, closed when it was not
 * needed for a while. No pool counts it, so it works while the pool has no connection left.
 *
 * 1. There is at most one: only the holder of the lock opens and closes it.
 * 2. No caller uses it for longer than the bound. After a caller that took too long, or that left it busy, it is closed.
 * 3. It is closed with the scope that it was made in.
 */
export interface Control<Conn> {
  readonly run: Driver.Control<Conn>
  /** As `run`, on a new connection: the address may lead to another server now. */
  readonly runAnew: Driver.Control<Conn>
  /** Closes it, when nobody uses it. It is opened again when it is needed. */
  readonly rest: Effect.Effect<void>
  readonly stats: () => ControlStats
}

export interface ControlStats {
  readonly open: number
  readonly connects: number
}

interface Open<Conn> {
  readonly connection: Conn
  readonly scope: Scope.CloseableScope
}

/** A pool would act on these. The control connection is looked at before each use instead, and nobody waits for its place. */
const ignored = { broken: () => {}, fatal: () => {}, isEnding: () => true }

/** `bound`: milliseconds that one use may take, the wait for a connect included. */
export const make = Effect.fnUntraced(function* <Endpoint, Conn>(
  driver: Driver.Driver<Endpoint, Conn>,
  endpoint: Endpoint,
  bound: number,
  timers: Deadline.Timers["Type"]
) {
  const outer = yield* Effect.scope
  // A Layer is built where nothing can be interrupted, and the fibers that are started here must not inherit that.
  const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
  const lock = Lock.make()
  let open: Open<Conn> | undefined
  let connects = 0
  let usedAt = 0
  let isWatched = false
  let timer: Deadline.Timer | undefined
  yield* Scope.addFinalizer(
    outer,
    Effect.sync(() => timer?.cancel())
  )

  // Uninterruptible: between forgetting the connection and closing it, no other fiber knows of it. The driver bounds a close.
  const close = Effect.uninterruptible(
    Effect.suspend(() => {
      if (open === undefined) return Effect.void
      const { scope } = open
      open = undefined
      return Scope.close(scope, Exit.void)
    })
  )

  /** Looks at the connection at `at`: closes it when it was not used for `IDLE`, else looks again later. */
  const watch = (at: Deadline.Instant): void => {
    isWatched = true
    timer = timers.set(at, () => {
      const now = timers.now()
      if (open === undefined) isWatched = false
      // The holder of the lock uses it, and sets `usedAt` when it has finished.
      else if (usedAt + IDLE > now || lock.held) watch(Math.max(usedAt + IDLE, now + SHORTEST))
      else {
        isWatched = false
        Runtime.runFork(runtime, Lock.use(lock, closeUnused), { scope: outer })
      }
    })
  }

  /** Another caller may have used it, or replaced it, before this fiber got the lock. */
  const closeUnused = Effect.suspend(() => {
    if (open === undefined || isWatched) return Effect.void
    if (usedAt + IDLE <= timers.now()) return close
    return Effect.sync(() => watch(usedAt + IDLE))
  })

  const connect: Effect.Effect<Conn, SqlError> = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) =>
      Effect.tap(
        restore(
          Effect.provideService(
            Scope.extend(driver.connect(endpoint, ignored), scope),
            // The fiber is that of any caller, whose context need not have them.
            Deadline.Timers,
            timers
          )
        ),
        (connection) =>
          Effect.sync(() => {
            open = { connection, scope }
            connects++
            if (!isWatched) watch(timers.now() + IDLE)
          })
      ).pipe(Effect.onError(() => Scope.close(scope, Exit.void)))
    )
  )

  const usable = Effect.suspend(() =>
    open === undefined
      ? connect
      : driver.status(open.connection) === "idle"
        ? Effect.succeed(open.connection)
        : Effect.zipRight(close, connect)
  )

  const afterUse = Effect.suspend(() => {
    usedAt = timers.now()
    return open === undefined || driver.status(open.connection) === "idle" ? Effect.void : close
  })

  const runOn =
    (connection: Effect.Effect<Conn, SqlError>): Driver.Control<Conn> =>
    (f) =>
      Lock.use(
        lock,
        Effect.suspend(() =>
          // Interruptible also where the caller is not, or the bound would not hold there.
          Bounded.interruptAt(timers, timers.now() + bound, Effect.interruptible(Effect.flatMap(connection, f)), () =>
            tooLate(driver.name, bound)
          )
        ).pipe(Effect.ensuring(afterUse))
      )
  const run = runOn(usable)
  const runAnew = runOn(Effect.zipRight(close, connect))

  const control: Control<Conn> = {
    run,
    runAnew,
    rest: Lock.use(lock, close),
    stats: () => ({ open: open === undefined ? 0 : 1, connects })
  }
  return control
})

const tooLate = (name: string, bound: number): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectFailed", { connection: "none", retry: "always" }),
    `${name}: the control connection had no answer within ${bound} ms`
  )
