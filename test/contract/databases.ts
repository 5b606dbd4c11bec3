/**
 * The databases under contract: how the suites reach the server of each, and how each says what all of them can say. What one
 * of them alone can do is in the suites that carry its name.
 */
import type { MysqlClient, MysqlClientConfig } from "@effect/sql-mysql2/MysqlClient"
import type { PgClient, PgClientConfig } from "@effect/sql-pg/PgClient"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Context, Effect, Layer, Redacted } from "effect"

/** What belongs to one database alone. */
export interface Kinds {
  postgresql: {
    readonly options: PgClientConfig
    readonly client: PgClient
    readonly cluster: PgCluster.PgCluster
  }
  mysql: {
    readonly options: MysqlClientConfig
    readonly client: MysqlClient
    readonly cluster: MariaDbCluster.MariaDbCluster
  }
}

export type Database = keyof Kinds

/** What a program may say to a client of any database. */
export type Common = Pick<PgClientConfig, keyof PgClientConfig & keyof MysqlClientConfig>

/** One session of a client, as the server shows it. */
export interface Session {
  readonly id: number
  readonly isRunning: boolean
  /** A statement is executed, and no longer only prepared. */
  readonly isExecuting: boolean
  /** Nothing runs, and as far as the server shows it no transaction is open. */
  readonly isIdle: boolean
  /** What runs; nobody knows what `text` has left of a session that does nothing. */
  readonly text: string
}

/** Where a client connects to, if not to the server itself and its first database. */
export interface Place {
  readonly port?: number | undefined
  readonly database?: string | undefined
  readonly password?: string | undefined
}

/** The server of a file. Its verbs use connections that no client has. */
export interface Service {
  readonly host: string
  readonly port: number
  /** The options of a client of this name, under which its sessions are found. */
  readonly client: (name: string, at?: Place) => Effect.Effect<Common, unknown>
  readonly url: (name: string, at?: Place) => Effect.Effect<Redacted.Redacted, unknown>
  readonly sessions: (name: string) => Effect.Effect<ReadonlyArray<Session>, unknown>
  /** Ends the sessions of the client of this name. */
  readonly end: (name: string) => Effect.Effect<unknown, unknown>
  readonly endSession: (id: number) => Effect.Effect<unknown, unknown>
  readonly query: (text: string) => Effect.Effect<ReadonlyArray<object>, unknown>
  /** `immediate` is a crash. */
  readonly restart: (mode: "fast" | "immediate") => Effect.Effect<unknown, unknown>
}

export class Server extends Context.Tag("test/contract/Server")<Server, Service>() {}

/** How a database says what every database can say. */
export interface Words {
  /** The n-th parameter in the text of a statement, counted from 1. */
  readonly placeholder: (n: number) => string
  /** The type of a column that numbers its rows. */
  readonly serial: string
  /** A statement that takes so many seconds. */
  readonly sleep: (seconds: number) => string
  /** The id of the session. */
  readonly session: string
  readonly currentDatabase: string
  readonly otherDatabase: string
  /** Drops the temporary table of this name, and not the one that it hides. */
  readonly dropTemporary: (name: string) => string
  /** A relation with the column i: 1 to n. */
  readonly series: (n: number) => string
  /** What the cause of an error has as its `code`. */
  readonly codes: {
    readonly unique: string
    readonly syntax: string
    readonly noTable: string
    readonly notNull: string
  }
  /** Gives, as `id`, the session that holds the lock of a shard of a cluster whose tables have this prefix. */
  readonly shardLock: (prefix: string) => string
  /** The name that a client of these options has, if they say one. */
  readonly nameIn: (options: Common) => string | undefined
}

export interface Entry<D extends Database> {
  /** One server for each file, with replicas if a test needs another one. */
  readonly layer: (options?: {
    readonly replicas?: number
  }) => Layer.Layer<Server | Kinds[D]["cluster"], PgCluster.PgClusterError | MariaDbCluster.MariaDbClusterError>
  readonly words: Words
}

const urlOf = (scheme: string, host: string, port: number, user: string, { database = "sluice", ...at }: Place) =>
  Redacted.make(`${scheme}://${user}:${at.password ?? "sluice"}@${host}:${at.port ?? port}/${database}`)

