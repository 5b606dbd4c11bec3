/**
 * PostgreSQL on one shared pool: `Sql`, `SqlClient` and `PgClient` in one Layer.
 *
 * @since 0.1.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { PgClient, type PgClientConfig, type PgCustom, TypeId } from "@effect/sql-pg/PgClient"
import type { Configured } from "@sluice/sql/driver/Configured"
import * as Layers from "@sluice/sql/driver/Layers"
import * as Runtime from "@sluice/sql/driver/Runtime"
import * as Sql from "@sluice/sql/Sql"
import { type ConfigError, Effect, type Layer, Option, type Scope, Stream } from "effect"
import type { FromPoolConfig, ListenEvent, PgSqlConfig } from "./Config.js"
import * as compiler from "./internal/compiler.js"
import { driver, packed } from "./internal/driver.js"
import * as endpoint from "./internal/endpoint.js"
import * as FromPool from "./internal/fromPool.js"
import * as Channels from "./internal/listen/channels.js"
import * as Hub from "./internal/listen/hub.js"
import * as Subscribe from "./internal/listen/subscribe.js"

export type { EndpointConfig, FromPoolConfig, ListenEvent, PgSqlConfig } from "./Config.js"

/**
 * A running PostgreSQL: the three services of the Layer as values.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgSql extends Layers.Running<PgClient> {}

const PgJson = Statement.custom<PgCustom>("PgJson")

const start = Effect.fnUntraced(function* (
  config: PgSqlConfig,
  origin: Runtime.Origin
): Effect.fn.Return<PgSql, SqlError, Scope.Scope> {
  const endpoints = yield* endpoint.resolve(config)
  const { primary } = endpoints
  const isPacked = config.pipeline !== false && config.proxy === undefined
  const { apart, client, router, sql, topology } = yield* Layers.start(
    isPacked ? packed() : driver,
    config,
    endpoints,
    origin,
    {
      compiler: compiler.make(config.transformQueryNames, config.transformJson),
      system: "postgresql"
    }
  )
  const hub = yield* Hub.make(apart, primary.label)
  const events = Subscribe.make(hub, primary.label, config)
  const pgClient: PgClient = Object.assign(client, {
    [EventsKey]: events,
    [TypeId]: TypeId as TypeId,
    config: Layers.shown(config, primary) satisfies PgClientConfig,
    json: (value: unknown) => PgJson(value, undefined, undefined),
    listen: (channel: string) =>
      Stream.filterMap(events(channel), (event) =>
        event._tag === "Notification" ? Option.some(event.payload) : Option.none()
      ),
    notify: (channel: string, payload: string) =>
      Effect.suspend(() => {
        const refused =
          Channels.refusal("notify", channel, primary.label) ?? Channels.payloadRefusal(payload, primary.label)
        return refused ?? Sql.write(Effect.asVoid(client.unsafe("select pg_notify($1, $2)", [channel, payload]).raw))
      })
  })
  return {
    sql: {
      ...sql,
      client: pgClient,
      // What listens takes new work for as long as it hears, so it ends before the work that is under way.
      drain: (options) => Effect.zipRight(hub.end, sql.drain(options)),
      reset: (options) => Effect.zipRight(hub.renew, sql.reset(options))
    },
    client: pgClient,
    router,
    topology
  }
})

const layers = Layers.make({ tag: PgClient, start })

/**
 * Starts a client without a Layer. It lives as long as the scope.
 *
 * **When to use:** for a second database beside the one of the Layer.
 *
 * - Uses the `Reactivity` of its context if there is one, else one of its own.
 * - Fails with a `SqlError`. `SqlReason.of(error)._tag` is `InvalidOptions` for options that cannot work, else the reason
 *   why the first connect failed: `ConnectFailed`, `AuthenticationFailed` (also: no such database), `TooManyConnections`, or
 *   `AcquireTimeout` when no server has answered.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (config: PgSqlConfig) => Effect.Effect<PgSql, SqlError, Scope.Scope> = layers.make

const EventsKey: unique symbol = Symbol.for("@sluice/sql-pg/Events")

/**
 * The notifications of a channel, and what the program must know of those that it does not get: see `ListenEvent`.
 * `PgClient.listen` gives the payloads alone; then only warnings in the log tell of a loss.
 *
 * **When to use:** wherever a missed notification matters.
 *
 * - All listeners of a client share one connection to the primary. It is opened for the first listener, closed 10 seconds after the
 *   last one, and counts towards no pool: plan one connection more than `maxSize` for each process that listens. `Sql.stats`
 *   shows it in `listen`. A listener that ends does not affect the others.
 * - A lost connection is replaced. While connecting fails, there are pauses of up to 1 second. Notifications that are sent
 *   between the loss and the `Resubscribed` are never delivered, because PostgreSQL keeps none for a session that is gone. A
 *   network that silently stops delivering is noticed after 35 seconds at most. A warning is logged at each loss, and when it
 *   listens again. `Sql.reset` replaces the connection in the same way.
 * - Up to 10,000 events wait for a program that does not read them. What comes then is lost, and `Overflowed` says how much.
 * - Fails when listening does not work at first, as a connect or a statement does: `ConnectFailed`; `NotWritable` on a standby;
 *   `AcquireTimeout` when the server has not confirmed it within the acquire timeout.
 * - Fails with `InvalidUse` for a name that is empty, longer than 63 bytes, or no text of PostgreSQL; with the option `proxy`;
 *   and where a pooler that was not mentioned keeps notifications back. Any other name will do; it is quoted.
 * - Fails with `StatementTimeout` at the deadline of `Sql.withDeadline`, and with `PoolClosed` when `Sql.drain` begins or the Layer
 *   ends. `Sql.suspend` does not affect it.
 * - Interruption: at any moment; nobody waits for the UNLISTEN.
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
 *   Stream.runForEach((event) => (event._tag === "Notification" ? readOne(event.payload) : readAll))
 * )
 * ```
 *
 * @since 0.1.0
 * @category notifications
 */
