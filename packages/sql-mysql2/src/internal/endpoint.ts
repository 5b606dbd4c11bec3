import type { SqlError } from "@effect/sql/SqlError"
import { invalidOptions, isPort, portProblem, unreadablePassword } from "@sluice/sql/driver/Classify"
import { RoundTrip } from "@sluice/sql/driver/Profile"
import { Duration, Effect, Redacted } from "effect"
import type { EndpointConfig, MysqlSqlConfig } from "../MysqlSql.js"
import * as Mysql from "./wire/mysql.js"

/** Where to connect to, with every default applied. */
export interface Endpoint {
  readonly host: string
  readonly port: number
  /** Path of the server's Unix socket, instead of `host` and `port`. */
  readonly path: string | undefined
  readonly database: string | undefined
  readonly user: string
  /** For tools that connect by themselves, such as `mysqldump`. */
  readonly password: Redacted.Redacted | undefined
  /** For messages and names: `host:port/database`. */
  readonly label: string
  readonly resetOnRelease: "auto" | "always" | "never"
  /** Whether statements are prepared. */
  readonly prepares: boolean
  /** Milliseconds; 0 is off. */
  readonly statementTimeout: number
  /** Of a packet, there and back. */
  readonly roundTrip: RoundTrip
  /** What makes the character set that of the configuration again. */
  readonly names: string
  /** With the password that is valid now. */
  readonly open: Effect.Effect<Mysql.Wire, SqlError>
}

/** Prepared statements kept by each connection. More cost memory of the server, fewer cost planning. */
const MAX_PLANS = 100

const isUrl = /^(?:mysql|mariadb):\/\//i

/** What is the pool's business, or ours, has other names here. */
const elsewhere: Readonly<Record<string, string>> = {
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

const connectionOptions = (
  config: MysqlSqlConfig,
  at: EndpointConfig,
  current?: Redacted.Redacted
): Record<string, unknown> => {
  const url = at.url ?? config.url
  const password = at.password ?? config.password
  const ssl = at.ssl ?? config.ssl
  const path = at.path ?? config.path
  const { connectAttributes, ...more } = config.mysql2 ?? {}
  const at_ = {
    host: at.host ?? config.host,
    port: at.port ?? config.port,
    database: at.database ?? config.database,
    user: at.username ?? config.username,
    password: Redacted.isRedacted(password) ? Redacted.value(password) : undefined,
    socketPath: path
  }
  return {
    supportBigNumbers: true,
    maxPreparedStatements: MAX_PLANS,
    keepAliveInitialDelay: 10_000,
    ...more,
    ...(url === undefined ? at_ : { uri: Redacted.value(url) }),
    ...(current === undefined ? {} : { password: Redacted.value(current) }),
    ...(ssl === undefined ? {} : { ssl: typeof ssl === "object" ? { ...ssl } : ssl }),
    multipleStatements: true,
    enableKeepAlive: true,
    // The pool's own bound holds for all of it.
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

const problemsOf = (config: MysqlSqlConfig, at: EndpointConfig, name: string): Array<string> => {
  const problems: Array<string> = []
  const url = at.url ?? config.url
  if (url !== undefined && !isUrl.test(Redacted.value(url))) {
    // Never the text itself: it has the password in it.
    problems.push(`${name}: url must begin with mysql:// or mariadb:// (mysql://user:password@host:3306/database)`)
  }
  const port = portProblem(name, at.port ?? config.port)
  if (port !== undefined) problems.push(port)
  return problems
}

/** Every endpoint, or everything that is wrong with them. */
export const resolve = (
  config: MysqlSqlConfig
): Effect.Effect<{ readonly primary: Endpoint; readonly replicas: ReadonlyArray<Endpoint> }, SqlError> =>
  Effect.suspend(() => {
    const problems: Array<string> = []
    const timeout = config.statementTimeout === undefined ? 0 : Duration.toMillis(config.statementTimeout)
    if (!(Number.isFinite(timeout) && timeout >= 0)) {
      problems.push("statementTimeout must be a finite duration of at least 1 millisecond, or 0 for none")
    }
    for (const option of Object.keys(config.mysql2 ?? {})) {
      const here = elsewhere[option]
      if (here !== undefined) problems.push(`mysql2.${option} has another name here: ${here}`)
    }
    const one = (at: EndpointConfig, name: string): Endpoint | undefined => {
      const found = problemsOf(config, at, name)
      problems.push(...found)
      if (found.length > 0) return undefined
      try {
        // Each connection changes the options that it is made with.
        const options = (password?: Redacted.Redacted) => connectionOptions(config, at, password)
        const secret = at.password ?? config.password
        const { charsetNumber, database, host, password, port, socketPath, user } = new Mysql.ConnectionConfig(
          options()
        )
        if (!isPort(port)) {
          problems.push(`${name}: the url names no valid port`)
          return undefined
        }
        const where = socketPath ?? `${host}:${port}`
        const label = database ? `${where}/${database}` : where
        return {
          host,
          port,
          path: socketPath,
          user: user ?? "",
          password: password ? Redacted.make(password) : undefined,
          database: database || undefined,
          label,
          resetOnRelease: config.resetOnRelease ?? "auto",
          prepares: config.prepare !== false,
          statementTimeout: timeout > 0 ? Math.max(1, Math.round(timeout)) : 0,
          roundTrip: new RoundTrip(),
          names: namesOf(charsetNumber),
          open: Effect.isEffect(secret)
            ? Effect.mapBoth(secret, {
                onFailure: (cause) => unreadablePassword("MySQL", label, cause),
                onSuccess: (password) => Mysql.createConnection(options(password))
              })
            : Effect.sync(() => Mysql.createConnection(options()))
        }
      } catch (cause) {
        // The error of a url that cannot be parsed quotes the url, so only its code may pass; others have none.
        const { code, message } = cause as { readonly code?: unknown; readonly message: string }
        problems.push(
          typeof code === "string"
            ? `${name}: the url cannot be read (${code}); is every special character in it percent-encoded?`
            : `${name}: ${message}`
        )
        return undefined
      }
    }
    const primary = one(config.primary ?? {}, "primary")
    const replicas = (config.replicas ?? []).map((at, i) => one(at, `replica ${i + 1}`))
    if (problems.length > 0 || primary === undefined) {
      return Effect.fail(invalidOptions("MysqlSql", problems))
    }
    return Effect.succeed({ primary, replicas: replicas.filter((replica) => replica !== undefined) })
  })
