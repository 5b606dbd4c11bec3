/**
 * Three servers behind three proxies, for both databases: what can be done to them, and who follows whom.
 *
 * Only what the testkit does not do is here: a server that follows another one, and a promotion that loses no acknowledged write
 * because the last primary was fenced before.
 */
import { chownSync, closeSync, openSync, readSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Sql, Topology } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect, type Layer, Redacted, type Scope } from "effect"
import { within } from "../soak.js"

export type Database = "pg" | "mysql"

type Query = <Row extends object>(
  sql: string,
  params?: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<Row>, unknown>

/** One server and the proxy before it. */
export interface Server {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly proxy: FaultProxy.FaultProxy
  /** As an administrator, past the proxy. */
  readonly query: Query
  readonly stop: (mode: "fast" | "immediate") => Effect.Effect<void, unknown>
  readonly start: Effect.Effect<void, unknown>
  readonly pause: Effect.Effect<void, unknown>
  readonly resume: Effect.Effect<void, unknown>
  readonly log: Effect.Effect<string>
  /** Sessions of clients, without those of the testkit. */
  readonly sessions: Effect.Effect<number, unknown>
  /** Stops showing what the primary writes. It is received nevertheless. */
  readonly lag: Effect.Effect<unknown, unknown>
  readonly catchUp: Effect.Effect<unknown, unknown>
  /** A fault is at work here. */
  isBusy: boolean
}

export interface PromoteOptions {
  /** What happens before the last primary comes back as a replica. */
  readonly down: Effect.Effect<void>
  /** The last primary is not stopped, but takes no writes any more. Only MariaDB can do that: elsewhere it is stopped all the same. */
  readonly isInPlace: boolean
}

/** The servers and their roles now. */
export interface Servers {
  readonly all: ReadonlyArray<Server>
  primary: Server
  /**
   * Starts a server that does not run, as what it has to be. Clients of a replica are kept out until it takes no writes: the
   * testkit's MariaDB comes back as it was made.
   */
  readonly start: (server: Server) => Effect.Effect<void, unknown>
  /** Makes a server follow the primary, if it does not and is not the primary itself. */
  readonly follow: (server: Server) => Effect.Effect<void, unknown>
  /** Waits until a replica shows all that is committed on the primary now. */
  readonly caughtUp: (replica: Server) => Effect.Effect<boolean, unknown>
  /**
   * The primary takes no more writes, and when the next one has received everything that was ever acknowledged it is promoted. If
   * it does not receive that in time, the primary goes on.
   */
  readonly promote: (next: Server, options: PromoteOptions) => Effect.Effect<boolean, unknown>
}

/** What the workload needs of a database. */
export interface Kind {
  readonly name: string
  readonly make: Effect.Effect<Servers, unknown, Scope.Scope>
  readonly client: (servers: Servers, options: ClientOptions) => Layer.Layer<Sql.Sql | Topology.Topology, unknown>
  /** The placeholders of a statement as this database writes them; each is written as `?`. */
  readonly text: (statement: string) => string
}

export interface ClientOptions {
  readonly maxSize: number
  readonly failoverHold: "5 seconds" | undefined
}

const common = ({ all, primary }: Servers, { failoverHold, maxSize }: ClientOptions) => ({
  username: "sluice",
  password: Redacted.make("sluice"),
  database: "sluice",
  applicationName: "soak-chaos",
  primary: { host: "127.0.0.1", port: primary.proxy.port },
  replicas: all.filter((server) => server !== primary).map(({ proxy }) => ({ host: "127.0.0.1", port: proxy.port })),
  pool: { maxSize },
  ...(failoverHold === undefined ? {} : { failoverHold })
})

const PATIENCE = "10 seconds"

/** Bytes of `pg_control`: the state of the server, and where its last checkpoint is. */
const lastCheckpoint = (dataDir: string): string | undefined => {
  const file = openSync(join(dataDir, "global/pg_control"), "r")
  const bytes = Buffer.alloc(40)
  readSync(file, bytes, 0, 40, 0)
  closeSync(file)
  const isShutDown = bytes.readUInt32LE(16) === 1
  return isShutDown ? `${bytes.readUInt32LE(36).toString(16)}/${bytes.readUInt32LE(32).toString(16)}` : undefined
}

const postgresql: Effect.Effect<Servers, unknown, Scope.Scope> = Effect.gen(function* () {
  const cluster = yield* PgCluster.make({
    replicas: 2,
    settings: {
      // A primary that stops waits so long for a replica that is frozen.
      wal_sender_timeout: "5s",
      wal_receiver_timeout: "5s",
      // Transfers meet now and then, and ten connections are not to wait a second for each other.
      deadlock_timeout: "50ms"
    }
  })
  const nodes = new Map<Server, PgCluster.PgNode>()
  const all = yield* Effect.forEach(cluster.nodes, (node) =>
    Effect.map(FaultProxy.make({ target: node }), (proxy): Server => {
      const server: Server = {
        ...node,
        proxy,
        sessions: Effect.map(node.activity, ({ length }) => length),
        lag: node.query("select pg_wal_replay_pause()"),
        catchUp: node.query("select pg_wal_replay_resume()"),
        isBusy: false
      }
      nodes.set(server, node)
      return server
    })
  )
  const followed = new Map<Server, Server>(all.slice(1).map((server) => [server, all[0]!]))
  const aimAt = (server: Server, { name: _, port }: Server) =>
    server.query(
      `alter system set primary_conninfo = 'host=127.0.0.1 port=${port} user=sluice password=sluice application_name=${server.name}'`
    )
  const receives = (primary: Server, replica: Server) =>
    within(
      PATIENCE,
      Effect.orElseSucceed(
        Effect.map(
          primary.query("select 1 from pg_stat_replication where application_name = $1 and state = 'streaming'", [
            replica.name
          ]),
          ({ length }) => length > 0
        ),
        () => false
      )
    )
  const servers: Servers = {
    all,
    primary: all[0]!,
    start: (server) => server.start,
    follow: (server) =>
      server === servers.primary || followed.get(server) === servers.primary
        ? Effect.void
        : aimAt(server, servers.primary).pipe(
            Effect.zipRight(server.query("select pg_reload_conf()")),
            Effect.tap(() => Effect.sync(() => followed.set(server, servers.primary)))
          ),
    caughtUp: (replica) =>
      Effect.flatMap(servers.primary.query<{ at: string }>("select pg_current_wal_lsn()::text as at"), ([row]) =>
        within(
          "30 seconds",
          Effect.orElseSucceed(
            Effect.map(
              replica.query<{ there: boolean }>("select pg_last_wal_replay_lsn() >= $1::pg_lsn as there", [row!.at]),
              ([row]) => row?.there === true
            ),
            () => false
          )
        )
      ),
    promote: (next, { down }) =>
      Effect.gen(function* () {
        const last = servers.primary
        const { dataDir } = nodes.get(last)!
        if (!(yield* receives(last, next))) return false
        // It has this only while it is down, so that it can follow when it comes back.
        yield* aimAt(last, next)
        yield* last.stop("fast")
        const end = lastCheckpoint(dataDir)
        const hasAll =
          end !== undefined &&
          (yield* within(
            PATIENCE,
            Effect.orElseSucceed(
              Effect.map(
                next.query<{ has: boolean }>("select pg_last_wal_receive_lsn() > $1::pg_lsn as has", [end]),
                ([row]) => row?.has === true
              ),
              () => false
            )
          ))
        if (!hasAll) {
          yield* last.start
          return false
        }
        yield* nodes.get(next)!.promote
        servers.primary = next
        followed.delete(next)
        yield* down
        const signal = join(dataDir, "standby.signal")
        const { gid, uid } = statSync(dataDir)
        writeFileSync(signal, "")
        chownSync(signal, uid, gid)
        yield* last.start
        followed.set(last, next)
        return true
      })
  }
  return servers
})

/** Replicas that did not follow the first primary from the beginning log in as this user. */
const follower = "chaos_follower"

const mariadb: Effect.Effect<Servers, unknown, Scope.Scope> = Effect.gen(function* () {
  const cluster = yield* MariaDbCluster.make({ replicas: 2 })
  yield* cluster.primary.query(`create user ${follower}@'%' identified by '${follower}'`)
  yield* cluster.primary.query(`grant replication slave on *.* to ${follower}@'%'`)
  yield* cluster.awaitReplicated
  const nodes = new Map<Server, MariaDbCluster.MariaDbNode>()
  const all = yield* Effect.forEach(cluster.nodes, (node) =>
    Effect.map(FaultProxy.make({ target: node }), (proxy): Server => {
      const server: Server = {
        ...node,
        proxy,
        sessions: Effect.map(node.activity, (all) => all.filter(({ user }) => user === "sluice").length),
        lag: node.query("stop slave sql_thread"),
        catchUp: node.query("start slave sql_thread"),
        isBusy: false
      }
      nodes.set(server, node)
      return server
    })
  )
  const followed = new Map<Server, Server>(all.slice(1).map((server) => [server, all[0]!]))
  const reached = (server: Server, position: string, limit: number) =>
    Effect.map(
      server.query<{ late: number }>("select master_gtid_wait(?, ?) as late", [position, limit]),
      ([row]) => row?.late === 0
    )
  const position = (server: Server) =>
    Effect.map(server.query<{ at: string }>("select @@global.gtid_binlog_pos as at"), ([row]) => row!.at)
  const servers: Servers = {
    all,
    primary: all[0]!,
    start: (server) =>
      server === servers.primary
        ? server.start
        : server.proxy.refuse.pipe(
            Effect.zipRight(server.start),
            Effect.zipRight(server.query("set global read_only = on")),
            Effect.zipRight(server.proxy.heal)
          ),
    follow: (server) =>
      Effect.gen(function* () {
        const { primary } = servers
        const before = followed.get(server)
        if (server === primary || before === primary) return
        yield* server.query("set global read_only = on")
        if (before === undefined) yield* server.query("set global gtid_slave_pos = @@global.gtid_binlog_pos")
        else yield* server.query("stop slave")
        yield* server.query(
          `change master to master_host = '127.0.0.1', master_port = ${primary.port}, master_user = '${follower}',
             master_password = '${follower}', master_use_gtid = slave_pos, master_connect_retry = 1`
        )
        yield* server.query("start slave")
        followed.set(server, primary)
      }),
    caughtUp: (replica) => Effect.flatMap(position(servers.primary), (at) => reached(replica, at, 30)),
    promote: (next, { down, isInPlace }) =>
      Effect.gen(function* () {
        const last = servers.primary
        // Waits for the commits that are under way. What is acknowledged is in the log then.
        yield* last.query("set global read_only = on")
        if (!(yield* reached(next, yield* position(last), 10))) {
          yield* last.query("set global read_only = off")
          return false
        }
        if (!isInPlace) yield* last.stop("fast")
        yield* nodes.get(next)!.promote
        servers.primary = next
        followed.delete(next)
        yield* down
        if (!isInPlace) yield* servers.start(last)
        yield* servers.follow(last)
        return true
      })
  }
  return servers
})

export const kinds: Readonly<Record<Database, Kind>> = {
  pg: {
    name: "PostgreSQL",
    make: postgresql,
    client: (servers, options) => PgSql.layer(common(servers, options)),
    text: (statement) => {
      let n = 0
      return statement.replaceAll("?", () => `$${++n}`)
    }
  },
  mysql: {
    name: "MariaDB",
    make: mariadb,
    client: (servers, options) => MysqlSql.layer(common(servers, options)),
    text: (statement) => statement
  }
}
