/**
 * Puts a driver on pools: what the Layers of `@sluice/sql-pg` and other drivers are made with.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Compiler } from "@effect/sql/Statement"
import * as Deadline from "@sluice/pool/Deadline"
import * as FunctionPool from "@sluice/pool/FunctionPool"
import * as Pool from "@sluice/pool/Pool"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Deferred, Duration, Effect, Fiber, Option, type Scope, Stream } from "effect"
import * as Client from "../internal/client/client.js"
import * as errors from "../internal/client/errors.js"
import * as Cluster from "../internal/routing/cluster.js"
import { forecast } from "../internal/routing/forecast.js"
import * as Health from "../internal/routing/health.js"
import { strangers } from "../internal/routing/members.js"
import * as registry from "../internal/routing/registry.js"
import type { Target } from "../internal/routing/target.js"
import { consistencyToken } from "../internal/routing/written.js"
import * as Hooks from "../internal/session/hooks.js"
import type * as Router from "../Router.js"
import * as Sources from "../Sources.js"
import type { Service } from "../Sql.js"
import type { SqlHooks } from "../SqlHooks.js"
import * as SqlReason from "../SqlReason.js"
import type * as Topology from "../Topology.js"
import type { Driver } from "./Driver.js"

/**
 * What a Layer of a driver can be told about its pools.
 *
 * @since 0.1.0
 * @category models
 */
export interface RuntimeConfig {
  /** Size, timeouts and lifetimes of every pool: each endpoint has one of its own. Default: see `PoolConfig`. */
  readonly pool?: PoolConfig | undefined
  /**
   * `eager`: the Layer connects once to the primary and fails, typed, if that fails. `lazy`: it starts without the
   * database, and statements fail or wait. Default `eager`.
   */
  readonly startup?: "eager" | "lazy" | undefined
  /**
   * What a second pool on the same database and user in this process means: `warn` logs both names and places, `error`
   * refuses it with `InvalidOptions`, `allow` says nothing. Default `warn`.
   *
   * The same address is noticed when the second Layer is made. The same server behind another address (`localhost` and 127.0.0.1, a
   * name, a Unix socket) is noticed with the first connection: by an eager Layer before it is there; by a lazy one, and for a
   * replica, later, and with `error` each connect fails from then on. Of two pools the one that was made later decides. The pools of one Layer never count, nor does a pool that is
   * closed. Through a `proxy` only the address counts.
   */
  readonly duplicates?: "warn" | "error" | "allow" | undefined
  /** What the program does when a session is new, around each lease, and before a connection closes: see `SqlHooks`. */
  readonly hooks?: SqlHooks | undefined
  /**
   * How long a write waits while no server takes writes, as during a failover, instead of failing, or of waiting for its whole
   * acquire timeout. It goes on as soon as a server takes writes. What was already sent to a server does not wait: its outcome
   * may be unknown.
   *
   * - Unit: duration. Default `off`, which 0 says too. Range 1 millisecond to 5 minutes; 2 to 5 seconds are usual.
   */
  readonly failoverHold?: "off" | Duration.DurationInput | undefined
  /**
   * How long a read waits for a replica that does not have yet what the read must see: see `Sql.withConsistency`. After that it goes to the primary.
   * While a replica is known to follow more slowly than this, no read waits for it.
   *
   * - Unit: duration. Default 50 milliseconds. Range 0 to 1 minute; 0: such a read goes to the primary at once.
   * - Worst case: twice as long, once for the primary to say how far it is and once for the replica.
   */
  readonly maxCatchUp?: Duration.DurationInput | undefined
}

/**
 * Everything `make` takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface RuntimeOptions<Endpoint> extends RuntimeConfig, Origin {
  readonly primary: Endpoint
  /** Where `Sql.read` goes: see `Router`. Default none. */
  readonly replicas?: ReadonlyArray<Endpoint> | undefined
  /** `found`: `primary` and `replicas` are a first guess, and the servers are asked which of them takes writes. Default `given`. */
  readonly roles?: Router.Roles | undefined
  /** Where statements go that are not marked with `Sql.read`. Default `read-write`: the server that takes writes. */
  readonly target?: Router.TargetWord | undefined
  readonly compiler: Compiler
  readonly transformRows?: (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
}

/**
 * What the function by which a program makes a client knows of the program.
 *
 * @since 0.2.0
 * @category models
 */
export interface Origin {
  /** The line that made it, for the report of a second pool: see `callSite`. Default unknown. */
  readonly madeAt?: CallSite | undefined
  /** Default: the `Reactivity` of the context, so that clients of one program share it, else one of its own. */
  readonly reactivity?: ReactivityOnDemand | undefined
}

/**
 * Gives the same `Reactivity` each time. It is asked for by reactive queries alone.
 *
 * @since 0.2.0
 * @category models
 */
