/**
 * Sentences that only our drivers have to keep: typed failures, cancels, pins, recovery. One source for every driver of ours;
 * what the databases say or do differently stands in `Dialect`.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import { assert, layer, type Vitest } from "@effect/vitest"
import { Sql, SqlReason, type Topology } from "@sluice/sql"
import type { Configured } from "@sluice/sql/driver"
import type { ConnectionState } from "@sluice/sql/driver/Driver"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { type ConfigError, Effect, type Layer, type Scope } from "effect"
import { describe } from "vitest"
import * as MysqlDriver from "../../packages/sql-mysql2/src/internal/driver.js"
import * as MysqlEndpoint from "../../packages/sql-mysql2/src/internal/endpoint.js"
import * as PgDriver from "../../packages/sql-pg/src/internal/driver.js"
import * as PgEndpoint from "../../packages/sql-pg/src/internal/endpoint.js"
import { booksBalance, eventually, noSessions, unique } from "./contract.js"
import { type Common, type Database, databases, type Place, Server, type Words } from "./databases.js"
import * as Drivers from "./drivers.js"

/** What all our drivers can be told. */
export type Options = Omit<
  Pick<PgSql.PgSqlConfig, keyof PgSql.PgSqlConfig & keyof MysqlSql.MysqlSqlConfig>,
  "ssl" | "primary" | "replicas" | "hosts"
> & { readonly hosts?: ReadonlyArray<Pick<PgSql.PgSqlConfig, "url" | "host" | "port">> }

/** How a failure is told whose connection was taken away. */
interface Lost {
  readonly tags: ReadonlyArray<SqlReason.Tag>
  /** Left out where the server, or the network, may say one thing or another. */
  readonly code?: string
  readonly says?: RegExp
}

/** One connection of the driver, without a pool. */
export interface Connection {
  readonly execute: (sql: string) => Effect.Effect<ReadonlyArray<object>, SqlError>
  /** Condemns what is under way at the moment of the call. */
  readonly abort: () => Effect.Effect<void, SqlError>
  readonly status: () => ConnectionState
}

/** What our drivers say or do differently. */
export interface Dialect {
  /** The value of the column of `words.sleep`. */
  readonly slept: unknown
  /** Connections beside the pool that a client has once it has cancelled something. */
  readonly controls: number
  /** A statement that fails aborts its transaction. */
  readonly aborts: boolean
  /** Texts that end a transaction behind the back of `withTransaction`. */
  readonly endings: ReadonlyArray<string>
  /** Whether the session has a transaction open: the column `open`, which is 0 or 1. */
  readonly open: string
  /** Keeps everybody else from reading a table, for as long as it runs; `locked` is run once it does. */
  readonly lock: (table: string, locked: Effect.Effect<unknown>) => Effect.Effect<never, SqlError, Sql.Sql>
  /** The options of a client that comes through a Unix socket. */
  readonly bySocket: (socket: { readonly folder: string; readonly path: string }, options: Options) => Options
  readonly createUser: (name: string, password: string) => ReadonlyArray<string>
  readonly setPassword: (name: string, password: string) => string
  readonly lostBy: Readonly<Record<"administrator" | "fast" | "immediate", Lost>>
  /** How a url begins, one of another database, and what the Layer says of that. */
  readonly scheme: string
  readonly otherScheme: string
  readonly urlBegins: RegExp
  readonly noTls: RegExp
  /** TLS where the server has none. */
  readonly tls: (options: Common) => Layer.Layer<Sql.Sql | SqlClient, SqlError>
  /** What other servers say first; `undefined`: a server of HTTP, which waits for the client. */
  readonly foreign: Readonly<Record<string, Buffer | undefined>>
  /** Those of them that are found out at once, and what the failure says of them. For the others the driver waits. */
  readonly recognised: { readonly names: ReadonlyArray<string>; readonly says: RegExp }
  readonly layer: (options: Options) => Layer.Layer<Sql.Sql | SqlClient | Topology.Topology, SqlError>
  readonly make: (options: Options) => Effect.Effect<{ readonly client: SqlClient }, SqlError, Scope.Scope>
  readonly layerConfig: (
    config: Configured.Configured<Options & { readonly replicas?: ReadonlyArray<Pick<Options, "url">> | undefined }>
  ) => Layer.Layer<Sql.Sql | SqlClient, SqlError | ConfigError.ConfigError>
  /** The driver's own client, which its Layer provides too. */
  readonly client: Effect.Effect<unknown>
  /** A connection, which can be aborted. */
  readonly connect: (options: Options) => Effect.Effect<Connection, SqlError, Scope.Scope>
}

