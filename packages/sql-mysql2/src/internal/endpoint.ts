import type { SqlError } from "@effect/sql/SqlError"
import * as Endpoints from "@sluice/sql/driver/Endpoints"
import { type Effect, Redacted } from "effect"
import type { EndpointConfig, MysqlSqlConfig } from "../Config.js"
import { PreparedStatements } from "./session/prepared.js"
import * as Mysql from "./wire/mysql.js"

/** What MySQL adds to an endpoint. */
interface Own {
  readonly resetOnRelease: "auto" | "always" | "never"
  /** Whether statements are prepared. */
  readonly prepares: boolean
  /** What its connections have found out about prepared statements. */
  readonly prepared: PreparedStatements
  /** The end of a SET statement that gives a session the character set of the configuration again. */
  readonly names: string
}

/** Where to connect to, with every default applied. */
export interface Endpoint extends Endpoints.Endpoint<Mysql.Wire>, Own {}

/** Prepared statements kept by each connection. More cost memory of the server, fewer cost planning. */
const MAX_PLANS = 100

/** Options of `mysql2` that belong to the pool or have a field of their own in `MysqlSqlConfig`, each with the name to use instead. */
const otherNames: Readonly<Record<string, string>> = {
  uri: "url",
  host: "host",
  port: "port",
  user: "username",
  password: "password",
  database: "database",
  socketPath: "path",
  ssl: "ssl",
  connectTimeout: "pool.connectTimeout",
  connectionLimit: "pool.maxSize",
  maxIdle: "pool.minIdle",
  idleTimeout: "pool.idleTimeout",
  queueLimit: "pool.maxWaiters",
  waitForConnections: "pool.acquireTimeout",
  rowsAsArray: "the values of a statement",
  multipleStatements: "nothing: it is always on",
  isServer: "nothing",
  pool: "pool"
}

const connectionOptions = (config: MysqlSqlConfig, at: EndpointConfig, password?: string): Record<string, unknown> => {
  const { connectAttributes, ...more } = config.mysql2 ?? {}
  const { ssl } = at
  const fields = {
    host: at.host,
    port: at.port,
    database: at.database,
    user: at.username,
    password: Redacted.isRedacted(at.password) ? Redacted.value(at.password) : undefined,
    socketPath: at.path
  }
  return {
    supportBigNumbers: true,
    maxPreparedStatements: MAX_PLANS,
    keepAliveInitialDelay: 10_000,
    ...more,
    ...(at.url === undefined ? fields : { uri: Redacted.value(at.url) }),
    ...(password === undefined ? {} : { password }),
    ...(ssl === undefined ? {} : { ssl: typeof ssl === "object" ? { ...ssl } : ssl }),
    multipleStatements: true,
    enableKeepAlive: true,
    // Off, because the pool bounds the whole connect, and `mysql2` only a part of it.
    connectTimeout: 0,
    connectAttributes: { program_name: config.applicationName ?? "@sluice/sql-mysql2", ...connectAttributes }
  }
}

const namesOf = (number: number): string => {
  for (const [name, value] of Object.entries(Mysql.charsets)) {
    if (value !== number) continue
    const collation = name.toLowerCase()
    if (collation === "binary") return "NAMES binary"
    if (/_(?:ci|bin|cs)$/.test(collation)) {
      return `NAMES ${collation.slice(0, collation.indexOf("_"))} COLLATE ${collation}`
    }
  }
  return "NAMES utf8mb4"
}

const problemsOf = ({ mysql2 = {} }: MysqlSqlConfig): ReadonlyArray<string> =>
  Object.keys(mysql2).flatMap((option) => {
    const here = otherNames[option]
    return here === undefined ? [] : [`mysql2.${option} has another name here: ${here}`]
  })

/** Every endpoint, or everything that is wrong with them. */
export const resolve = (config: MysqlSqlConfig): Effect.Effect<Endpoints.Resolved<Endpoint>, SqlError> =>
  Endpoints.resolve<EndpointConfig, Mysql.Wire, Own>(config, {
    module: "MysqlSql",
    database: "MySQL",
    scheme: "mysql",
    isUrl: /^(?:mysql|mariadb):\/\//i,
    urlForm: "mysql:// or mariadb:// (mysql://user:password@host:3306/database)",
    problems: problemsOf(config),
    // `mysql2` says what is wrong with an option, and does not quote the url.
    explain: (error) => error.message,
    read: (at) => {
      // Made anew each time, because a connection changes the options that it is made with.
      const options = (password?: string) => connectionOptions(config, at, password)
      const { charsetNumber, database, host, password, port, socketPath, user } = new Mysql.ConnectionConfig(options())
      return {
        host,
        port,
        path: socketPath,
        database: database || undefined,
        user: user ?? "",
        password,
        client: (password) => Mysql.createConnection(options(password)),
        more: {
          resetOnRelease: config.resetOnRelease ?? "auto",
          prepares: config.prepare !== false,
          prepared: new PreparedStatements(),
          names: namesOf(charsetNumber)
        }
      }
    }
  })
