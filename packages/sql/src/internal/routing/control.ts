import type { SqlError } from "@effect/sql/SqlError"
import { Clock, Duration, Effect, ExecutionStrategy, Exit, Scope } from "effect"
import type * as Driver from "../../driver/Driver.js"
import * as SqlReason from "../../SqlReason.js"
import * as Lock from "../session/lock.js"

/** How long it stays open for the next time, in milliseconds. Shorter, and a burst of cancels pays for a connect each. */
const IDLE = 10_000

/** Milliseconds between two looks at one that is used for long. */
const SHORTEST = 100

/**
 * The connection to an endpoint that is nobody's lease: opened when it is first needed, used by one at a time, closed when
 * nobody has needed it for a while, and outside of the pool, so that it works when the pool is exhausted.
 *
 * 1. At most one, whatever happens: it is opened and closed by the holder of the lock.
 * 2. Nobody uses it for longer than the bound; whoever does loses it, and so does who leaves it in use.
 * 3. It ends with the scope it was made in.
 */
export interface Control<Conn> {
  readonly run: Driver.Control<Conn>
  readonly stats: () => SideStats
}

export interface SideStats {
  readonly open: number
  readonly connects: number
}

interface Open<Conn> {
  readonly connection: Conn
  readonly scope: Scope.CloseableScope
}

const ignored = { broken: () => {}, fatal: () => {} }

export const make = Effect.fnUntraced(function* <Endpoint, Conn>(
  driver: Driver.Driver<Endpoint, Conn>,
  endpoint: Endpoint,
  bound: Duration.Duration
) {
  const outer = yield* Effect.scope
  const lock = Lock.make()
  let open: Open<Conn> | undefined
  let connects = 0
  let usedAt = 0
  let isWatched = false

  // Uninterruptible: between forgetting it and closing it nobody else knows of it. The driver bounds a close.
  const close = Effect.uninterruptible(
    Effect.suspend(() => {
      if (open === undefined) return Effect.void
      const { scope } = open
      open = undefined
      return Scope.close(scope, Exit.void)
    })
  )

  /** Ends by itself when there is nothing to watch, and says so in the same step; the next connection begins another. */
  const watch: Effect.Effect<void> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    if (open === undefined) {
      isWatched = false
      return Effect.void
    }
    const left = usedAt + IDLE - now
    // Whoever holds the lock uses it, and says when that has ended.
    if (left <= 0 && !lock.held) return Effect.zipRight(Lock.use(lock, close), watch)
    return Effect.zipRight(Effect.sleep(Math.max(SHORTEST, left)), watch)
  })

  const connect: Effect.Effect<Conn, SqlError> = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) =>
      Effect.tap(restore(Scope.extend(driver.connect(endpoint, ignored), scope)), (connection) =>
        Effect.suspend(() => {
          open = { connection, scope }
          connects++
          if (isWatched) return Effect.void
          isWatched = true
          return Effect.forkIn(Effect.interruptible(watch), outer)
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

  const run: Control<Conn>["run"] = (f) =>
    Lock.use(
      lock,
      Effect.flatMap(usable, f).pipe(
        Effect.timeoutFail({ duration: bound, onTimeout: () => tooLate(driver.name, bound) }),
        Effect.ensuring(
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            usedAt = now
            return open === undefined || driver.status(open.connection) === "idle" ? Effect.void : close
          })
        )
      )
    )

  const control: Control<Conn> = { run, stats: () => ({ open: open === undefined ? 0 : 1, connects }) }
  return control
})

const tooLate = (name: string, bound: Duration.Duration): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectFailed", { connection: "none", retry: "always" }),
    `${name}: the control connection had no answer within ${Duration.toMillis(bound)} ms`
  )
