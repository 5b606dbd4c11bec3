import type { SqlError } from "@effect/sql/SqlError"
import * as Pool from "@sluice/pool/Pool"
import type { AcquireError } from "@sluice/pool/PoolError"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Context, Duration, Effect, type Scope } from "effect"
import type { Driver, EndpointInfo } from "../../driver/Driver.js"
import { connectFailureKind, invalidOptions, isAcquireError, toSqlError } from "../client/errors.js"
import * as Deadlines from "../session/deadlines.js"
import * as LeftOpen from "../session/leftOpen.js"
import * as Control from "./control.js"

/** What a statement does, as far as its caller has said so. */
export type Intent = "read" | "write"

/**
 * The intent of the statements of a fiber; `undefined` where nobody said anything, which counts as `write`.
 */
export class CurrentIntent extends Context.Reference<CurrentIntent>()("@sluice/sql/CurrentIntent", {
  defaultValue: (): Intent | undefined => undefined
}) {}

/** Reads a reference without the cost of an effect. */
export const intentOf = (context: Context.Context<never>): Intent | undefined =>
  context.unsafeMap.get(CurrentIntent.key) as Intent | undefined

/** One endpoint and its pool. */
export interface Target<Conn> {
  readonly info: EndpointInfo
  readonly pool: Pool.Pool<Conn>
  readonly control: Control.Control<Conn>
}

export interface Router<Conn> {
  readonly driver: Driver<any, Conn>
  readonly primary: Target<Conn>
  /** Where reads go, in turn; empty when there is no replica. */
  readonly replicas: ReadonlyArray<Target<Conn>>
  /** Every pool once. */
  readonly targets: ReadonlyArray<Target<Conn>>
  readonly leftOpen: LeftOpen.LeftOpen
  readonly scope: Scope.Scope
  readonly abortTimeout: Duration.Duration
  readonly acquireTimeout: Duration.Duration
  readonly deadlines: Deadlines.Deadlines
  turn: number
}

export interface RouterOptions<Endpoint> {
  readonly primary: Endpoint
  readonly replicas: ReadonlyArray<Endpoint>
  readonly pool: PoolConfig
}

/** One pool per endpoint; identical endpoints share theirs. */
export const make = Effect.fnUntraced(function* <Endpoint, Conn>(
  driver: Driver<Endpoint, Conn>,
  options: RouterOptions<Endpoint>
) {
  const scope = yield* Effect.scope
  const abortTimeout = Duration.decode(options.pool.abortTimeout ?? "2 seconds")
  const leftOpen = LeftOpen.make()
  const targets = new Map<string, Target<Conn>>()
  const target = Effect.fnUntraced(function* (endpoint: Endpoint) {
    const info = driver.endpoint(endpoint)
    const known = targets.get(info.key)
    if (known !== undefined) return known
    const name = options.pool.name === undefined ? info.label : `${options.pool.name}: ${info.label}`
    // Before the pool, so that it ends after it: what the pool closes may have to be cancelled.
    const control = yield* Control.make(driver, endpoint, abortTimeout)
    const pool = yield* Pool.make<Conn, SqlError, never>({
      ...options.pool,
      name: targets.size === 0 ? (options.pool.name ?? info.label) : name,
      connect: (signals) => driver.connect(endpoint, signals, control.run),
      validate: driver.ping,
      status: (connection) => {
        const state = driver.status(connection)
        return state === "idle" ? "clean" : state === "busy" || state === "dead" ? state : "dirty"
      },
      reset: (connection, left) =>
        Effect.zipRight(
          leftOpen.report(info.label, connection, driver.status(connection), left),
          driver.reset(connection)
        ),
      abort: driver.abort,
      concurrency: options.pool.concurrency ?? driver.packing?.depth,
      admits: driver.packing?.admits,
      classify: connectFailureKind,
      describe: driver.describe
    }).pipe(Effect.mapError(invalidOptions))
    const made: Target<Conn> = { info, pool, control }
    targets.set(info.key, made)
    return made
  })
  const primary = yield* target(options.primary)
  const replicas: Array<Target<Conn>> = []
  for (const endpoint of options.replicas) {
    const replica = yield* target(endpoint)
    if (!replicas.includes(replica)) replicas.push(replica)
  }
  const router: Router<Conn> = {
    driver,
    primary,
    replicas,
    targets: Array.from(targets.values()),
    leftOpen,
    scope,
    abortTimeout,
    acquireTimeout: Duration.decode(options.pool.acquireTimeout ?? "5 seconds"),
    deadlines: Deadlines.make(scope),
    turn: 0
  }
  return router
})

