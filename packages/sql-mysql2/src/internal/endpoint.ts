import type { SqlError } from "@effect/sql/SqlError"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as Endpoints from "@sluice/sql/driver/Endpoints"
import type { RuntimeConfig } from "@sluice/sql/driver/Runtime"
import type { Way } from "@sluice/sql/driver/Tls"
import { type Effect, Redacted } from "effect"
import type { EndpointConfig, MysqlSqlConfig } from "../Config.js"
import { PreparedStatements } from "./session/prepared.js"
import * as Mysql from "./wire/mysql.js"
import * as Words from "./words.js"

/** What MySQL adds to an endpoint. */
interface Own {
  readonly resetOnRelease: "auto" | "always" | "never"
  /** Whether statements are prepared. */
  readonly prepares: boolean
  /** Whether the server takes several statements in one text. */
  readonly takesSeveral: boolean
  /** What its connections have found out about prepared statements. */
  readonly prepared: PreparedStatements
  /** What its connections have found out about the id of its server: see `session.ts`. */
  readonly id: { isUnknown: boolean }
  /** The end of a SET statement that gives a session the character set of the configuration again. */
  readonly names: string
}

/** Where to connect to, with every default applied. */
export interface Endpoint extends Endpoints.Endpoint<Mysql.Wire>, Own {}

/** Prepared statements kept by each connection. More cost memory of the server, fewer cost planning. */
const MAX_PLANS = 100

/** The options of this driver alone. */
const options: OptionTable.Table<
  Omit<MysqlSqlConfig, keyof Endpoints.Fields | keyof Endpoints.Servers<unknown> | keyof RuntimeConfig>
> = {
  resetOnRelease: OptionTable.oneOf("auto", "always", "never"),
  prepare: OptionTable.flag,
  multipleStatements: OptionTable.flag,
  pipeline: OptionTable.flag,
  applicationName: OptionTable.text,
  transformResultNames: OptionTable.aFunction,
  transformQueryNames: OptionTable.aFunction,
  spanAttributes: OptionTable.anObject,
  mysql2: OptionTable.nested(Words.mysql2Table, Words.mysql2Elsewhere)
}

const elsewhere: OptionTable.Elsewhere = {
  ...Object.fromEntries(Object.keys(Words.mysql2Table).map((name) => [name, `use mysql2.${name}`])),
  poolConfig: "use mysql2 for options of a connection, pool for those of the pool",
  types: "use mysql2.typeCast",
  proxy:
    "use prepare: false behind a proxy that loses prepared statements, pipeline: false behind one that answers out of order",
  transformJson: "leave it out, JSON is read by mysql2",
  sslMode: "write it into the url: ?ssl-mode=…, or use ssl",
  sslCa: "write it into the url: ?ssl-ca=…, or use ssl.ca",
  rowsAsArray: "use the values of a statement"
}

const sslOf = ({ check, options }: Way): object => ({
  ...options,
  rejectUnauthorized: check !== "nothing",
  verifyIdentity: check === "identity"
})

const connectionOptions = (
  config: MysqlSqlConfig,
  at: EndpointConfig,
  words: Readonly<Record<string, string>>,
  way: Way | undefined,
  password: string | undefined
): Record<string, unknown> => {
  const { connectAttributes, ...more } = { ...config.mysql2, ...Words.mysql2Of(words) }
  return {
    supportBigNumbers: true,
    maxPreparedStatements: MAX_PLANS,
    keepAliveInitialDelay: 10_000,
    ...more,
    host: at.host,
    port: at.port,
    database: at.database,
    user: at.username,
    password: password ?? (Redacted.isRedacted(at.password) ? Redacted.value(at.password) : undefined),
    socketPath: words["socketPath"] ?? words["socket"] ?? at.path,
    ...(way === undefined ? {} : { ssl: sslOf(way) }),
    multipleStatements: config.multipleStatements === true,
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

/** Every endpoint, or everything that is wrong with them. */
export const resolve = (config: MysqlSqlConfig): Effect.Effect<Endpoints.Resolved<Endpoint>, SqlError> =>
  Endpoints.resolve<EndpointConfig, Mysql.Wire, Own>(config, {
    module: "MysqlSql",
    database: "MySQL",
    scheme: "mysql",
    isUrl: /^(?:mysql|mariadb):\/\//i,
    urlForm: "mysql:// or mariadb:// (mysql://user:password@host:3306/database)",
    words: Words.table,
    wordsElsewhere: Words.elsewhere,
    port: 3306,
    ssl: Words.sslCheck,
    options,
    elsewhere,
    // `mysql2` says what is wrong with an option, and is not told the url.
    explain: (error) => error.message,
    read: (at, words) => {
      // Made anew each time, because a connection changes the options that it is made with.
      const options = (way?: Way, password?: string) => connectionOptions(config, at, words, way, password)
      const { charsetNumber, database, host, password, port, socketPath, user } = new Mysql.ConnectionConfig(options())
      return {
        host,
        port,
        path: socketPath,
        database: database || undefined,
        user: user ?? "",
        password,
        ways: Words.ways(words, at.ssl ?? undefined, host),
        client: (way, password) => Mysql.createConnection(options(way, password)),
        more: {
          resetOnRelease: config.resetOnRelease ?? "auto",
          prepares: config.prepare !== false,
          takesSeveral: config.multipleStatements === true,
          prepared: new PreparedStatements(),
          id: { isUnknown: false },
          names: namesOf(charsetNumber)
        }
      }
    }
  })
