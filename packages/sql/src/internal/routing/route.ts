import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import { type AcquireError, Dismissed } from "@sluice/pool/PoolError"
import { type Context, Effect, type Scope } from "effect"
import * as SqlReason from "../../SqlReason.js"
import { toSqlError } from "../client/errors.js"
import { isEligible } from "./choice.js"
import type { Cluster } from "./cluster.js"
import type { Intent } from "./intent.js"
import { acquireTimeout, patience } from "./patience.js"
import type { Permit } from "./primaryReads.js"
import * as Reads from "./reads.js"
import type { Target } from "./target.js"
import { failedOver } from "./traced.js"
import type { TargetWord } from "./words.js"

/** Whether a statement with this intent may write. */
export const mayWrite = <Conn>(cluster: Cluster<Conn>, intent: Intent | undefined): boolean =>
  intent === "write" || (intent === undefined && asRead(cluster) === undefined)

/**
 * The word that an unmarked statement goes by as a read, because the program lets replicas have such statements; `undefined`: it goes
 * where writes go.
 */
const asRead = <Conn>({ target }: Cluster<Conn>): TargetWord | undefined =>
  target === "standby" || target === "read-only" || target === "prefer-standby" ? target : undefined

/**
 * Runs `lease` on the pool of the target that the router chooses. A write waits while no server takes writes. For reads see `Reads`.
 */
const route = <Conn, A, R>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options: Pool.AcquireOptions | undefined,
  lease: Reads.Lease<Conn, A, R>,
  isPacked = false,
  not?: Target<Conn>
): Effect.Effect<A, AcquireError | SqlError, R> => {
  const { failoverHold, isDefaultRouter, members, router, totals } = cluster
  const word = intent === "read" ? cluster.rules.target : intent === undefined ? asRead(cluster) : undefined
  if (word !== undefined) {
    // Where the answer is known a frame less is taken, which is a tenth of what a short statement costs.
    if (!isDefaultRouter || cluster.targets.length > 1) {
      return Reads.read(cluster, { lease, options, word, isPacked, whenWritable, not })
    }
    totals.routes.primary.read++
    return lease(members.primary.pool, options)
  }
  const open = intent === "write" ? members.writable : members.open
  if (isDefaultRouter) {
    if (open !== undefined && (failoverHold === undefined || open.isUp) && (cluster.target !== "any" || open.isUp)) {
      totals.routes.primary.write++
      return lease(open.pool, options)
    }
    // Any server that answers.
    const other =
      intent === undefined && cluster.target === "any" ? members.snapshot.replicas.find(isEligible) : undefined
    totals.routes[other === undefined ? "primary" : "replica"].write++
    return other === undefined
      ? whenWritable(cluster, intent, options, lease)
      : lease((other as Target<Conn>).pool, options)
  }
  return Effect.withFiberRuntime(({ currentContext }) => {
    const { snapshot } = members
    const deadline = Deadline.currentIn(currentContext)
    const target = router.choose("write", undefined, snapshot, deadline, currentContext) ?? snapshot.primary
    if (!Reads.isOurs(cluster, target)) return Reads.isForeign
    totals.routes[target === members.primary ? "primary" : "replica"].write++
    return target === members.primary ? whenWritable(cluster, intent, options, lease) : lease(target.pool, options)
  })
}

/** Milliseconds between two looks at a primary that does not answer, while writes wait for it. */
const LOOK = 20

/** Runs `lease` on the pool of the server that takes the writes, as soon as there is one. */
const whenWritable = <Conn, A, R>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  options: Pool.AcquireOptions | undefined,
  lease: Reads.Lease<Conn, A, R>
): Effect.Effect<A, AcquireError | SqlError, R> =>
  Effect.withFiberRuntime(({ currentContext }) => {
    const { failoverHold = Infinity, timers } = cluster
    const began = timers.now()
    const total = patience(cluster, currentContext, options)
    return Effect.flatMap(writable(cluster, intent, began + Math.min(failoverHold, total)), (target) => {
      const waited = timers.now() - began
      if (target === undefined) return Effect.fail(nobodyWrites(cluster, waited))
      if (waited < 1) return lease(target.pool, options)
      const rest = { ...options, acquireTimeout: Math.max(1, total - waited) }
      return failedOver(currentContext, target.label, waited, lease(target.pool, rest))
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
      // A change of the roles is told. That a pool has reached its host again is not.
      const later = () =>
        timers.set(members.writable === undefined ? until : Math.min(until, timers.now() + LOOK), look)
      const look = (): void => {
        const target = now()
        if (target === undefined && timers.now() < until) {
          timer.cancel()
          timer = later()
          return
        }
        stop()
        resume(Effect.succeed(target))
      }
      const stop = () => {
        timer.cancel()
        unlisten()
      }
      let timer = later()
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

/** `effect`, and then the end of the permit if there is one. If it fails the permit ends anyway: see `PrimaryReads.take`. */
const ending = <A, E, R>(effect: Effect.Effect<A, E, R>, permit: Permit | undefined): Effect.Effect<A, E, R> =>
  permit === undefined ? effect : Effect.ensuring(effect, Effect.sync(permit.end))

/**
 * One statement on a connection of its own. A failure of the pool is not made a `SqlError` here: the caller reads the failure
 * anyway when it decides about a retry, and a frame for that alone is a tenth of what a short statement costs. `not` is a target
 * that a read should not go to, if there is another one.
 */
export const lend = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>,
  options?: Pool.AcquireOptions,
  not?: Target<Conn>
): Effect.Effect<A, AcquireError | SqlError> =>
  route(cluster, intent, options, (pool, options, permit) => ending(Pool.use(pool, f, options), permit), false, not)

/** As `lend`, on a connection that others use as well: `start` begins the work and calls `resume` when it has ended. */
export const share = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  start: Pool.Register<Conn, A, SqlError>,
  options?: Pool.AcquireOptions,
  not?: Target<Conn>
): Effect.Effect<A, AcquireError | SqlError> =>
  route(
    cluster,
    intent,
    options,
    (pool, options, permit) => ending(Pool.shareAsync(pool, start, options), permit),
    true,
    not
  )

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
    route(cluster, intent, options, (pool, options, permit) => {
      const connection = Pool.acquire(pool, options)
      return permit === undefined
        ? connection
        : Effect.zipRight(
            Effect.addFinalizer(() => Effect.sync(permit.end)),
            connection
          )
    })
  )

/** As `acquire`, into a record instead of a scope: see `Pool.hold`. */
export const hold = <Conn, A>(
  cluster: Cluster<Conn>,
  intent: Intent | undefined,
  keep: (connection: Conn, release: () => void) => A,
  options?: Pool.AcquireOptions
): Effect.Effect<A, SqlError> =>
  goingOn(cluster, options, (options) =>
    route(cluster, intent, options, (pool, options, permit) =>
      Pool.hold(
        pool,
        permit === undefined ? keep : (connection, release) => keep(connection, both(release, permit)),
        options
      )
    )
  )

const both = (release: () => void, permit: Permit) => () => {
  release()
  permit.end()
}
