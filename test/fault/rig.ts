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
import { FaultProxy } from "@sluice/testkit"
import { Effect, type Layer, Redacted, type Scope } from "effect"
import { eventually, unique } from "../contract/contract.js"
import * as Drivers from "../contract/drivers.js"
import { type Cluster, clusters, Server, type Session } from "./clusters.js"

export { Server, type Session } from "./clusters.js"

/** How a scenario wants its client. */
export interface ClientOptions {
  /** Where the primary is reached. Default: itself. */
  readonly via?: { readonly port: number } | undefined
  readonly withReplica?: boolean | undefined
  /** Another address of the replica, which counts as a second one. */
  readonly replicaVia?: { readonly port: number } | undefined
  readonly pool?: PoolConfig | undefined
}

/** What every driver of ours is told alike. */
const common = (name: string, user: string, { primary, replicas: [replica] }: Cluster, options: ClientOptions) => ({
  applicationName: name,
  pool: options.pool,
  duplicates: "allow" as const,
  username: user,
  password: Redacted.make(user),
  database: "sluice",
  primary: { host: primary.host, port: (options.via ?? primary).port },
  replicas: [
    ...(options.withReplica === true ? [{ host: replica!.host, port: replica!.port }] : []),
    ...(options.replicaVia === undefined ? [] : [{ host: replica!.host, port: options.replicaVia.port }])
  ]
})

interface Rig {
  readonly client: (
    options: ReturnType<typeof common>
  ) => Layer.Layer<Sql.Sql | SqlClient | Topology.Topology, SqlError>
}

/** One for each driver of ours: without it neither does this compile nor a suite of this folder begin. */
const rigs: Readonly<Record<Drivers.Ours, Rig>> = {
  "@sluice/sql-pg": { client: PgSql.layer },
  "@sluice/sql-mysql2": { client: MysqlSql.layer }
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
        const user = yield* cluster.login(name)
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
    layer(clusters[driver.database](1), { excludeTestServices: true, timeout: "2 minutes" })(
      `${name}, ${driver.name}`,
      (it) => suite({ it, run, words: driver.words, sleep: (seconds) => Sql.query(driver.words.sleep(seconds)) })
    )
  }
}

/** A proxy before the primary. */
export const proxy = Effect.flatMap(Server, ({ primary }) => FaultProxy.make({ target: primary }))

/** A proxy before the replica. */
export const replicaProxy = Effect.flatMap(Server, ({ replicas: [replica] }) => FaultProxy.make({ target: replica! }))

export const times = <A, E, R>(n: number, effect: Effect.Effect<A, E, R>) =>
  Effect.all(
    Array.from({ length: n }, () => effect),
    { concurrency: "unbounded" }
  )

export const running = (count: number, sessions: Effect.Effect<ReadonlyArray<Session>>) =>
  Effect.map(sessions, (all) => all.filter(({ isRunning }) => isRunning).length === count)
