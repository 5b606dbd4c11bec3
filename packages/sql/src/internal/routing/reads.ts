/**
 * How a read finds a connection: on the target that the router chooses, then on others, then on the primary.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type * as Pool from "@sluice/pool/Pool"
import type { AcquireError } from "@sluice/pool/PoolError"
import { Context, Effect } from "effect"
import * as SqlReason from "../../SqlReason.js"
import type { Snapshot } from "../../Topology.js"
import { invalidUse, isAcquireError } from "../client/errors.js"
import { isEligible } from "./choice.js"
import type { Cluster } from "./cluster.js"
import * as Consistency from "./consistency.js"
import type { Intent } from "./intent.js"
import { levelOf } from "./level.js"
import { LostOn, lostOn } from "./lostOn.js"
import type { Members } from "./members.js"
import { patience } from "./patience.js"
import type { Permit } from "./primaryReads.js"
import type { Target } from "./target.js"
import { routed } from "./traced.js"
import type { TargetWord } from "./words.js"

/** Takes a connection of this pool. With a permit, which it ends when the connection is given back. */
export type Lease<Conn, A, R> = (
  pool: Pool.Pool<Conn>,
  options: Pool.AcquireOptions | undefined,
  permit?: Permit
) => Effect.Effect<A, AcquireError | SqlError, R>

/** What reads of one kind have in common. */
export interface Reading<Conn, A, R> {
  readonly lease: Lease<Conn, A, R>
  readonly options: Pool.AcquireOptions | undefined
  /** Where this read may go: a word of the router for what is marked with `Sql.read`, else one of the configuration. */
  readonly word: TargetWord
  /** It shares its connection with others. */
  readonly isPacked: boolean
  /** Runs the lease on the server that takes the writes, as soon as there is one. */
  readonly whenWritable: (
    cluster: Cluster<Conn>,
    intent: Intent,
    options: Pool.AcquireOptions | undefined,
    lease: Lease<Conn, A, R>
  ) => Effect.Effect<A, AcquireError | SqlError, R>
  /** A target that it should not go to, if there is another one, because it is held up there. */
  readonly not?: Target<Conn> | undefined
}

/** The primary never stands in for a replica. */
const isStrict = (word: TargetWord): boolean => word === "standby" || word === "read-only"

const foreign = invalidUse(
  "the Router chose a target that is not in the snapshot it was given: return snapshot.primary, one of snapshot.replicas, or undefined"
)

/** Whether a router has chosen one of these. */
export const isOurs = <Conn>({ targets }: Cluster<Conn>, target: object): target is Target<Conn> =>
  targets.includes(target as Target<Conn>)

export const isForeign: Effect.Effect<never, SqlError> = Effect.fail(foreign)

/** Why the primary stands in for the replicas. */
const inPlaceOf = <Conn>({ snapshot }: Members<Conn>): "lag_fallback" | "no_replica" =>
  snapshot.replicas.some(({ isLagging }) => isLagging) ? "lag_fallback" : "no_replica"

/** Why the primary answers a read that must have seen something. */
const becauseOf = <Conn>(members: Members<Conn>): "session" | "lag_fallback" | "no_replica" =>
  members.snapshot.replicas.some(isEligible) ? "session" : inPlaceOf(members)

/** The same without one replica. The primary stays, because a snapshot without one has no meaning. */
const without = (snapshot: Snapshot, target: object | undefined): Snapshot =>
  target === undefined || !snapshot.replicas.includes(target as Target<any>)
    ? snapshot
    : { ...snapshot, replicas: snapshot.replicas.filter((replica) => replica !== target) }

/**
 * Runs `lease` on the pool of the target that the router chooses. A read gets half of its time there. When that pool gives no
 * connection, the router chooses again among the others, and each of them gets half of what is left. Once `lease` has a connection there is no
 * second try.
 */
export const read = <Conn, A, R>(
  cluster: Cluster<Conn>,
  reading: Reading<Conn, A, R>
): Effect.Effect<A, AcquireError | SqlError, R> =>
  Effect.withFiberRuntime((fiber) => {
    const { consistency, members } = cluster
    const context = fiber.currentContext
    if (consistency === undefined) return among(cluster, reading, context, { snapshot: members.snapshot }, undefined)
    // A server that was the primary until now may not have the last writes.
    if (levelOf(context) === "strong") {
      const { lease, options } = reading
      return routed(
        cluster,
        context,
        members.primary,
        "session",
        reading.whenWritable(cluster, "write", options, lease)
      )
    }
    const view = Consistency.viewOf(consistency, fiber)
    return Effect.isEffect(view)
      ? Effect.flatMap(view, (view) => among(cluster, reading, context, view, undefined))
      : among(cluster, reading, context, view, undefined)
  })

