/**
 * What the fault scenarios need of a database and of our driver for it. The scenarios are written once; a driver joins them
 * with one entry in `rigs`.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { layer, type Vitest } from "@effect/vitest"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Sql, type Topology } from "@sluice/sql"
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
  /** The sessions of the client of this name, on both. Works while a server is down: then it has none. */
  readonly sessions: (name: string) => Effect.Effect<ReadonlyArray<Session>>
  /** Ends them: what a broken path has left behind is nobody's fault. */
  readonly end: (name: string) => Effect.Effect<void>
  /**
   * The user of the client of this name; also its password. Given `room`, the server lets in so many connections of it, and
   * refuses the next one because there are too many, for as long as the scope lives.
   */
  readonly login: (name: string, room: number | undefined) => Effect.Effect<string, unknown, Scope.Scope>
}

export class Server extends Context.Tag("test/fault/Server")<Server, Cluster>() {}

/** How a scenario wants its client. */
export interface ClientOptions {
  /** Where the primary is reached. Default: itself. */
  readonly via?: { readonly port: number } | undefined
  /** How many connections the server has for it. Default: as many as it wants. */
  readonly room?: number | undefined
  readonly withReplica?: boolean | undefined
  /** Another address of the replica, which counts as a second one. */
  readonly replicaVia?: { readonly port: number } | undefined
  readonly pool?: PoolConfig | undefined
}

/** What every driver of ours is told alike. */
const common = (name: string, user: string, { primary, replica }: Cluster, options: ClientOptions) => ({
  applicationName: name,
  pool: options.pool,
  duplicates: "allow" as const,
  username: user,
  password: Redacted.make(user),
  database: "sluice",
  primary: { host: primary.host, port: (options.via ?? primary).port },
  replicas: [
    ...(options.withReplica === true ? [{ host: replica.host, port: replica.port }] : []),
    ...(options.replicaVia === undefined ? [] : [{ host: replica.host, port: options.replicaVia.port }])
  ]
})

interface Rig {
  readonly server: Layer.Layer<Server, unknown>
  readonly client: (
    options: ReturnType<typeof common>
  ) => Layer.Layer<Sql.Sql | SqlClient | Topology.Topology, SqlError>
}

/** Of every node; one that is down has none. */
const everywhere = <N, A>(nodes: ReadonlyArray<N>, sessions: (node: N) => Effect.Effect<ReadonlyArray<A>, unknown>) =>
  Effect.map(
    Effect.forEach(nodes, (node) => Effect.orElseSucceed(sessions(node), (): ReadonlyArray<A> => [])),
    (all) => all.flat()
  )

