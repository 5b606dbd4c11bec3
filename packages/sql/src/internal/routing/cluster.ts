import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Duration, Effect, Runtime, RuntimeFlags, type Scope } from "effect"
import type { Driver, Signals } from "../../driver/Driver.js"
import * as Router from "../../Router.js"
import * as SqlReason from "../../SqlReason.js"
import type * as Topology from "../../Topology.js"
import { connectFailureKind, invalidOptions } from "../client/errors.js"
import { leaseReclaimed } from "../session/failures.js"
import type { OfPool } from "../session/hooks.js"
import * as LeftOpen from "../session/leftOpen.js"
import * as Reading from "../session/reading.js"
import * as Apart from "./apart.js"
import type * as Consistency from "./consistency.js"
import * as Control from "./control.js"
import * as HostName from "./hostName.js"
import * as Identity from "./identity.js"
import { Marks } from "./marks.js"
import { Members } from "./members.js"
import { Positions } from "./positions.js"
import { PrimaryReads } from "./primaryReads.js"
import * as Probes from "./probes.js"
import type * as Registry from "./registry.js"
import * as Reports from "./reports.js"
import { defaults, isOwn, type Rules } from "./rules.js"
import * as Silence from "./silence.js"
import { PoolTarget, type Target } from "./target.js"
import * as topology from "./topology.js"
import { Totals } from "./totals.js"
import type { Roles, TargetWord } from "./words.js"

/** Everything that the clients of one `Sql` share. */
export interface Cluster<Conn> {
  readonly driver: Driver<any, Conn>
  readonly timers: Deadline.Timers["Type"]
  /** Every pool once. */
  readonly targets: ReadonlyArray<Target<Conn>>
  readonly totals: Totals
  /** The roles of the targets now. */
  readonly members: Members<Conn>
  readonly probes: Probes.Probes
  /** Where statements go that are not marked as reads. */
  readonly target: TargetWord
  /** Milliseconds that a write waits while no server takes writes; `undefined`: as long as for a connection. */
  readonly failoverHold: number | undefined
  readonly topology: Topology.Service
  readonly router: Router.Service
  /** What the router asks of the targets that get reads. */
  readonly rules: Rules
  /** The reads that are on the primary because there was no replica for them. */
  readonly primaryReads: PrimaryReads
  /** The target that a connection belongs to. */
  readonly targetOf: (connection: Conn) => Target<Conn> | undefined
  /** The target on which a connection was lost, by what has ended it. */
  readonly lostOn: (cause: object) => Target<Conn> | undefined
  /** The router is one of this library, so that each write goes to the primary without being asked about. */
  readonly isDefaultRouter: boolean
  /** What fibers have written, and how far the servers are. `undefined`: there is only one server, so nobody can be behind. */
  readonly consistency: Consistency.Means<Conn> | undefined
  readonly leftOpen: LeftOpen.LeftOpen
  readonly reading: Reading.Reading
  readonly scope: Scope.Scope
  /** Asks whether a connection of a target works, if its server has not been asked anything yet. */
  readonly check: (target: Target<Conn>, connection: Conn) => Effect.Effect<void, SqlError>
  /** Connections to the primary beside its pool. */
  readonly apart: Apart.Apart<Conn>
  /** Milliseconds. */
  readonly abortTimeout: number
  /** Milliseconds. */
  readonly acquireTimeout: number
}

export interface ClusterOptions<Endpoint, Conn> {
  readonly primary: Endpoint
  readonly replicas: ReadonlyArray<Endpoint>
  /** `found`: `primary` and `replicas` are a first guess. */
  readonly roles: Roles
  /** Where statements go that are not marked as reads. */
  readonly target: TargetWord
  /** Milliseconds that a write waits while no server takes writes; `undefined` is off. */
  readonly failoverHold: number | undefined
  /** Milliseconds that a read waits for a replica to have what its fiber has written. */
  readonly maxCatchUp: number
  readonly pool: PoolConfig
  readonly hooks: OfPool<Conn>
  readonly registration: Registry.Registration
}

