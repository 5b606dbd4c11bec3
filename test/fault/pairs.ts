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

/** A cluster of one primary and one replica, whatever its kind. */
interface Cluster<E> {
  readonly primary: Started<E>
  readonly replicas: ReadonlyArray<Started<E>>
  readonly awaitReplicated: Effect.Effect<void, E>
}

interface Started<E> extends Pick<Server, "host" | "port"> {
  readonly promote: Effect.Effect<void, E>
  readonly stop: (mode: "fast") => Effect.Effect<void, E>
  readonly query: (sql: string) => Effect.Effect<ReadonlyArray<any>, E>
}

const pairOf = <E>(make: Effect.Effect<Cluster<E>, E, Scope.Scope>): Kind["pair"] =>
  Effect.gen(function* () {
    const { awaitReplicated, primary, replicas } = yield* make
    yield* primary.query(table)
    yield* awaitReplicated
    const server = ({ host, port, promote, query, stop }: Started<E>): Server => ({
      host,
      port,
      promote,
      stop: stop("fast"),
      count: query(counted)
    })
    return [server(primary), server(replicas[0]!)] as const
  })

const local = ({ port }: { readonly port: number }) => ({ host: "127.0.0.1", port })

const clientOf =
  (connect: Kind["connect"]): Kind["client"] =>
  (primary, replicas, more = {}) =>
    connect({ primary: local(primary), replicas: replicas.map(local), ...more })

const postgresql: Kind["connect"] = (more) => PgSql.layer({ ...login, ...options, ...more })

const mariaDb: Kind["connect"] = (more) => MysqlSql.layer({ ...login, ...options, ...more })

export const kinds: ReadonlyArray<Kind> = [
  {
    name: "PostgreSQL",
    pair: pairOf(PgCluster.make({ replicas: 1 })),
    connect: postgresql,
    client: clientOf(postgresql),
    insert: (id) => Sql.query("insert into entries (id) values ($1)", [id])
  },
  {
    name: "MariaDB",
    pair: pairOf(MariaDbCluster.make({ replicas: 1 })),
    connect: mariaDb,
    client: clientOf(mariaDb),
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