export type ReactivityOnDemand = Effect.Effect<Reactivity.Reactivity.Service>

/**
 * A running driver.
 *
 * @since 0.1.0
 * @category models
 */
export interface Runtime<Conn> {
  readonly sql: Service
  readonly client: SqlClient
  /** The router in use: the one that the program has provided, else `Router.leastBusy()`. */
  readonly router: Router.Service
  readonly topology: Topology.Service
  /**
   * Opens a connection to the primary that no pool counts, until the scope closes: for a driver that listens. `Sql.stats` counts it
   * in `listen`. Fails as a connect does, and with `ConnectFailed` after the pool's `connectTimeout`.
   */
  readonly apart: Effect.Effect<Conn, SqlError, Scope.Scope>
}

/**
 * Gives a line of the program, for messages.
 *
 * @since 0.2.0
 * @category models
 */
export type CallSite = registry.CallSite

/**
 * The line of the program that called the function `of`, for `madeAt`.
 *
 * @since 0.1.0
 * @category utils
 */
export const callSite: (of: Function) => CallSite = registry.callSite

/**
 * One pool for each endpoint, and the clients on them; lives as long as the scope.
 *
 * - Fails with a `SqlError`: `InvalidOptions` for options that cannot work, and, unless `startup` is `lazy`, the reason of
 *   the first failed connect (`ConnectFailed`, `AuthenticationFailed`, `TooManyConnections`). Never waits longer than
 *   the pool's `acquireTimeout`.
 * - Uses the `Router`, the `Timers` and the `Reactivity` of the context, if there are any.
 * - When the scope closes, leases have the pool's `drainTimeout` to end, then every connection is closed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* <Endpoint, Conn>(
  driver: Driver<Endpoint, Conn>,
  options: RuntimeOptions<Endpoint>
): Effect.fn.Return<Runtime<Conn>, SqlError, Scope.Scope> {
  const reactivity = options.reactivity ?? (yield* reactivityOfContext)
  const registration = yield* registry.make(options.madeAt ?? registry.unknownPlace, options.duplicates ?? "warn")
  // The pools may connect before there is a client, which a hook waits for.
  const made = yield* Deferred.make<Hooks.Core<Conn>>()
  let core: Client.Core<Conn> | undefined
  const client = Effect.suspend(() => (core === undefined ? Deferred.await(made) : Effect.succeed(core)))
  // The pools and the driver find the timers of the control connections in the context.
  const cluster = yield* Deadline.shared(
    Cluster.make(driver, {
      primary: options.primary,
      replicas: options.replicas ?? [],
      roles: options.roles ?? "given",
      target: options.target ?? "read-write",
      failoverHold: heldFor(options.failoverHold),
      maxCatchUp: Duration.toMillis(options.maxCatchUp ?? 50),
      pool: options.pool ?? {},
      hooks: Hooks.make(driver, options.hooks, client),
      registration
    })
  )
  const running = Client.make(cluster, reactivity, {
    compiler: options.compiler,
    transformRows: options.transformRows,
    spanAttributes: options.spanAttributes
  })
  core = running
  yield* Deferred.succeed(made, running)
  // One after the other, because they take no time, and because a concurrent `forEach` of Effect 3.22 never ends when it is
  // interrupted at the moment at which its fiber has yielded and its children have not begun.
  const everywhere = (f: (pool: Pool.Pool<Conn>) => Effect.Effect<unknown>) =>
    Effect.forEach(cluster.targets, (target) => f(target.pool), { discard: true })
  const statsOf = (target: Target<Conn>) => ({
    ...Pool.unsafeStats(target.pool),
    endpoint: target.info.label
  })
  const sql: Service = {
    client: running.client,
    query: running.query,
    execute: running.execute,
    withConnection: running.withConnection,
    connectionScoped: running.connectionScoped,
    withTransaction: running.withTransaction,
    retry: running.retry,
    consistencyToken: consistencyToken(cluster),
    health: yield* Health.make(cluster),
    forecast: forecast(cluster),
    stats: Effect.sync(() => ({
      write: statsOf(cluster.members.primary),
      read: (cluster.members.snapshot.replicas as ReadonlyArray<Target<Conn>>).map(statsOf),
      control: cluster.targets.map(({ info, control }) => ({ endpoint: info.label, ...control.stats() })),
      listen: { endpoint: cluster.members.primary.info.label, ...cluster.apart.stats() }
    })),
    // Made when somebody reads it, because few programs do.
    events: Stream.suspend(() =>
      Stream.mergeAll(
        cluster.targets.map(({ pool }) => Stream.map(Pool.events(pool), (event) => ({ pool: pool.name, event }))),
        { concurrency: "unbounded" }
      )
    ),
    drain: (options) =>
      Effect.zipRight(
        cluster.probes.stop,
        Effect.flatMap(
          Effect.forEach(cluster.targets, ({ pool }) => Effect.fork(Pool.drain(pool, options))),
          (drains) =>
            Effect.forEach(drains, Fiber.join).pipe(
              // After the pools, which may have cancelled statements over them.
              Effect.zipLeft(Effect.forEach(cluster.targets, ({ control }) => control.rest)),
              Effect.zipLeft(registration.end),
              Effect.zipLeft(ended)
            )
        )
      ),
    reset: (options) => everywhere((pool) => Pool.reset(pool, options)),
    suspend: (options) => everywhere((pool) => Pool.suspend(pool, options)),
    resume: everywhere(Pool.resume),
    functionPool: Effect.mapError(FunctionPool.make(...cluster.targets.map(({ pool }) => pool)), errors.invalidOptions)
  }
  const forget = Sources.add(sourceOf(cluster, sql, running.shown, options))
  const ended = Effect.sync(forget)
  yield* Effect.addFinalizer(() => ended)
  if (options.startup !== "lazy") yield* begin(cluster)
  return {
    sql,
    client: running.client,
    router: cluster.router,
    topology: cluster.topology,
    apart: cluster.apart.connect
  }
})

/** What others see of an `Sql`. */
const sourceOf = <Conn>(
  { driver, members, targets, totals }: Cluster.Cluster<Conn>,
  sql: Service,
  shown: Sources.Source["shown"],
  { pool, roles, spanAttributes }: RuntimeOptions<any>
): Sources.Source => {
  const said = new Map(spanAttributes)
  const attribute = <A>(key: string) => said.get(key) as A | undefined
  const sum = (of: (target: Target<Conn>) => number | undefined) =>
    targets.reduce((sum, target) => sum + (of(target) ?? 0), 0)
  return {
    name: pool?.name ?? targets[0]!.label,
    system: attribute("db.system.name"),
    namespace: attribute("db.namespace"),
    address: attribute("server.address"),
    port: attribute("server.port"),
    sql,
    targets: targets as ReadonlyArray<Target<any>>,
    isWritable: () => members.snapshot.isWritable,
    totals: () =>
      totals.shown({
        // The first server that is found to take the writes is no change.
        roleChanges: roles === "found" ? Math.max(0, members.epoch - 1) : members.epoch,
        packed: sum(({ info }) => info.counts?.packed),
        batches: sum(({ info }) => info.counts?.batches),
        cancels: sum(({ info }) => info.counts?.cancels),
        controlConnects: sum(({ control }) => control.stats().connects)
      }),
    unsafeListen: (listener) => totals.listen(listener),
    load: Effect.suspend(() => {
      const { load } = driver
      return load === undefined ? Effect.succeedNone : Effect.option(members.primary.control.run(load))
    }),
    shown
  }
}

