/**
 * PostgreSQL on one shared pool: `Sql`, `SqlClient` and `PgClient` in one Layer.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { makeCompiler, PgClient, type PgClientConfig, type PgCustom, TypeId } from "@effect/sql-pg/PgClient"
import * as Runtime from "@sluice/sql/driver/Runtime"
import * as Router from "@sluice/sql/Router"
import type { Service } from "@sluice/sql/Sql"
import { Sql } from "@sluice/sql/Sql"
import * as SqlReason from "@sluice/sql/SqlReason"
import * as Topology from "@sluice/sql/Topology"
import {
  Config,
  type ConfigError,
  Context,
  type Duration,
  Effect,
  Layer,
  Option,
  type Redacted,
  type Scope,
  Stream
} from "effect"
import type * as Pg from "pg"
import { driver, packed } from "./internal/driver.js"
import * as endpoint from "./internal/endpoint.js"
import * as FromPool from "./internal/fromPool.js"
import * as Listen from "./internal/session/listen.js"

/**
 * One server. What is left out is taken from the configuration around it, then from the environment (`PGHOST`, …), then
 * from PostgreSQL's defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface EndpointConfig {
  /** `postgres://user:password@host:5432/database`. Wins over the other fields. */
  readonly url?: Redacted.Redacted | undefined
  readonly host?: string | undefined
  /** Default 5432. Range 1 to 65,535. */
  readonly port?: number | undefined
  /** Directory of the server's Unix socket, instead of `host`. */
  readonly path?: string | undefined
  /** Default: no TLS, unless the url or the environment asks for it. */
  readonly ssl?: PgClientConfig["ssl"]
  /** Default: the name of the user. */
  readonly database?: string | undefined
  readonly username?: string | undefined
  /**
   * An effect is run for each connection that is opened, so that a password that was changed meanwhile is found without a
   * restart: open connections go on, and while the server refuses, it is read once for each attempt, at most once a second.
   * If it fails, so does the attempt (`ConnectFailed`).
   */
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown> | undefined
}

/**
 * Everything the Layer can be told. The fields of `EndpointConfig` describe the primary if there is no `primary`, and are
 * the defaults of `primary` and `replicas` if there is.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgSqlConfig extends EndpointConfig, Runtime.RuntimeConfig {
  /** Takes writes, and everything that does not say what it is. */
  readonly primary?: EndpointConfig | undefined
  /** Take what is inside of `Sql.read`, in turn. Default none. */
  readonly replicas?: ReadonlyArray<EndpointConfig> | undefined
  /**
   * Longest time one statement may run. The server enforces it (`statement_timeout`); one second later the client gives
   * up on the connection.
   *
   * - Unit: duration. Default none. Fails with `StatementTimeout`.
   */
  readonly statementTimeout?: Duration.DurationInput | undefined
  /**
   * When a session is cleaned (`DISCARD ALL`) before its next user.
   *
   * - `auto`: after SET, LISTEN, PREPARE, DECLARE, CREATE TEMPORARY, LOAD, DO or CALL. What a SELECT does on the side
   *   (`set_config`, advisory locks of a session) is not seen.
   * - `always`: after each use; costs one round trip, and the prepared statements.
   * - `never`: only open transactions are rolled back.
   *
   * Default `auto`.
   */
  readonly resetOnRelease?: "auto" | "always" | "never" | undefined
  /**
   * Whether short reads share connections. Default true.
   *
   * A statement outside of transactions and `withConnection` that begins with SELECT, VALUES or TABLE, locks no rows, has
   * no parameter of more than 64 KiB, and has needed less than 1 millisecond of the server lately, is sent on a connection
   * where others are under way, in one write with those of the same moment; up to 128, and no more than 4 milliseconds of
   * work. What it does to the session (`set_config`, advisory locks of a session) its neighbours share. All other statements
   * have a connection for themselves, as has everything of priority `low` and `background`.
   */
  readonly pipeline?: boolean | undefined
  /**
   * What stands between the client and the server. `pgbouncer-transaction`: PgBouncer in transaction mode, which gives each
   * transaction whatever server connection is free. Then:
   *
   * - Statements are not prepared by name, and nothing is packed.
   * - `statementTimeout` is not sent to the server: the client alone gives up, one second after it. Set `statement_timeout`
   *   on the role as well.
   * - `listen` fails with `InvalidUse`: connect to the server itself for it.
   * - What a statement does to its session outside of a transaction (SET, LISTEN, PREPARE, temporary tables, advisory locks
   *   of a session) meets whoever has that server connection next. It is not noticed and not cleaned: use SET LOCAL,
   *   `pg_advisory_xact_lock`, and transactions.
   *
   * Default none.
   */
  readonly proxy?: "pgbouncer-transaction" | undefined
  /** Shown in `pg_stat_activity`. Default `@sluice/sql-pg`. */
  readonly applicationName?: string | undefined
  readonly types?: PgClientConfig["types"]
  readonly transformResultNames?: ((str: string) => string) | undefined
  readonly transformQueryNames?: ((str: string) => string) | undefined
  readonly transformJson?: boolean | undefined
  readonly spanAttributes?: Record<string, unknown> | undefined
  readonly stream?: PgClientConfig["stream"]
}

