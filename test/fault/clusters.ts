/**
 * The servers of the fault scenarios, for tests and for `pnpm faults`: what can happen to them, and what they know of a client.
 * This file knows no test runner.
 */
import { MysqlSql } from "@sluice/sql-mysql2"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Context, Effect, Layer, type Scope } from "effect"
import { eventually } from "../../packages/sql/test/support/eventually.js"
import type { Database } from "../contract/databases.js"

/** A server process. */
export interface Node {
  readonly host: string
  readonly port: number
  /** Ends every session, then the server; returns when it is gone. */
  readonly stop: Effect.Effect<void, unknown>
  /** Returns when the server accepts connections again. */
  readonly start: Effect.Effect<void, unknown>
  /** Runs one statement as the administrator. */
  readonly query: (text: string) => Effect.Effect<ReadonlyArray<object>, unknown>
  /** Makes a replica a primary; returns when it takes writes. */
  readonly promote: Effect.Effect<void, unknown>
  /** The sessions stay, and their writes are refused: a primary that is about to be replaced. */
  readonly demote: Effect.Effect<void, unknown>
  /** A replica receives, and no longer shows what it receives; and shows it again. */
  readonly holdBack: Effect.Effect<void, unknown>
  readonly catchUp: Effect.Effect<void, unknown>
}

/** What the server says about one connection. */
export interface Session {
  readonly isRunning: boolean
  readonly inTransaction: boolean
}

/** A server, its replicas, and what they know. */
export interface Cluster {
  readonly database: Database
  readonly primary: Node
  readonly replicas: ReadonlyArray<Node>
  /** Every replica shows what was committed before this. */
  readonly awaitReplicated: Effect.Effect<void, unknown>
  /** The sessions of the client of this name, on all servers. Works while a server is down: then it has none. */
  readonly sessions: (name: string) => Effect.Effect<ReadonlyArray<Session>>
  /** Ends them: what a broken path has left behind is nobody's fault. */
  readonly end: (name: string) => Effect.Effect<void>
  /**
   * The user of the client of this name; also its password. Given `room`, the server lets in so many connections of it, and
   * refuses the next one because there are too many, for as long as the scope lives.
   */
  readonly login: (name: string, room?: number | undefined) => Effect.Effect<string, unknown, Scope.Scope>
  /** A user of this name, whose password is the second one from now on. */
  readonly setPassword: (name: string, password: string) => Effect.Effect<void, unknown>
}

export class Server extends Context.Tag("test/fault/Server")<Server, Cluster>() {}

/** Of every node; one that is down has none. */
const everywhere = <N, A>(nodes: ReadonlyArray<N>, sessions: (node: N) => Effect.Effect<ReadonlyArray<A>, unknown>) =>
  Effect.map(
    Effect.forEach(nodes, (node) => Effect.orElseSucceed(sessions(node), (): ReadonlyArray<A> => [])),
    (all) => all.flat()
  )

const postgresql = (replicas: number) =>
  Layer.map(PgCluster.layer({ replicas }), (context) => {
    const cluster = Context.get(context, PgCluster.PgCluster)
    const node = ({ host, port, promote, query, start, stop }: PgCluster.PgNode): Node => ({
      host,
      port,
      start,
      stop: stop("fast"),
      query,
      promote,
      demote: Effect.zipRight(
        query("alter system set default_transaction_read_only = on"),
        Effect.asVoid(query("select pg_reload_conf()"))
      ),
      holdBack: Effect.asVoid(query("select pg_wal_replay_pause()")),
      catchUp: Effect.asVoid(query("select pg_wal_replay_resume()"))
    })
    const setPassword = (name: string, password: string) =>
      Effect.asVoid(
        cluster.primary.query(
          `do $$ begin
             if not exists (select from pg_roles where rolname = '${name}') then create role ${name} login; end if;
             alter role ${name} password '${password}';
           end $$`
        )
      )
    return Context.make(Server, {
      database: "postgresql",
      primary: node(cluster.primary),
      replicas: cluster.replicas.map(node),
      awaitReplicated: cluster.awaitReplicated,
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
            ),
      setPassword
    })
  })

/** The least that MariaDB takes for `max_connections`. */
const LEAST = 10

/** The server shows nothing of a client but its user, so each has one of its own. */
const mysql = (replicas: number) =>
  Layer.map(MariaDbCluster.layer({ replicas, settings: { max_connections: 300 } }), (context) => {
    const cluster = Context.get(context, MariaDbCluster.MariaDbCluster)
    const { primary } = cluster
    const node = ({ host, port, promote, query, start, stop }: MariaDbCluster.MariaDbNode): Node => ({
      host,
      port,
      start,
      stop: stop("fast"),
      query,
      promote,
      demote: Effect.asVoid(query("set global read_only = 1")),
      holdBack: Effect.asVoid(query("stop slave sql_thread")),
      catchUp: Effect.asVoid(query("start slave sql_thread"))
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
    const setPassword = (name: string, password: string) =>
      Effect.asVoid(primary.query(`grant all on sluice.* to '${name}'@'%' identified by '${password}'`))
    return Context.make(Server, {
      database: "mysql",
      primary: node(primary),
      replicas: cluster.replicas.map(node),
      awaitReplicated: cluster.awaitReplicated,
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
        setPassword(name, name).pipe(
          Effect.zipRight(cluster.awaitReplicated),
          Effect.zipRight(room === undefined ? Effect.void : crowd(room)),
          Effect.as(name)
        ),
      setPassword
    })
  })

/** A server with so many replicas, for each database. Without an entry here it has no fault scenario. */
export const clusters: { readonly [D in Database]: (replicas: number) => Layer.Layer<Server, unknown> } = {
  postgresql,
  mysql
}
