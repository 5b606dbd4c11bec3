/**
 * What the fault scenarios need of a database and of our driver for it. The scenarios are written once; a driver joins them
 * with one entry in `rigs`.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { layer, type Vitest } from "@effect/vitest"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Context, Duration, Effect, Layer, Redacted, type Scope } from "effect"
import { eventually, unique } from "../contract/contract.js"
import * as Drivers from "../contract/drivers.js"

/** A server process. */
export interface Node {
  readonly host: string
  readonly port: number
  /** Ends every session, then the server; returns when it is gone. */
  readonly stop: Effect.Effect<void, unknown>
  /** Returns when the server accepts connections again. */
  readonly start: Effect.Effect<void, unknown>
}

/** What the server says about one connection. */
export interface Session {
  readonly isRunning: boolean
  readonly inTransaction: boolean
}

/** A server, one replica of it, and what they know. */
export interface Cluster {
  readonly primary: Node
  readonly replica: Node
  /** The sessions of the client of this name and user, on both. Works while a server is down: then it has none. */
  readonly sessions: (name: string, user: string | undefined) => Effect.Effect<ReadonlyArray<Session>>
  /** Ends them: what a broken path has left behind is nobody's fault. */
  readonly end: (name: string) => Effect.Effect<void>
  /** A user that may have `connections` connections; its name, also its password. */
  readonly user: (connections: number) => Effect.Effect<string>
  /** The user of the client of this name, where clients are told apart by it. */
  readonly client?: (name: string) => Effect.Effect<string>
}

export class Server extends Context.Tag("test/fault/Server")<Server, Cluster>() {}

/** How a scenario wants its client. */
export interface ClientOptions {
  /** Where the primary is reached. Default: itself. */
  readonly via?: { readonly port: number } | undefined
  readonly user?: string | undefined
  readonly withReplica?: boolean | undefined
  readonly pool?: PoolConfig | undefined
}

interface Rig {
  readonly server: Layer.Layer<Server, unknown>
  readonly client: (
    cluster: Cluster,
    name: string,
    options: ClientOptions
  ) => Layer.Layer<Sql.Sql | SqlClient, SqlError>
  /** A read that takes so many seconds. */
  readonly sleep: (seconds: number) => string
  /** Sessions that a client may have on each server besides those of its pool: what cancels takes one. */
  readonly beside: number
}

const rigs: Record<string, Rig> = {
  "@sluice/sql-pg": {
    server: Layer.map(PgCluster.layer({ replicas: 1 }), (context) => {
      const cluster = Context.get(context, PgCluster.PgCluster)
      const node = ({ host, port, start, stop }: PgCluster.PgNode): Node => ({ host, port, start, stop: stop("fast") })
      const user = unique("fault_user")
      return Context.make(Server, {
        primary: node(cluster.primary),
        replica: node(cluster.replicas[0]!),
        sessions: (name) =>
          Effect.map(
            Effect.forEach(cluster.nodes, ({ activity }) => Effect.orElseSucceed(activity, () => [])),
            (all) =>
              all
                .flat()
                .filter((one) => one.applicationName === name)
                .map(({ state }) => ({
                  isRunning: state === "active",
                  inTransaction: state?.startsWith("idle in transaction") === true
                }))
          ),
        end: (name) =>
          Effect.forEach(cluster.nodes, (node) => Effect.ignore(node.terminateBackends({ applicationName: name })), {
            discard: true
          }),
        user: (connections) =>
          Effect.as(
            Effect.orDie(
              cluster.primary.query(
                `create role ${user}_${connections} login password '${user}_${connections}' connection limit ${connections}`
              )
            ),
            `${user}_${connections}`
          )
      })
    }),
    client: ({ primary, replica }, applicationName, { pool, user = "sluice", via = primary, withReplica }) =>
      PgSql.layer({
        applicationName,
        pool,
        duplicates: "allow",
        username: user,
        password: Redacted.make(user),
        database: "sluice",
        primary: { host: primary.host, port: via.port },
        replicas: withReplica === true ? [{ host: replica.host, port: replica.port }] : []
      }),
    sleep: (seconds) => `select pg_sleep(${seconds})`,
    beside: 0
  },
  "@sluice/sql-mysql2": {
    server: Layer.map(MariaDbCluster.layer({ replicas: 1 }), (context) => {
      const cluster = Context.get(context, MariaDbCluster.MariaDbCluster)
      const { primary } = cluster
      const node = ({ host, port, start, stop }: MariaDbCluster.MariaDbNode): Node => ({
        host,
        port,
        start,
        stop: stop("fast")
      })
      const limited = unique("limited")
      // A server shows nothing of a client but its user, so each has one of its own.
      const userOf = (name: string) => `user_${name}`
      const grant = (user: string, limit = "") =>
        Effect.orDie(
          primary
            .query(`create user '${user}'@'%' identified by '${user}' ${limit}`)
            .pipe(
              Effect.zipRight(primary.query(`grant all on sluice.* to '${user}'@'%'`)),
              Effect.zipRight(cluster.awaitReplicated)
            )
        )
      return Context.make(Server, {
        primary: node(primary),
        replica: node(cluster.replicas[0]!),
        sessions: (name, user = userOf(name)) =>
          Effect.map(
            Effect.forEach(cluster.nodes, (node) =>
              Effect.orElseSucceed(
                node.query<{ command: string; trx: unknown }>(
                  `select command, trx_id as trx from information_schema.processlist
                   left join information_schema.innodb_trx on trx_mysql_thread_id = id where user = ?`,
                  [user]
                ),
                () => []
              )
            ),
            (all) =>
              all.flat().map(({ command, trx }) => ({
                isRunning: command !== "Sleep",
                inTransaction: command === "Sleep" && trx !== null
              }))
          ),
        end: (name) =>
          Effect.forEach(cluster.nodes, (node) => Effect.ignore(node.terminateBackends({ user: userOf(name) })), {
            discard: true
          }),
        user: (connections) =>
          Effect.as(
            grant(`${limited}_${connections}`, `with max_user_connections ${connections}`),
            `${limited}_${connections}`
          ),
        client: (name) => Effect.as(grant(userOf(name)), userOf(name))
      })
    }),
    client: (cluster, name, { pool, user, via = cluster.primary, withReplica }) => {
      const { client, primary, replica } = cluster
      const account = user === undefined && client !== undefined ? client(name) : Effect.succeed(user ?? "sluice")
      return Layer.unwrapEffect(
        Effect.map(account, (username) =>
          MysqlSql.layer({
            pool,
            duplicates: "allow",
            username,
            password: Redacted.make(username),
            database: "sluice",
            primary: { host: primary.host, port: via.port },
            replicas: withReplica === true ? [{ host: replica.host, port: replica.port }] : []
          })
        )
      )
    },
    sleep: (seconds) => `select sleep(${seconds})`,
    beside: 1
  }
}