/**
 * A running PostgreSQL: the services of the Layer as values.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgSql {
  readonly sql: Service
  /** Also the `SqlClient`. */
  readonly client: PgClient
  readonly router: Router.Service
  readonly topology: Topology.Service
}

/**
 * What a listener hears.
 *
 * - `Notification`: `payload` is empty when none was sent; `processId` is the backend that sent it.
 * - `Resubscribed`: the listening connection had been lost and there is another one. What was sent in the `lostForMs`
 *   milliseconds before is lost: read again whatever the notifications stand for.
 *
 * @since 0.1.0
 * @category models
 */
export type ListenEvent =
  | {
      readonly _tag: "Notification"
      readonly channel: string
      readonly payload: string
      readonly processId: number
    }
  | { readonly _tag: "Resubscribed"; readonly channel: string; readonly lostForMs: number }

const PgJson = Statement.custom<PgCustom>("PgJson")

/**
 * A database without a Layer, for as long as the scope lives; for a second one beside the Layer's.
 *
 * - Fails with a `SqlError`. `SqlReason.of(error)._tag` is `InvalidOptions` for options that cannot work, else why the
 *   first connect failed: `ConnectFailed`, `AuthenticationFailed` (also: no such database), `TooManyConnections`, or
 *   `AcquireTimeout` when nobody answered at all.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (config: PgSqlConfig): Effect.Effect<PgSql, SqlError, Scope.Scope | Reactivity.Reactivity> =>
  makeAt(config, Runtime.callSite(make))

const makeAt = Effect.fnUntraced(function* (
  config: PgSqlConfig,
  madeAt: string
): Effect.fn.Return<PgSql, SqlError, Scope.Scope | Reactivity.Reactivity> {
  const { primary, replicas } = yield* endpoint.resolve(config)
  const { client, lease, router, sql, topology } = yield* Runtime.make(
    config.pipeline === false || config.proxy !== undefined ? driver : packed(),
    {
      primary,
      replicas,
      pool: config.pool,
      startup: config.startup,
      duplicates: config.duplicates,
      madeAt,
      compiler: makeCompiler(config.transformQueryNames, config.transformJson),
      transformRows:
        config.transformResultNames === undefined
          ? undefined
          : Statement.defaultTransforms(config.transformResultNames, config.transformJson).array,
      spanAttributes: [
        ...Object.entries(config.spanAttributes ?? {}),
        ["db.system.name", "postgresql"],
        ["db.namespace", primary.database],
        ["server.address", primary.host],
        ["server.port", primary.port]
      ]
    }
  )
  const hub = yield* Listen.make(lease)
  const pgClient: PgClient = Object.assign(client, {
    [HubKey]: hub,
    [TypeId]: TypeId as TypeId,
    config: {
      ...config,
      ...config.primary,
      host: primary.host,
      port: primary.port,
      database: primary.database,
      username: primary.user,
      password: primary.password
    } satisfies PgClientConfig,
    json: (value: unknown) => PgJson(value, undefined, undefined),
    listen: (channel: string) =>
      config.proxy !== undefined
        ? Stream.fail(cannotListen(primary))
        : Stream.filterMap(hub.listen(channel), (event) =>
            event._tag === "Notification" ? Option.some(event.payload) : Option.none()
          ),
    notify: (channel: string, payload: string) =>
      Effect.asVoid(client.unsafe("select pg_notify($1, $2)", [channel, payload]).raw)
  })
  return { sql: { ...sql, client: pgClient }, client: pgClient, router, topology }
})

const cannotListen = ({ label }: endpoint.Endpoint): SqlError =>
  SqlReason.toError(
    SqlReason.make("InvalidUse"),
    `PostgreSQL at ${label}: listen does not work through PgBouncer in transaction mode, where no server connection is kept: make a second client with the address of the server itself`
  )

const HubKey: unique symbol = Symbol.for("@sluice/sql-pg/Hub")

/**
 * The notifications of a channel, and the moments at which some may have been missed. `PgClient.listen` is the same without
 * those moments.
 *
 * - All listeners of a client share one connection, leased from the pool while there are any, so it counts towards `maxSize`.
 *   One that ends leaves the others alone.
 * - A lost connection is replaced, after a pause of up to 1 second while that fails. Notifications that are sent between the
 *   loss and the `Resubscribed` are never delivered: PostgreSQL keeps none for who is not there. A path that dies without a
 *   word is noticed after 35 seconds at most. A warning is logged at each loss.
 * - Fails when the first LISTEN does, as a statement would, and with `PoolClosed` when the Layer ends.
 * - What is not read yet is kept without a bound.
 *
 * @example
 * ```ts
 * import { PgSql } from "@sluice/sql-pg"
 * import { Effect, Stream } from "effect"
 *
 * declare const readAll: Effect.Effect<void>
 * declare const readOne: (id: string) => Effect.Effect<void>
 *
 * const program = PgSql.listen("orders").pipe(
 *   Stream.runForEach((event) => (event._tag === "Resubscribed" ? readAll : readOne(event.payload)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category notifications
 */