/** Nothing open, and the host does not answer: nobody should wait for it. Its pool goes on trying by itself. */
const isDown = <Conn>(target: Target<Conn>): boolean => {
  const stats = Pool.unsafeStats(target.pool)
  return stats.phase !== "running" || (stats.size === 0 && stats.host !== "up")
}

const pick = <Conn>(router: Router<Conn>): Target<Conn> | undefined => {
  const { replicas } = router
  for (let i = 0; i < replicas.length; i++) {
    const candidate = replicas[router.turn++ % replicas.length]!
    if (!isDown(candidate)) return candidate
  }
  return undefined
}

/**
 * Runs `lease` on the pool that `intent` leads to. A read gets half of its time on a replica; when that replica's pool
 * gives no connection, the rest is spent on the primary. Once `lease` has a connection there is no second try.
 */
const route = <Conn, A, R>(
  router: Router<Conn>,
  intent: Intent | undefined,
  options: Pool.AcquireOptions | undefined,
  lease: (
    pool: Pool.Pool<Conn>,
    options: Pool.AcquireOptions | undefined
  ) => Effect.Effect<A, AcquireError | SqlError, R>
): Effect.Effect<A, AcquireError | SqlError, R> => {
  const { primary } = router
  if (intent !== "read" || router.replicas.length === 0) return lease(primary.pool, options)
  return Effect.withFiberRuntime((fiber) => {
    const replica = pick(router)
    if (replica === undefined || replica === primary) return lease(primary.pool, options)
    const set = fiber.currentContext.unsafeMap.get(Pool.CurrentAcquireTimeout.key) as Duration.DurationInput | undefined
    const total = Duration.toMillis(Duration.decode(options?.acquireTimeout ?? set ?? router.acquireTimeout))
    return Effect.catchAll(lease(replica.pool, { ...options, acquireTimeout: Math.max(1, total / 2) }), (error) =>
      isAcquireError(error) && error._tag !== "NestedAcquire"
        ? lease(primary.pool, { ...options, acquireTimeout: Math.max(1, total - error.elapsedMs) })
        : Effect.fail(error)
    )
  })
}

/**
 * One statement, on a connection of its own. Whoever retries it reads the failure anyway, so that of the pool is left as it
 * is: a frame for it alone is a tenth of what a short statement costs.
 */
export const lend = <Conn, A>(
  router: Router<Conn>,
  intent: Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>
): Effect.Effect<A, AcquireError | SqlError> =>
  route(router, intent, undefined, (pool, options) => Pool.use(pool, f, options))

/** As `lend`, on a connection that others use as well: `start` begins it, and says when it has ended. */
export const share = <Conn, A>(
  router: Router<Conn>,
  intent: Intent | undefined,
  start: Pool.Register<Conn, A, SqlError>
): Effect.Effect<A, AcquireError | SqlError> =>
  route(router, intent, undefined, (pool, options) => Pool.shareAsync(pool, start, options))

export const use = <Conn, A>(
  router: Router<Conn>,
  intent: Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> => Effect.mapError(lend(router, intent, f), toSqlError)

export const acquire = <Conn>(
  router: Router<Conn>,
  intent: Intent | undefined,
  options?: Pool.AcquireOptions
): Effect.Effect<Conn, SqlError, Scope.Scope> =>
  Effect.mapError(
    route(router, intent, options, (pool, options) => Pool.acquire(pool, options)),
    toSqlError
  )

/** As `acquire`, into a record instead of a scope: see `Pool.hold`. */
export const hold = <Conn, A>(
  router: Router<Conn>,
  intent: Intent | undefined,
  keep: (connection: Conn, release: () => void) => A,
  options?: Pool.AcquireOptions
): Effect.Effect<A, SqlError> =>
  Effect.mapError(
    route(router, intent, options, (pool, options) => Pool.hold(pool, keep, options)),
    toSqlError
  )
