/**
 * The ways in which a program makes the client of a driver: `make`, `layer` and `layerConfig`, with the services that every
 * driver provides.
 *
 * @since 0.2.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Deadline from "@sluice/pool/Deadline"
import { type ConfigError, Context, Effect, Layer, type Redacted, Scope } from "effect"
import * as Router from "../Router.js"
import { type Service, Sql } from "../Sql.js"
import * as Topology from "../Topology.js"
import * as Configured from "./Configured.js"
import type { Driver } from "./Driver.js"
import type { Endpoint, Resolved } from "./Endpoints.js"
import * as Names from "./Names.js"
import * as Runtime from "./Runtime.js"

/**
 * A running database: the services of the Layer as values.
 *
 * @since 0.2.0
 * @category models
 */
export interface Running<out Client> {
  readonly sql: Service
  /** Also the `SqlClient`. */
  readonly client: Client
  readonly router: Router.Service
  readonly topology: Topology.Service
}

/**
 * The services that the Layer of every driver provides, besides the client of the driver itself.
 *
 * @since 0.2.0
 * @category models
 */
export type Services = Sql | SqlClient | Router.Router | Topology.Topology

/**
 * What only the driver knows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Means<in C, in out Id, Client extends SqlClient> {
  /** The tag of the driver's own client. */
  readonly tag: Context.Tag<Id, Client>
  /** Starts the driver. The origin is handed on to `start` of this module. */
  readonly start: (config: C, origin: Runtime.Origin) => Effect.Effect<Running<Client>, SqlError, Scope.Scope>
}

/**
 * What a driver exports. See `PgSql` for what each of them does.
 *
 * @since 0.2.0
 * @category models
 */
export interface Layers<in out C, Id, out Client> {
  readonly make: (config: C) => Effect.Effect<Running<Client>, SqlError, Scope.Scope>
  readonly layer: (config: C) => Layer.Layer<Services | Id, SqlError>
  readonly layerConfig: (
    config: Configured.Configured<C>
  ) => Layer.Layer<Services | Id, ConfigError.ConfigError | SqlError>
  /** The Layer of a configuration that an effect gives. `madeAt` comes from `Runtime.callSite`. */
  readonly layerEffect: <E>(
    config: Effect.Effect<C, E, Scope.Scope>,
    madeAt: Runtime.CallSite
  ) => Layer.Layer<Services | Id, E | SqlError>
}

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = <C, Id, Client extends SqlClient>(means: Means<C, Id, Client>): Layers<C, Id, Client> => {
  const { tag } = means
  // One heap of timers for the pools, the control connections and the driver, which all find it in the context.
  const start = (config: C, origin: Runtime.Origin) => Deadline.shared(means.start(config, origin))
  const layerEffect = <E>(config: Effect.Effect<C, E, Scope.Scope>, madeAt: Runtime.CallSite) =>
    Layer.scopedContext(
      Effect.map(
        Effect.flatMap(config, (config) =>
          Effect.flatMap(reactivityOfLayers, (reactivity) => start(config, { madeAt, reactivity }))
        ),
        ({ client, router, sql, topology }) =>
          Context.make(Sql, sql).pipe(
            Context.add(SqlClient, client as SqlClient),
            Context.add(Router.Router, router),
            Context.add(Topology.Topology, topology),
            Context.add(tag, client)
          )
      )
    )
  const make = (config: C) => start(config, { madeAt: Runtime.callSite(make) })
  const layer = (config: C): Layer.Layer<Services | Id, SqlError> =>
    layerEffect(Effect.succeed(config), Runtime.callSite(layer))
  const layerConfig = (
    config: Configured.Configured<C>
  ): Layer.Layer<Services | Id, ConfigError.ConfigError | SqlError> =>
    layerEffect(Configured.read(config), Runtime.callSite(layerConfig))
  return { make, layer, layerConfig, layerEffect }
}

/**
 * Gives the `Reactivity` of `Reactivity.layer`, which the Layers that are built together share, to those who ask for it.
 * `Layer.provide` would build it for all, which is a quarter of the steps in which a client is made and closed.
 */
const reactivityOfLayers: Effect.Effect<Runtime.ReactivityOnDemand, never, Scope.Scope> = Effect.map(
  Effect.context<Scope.Scope>(),
  (context) => {
    const layers = Context.get(context, Layer.CurrentMemoMap)
    const built = Layer.buildWithMemoMap(Reactivity.layer, layers, Context.get(context, Scope.Scope))
    let reactivity: Reactivity.Reactivity.Service | undefined
    // Uninterruptible, because what one fiber builds is also given to all others.
    const build = Effect.uninterruptible(
      Effect.map(built, (services) => {
        reactivity = Context.get(services, Reactivity.Reactivity)
        return reactivity
      })
    )
    return Effect.suspend(() => (reactivity === undefined ? build : Effect.succeed(reactivity)))
  }
)

/**
 * The options that every driver passes on.
 *
 * @since 0.2.0
 * @category models
 */
export interface CommonConfig extends Runtime.RuntimeConfig {
  readonly transformResultNames?: ((name: string) => string) | undefined
  readonly transformJson?: boolean | undefined
  readonly spanAttributes?: Record<string, unknown> | undefined
}

/**
 * Puts a driver on pools, as `Runtime.make` does. The options are read from the configuration of the driver, and spans have the
 * attributes of OpenTelemetry for the primary.
 *
 * @since 0.2.0
 * @category constructors
 */
export const start = <E extends Endpoint<unknown>, Conn>(
  driver: Driver<E, Conn>,
  config: CommonConfig,
  { primary, replicas, roles, target }: Resolved<E>,
  origin: Runtime.Origin,
  more: {
    readonly compiler: Statement.Compiler
    /** `db.system.name` of OpenTelemetry. */
    readonly system: string
  }
): Effect.Effect<Runtime.Runtime<Conn>, SqlError, Scope.Scope> => {
  const {
    duplicates,
    failoverHold,
    hooks,
    maxCatchUp,
    pool,
    spanAttributes = {},
    startup,
    transformJson,
    transformResultNames
  } = config
  return Runtime.make(driver, {
    ...origin,
    primary,
    replicas,
    roles,
    target,
    failoverHold,
    maxCatchUp,
    pool,
    startup,
    duplicates,
    hooks,
    compiler: more.compiler,
    transformRows:
      transformResultNames === undefined ? undefined : Names.ofRows(transformResultNames, transformJson !== false),
    spanAttributes: [
      ...Object.entries(spanAttributes),
      ["db.system.name", more.system],
      ...(primary.database === undefined ? [] : [["db.namespace", primary.database] as const]),
      ["server.address", primary.path ?? primary.host],
      ...(primary.path === undefined ? [["server.port", primary.port] as const] : [])
    ]
  })
}

/**
 * The configuration as a client shows it: with the address, user and password of the primary, whatever they were read from.
 *
 * @since 0.2.0
 * @category getters
 */
export const shown = <At, C extends At & { readonly primary?: At | undefined }>(
  config: C,
  { database, host, password, port, user }: Endpoint<unknown>
): Omit<C, keyof Address> & Address => ({
  ...config,
  ...config.primary,
  host,
  port,
  database,
  username: user,
  password
})

interface Address {
  readonly host: string
  readonly port: number
  readonly database: string | undefined
  readonly username: string
  readonly password: Redacted.Redacted | undefined
}