export * from "../../packages/sql/test/support/checks.js"

const signals = { broken: () => {}, fatal: () => {}, isEnding: () => false }

const postgresql: Dialect = {
  slept: "",
  controls: 0,
  aborts: true,
  endings: ["commit"],
  open: "(pg_current_xact_id_if_assigned() is not null)::int",
  lock: (table, locked) =>
    Sql.withTransaction(
      Sql.query(`lock table ${table} in access exclusive mode`).pipe(
        Effect.zipRight(locked),
        Effect.zipRight(Effect.never)
      )
    ),
  bySocket: ({ folder }, options) => ({ ...options, path: folder }),
  createUser: (name, password) => [`create role ${name} login password '${password}'`],
  setPassword: (name, password) => `alter role ${name} password '${password}'`,
  lostBy: {
    administrator: { tags: ["ServerShutdown"], code: "57P01" },
    fast: { tags: ["ServerShutdown"], code: "57P01", says: /administrator command \(57P01\)/ },
    // A server that stops at once has no time for an error, only for a warning.
    immediate: { tags: ["ServerShutdown"], code: "57P01", says: /immediate shutdown command \(57P01\)/ }
  },
  scheme: "postgres",
  otherScheme: "mysql",
  urlBegins: /url must begin with postgres:\/\//,
  noTls: /set ssl to false/i,
  tls: (options) => PgSql.layer({ ...Drivers.ours.postgresql(options), ssl: true }),
  foreign: {
    http: undefined,
    mysql: Buffer.from([0x4a, 0, 0, 0, 0x0a, 0x35, 0x2e, 0x35, 0, 0, 0, 0]),
    ssh: Buffer.from("SSH-2.0-OpenSSH_9.2\r\n")
  },
  recognised: { names: ["http", "mysql"], says: /does not speak PostgreSQL's protocol/i },
  layer: PgSql.layer,
  make: PgSql.make,
  layerConfig: PgSql.layerConfig,
  client: PgClient.PgClient as unknown as Effect.Effect<unknown>,
  connect: (options) =>
    Effect.gen(function* () {
      const { primary } = yield* PgEndpoint.resolve(options)
      const { driver } = PgDriver
      const connection = yield* driver.connect(primary, signals)
      return {
        execute: (sql) => driver.execute(connection, sql, [], "rows"),
        abort: () => driver.abort(connection),
        status: () => driver.status(connection)
      }
    })
}

const mysql: Dialect = {
  slept: 0,
  controls: 1,
  aborts: false,
  endings: ["commit", "rollback", "do 0; commit"],
  open: "@@in_transaction",
  lock: (table, locked) =>
    Sql.withConnection(
      Sql.query(`lock tables ${table} write`).pipe(Effect.zipRight(locked), Effect.zipRight(Effect.never))
    ),
  bySocket: ({ path }, options) => ({ ...options, path }),
  createUser: (name, password) => [
    `create or replace user '${name}'@'%' identified by '${password}'`,
    `grant all on sluice.* to '${name}'@'%'`
  ],
  setPassword: (name, password) => `alter user '${name}'@'%' identified by '${password}'`,
  lostBy: {
    // MariaDB closes the socket, as a rule without a word.
    administrator: { tags: ["ConnectionLost", "ServerShutdown"] },
    fast: { tags: ["ConnectionLost", "ServerShutdown"] },
    immediate: { tags: ["ConnectionLost", "ServerShutdown"] }
  },
  scheme: "mysql",
  otherScheme: "postgres",
  urlBegins: /url must begin with mysql:\/\//,
  noTls: /leave ssl out/i,
  tls: (options) => MysqlSql.layer({ ...Drivers.ours.mysql(options), ssl: {} }),
  foreign: {
    http: undefined,
    ssh: Buffer.from("SSH-2.0-OpenSSH_9.2\r\n"),
    garbage: Buffer.from([5, 0, 0, 0, 1, 2, 3, 4, 5])
  },
  recognised: { names: [], says: /MySQL/ },
  layer: MysqlSql.layer,
  make: MysqlSql.make,
  layerConfig: MysqlSql.layerConfig,
  client: MysqlClient.MysqlClient as unknown as Effect.Effect<unknown>,
  connect: (options) =>
    Effect.gen(function* () {
      const { primary } = yield* MysqlEndpoint.resolve(options)
      const { driver } = MysqlDriver
      const other = yield* driver.connect(primary, signals)
      const connection = yield* driver.connect(primary, signals, (f) => f(other))
      return {
        execute: (sql) => driver.execute(connection, sql, [], "unprepared"),
        abort: () => driver.abort(connection),
        status: () => driver.status(connection)
      }
    })
}

const dialects: { readonly [D in Database]: Dialect } = { postgresql, mysql }

/** What a suite has, for one driver of ours. */
export interface Subject {
  readonly it: Vitest.MethodsNonLive<Server, true>
  readonly database: Database
  readonly words: Words
  readonly dialect: Dialect
  /** The options of a client of this name, which reaches the server at `at`. */
  readonly optionsOf: (name: string, at?: Place) => Effect.Effect<Options, unknown, Server>
  /**
   * Runs a test body on a pool of its own, then checks the books: nothing leased, nobody waiting, and after the scope has
   * closed not one session of it left on the server. The body gets the name under which the server knows its sessions.
   */
  readonly onPool: <A, E, R>(
    options: Options & { readonly at?: Place },
    body: (name: string) => Effect.Effect<A, E, R | Sql.Sql | SqlClient>
  ) => Effect.Effect<A, unknown, Exclude<R, Sql.Sql | SqlClient> | Server>
  /** The session that the next statement runs in. */
  readonly session: Effect.Effect<number, SqlError, Sql.Sql>
  readonly sleep: (seconds: number) => Effect.Effect<ReadonlyArray<object>, SqlError, Sql.Sql>
  readonly insert: (table: string, id: number) => Effect.Effect<unknown, SqlError, Sql.Sql>
  /** Ends all sessions of this name. */
  readonly end: (name: string) => Effect.Effect<unknown, unknown, Server>
}

const subjectOf = (database: Database, it: Subject["it"]): Subject => {
  const { words } = databases[database]
  const dialect = dialects[database]
  const optionsOf: Subject["optionsOf"] = (name, at) =>
    Effect.flatMap(Server, (server) =>
      Effect.map(server.client(name, at), (client) => Drivers.ours[database](client) as Options)
    )
  return {
    it,
    database,
    words,
    dialect,
    optionsOf,
    onPool: ({ at, ...options }, body) =>
      Effect.gen(function* () {
        const name = unique("ours")
        const own = yield* optionsOf(name, at)
        const result = yield* body(name).pipe(
          Effect.zipLeft(booksBalance),
          Effect.provide(dialect.layer({ ...own, ...options }))
        )
        yield* noSessions(name)
        return result
      }) as any,
    session: Effect.map(Sql.query<{ id: number }>(`select ${words.session} as id`), (rows) => rows[0]!.id),
    sleep: (seconds) => Sql.query(words.sleep(seconds)),
    insert: (table, id) => Sql.query(`insert into ${table} values (${words.placeholder(1)})`, [id]),
    end: (name) => Effect.flatMap(Server, (server) => server.end(name))
  }
}

/** The same sentences for each of our drivers, one after the other, on one server for each file and database. */
export const ours = (name: string, suite: (subject: Subject) => void): void => {
  for (const database of Object.keys(databases) as Array<Database>) {
    const { name: driver } = Drivers.pair(database).ours
    if (!Drivers.selected.some((one) => one.name === driver)) continue
    layer(databases[database].layer() as Layer.Layer<Server, unknown>, {
      excludeTestServices: true,
      timeout: "2 minutes"
    })(name, (it) => {
      describe(driver, () => suite(subjectOf(database, it)))
    })
  }
}

/** A statement of this client is executed that contains `text`. */
export const executing = (name: string, text: string, count = 1) =>
  Effect.flatMap(Server, (server) =>
    eventually(
      `${text} runs`,
      Effect.map(
        server.sessions(name),
        (all) => all.filter((one) => one.isExecuting && one.text.includes(text)).length === count
      )
    )
  )

export const nothingRuns = (name: string) =>
  Effect.flatMap(Server, (server) =>
    eventually(
      "nothing runs on the server",
      Effect.map(server.sessions(name), (all) => all.every((one) => one.isIdle))
    )
  )

/** Asserts that a failure says what this kind of loss says. */
export const assertLost = (error: unknown, { code, says, tags }: Lost): SqlReason.SqlReason => {
  const reason = SqlReason.of(error)
  assert.include(tags, reason._tag)
  if (code !== undefined) assert.strictEqual(reason.code, code)
  if (says !== undefined) assert.match((error as Error).message, says)
  return reason
}
