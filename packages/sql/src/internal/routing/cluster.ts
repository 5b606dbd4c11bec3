import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Duration, Effect, type Scope } from "effect"
import type { Driver } from "../../driver/Driver.js"
import * as Router from "../../Router.js"
import type * as Topology from "../../Topology.js"
import { connectFailureKind, invalidOptions } from "../client/errors.js"
import type { OfPool } from "../session/hooks.js"
import * as LeftOpen from "../session/leftOpen.js"
import * as Apart from "./apart.js"
import * as Control from "./control.js"
import * as Identity from "./identity.js"
import type * as Registry from "./registry.js"
import * as Reports from "./reports.js"
import { PoolTarget, type Target } from "./target.js"
import * as topology from "./topology.js"
import type { Roles, TargetWord } from "./words.js"

/** Everything that the clients of one `Sql` share. */
export interface Cluster<Conn> {
  readonly driver: Driver<any, Conn>
  readonly timers: Deadline.Timers["Type"]
  readonly primary: Target<Conn>
  /** Empty when there is no replica. Contains the primary where both were configured with the same address. */
  readonly replicas: ReadonlyArray<Target<Conn>>
  /** Every pool once. */
  readonly targets: ReadonlyArray<Target<Conn>>
  readonly topology: Topology.Service
  readonly router: Router.Service
  /** The program has provided no router, so that each write goes to the primary without being asked about. */
  readonly isDefaultRouter: boolean
  readonly leftOpen: LeftOpen.LeftOpen
  readonly scope: Scope.Scope
  /** Asks whether a connection of the primary works, if the server has not been asked anything yet. */
  readonly check: (connection: Conn) => Effect.Effect<void, SqlError>
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
  const abortTimeout = Duration.toMillis(Duration.decode(options.pool.abortTimeout ?? "2 seconds"))
  const leftOpen = LeftOpen.make(timers.now)
  const targets = new Map<string, Target<Conn>>()
  let isKnown = () => false
  const target = Effect.fnUntraced(function* (role: "primary" | "replica", endpoint: Endpoint) {
    const info = driver.endpoint(endpoint)
    const known = targets.get(info.key)
    if (known !== undefined) return known
    const { name: given = info.label } = options.pool
    const name = targets.size === 0 || options.pool.name === undefined ? given : `${given}: ${info.label}`
    const registered = options.registration.pool(name)
    yield* registered.isAt(info.key)
    // Before the pool, so that it ends after it: what the pool closes may have to be cancelled.
    const control = yield* Control.make(driver, endpoint, abortTimeout, timers)
    const identity = Identity.make(driver, role, info, registered, (signals) =>
      driver.connect(endpoint, signals, control.run)
    )
    if (role === "primary") isKnown = identity.isKnown
    const pool = yield* Pool.make<Conn, SqlError, never>({
      ...options.pool,
      name,
      connect: identity.connect,
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
      stalls: driver.packing?.stalls,
      classify: connectFailureKind,
      describe: driver.describe,
      hooks: options.hooks({ endpoint: info.label, role }),
      ownSpans
    }).pipe(Effect.mapError(invalidOptions))
    const made: Target<Conn> = new PoolTarget(role, info, pool, control)
    targets.set(info.key, made)
    return made
  })
  const primary = yield* target("primary", options.primary)
  const replicas: Array<Target<Conn>> = []
  for (const endpoint of options.replicas) {
    const replica = yield* target("replica", endpoint)
    if (!replicas.includes(replica)) replicas.push(replica)
  }
  yield* Reports.unreachable(
    replicas.filter((replica) => replica !== primary),
    timers
  )
  const cluster: Cluster<Conn> = {
    driver,
    timers,
    primary,
    replicas,
    targets: Array.from(targets.values()),
    topology: yield* topology.make(primary, replicas, timers.now),
    router: provided._tag === "Some" ? provided.value : Router.roundRobin(),
    isDefaultRouter: provided._tag === "None",
    leftOpen,
    scope,
    check: (connection) => (isKnown() ? Effect.void : driver.ping(connection)),
    apart: Apart.make(
      driver,
      options.primary,
      Duration.toMillis(Duration.decode(options.pool.connectTimeout ?? "5 seconds")),
      timers
    ),
    abortTimeout,
    acquireTimeout: Duration.toMillis(Duration.decode(options.pool.acquireTimeout ?? "5 seconds"))
  }
  return cluster
})
