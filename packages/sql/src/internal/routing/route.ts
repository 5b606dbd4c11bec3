import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import { type AcquireError, Dismissed } from "@sluice/pool/PoolError"
import { type Context, Duration, Effect, type Scope } from "effect"
import * as SqlReason from "../../SqlReason.js"
import { invalidUse, isAcquireError, toSqlError } from "../client/errors.js"
import type { Cluster } from "./cluster.js"
import * as Consistency from "./consistency.js"
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

type Lease<Conn, A, R> = (
  pool: Pool.Pool<Conn>,
  options: Pool.AcquireOptions | undefined
) => Effect.Effect<A, AcquireError | SqlError, R>

/** Whether statements that are not marked may go to a replica, because the program has said so. */
const prefersReplica = <Conn>({ target }: Cluster<Conn>): boolean =>
  target === "standby" || target === "read-only" || target === "prefer-standby"

/** Whether a statement with this intent may write. */
export const mayWrite = <Conn>(cluster: Cluster<Conn>, intent: Intent | undefined): boolean =>
  intent === "write" || (intent === undefined && !prefersReplica(cluster))

/**
 * Runs `lease` on the pool of the target that the router chooses. A read gets half of its time on a replica; when that
 * replica's pool gives no connection, the rest is spent on the primary. A write waits while no server takes writes. Once `lease`
 * has a connection there is no second try.
 */
const route = <Conn, A, R>(
  cluster: Cluster<Conn>,
  given: Intent | undefined,
  options: Pool.AcquireOptions | undefined,
  lease: Lease<Conn, A, R>
): Effect.Effect<A, AcquireError | SqlError, R> => {
  const { failoverHold, isDefaultRouter, members } = cluster
  const intent = given === undefined && prefersReplica(cluster) ? "read" : given
  // The answer of the default router is known here, and a frame for it is a tenth of what a short statement costs.
  if (isDefaultRouter && intent !== "read") {
    const target = intent === "write" ? members.writable : members.open
    return target !== undefined && (failoverHold === undefined || target.isUp)
      ? lease(target.pool, options)
      : whenWritable(cluster, intent, options, lease)
  }
  if (isDefaultRouter && members.snapshot.replicas.length === 0) return lease(members.primary.pool, options)
  return Effect.withFiberRuntime((fiber) => {
    const context = fiber.currentContext
    const { consistency } = cluster
    if (intent !== "read" || consistency === undefined) return leaseIn(cluster, intent, options, lease, context)
    const view = Consistency.viewOf(consistency, fiber)
    return Effect.isEffect(view)
      ? Effect.flatMap(view, (view) => leaseIn(cluster, intent, options, lease, context, view))
      : leaseIn(cluster, intent, options, lease, context, view)
  })
}

/** Runs `lease` on the pool of one of the targets in `view`. */
const leaseIn = <Conn, A, R>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options: Pool.AcquireOptions | undefined,
  lease: Lease<Conn, A, R>,
  context: Context.Context<never>,
  view?: Consistency.View<Conn>
): Effect.Effect<A, AcquireError | SqlError, R> => {
  const { members, router } = cluster
  const { snapshot = members.snapshot, target: decided, token } = view ?? {}
  const deadline = Deadline.currentIn(context)
  const chosen = decided ?? router.choose(intent ?? "write", token, snapshot, deadline, context) ?? snapshot.primary
  if (!isOurs(cluster, chosen)) return Effect.fail(foreign)
  // A router may have its targets from elsewhere, and this one is behind what the read must see.
  const target = token === undefined || snapshot.replicas.includes(chosen) ? chosen : members.primary
  if (target === members.primary && intent !== "read") return whenWritable(cluster, intent, options, lease)
  if (target === members.primary || intent !== "read") return lease(target.pool, options)
  const total = patience(cluster, context, options)
  return Effect.catchAll(lease(target.pool, { ...options, acquireTimeout: Math.max(1, total / 2) }), (error) =>
    isAcquireError(error) && error._tag !== "NestedAcquire" && error._tag !== "HookFailed"
      ? lease(members.primary.pool, { ...options, acquireTimeout: Math.max(1, total - error.elapsedMs) })
      : Effect.fail(error)
  )
}

const isOurs = <Conn>({ targets }: Cluster<Conn>, target: object): target is Target<Conn> =>
  targets.includes(target as Target<Conn>)

const foreign = invalidUse(
  "the Router chose a target that is not in the snapshot it was given: return snapshot.primary, one of snapshot.replicas, or undefined"
)

/** Milliseconds between two looks at a primary that does not answer, while writes wait for it. */
const LOOK = 20

/** Runs `lease` on the pool of the server that takes the writes, as soon as there is one. */
const whenWritable = <Conn, A, R>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options: Pool.AcquireOptions | undefined,
  lease: Lease<Conn, A, R>
): Effect.Effect<A, AcquireError | SqlError, R> =>
  Effect.withFiberRuntime(({ currentContext }) => {
    const { failoverHold = Infinity, timers } = cluster
    const began = timers.now()
    const total = patience(cluster, currentContext, options)
    return Effect.flatMap(writable(cluster, intent, began + Math.min(failoverHold, total)), (target) => {
      const waited = timers.now() - began
      return target === undefined
        ? Effect.fail(nobodyWrites(cluster, waited))
        : lease(target.pool, waited < 1 ? options : { ...options, acquireTimeout: Math.max(1, total - waited) })
    })
  })

