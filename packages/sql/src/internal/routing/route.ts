import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import type { AcquireError } from "@sluice/pool/PoolError"
import { type Context, Duration, Effect, type Scope } from "effect"
import { invalidUse, isAcquireError, toSqlError } from "../client/errors.js"
import type { Cluster } from "./cluster.js"
import type { Intent } from "./intent.js"
import type { Target } from "./target.js"

/** The acquire timeout of a caller, in milliseconds. */
export const acquireTimeout = <Conn>(
  cluster: Cluster<Conn>,
  context: Context.Context<never>,
  options: Pool.AcquireOptions | undefined
): number => {
  const set = context.unsafeMap.get(Pool.CurrentAcquireTimeout.key) as Duration.DurationInput | undefined
  const given = options?.acquireTimeout ?? set
  return given === undefined ? cluster.acquireTimeout : Duration.toMillis(Duration.decode(given))
}

/** Milliseconds that a caller may wait for a connection: the shorter of its acquire timeout and its declared deadline. */
const patience = <Conn>(
  cluster: Cluster<Conn>,
  context: Context.Context<never>,
  options: Pool.AcquireOptions | undefined
): number => {
  const millis = acquireTimeout(cluster, context, options)
  const deadline = Deadline.currentIn(context)
  return deadline === Deadline.never ? millis : Math.min(millis, Deadline.rest(deadline, cluster.timers.now()))
}

/**
 * Runs `lease` on the pool of the target that the router chooses. A read gets half of its time on a replica; when that
 * replica's pool gives no connection, the rest is spent on the primary. Once `lease` has a connection there is no second try.
 */
const route = <Conn, A, R>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options: Pool.AcquireOptions | undefined,
  lease: (
    pool: Pool.Pool<Conn>,
    options: Pool.AcquireOptions | undefined
  ) => Effect.Effect<A, AcquireError | SqlError, R>
): Effect.Effect<A, AcquireError | SqlError, R> => {
  const { primary, replicas, router } = cluster
  // The answer of the default router is known here, and a frame for it is a tenth of what a short statement costs.
  if ((intent !== "read" || replicas.length === 0) && cluster.isDefaultRouter) return lease(primary.pool, options)
  return Effect.withFiberRuntime((fiber) => {
    const context = fiber.currentContext
    const snapshot = cluster.topology.snapshot()
    const chosen = router.choose(intent ?? "write", undefined, snapshot, Deadline.currentIn(context), context)
    const target = chosen === undefined ? primary : (chosen as Target<Conn>)
    if (!cluster.targets.includes(target)) return Effect.fail(foreign)
    if (intent !== "read" || target === primary) return lease(target.pool, options)
    const total = patience(cluster, context, options)
    return Effect.catchAll(lease(target.pool, { ...options, acquireTimeout: Math.max(1, total / 2) }), (error) =>
      isAcquireError(error) && error._tag !== "NestedAcquire" && error._tag !== "HookFailed"
        ? lease(primary.pool, { ...options, acquireTimeout: Math.max(1, total - error.elapsedMs) })
        : Effect.fail(error)
    )
  })
}

const foreign = invalidUse(
  "the Router chose a target that is not in the snapshot it was given: return snapshot.primary, one of snapshot.replicas, or undefined"
)

/**
 * One statement on a connection of its own. A failure of the pool is not made a `SqlError` here: the caller reads the failure
 * anyway when it decides about a retry, and a frame for that alone is a tenth of what a short statement costs.
 */
export const lend = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>
): Effect.Effect<A, AcquireError | SqlError> =>
  route(cluster, intent, undefined, (pool, options) => Pool.use(pool, f, options))

/** As `lend`, on a connection that others use as well: `start` begins the work and calls `resume` when it has ended. */
export const share = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  start: Pool.Register<Conn, A, SqlError>
): Effect.Effect<A, AcquireError | SqlError> =>
  route(cluster, intent, undefined, (pool, options) => Pool.shareAsync(pool, start, options))

/** As `lend`, with every failure as a `SqlError`. */
export const use = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> => Effect.mapError(lend(cluster, intent, f), toSqlError)

/** A connection until the scope closes. */
export const acquire = <Conn>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options?: Pool.AcquireOptions
): Effect.Effect<Conn, SqlError, Scope.Scope> =>
  Effect.mapError(
    route(cluster, intent, options, (pool, options) => Pool.acquire(pool, options)),
    toSqlError
  )

/** As `acquire`, into a record instead of a scope: see `Pool.hold`. */
export const hold = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  keep: (connection: Conn, release: () => void) => A,
  options?: Pool.AcquireOptions
): Effect.Effect<A, SqlError> =>
  Effect.mapError(
    route(cluster, intent, options, (pool, options) => Pool.hold(pool, keep, options)),
    toSqlError
  )