export const listen = (channel: string): Stream.Stream<ListenEvent, SqlError, PgClient> =>
  Stream.unwrap(
    Effect.map(PgClient, (client) => {
      const hub = (client as { readonly [HubKey]?: Listen.Hub })[HubKey]
      return hub === undefined
        ? // Another library's client fails or goes silent when it is lost; it cannot say so.
          Stream.map(
            client.listen(channel),
            (payload): ListenEvent => ({
              _tag: "Notification",
              channel,
              payload,
              processId: 0
            })
          )
        : hub.listen(channel)
    })
  )

const layerAt = (
  config: PgSqlConfig,
  madeAt: string
): Effect.Effect<
  Context.Context<Sql | SqlClient | PgClient | Router.Router | Topology.Topology>,
  SqlError,
  Scope.Scope | Reactivity.Reactivity
> =>
  Effect.map(makeAt(config, madeAt), ({ client, router, sql, topology }) =>
    Context.make(Sql, sql).pipe(
      Context.add(SqlClient, client),
      Context.add(PgClient, client),
      Context.add(Router.Router, router),
      Context.add(Topology.Topology, topology)
    )
  )

/**
 * `Sql`, `SqlClient` and `PgClient` on one pool for each endpoint, with the `Router` and the `Topology` of `@sluice/sql`. Keep the Layer in a constant, so that everything that
 * needs it shares the pool.
 *
 * - Fails as `make` does. The message never has a password in it.
 *
 * @example
 * ```ts
 * import { PgSql } from "@sluice/sql-pg"
 * import { Redacted } from "effect"
 *
 * const SqlLive = PgSql.layer({
 *   url: Redacted.make("postgres://app:secret@localhost:5432/pay"),
 *   pool: { maxSize: 10, acquireTimeout: "5 seconds" }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  config: PgSqlConfig
): Layer.Layer<Sql | SqlClient | PgClient | Router.Router | Topology.Topology, SqlError> => {
  const madeAt = Runtime.callSite(layer)
  return Layer.scopedContext(layerAt(config, madeAt)).pipe(Layer.provide(Reactivity.layer))
}

/**
 * As `layer`, from Effect's configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<PgSqlConfig>
): Layer.Layer<Sql | SqlClient | PgClient | Router.Router | Topology.Topology, ConfigError.ConfigError | SqlError> => {
  const madeAt = Runtime.callSite(layerConfig)
  return Layer.scopedContext(Effect.flatMap(Config.unwrap(config), (config) => layerAt(config, madeAt))).pipe(
    Layer.provide(Reactivity.layer)
  )
}

/**
 * What `layerFromPool` takes: everything else than where to connect to may be said beside the pool, and wins.
 *
 * @since 0.1.0
 * @category models
 */
export interface FromPoolConfig extends Omit<PgSqlConfig, keyof EndpointConfig | "primary"> {
  /** Gives the pool whose options are meant; what it acquires is released with the Layer. */
  readonly acquire: Effect.Effect<Pg.Pool, SqlError, Scope.Scope>
}

/**
 * For programs that hand a pool of `pg` to `@effect/sql-pg`. The pool is taken as a description: its options say where to
 * connect to and how many connections there may be, and not one connection of it is used, because two owners of one pool
 * could both lose it. `password` as a function is called for each connection.
 *
 * - Fails as `make` does, and with `InvalidOptions` when the pool has options that act on its own connections (`Client`,
 *   `verify`, `onConnect`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFromPool = (
  config: FromPoolConfig
): Layer.Layer<Sql | SqlClient | PgClient | Router.Router | Topology.Topology, SqlError> => {
  const madeAt = Runtime.callSite(layerFromPool)
  const { acquire, ...rest } = config
  return Layer.scopedContext(
    Effect.flatMap(Effect.flatMap(acquire, FromPool.configOf), (found) =>
      layerAt({ ...found, ...rest, pool: { ...found.pool, ...rest.pool } }, madeAt)
    )
  ).pipe(Layer.provide(Reactivity.layer))
}