/** The target that takes the writes, as soon as there is one, or nothing at `until`. */
export const writable = <Conn>(
  { failoverHold, members, probes, timers }: Cluster<Conn>,
  intent: Intent | undefined,
  until: Deadline.Instant
): Effect.Effect<Target<Conn> | undefined> =>
  Effect.suspend(() => {
    const now = () => {
      const target = intent === undefined ? members.open : members.writable
      return target !== undefined && (failoverHold === undefined || target.isUp) ? target : undefined
    }
    const found = now()
    if (found !== undefined) return Effect.succeed(found)
    probes.sign()
    return AsyncContext.async<Target<Conn> | undefined>((resume) => {
      const look = (): void => {
        const target = now()
        if (target === undefined && timers.now() < until) {
          timer.cancel()
          // A change of the roles is told. That a pool has reached its host again is not.
          timer = timers.set(members.writable === undefined ? until : Math.min(until, timers.now() + LOOK), look)
          return
        }
        stop()
        resume(Effect.succeed(target))
      }
      const stop = () => {
        timer.cancel()
        unlisten()
      }
      let timer = timers.set(members.writable === undefined ? until : Math.min(until, timers.now() + LOOK), look)
      const unlisten = members.listen(look)
      return Effect.sync(stop)
    })
  })

const nobodyWrites = <Conn>({ driver, members, targets }: Cluster<Conn>, waited: number): SqlError => {
  const labels = targets.map(({ label }) => label).join(", ")
  const why =
    members.writable === undefined
      ? `no server takes writes (${labels})`
      : `${members.writable.label} takes the writes and cannot be reached`
  return SqlReason.toError(
    SqlReason.make("NotWritable", { connection: "none" }),
    `${driver.name}: ${why}, and none did for the ${Math.round(waited)} ms that the statement has waited. Promote a standby, or start the primary; allow a longer acquire timeout (or failoverHold) if a failover takes longer`
  )
}

/** The options of a caller that is sent away from a pool: what is left of its time. `undefined`: it was not sent away. */
export const afterDismissal = <Conn>(
  cluster: Cluster<Conn>,
  context: Context.Context<never>,
  options: Pool.AcquireOptions | undefined,
  error: unknown
): Pool.AcquireOptions | undefined =>
  error instanceof Dismissed
    ? { ...options, acquireTimeout: Math.max(1, acquireTimeout(cluster, context, options) - error.elapsedMs) }
    : undefined

/** `once`, and again when a pool has sent its waiters away because of a failover. Every failure as a `SqlError`. */
export const goingOn = <Conn, A, R>(
  cluster: Cluster<Conn>,
  options: Pool.AcquireOptions | undefined,
  once: (options: Pool.AcquireOptions | undefined) => Effect.Effect<A, AcquireError | SqlError, R>
): Effect.Effect<A, SqlError, R> =>
  Effect.catchAll(
    Effect.suspend(() => once(options)),
    (error) =>
      Effect.withFiberRuntime(({ currentContext }) => {
        const rest = afterDismissal(cluster, currentContext, options, error)
        return rest === undefined ? Effect.fail(toSqlError(error)) : goingOn(cluster, rest, once)
      })
  )

/**
 * One statement on a connection of its own. A failure of the pool is not made a `SqlError` here: the caller reads the failure
 * anyway when it decides about a retry, and a frame for that alone is a tenth of what a short statement costs.
 */
export const lend = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>,
  options?: Pool.AcquireOptions
): Effect.Effect<A, AcquireError | SqlError> =>
  route(cluster, intent, options, (pool, options) => Pool.use(pool, f, options))

/** As `lend`, on a connection that others use as well: `start` begins the work and calls `resume` when it has ended. */
export const share = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  start: Pool.Register<Conn, A, SqlError>,
  options?: Pool.AcquireOptions
): Effect.Effect<A, AcquireError | SqlError> =>
  route(cluster, intent, options, (pool, options) => Pool.shareAsync(pool, start, options))

/** As `lend`, with every failure as a `SqlError`. */
export const use = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> => goingOn(cluster, undefined, (options) => lend(cluster, intent, f, options))

/** A connection until the scope closes. */
export const acquire = <Conn>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options?: Pool.AcquireOptions
): Effect.Effect<Conn, SqlError, Scope.Scope> =>
  goingOn(cluster, options, (options) =>
    route(cluster, intent, options, (pool, options) => Pool.acquire(pool, options))
  )

/** As `acquire`, into a record instead of a scope: see `Pool.hold`. */
export const hold = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  keep: (connection: Conn, release: () => void) => A,
  options?: Pool.AcquireOptions
): Effect.Effect<A, SqlError> =>
  goingOn(cluster, options, (options) =>
    route(cluster, intent, options, (pool, options) => Pool.hold(pool, keep, options))
  )