export const listen = (channel: string): Stream.Stream<ListenEvent, SqlError, PgClient> =>
  Stream.unwrap(
    Effect.map(PgClient, (client) => {
      const events = (client as { readonly [EventsKey]?: Subscribe.Events })[EventsKey]
      return events === undefined
        ? // The client is not from this package, and says nothing of a loss: it fails or goes silent when its connection is lost.
          Stream.map(
            client.listen(channel),
            (payload): ListenEvent => ({
              _tag: "Notification",
              channel,
              payload,
              processId: 0
            })
          )
        : events(channel)
    })
  )

/**
 * `Sql`, `SqlClient` and `PgClient` on one pool for each endpoint. Keep the Layer in a constant, so that all parts of the
 * program share the pool.
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
 * @example
 * ```ts
 * import { PgSql } from "@sluice/sql-pg"
 * import { Effect, Redacted } from "effect"
 *
 * // Every session has this role, search_path and time zone, also after a statement has changed them.
 * const ReportsLive = PgSql.layer({
 *   url: Redacted.make("postgres://app:secret@localhost:5432/pay"),
 *   hooks: {
 *     onConnect: ({ sql }) =>
 *       Effect.all([sql`set role reporting`, sql`set search_path = reports, public`, sql`set time zone 'UTC'`])
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: (config: PgSqlConfig) => Layer.Layer<Layers.Services | PgClient, SqlError> = layers.layer

/**
 * The same as `layer`, with options that are read from Effect's configuration. Every part may be a `Config`: the whole, a
 * field, or a part of `primary`, `replicas`, `hosts` and `pool`. What is no `Config` is taken as it stands.
 *
 * @example
 * ```ts
 * import { PgSql } from "@sluice/sql-pg"
 * import { Config } from "effect"
 *
 * const SqlLive = PgSql.layerConfig({
 *   url: Config.redacted("DATABASE_URL"),
 *   replicas: [{ url: Config.redacted("REPLICA_URL") }],
 *   pool: { maxSize: Config.withDefault(Config.integer("DATABASE_CONNECTIONS"), 10), acquireTimeout: "5 seconds" }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: (
  config: Configured<PgSqlConfig>
) => Layer.Layer<Layers.Services | PgClient, ConfigError.ConfigError | SqlError> = layers.layerConfig

/**
 * The same as `layer`, with the options of a pool of `pg`: where to connect to, and how many connections there may be. The pool
 * itself stays unused: none of its connections is opened or taken. A `password` that is a function is called for each connection.
 *
 * **When to use:** in programs that gave a pool of `pg` to `@effect/sql-pg`.
 *
 * - Fails as `make` does, and with `InvalidOptions` when the pool has options that act on its own connections (`Client`,
 *   `verify`, `onConnect`), or others that would have no effect here (`options`, `lock_timeout`, `query_timeout`, …).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFromPool = (config: FromPoolConfig): Layer.Layer<Layers.Services | PgClient, SqlError> => {
  const { acquire, ...own } = config
  return layers.layerEffect(
    Effect.map(Effect.flatMap(acquire, FromPool.configOf), (found) => ({
      ...found,
      ...own,
      pool: { ...found.pool, ...own.pool }
    })),
    Runtime.callSite(layerFromPool)
  )
}
