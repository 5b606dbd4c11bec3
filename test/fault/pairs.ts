/** Clusters of our own for tests that change the roles of servers, which cannot be taken back, and a client of each kind. */
import { Sql, type Topology } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect, type Layer, Logger, Redacted, type Scope } from "effect"

export interface Server {
  readonly host: string
  readonly port: number
  readonly stop: Effect.Effect<void, unknown>
  readonly promote: Effect.Effect<void, unknown>
  readonly count: Effect.Effect<ReadonlyArray<{ readonly n: unknown }>, unknown>
}

export interface Kind {
  readonly name: string
  /** A primary, and a replica that has its table `entries`. */
  readonly pair: Effect.Effect<readonly [Server, Server], unknown, Scope.Scope>
  /** With these options, and a login that every server has. */
  readonly connect: (options: object) => Layer.Layer<Sql.Sql | Topology.Topology, unknown>
  readonly client: (
    primary: { readonly port: number },
    replicas: ReadonlyArray<{ readonly port: number }>,
    options?: object
  ) => Layer.Layer<Sql.Sql | Topology.Topology, unknown>
  readonly insert: (id: string) => Effect.Effect<unknown, unknown, Sql.Sql>
}

const table = "create table entries (id varchar(40) not null, at timestamp default current_timestamp)"
export const counted = "select count(*) as n from entries"
const login = {
  username: "sluice",
  password: Redacted.make("sluice"),
  database: "sluice",
  duplicates: "allow"
} as const
const options = { pool: { maxSize: 10, acquireTimeout: "20 seconds" } } as const

export const kinds: ReadonlyArray<Kind> = [
  {
    name: "PostgreSQL",
    pair: Effect.gen(function* () {
      const cluster = yield* PgCluster.make({ replicas: 1 })
      yield* cluster.primary.query(table)
      yield* cluster.awaitReplicated
      const server = ({ host, port, promote, query, stop }: PgCluster.PgNode): Server => ({
        host,
        port,
        promote,
        stop: stop("fast"),
        count: query(counted)
      })
      return [server(cluster.primary), server(cluster.replicas[0]!)] as const
    }),
    connect: (more) => PgSql.layer({ ...login, ...options, ...more }),
    client: ({ port }, replicas, more = {}) =>
      PgSql.layer({
        ...login,
        ...options,
        primary: { host: "127.0.0.1", port },
        replicas: replicas.map(({ port }) => ({ host: "127.0.0.1", port })),
        ...more
      }),
    insert: (id) => Sql.query("insert into entries (id) values ($1)", [id])
  },
  {
    name: "MariaDB",
    pair: Effect.gen(function* () {
      const cluster = yield* MariaDbCluster.make({ replicas: 1 })
      yield* cluster.primary.query(table)
      yield* cluster.awaitReplicated
      const server = ({ host, port, promote, query, stop }: MariaDbCluster.MariaDbNode): Server => ({
        host,
        port,
        promote,
        stop: stop("fast"),
        count: query(counted)
      })
      return [server(cluster.primary), server(cluster.replicas[0]!)] as const
    }),
    connect: (more) => MysqlSql.layer({ ...login, ...options, ...more }),
    client: ({ port }, replicas, more = {}) =>
      MysqlSql.layer({
        ...login,
        ...options,
        primary: { host: "127.0.0.1", port },
        replicas: replicas.map(({ port }) => ({ host: "127.0.0.1", port })),
        ...more
      }),
    insert: (id) => Sql.query("insert into entries (id) values (?)", [id])
  }
]

/** What is logged, as `LEVEL text`. */
export const logged = Effect.sync(() => {
  const logs: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    logs.push(`${logLevel.label} ${String(message)}`)
  })
  return { logs, layer: Logger.replace(Logger.defaultLogger, logger) }
})