/** `left`: milliseconds that are left of its time; `undefined`: all of it. */
const among = <Conn, A, R>(
  cluster: Cluster<Conn>,
  reading: Reading<Conn, A, R>,
  context: Context.Context<never>,
  view: Partial<Consistency.View<Conn>> & Pick<Consistency.View<Conn>, "snapshot">,
  left: number | undefined
): Effect.Effect<A, AcquireError | SqlError, R> => {
  const { members, router } = cluster
  const { lease, options, word } = reading
  const { token } = view
  const not = left === undefined ? (reading.not ?? lostOn(context)) : undefined
  const snapshot = without(view.snapshot, not)
  const target = view.target ?? router.choose("read", token, snapshot, Deadline.currentIn(context), context)
  if (target !== undefined && !isOurs(cluster, target)) return isForeign
  const rest = within(options, left)
  // The router wants it, or consistency does, so nobody stands in for anybody.
  if (target === members.primary) {
    const reason = view.target === undefined ? "read" : becauseOf(members)
    return routed(cluster, context, target, reason, lease(target.pool, rest))
  }
  // A router may have its targets from elsewhere: one that is behind what the read must see, or that has given no connection.
  const isKnown =
    (token === undefined && left === undefined) || (target !== undefined && snapshot.replicas.includes(target))
  if (target === undefined || !isKnown) {
    // Another connection to the same server is better than none.
    const back =
      not === undefined
        ? undefined
        : () => among(cluster, { ...reading, not: undefined }, Context.omit(LostOn)(context), view, left)
    if (back !== undefined && isStrict(word)) return back()
    // What no replica has yet only the primary can answer.
    if (token === undefined) return onPrimary(cluster, reading, context, left, back)
    return routed(cluster, context, members.primary, becauseOf(members), lease(members.primary.pool, rest))
  }
  // Nobody else could be asked.
  if (isStrict(word) && !snapshot.replicas.some((other) => other !== target && isEligible(other))) {
    return routed(cluster, context, target, "read", lease(target.pool, rest))
  }
  const total = left ?? patience(cluster, context, options)
  const there = routed(cluster, context, target, "read", lease(target.pool, within(options, total / 2)))
  return Effect.catchAll(there, (error) =>
    isAcquireError(error) && error._tag !== "NestedAcquire" && error._tag !== "HookFailed"
      ? among(
          cluster,
          reading,
          context,
          { token, snapshot: without(snapshot, target) },
          Math.max(1, total - error.elapsedMs)
        )
      : Effect.fail(error)
  )
}

const within = (options: Pool.AcquireOptions | undefined, left: number | undefined): Pool.AcquireOptions | undefined =>
  left === undefined ? options : { ...options, acquireTimeout: Math.max(1, left) }

/** There is no replica for this read. `back`: there is one, which is not as good as the primary, and better than to wait for it. */
const onPrimary = <Conn, A, R>(
  cluster: Cluster<Conn>,
  reading: Reading<Conn, A, R>,
  context: Context.Context<never>,
  left: number | undefined,
  back?: () => Effect.Effect<A, AcquireError | SqlError, R>
): Effect.Effect<A, AcquireError | SqlError, R> => {
  const { members, primaryReads, targets, timers, totals } = cluster
  const { isPacked, lease, options, word } = reading
  // A server that stands alone answers for everybody.
  if (targets.length === 1) {
    totals.routes.primary.read++
    return lease(members.primary.pool, within(options, left))
  }
  if (isStrict(word)) return Effect.fail(noReplica(cluster, "always", `"${word}" sends no read to the primary`, STRICT))
  const began = timers.now()
  const total = left ?? patience(cluster, context, options)
  return primaryReads.take(
    isPacked ? 1 : primaryReads.depth,
    cluster.rules.primaryReadShare === 0 || back !== undefined ? began : began + total,
    (permit) => {
      const waited = timers.now() - began
      const rest = waited < 1 ? within(options, left) : within(options, total - waited)
      return routed(cluster, context, members.primary, inPlaceOf(members), lease(members.primary.pool, rest, permit))
    },
    (turn) => {
      if (back !== undefined) return back()
      const waited = timers.now() - began
      return turn === "replica" && waited < total
        ? read(cluster, { ...reading, options: within(options, total - waited) })
        : Effect.fail(noReplica(cluster, "never", fullOf(cluster, waited), LIMITED))
    }
  )
}

const STRICT = 'start or repair a replica, or use "prefer-standby", which lets the primary stand in for it'

const LIMITED =
  "start or repair a replica; raise primaryReadShare if the primary can do more; mark what must be answered with Sql.write"

const fullOf = <Conn>({ members, rules }: Cluster<Conn>, waited: number): string => {
  const share = `primaryReadShare, ${Math.round(rules.primaryReadShare * 100)} % of its ${members.primary.max} connections`
  return `the primary has as many reads in place of replicas as it may have (${share}), and none has ended in the ${Math.round(waited)} ms that this one has waited`
}

const stateOf = <Conn>({ isLagging, isReachable, label, lag }: Target<Conn>): string =>
  `${label} ${
    !isReachable
      ? "cannot be reached"
      : isLagging
        ? `is ${lag === undefined ? "too far" : `${Math.round(lag)} ms`} behind`
        : "gives no connection"
  }`

/** `retry`: never after a wait, because the wait was the retry, as for a connection. */
const noReplica = <Conn>(
  { driver, members }: Cluster<Conn>,
  retry: SqlReason.Retry,
  why: string,
  remedy: string
): SqlError => {
  const replicas = members.snapshot.replicas as ReadonlyArray<Target<Conn>>
  const states = replicas.length === 0 ? "there is none" : replicas.map(stateOf).join(", ")
  return SqlReason.toError(
    SqlReason.make("NoReplica", { connection: "none", retry }),
    `${driver.name}: no replica can be read from (${states}), and ${why}. What to do: ${remedy}`
  )
}