/** The spans of this package. An error of the pool names the span around them, because that is the program's own. */
const ownSpans: ReadonlyArray<string> = ["sql.transaction", "sql.execute"]

/** Successful acquires of all pools. */
export const acquired = <Conn>({ targets }: Pick<Cluster<Conn>, "targets">): number =>
  targets.reduce((sum, { pool }) => sum + Pool.unsafeStats(pool).acquired, 0)

/** One pool per endpoint; identical endpoints share theirs. */
export const make = Effect.fnUntraced(function* <Endpoint, Conn>(
  driver: Driver<Endpoint, Conn>,
  options: ClusterOptions<Endpoint, Conn>
) {
  const scope = yield* Effect.scope
  const timers = yield* Deadline.Timers
  const provided = yield* Effect.serviceOption(Router.Router)
  const router = provided._tag === "Some" ? provided.value : Router.leastBusy()
  const rules = router.rules ?? defaults
  const abortTimeout = Duration.toMillis(Duration.decode(options.pool.abortTimeout ?? "2 seconds"))
  const leftOpen = LeftOpen.make(timers.now)
  const reading = Reading.make()
  const targets = new Map<string, Target<Conn>>()
  const endpoints = new Map<Target<Conn>, Endpoint>()
  const keys = new WeakMap<object, string>()
  const losses = new WeakMap<object, Target<Conn>>()
  const identities = new Map<Target<Conn>, Identity.Identity<Conn>>()
  const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
  // The pools may connect before every target is there.
  let known:
    | {
        readonly members: Members<Conn>
        readonly probes: Probes.Probes
        readonly targets: ReadonlyArray<Target<Conn>>
      }
    | undefined
  /** A connection is lost, or cannot be opened: the roles may have changed, or nobody should wait for this server. */
  const sign = () => known?.probes.sign()
  const seen = (target: Target<Conn>, isWritable: boolean) => {
    if (known === undefined) return
    const { members, probes } = known
    if (isWritable) {
      if (members.isNews(target)) probes.sign()
    } else {
      members.refused(target)
      if (members.isLooking) probes.sign()
    }
  }
  /** A pool has closed everything, because nobody uses it. The others may be in use. */
  const rested = () => {
    if (known?.targets.every(({ pool }) => Pool.gauge(pool).size === 0)) known.probes.rest()
  }
  const target = Effect.fnUntraced(function* (role: "primary" | "replica", endpoint: Endpoint) {
    const info = driver.endpoint(endpoint)
    const found = targets.get(info.key)
    if (found !== undefined) return found
    const { name: given = info.label } = options.pool
    const name = targets.size === 0 || options.pool.name === undefined ? given : `${given}: ${info.label}`
    const registered = options.registration.pool(name)
    yield* registered.isAt(info.key)
    // Before the pool, so that it ends after it: what the pool closes may have to be cancelled.
    const control = yield* Control.make(driver, endpoint, abortTimeout, timers)
    const silence = yield* Silence.make({
      driver,
      connect: (signals) => driver.connect(endpoint, signals, control.run),
      control,
      timers,
      leave: () => {
        if (made.role === "primary") return false
        made.dismiss()
        return true
      }
    })
    const lookUp = HostName.watch(info.host, (move) => {
      if (move === "moved") {
        // Open connections lead to a server that was left: each must show that it still takes what it is for.
        made.suspect()
        Runtime.runFork(runtime, control.rest, { scope })
      }
      known?.probes.sign()
    })
    const identity = Identity.make(driver, info, registered, ({ broken, fatal, isEnding }) => {
      const lost = (tell: (cause: unknown) => void) => (cause: unknown) => {
        tell(cause)
        if (typeof cause === "object" && cause !== null) losses.set(cause, made)
        // It may have crashed, and be a little behind where it was when it is back.
        if (known !== undefined) made.position = undefined
        sign()
      }
      const signals: Signals = {
        isEnding,
        broken: lost(broken),
        fatal: lost(fatal),
        role: (isWritable) => seen(made, isWritable)
      }
      lookUp()
      known?.probes.wake()
      return Effect.tapBoth(silence.connect(signals), {
        onFailure: () => Effect.sync(sign),
        // The pool may connect before there is a target.
        onSuccess: (connection) => Effect.sync(() => keys.set(connection as object, info.key))
      })
    })
    const pool = yield* Pool.make<Conn, SqlError, never>({
      ...options.pool,
      name,
      connect: identity.connect,
      validate: (connection) =>
        known?.members.writable === made ? mustTakeWrites(connection) : driver.ping(connection),
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
      stalls: driver.packing?.stalls,
      classify: connectFailureKind,
      describe: driver.describe,
      inspect: (connection) => reading.inspect(connection, driver.inspect(connection)),
      reclaimed: (connection, leak) => driver.takeAway(connection, leaseReclaimed(driver.name, info.label, leak)),
      rested,
      hooks: options.hooks({
        endpoint: info.label,
        get role() {
          return made.role
        }
      }),
      ownSpans
    }).pipe(Effect.mapError(invalidOptions))
    const made: Target<Conn> = new PoolTarget(role, info, pool, control, silence, timers.now())
    targets.set(info.key, made)
    endpoints.set(made, endpoint)
    identities.set(made, identity)
    return made
  })
  /** The address of the primary may lead to a standby, or its server may have become one. */
  const mustTakeWrites = (connection: Conn): Effect.Effect<void, SqlError> =>
    Effect.filterOrFail(driver.takesWrites(connection), (takes) => takes, noWrites)
  const primary = yield* target("primary", options.primary)
  let isBoth = false
  for (const endpoint of options.replicas) {
    const replica = yield* target("replica", endpoint)
    isBoth ||= replica === primary
  }
  const all = Array.from(targets.values())
  yield* Reports.make(all, timers)
  const members = new Members<Conn>({
    name: driver.name,
    targets: all,
    isBoth: isBoth && options.roles === "given",
    source: options.roles,
    rules,
    timers,
    reached: driver.reached,
    say: (message) => {
      Runtime.runFork(runtime, Effect.annotateLogs(message, { database: all[0]!.pool.name, state: "roles" }), { scope })
    }
  })
  const depth = driver.packing?.depth ?? 1
  const primaryReads = new PrimaryReads(timers, depth, () => members.primary.max * depth * rules.primaryReadShare)
  members.listen(primaryReads.returned)
  const probes = yield* Probes.make(driver, all, members, timers)
  known = { members, probes, targets: all }
  if (all.length > 1) probes.sign()
  const fork = <A>(effect: Effect.Effect<A, SqlError>) => Runtime.runFork(runtime, effect, { scope })
  const { maxCatchUp } = options
  const marks = new Marks<Conn>(driver, members)
  const positions = new Positions({ driver, members, marks, timers, maxCatchUp, fork })
  const consistency = all.length > 1 ? { driver, members, marks, positions, router, timers, maxCatchUp } : undefined
  const cluster: Cluster<Conn> = {
    driver,
    timers,
    targets: all,
    totals: new Totals(),
    members,
    probes,
    target: options.target,
    failoverHold: options.failoverHold,
    consistency,
    topology: topology.make(members, probes.ask),
    router,
    rules,
    primaryReads,
    targetOf: (connection) => targets.get(keys.get(connection as object) ?? ""),
    lostOn: (cause) => losses.get(cause),
    isDefaultRouter: isOwn(router),
    leftOpen,
    reading,
    scope,
    check: (target, connection) => (identities.get(target)?.isKnown() === true ? Effect.void : driver.ping(connection)),
    apart: Apart.make(
      driver,
      () => endpoints.get(members.primary)!,
      Duration.toMillis(Duration.decode(options.pool.connectTimeout ?? "5 seconds")),
      timers
    ),
    abortTimeout,
    acquireTimeout: Duration.toMillis(Duration.decode(options.pool.acquireTimeout ?? "5 seconds"))
  }
  return cluster
})

const noWrites = (): SqlError =>
  SqlReason.toError(
    SqlReason.make("NotWritable", { connection: "destroy", retry: "always" }),
    "the connection leads to a server that takes no writes"
  )