/** Sessions are told apart by the name of the application. */
const postgresql: Entry<"postgresql"> = {
  layer: (options) =>
    Layer.map(PgCluster.layer({ ...options, settings: { max_connections: 100 } }), (context) => {
      const { primary } = Context.get(context, PgCluster.PgCluster)
      const { host, port } = primary
      const url = (at: Place) => urlOf("postgres", host, port, "sluice", at)
      return Context.add(context, Server, {
        host,
        port,
        client: (applicationName, at = {}) => {
          const options: PgClientConfig = { url: url(at), applicationName }
          return Effect.succeed(options)
        },
        url: (_, at = {}) => Effect.succeed(url(at)),
        sessions: (name) =>
          Effect.map(primary.activity, (all) =>
            all
              .filter((one) => one.applicationName === name)
              .map(({ pid, query, state }) => ({
                id: pid,
                isRunning: state === "active",
                isExecuting: state === "active",
                isIdle: state === "idle",
                text: query
              }))
          ),
        end: (applicationName) => primary.terminateBackends({ applicationName }),
        endSession: (pid) => primary.query("select pg_terminate_backend($1)", [pid]),
        query: primary.query,
        restart: primary.restart
      })
    }),
  words: {
    placeholder: (n) => `$${n}`,
    serial: "int generated always as identity",
    sleep: (seconds) => `select pg_sleep(${seconds})`,
    session: "pg_backend_pid()",
    currentDatabase: "current_database()",
    otherDatabase: "postgres",
    dropTemporary: (name) => `drop table pg_temp.${name}`,
    series: (n) => `generate_series(1, ${n}) as series (i)`,
    codes: { unique: "23505", syntax: "42601", noTable: "42P01", notNull: "23502" },
    shardLock: () =>
      `select pid as id from pg_locks where locktype = 'advisory'
       and pid in (select pid from pg_stat_activity where application_name = current_setting('application_name'))`,
    nameIn: (options: PgClientConfig) => options.applicationName
  }
}

/** Sessions are told apart by their user: the server shows nothing else of a client. */
const mysql: Entry<"mysql"> = {
  layer: (options) =>
    Layer.map(MariaDbCluster.layer({ ...options, settings: { max_connections: 100 } }), (context) => {
      const { primary } = Context.get(context, MariaDbCluster.MariaDbCluster)
      const { host, port } = primary
      // Once for each name: a test may ask for its options again, and change one of them.
      const made = new Set<string>()
      const user = (name: string) =>
        Effect.suspend(() => {
          if (made.has(name)) return Effect.void
          made.add(name)
          return primary.query(`grant all on \`%\`.* to '${name}'@'%' identified by 'sluice'`)
        })
      const activity = (name: string) => Effect.map(primary.activity, (all) => all.filter((one) => one.user === name))
      return Context.add(context, Server, {
        host,
        port,
        client: (username, at = {}) =>
          Effect.as(user(username), {
            host,
            port: at.port ?? port,
            database: at.database ?? "sluice",
            username,
            password: Redacted.make(at.password ?? "sluice")
          }),
        url: (name, at = {}) => Effect.as(user(name), urlOf("mysql", host, port, name, at)),
        sessions: (name) =>
          Effect.map(activity(name), (all) =>
            all.map(({ command, id, query }) => ({
              id,
              isRunning: command !== "Sleep",
              isExecuting: command === "Query" || command === "Execute",
              isIdle: command === "Sleep",
              text: query ?? ""
            }))
          ),
        end: (user) => primary.terminateBackends({ user }),
        endSession: (id) => primary.terminateBackends({ id }),
        query: primary.query,
        restart: primary.restart
      })
    }),
  words: {
    placeholder: () => "?",
    serial: "int auto_increment",
    sleep: (seconds) => `select sleep(${seconds})`,
    session: "connection_id()",
    currentDatabase: "database()",
    otherDatabase: "mysql",
    dropTemporary: (name) => `drop temporary table ${name}`,
    series: (n) => `(select seq as i from seq_1_to_${n}) as series`,
    codes: {
      unique: "ER_DUP_ENTRY",
      syntax: "ER_PARSE_ERROR",
      noTable: "ER_NO_SUCH_TABLE",
      notNull: "ER_NO_DEFAULT_FOR_FIELD"
    },
    shardLock: (prefix) => `select is_used_lock('${prefix}.default:1') as id`,
    nameIn: ({ url, username }) => (url === undefined ? username : new URL(Redacted.value(url)).username)
  }
}

export const databases: { readonly [D in Database]: Entry<D> } = { postgresql, mysql }