/** Everything a scenario has. */
export interface Scenario {
  readonly it: Vitest.MethodsNonLive<Server, true>
  readonly sleep: (seconds: number) => Effect.Effect<ReadonlyArray<object>, SqlError, Sql.Sql>
  readonly beside: number
  /**
   * Runs a body on a client of its own, then checks the books: nothing leased, nobody waiting, as many connections closed as
   * opened, and nothing of it left on the server.
   */
  readonly run: <A, E>(
    options: ClientOptions,
    body: (client: {
      readonly name: string
      readonly sessions: Effect.Effect<ReadonlyArray<Session>>
    }) => Effect.Effect<A, E, Sql.Sql | SqlClient | Server | Scope.Scope>
  ) => Effect.Effect<A, unknown, Server>
}

const books = Effect.map(Sql.stats, ({ read, write }) =>
  [write, ...read].every(
    (pool) => pool.using === 0 && pool.waiting === 0 && pool.quarantined === 0 && pool.resetting === 0
  )
)

export const booksBalance = eventually("the books balance", books)

/** Every scenario for each of our drivers that was selected (`CONTRACT_DRIVERS`). */
export const scenarios = (name: string, suite: (scenario: Scenario) => void): void => {
  for (const driver of Drivers.selected) {
    if (!driver.isOurs) continue
    const rig = rigs[driver.name]
    if (rig === undefined) throw new Error(`no entry in rigs for ${driver.name}: its faults would not be looked at`)
    const run: Scenario["run"] = (options, body) =>
      Effect.gen(function* () {
        const cluster = yield* Server
        const name = unique("fault")
        const sessions = cluster.sessions(name, options.user)
        const [result, sql] = yield* body({ name, sessions }).pipe(
          Effect.zipLeft(booksBalance),
          Effect.zip(Sql.Sql),
          Effect.scoped,
          Effect.provide(rig.client(cluster, name, options))
        )
        const { read, write } = yield* sql.stats
        for (const { closed, connects, size } of [write, ...read]) {
          const all = Object.values(closed).reduce((sum, n) => sum + n, 0)
          if (size !== 0 || all !== connects) {
            return yield* Effect.dieMessage(`${connects} connections opened, ${all} closed, ${size} left`)
          }
        }
        yield* eventually(
          "no session is left on the server",
          Effect.map(sessions, (left) => left.length === 0)
        )
        return result
      })
    layer(rig.server, { excludeTestServices: true, timeout: "2 minutes" })(`${name}, ${driver.name}`, (it) =>
      suite({ it, run, beside: rig.beside, sleep: (seconds) => Sql.query(rig.sleep(seconds)) })
    )
  }
}

/** A proxy before the primary. */
export const proxy = Effect.flatMap(Server, ({ primary }) => FaultProxy.make({ target: primary }))

export const times = <A, E, R>(n: number, effect: Effect.Effect<A, E, R>) =>
  Effect.all(
    Array.from({ length: n }, () => effect),
    { concurrency: "unbounded" }
  )

export const running = (count: number, sessions: Effect.Effect<ReadonlyArray<Session>>) =>
  Effect.map(sessions, (all) => all.filter(({ isRunning }) => isRunning).length === count)

/** Milliseconds that an effect takes. */
export const elapsed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([duration]) => Duration.toMillis(duration))

/** A bound of time on a machine that does other things too: a fifth more, and never less than 50 ms. */
export const tolerated = (millis: number): number => millis + Math.max(50, millis / 5)

/** Connects that may be tried in so many seconds, on such a machine. */
export const attemptsIn = (seconds: number): number => Math.ceil(10 * seconds * 1.2)