const postgresql = Layer.map(PgCluster.layer({ replicas: 1 }), (context) => {
  const cluster = Context.get(context, PgCluster.PgCluster)
  const node = ({ host, port, start, stop }: PgCluster.PgNode): Node => ({ host, port, start, stop: stop("fast") })
  return Context.make(Server, {
    primary: node(cluster.primary),
    replica: node(cluster.replicas[0]!),
    sessions: (name) =>
      Effect.map(
        everywhere(cluster.nodes, ({ activity }) => activity),
        (all) =>
          all
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
    login: (name, room) =>
      room === undefined
        ? Effect.succeed("sluice")
        : Effect.as(
            cluster.primary.query(`create role ${name} login password '${name}' connection limit ${room}`),
            name
          )
  })
})

/** The least that MariaDB takes for `max_connections`. */
const LEAST = 10

/** The server shows nothing of a client but its user, so each has one of its own. */
const mysql = Layer.map(MariaDbCluster.layer({ replicas: 1 }), (context) => {
  const cluster = Context.get(context, MariaDbCluster.MariaDbCluster)
  const { primary } = cluster
  const node = ({ host, port, start, stop }: MariaDbCluster.MariaDbNode): Node => ({
    host,
    port,
    start,
    stop: stop("fast")
  })
  /** Others take all places but `room`. */
  const crowd = (room: number) =>
    Effect.gen(function* () {
      const others = LEAST - room
      yield* Layer.build(
        MysqlSql.layer({ url: primary.url, duplicates: "allow", pool: { minIdle: others, maxSize: others } })
      )
      yield* eventually(
        "others have their places",
        Effect.map(Effect.orDie(primary.activity), (all) => all.length === others)
      )
      const [before] = yield* primary.query<{ places: number }>("select @@global.max_connections as places")
      yield* Effect.acquireRelease(primary.query(`set global max_connections = ${LEAST}`), () =>
        Effect.ignore(primary.query(`set global max_connections = ${before!.places}`))
      )
    })
  return Context.make(Server, {
    primary: node(primary),
    replica: node(cluster.replicas[0]!),
    sessions: (name) =>
      Effect.map(
        everywhere(cluster.nodes, ({ query }) =>
          query<{ command: string; trx: unknown }>(
            `select command, trx_id as trx from information_schema.processlist
             left join information_schema.innodb_trx on trx_mysql_thread_id = id where user = ?`,
            [name]
          )
        ),
        (all) =>
          all.map(({ command, trx }) => ({
            isRunning: command !== "Sleep",
            inTransaction: command === "Sleep" && trx !== null
          }))
      ),
    end: (user) =>
      Effect.forEach(cluster.nodes, (node) => Effect.ignore(node.terminateBackends({ user })), { discard: true }),
    login: (name, room) =>
      primary
        .query(`grant all on sluice.* to '${name}'@'%' identified by '${name}'`)
        .pipe(
          Effect.zipRight(cluster.awaitReplicated),
          Effect.zipRight(room === undefined ? Effect.void : crowd(room)),
          Effect.as(name)
        )
  })
})

/** One for each driver of ours: without it neither does this compile nor a suite of this folder begin. */
const rigs: Readonly<Record<Drivers.Ours, Rig>> = {
  "@sluice/sql-pg": { server: postgresql, client: PgSql.layer },
  "@sluice/sql-mysql2": { server: mysql, client: MysqlSql.layer }
}

/** Everything a scenario has. */
export interface Scenario {
  readonly it: Vitest.MethodsNonLive<Server, true>
  readonly words: Drivers.Driver["words"]
  readonly sleep: (seconds: number) => Effect.Effect<ReadonlyArray<object>, SqlError, Sql.Sql>
  /**
   * Runs a body on a client of its own, then checks the books: nothing leased, nobody waiting, as many connections closed as
   * opened, and nothing of it left on the server.
   */
  readonly run: <A, E>(
    options: ClientOptions,
    body: (client: {
      readonly name: string
      readonly sessions: Effect.Effect<ReadonlyArray<Session>>
    }) => Effect.Effect<A, E, Sql.Sql | SqlClient | Topology.Topology | Server | Scope.Scope>
  ) => Effect.Effect<A, unknown, Server>
}

const books = Effect.map(Sql.stats, ({ read, write }) =>
  [write, ...read].every(
    (pool) => pool.using === 0 && pool.waiting === 0 && pool.quarantined === 0 && pool.resetting === 0
  )
)

/** Whether the server has as many sessions of the client as `count` says, besides the control connections that are open. */
export const pooled = (sessions: ReadonlyArray<Session>, count: (n: number) => boolean) =>
  Effect.map(Sql.stats, ({ control }) => count(sessions.length - control.reduce((sum, { open }) => sum + open, 0)))

export const booksBalance = eventually("the books balance", books)

/** Every scenario for each of our drivers that was selected (`CONTRACT_DRIVERS`). */
export const scenarios = (name: string, suite: (scenario: Scenario) => void): void => {
  for (const driver of Drivers.selected) {
    if (!driver.isOurs) continue
    const rig: Rig | undefined = rigs[driver.name as Drivers.Ours]
    if (rig === undefined) throw new Error(`${driver.name} has no rig: no fault scenario would be run for it`)
    const run: Scenario["run"] = (options, body) =>
      Effect.gen(function* () {
        const cluster = yield* Server
        const name = unique("fault")
        const sessions = cluster.sessions(name)
        const user = yield* cluster.login(name, options.room)
        const [result, sql] = yield* body({ name, sessions }).pipe(
          Effect.zipLeft(booksBalance),
          Effect.zip(Sql.Sql),
          Effect.scoped,
          Effect.provide(rig.client(common(name, user, cluster, options)))
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
      }).pipe(Effect.scoped)
    layer(rig.server, { excludeTestServices: true, timeout: "2 minutes" })(`${name}, ${driver.name}`, (it) =>
      suite({ it, run, words: driver.words, sleep: (seconds) => Sql.query(driver.words.sleep(seconds)) })
    )
  }
}

/** A proxy before the primary. */
export const proxy = Effect.flatMap(Server, ({ primary }) => FaultProxy.make({ target: primary }))

/** A proxy before the replica. */
export const replicaProxy = Effect.flatMap(Server, ({ replica }) => FaultProxy.make({ target: replica }))

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