/** Milliseconds; `undefined` is off. */
const heldFor = (failoverHold: RuntimeConfig["failoverHold"] = "off"): number | undefined =>
  failoverHold === "off" ? undefined : Duration.toMillis(failoverHold) || undefined

/** Finds out which server takes the writes, and connects to it. */
const begin = <Conn>(cluster: Cluster.Cluster<Conn>): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const { acquireTimeout, members, probes, targets, timers } = cluster
    const roles = targets.length > 1 ? probes.first(timers.now() + acquireTimeout) : Effect.void
    return Effect.flatMap(roles, () => {
      const [stranger] = members.foreign
      return stranger === undefined
        ? connectOnce(cluster, members.primary)
        : Effect.fail(
            SqlReason.toError(
              SqlReason.make("InvalidOptions", { connection: "none" }),
              `${stranger.label} belongs to another cluster than ${members.primary.label}: ${strangers}`
            )
          )
    })
  })

const reactivityOfContext: Effect.Effect<ReactivityOnDemand> = Effect.map(
  Effect.flatMap(
    Effect.serviceOption(Reactivity.Reactivity),
    Option.match({ onNone: () => Reactivity.make, onSome: Effect.succeed })
  ),
  Effect.succeed
)

/** Fails at the first connect that fails. The pool alone would go on trying until the acquire timeout. */
const connectOnce = <Conn>(
  { check, driver }: Cluster.Cluster<Conn>,
  target: Target<Conn>
): Effect.Effect<void, SqlError> => {
  const { info, pool } = target
  const refused = Effect.async<never, SqlError>((resume) => {
    const stop = Pool.unsafeListen(pool, (event) => {
      if (event._tag === "ConnectFailed")
        resume(Effect.fail(errors.connectFailure(event.cause, `${driver.name} at ${info.label}`)))
    })
    return Effect.sync(stop)
  })
  const checked = Pool.use(pool, (connection) => check(target, connection))
  return Effect.raceFirst(Effect.mapError(checked, errors.toSqlError), refused)
}
