/**
 * The words of MySQL and of `mysql2`, in a url and among the options: which of them are obeyed, and what to say instead of the
 * others.
 */
import { isIP } from "node:net"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as PoolOptions from "@sluice/pool/PoolOptions"
import * as Tls from "@sluice/sql/driver/Tls"
import { Either, Option } from "effect"
import type { SslOptions } from "mysql2"
import type { Mysql2Options } from "../Config.js"
import * as Mysql from "./wire/mysql.js"

type Words = Readonly<Record<string, string>>

/** MySQL's modes, and those of libpq and MariaDB that mean the same. Neither case nor `_` count. */
const modes: Readonly<Record<string, Tls.Mode>> = {
  disabled: "disable",
  disable: "disable",
  preferred: "prefer",
  prefer: "prefer",
  required: "require",
  require: "require",
  "verify-ca": "verify-ca",
  "verify-identity": "verify-full",
  "verify-full": "verify-full"
}

const modeNames = ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]

const modeOf = (value: string): Tls.Mode | undefined => {
  const name = value.toLowerCase().replaceAll("_", "-")
  return Object.hasOwn(modes, name) ? modes[name] : undefined
}

const mode: OptionTable.Check = (value, path) =>
  modeOf(String(value)) === undefined ? OptionTable.oneOf(...modeNames)(value, path) : []

const { aFunction, anything, anObject, flag, text } = OptionTable

const count = OptionTable.that(
  "a whole number of at least 0",
  (value) => typeof value === "number" && Number.isInteger(value) && value >= 0
)

const textOrFlag = OptionTable.that(
  "a text, true or false",
  (value) => typeof value === "string" || typeof value === "boolean"
)

const dateStrings = OptionTable.that(
  "true, false, or an array of TIMESTAMP, DATETIME and DATE",
  (value) =>
    typeof value === "boolean" ||
    (Array.isArray(value) && value.every((one) => ["TIMESTAMP", "DATETIME", "DATE"].includes(one)))
)

/** `mysql2` would go on with its default, and print that. */
const timezone = OptionTable.that(
  'local, Z, or a difference such as "+02:00"',
  (value) => typeof value === "string" && /^(?:local|Z|[+-]\d\d:\d\d)$/.test(value)
)

const charset = OptionTable.that(
  "a character set or collation of MySQL, such as utf8mb4_unicode_ci",
  (value) => typeof value === "string" && Object.hasOwn(Mysql.charsets, value.toUpperCase())
)

/** The options of `mysql2` that are plain data: a url may say them too. */
const plain = {
  charset,
  charsetNumber: count,
  timezone,
  localAddress: text,
  stringifyObjects: flag,
  insecureAuth: flag,
  supportBigNumbers: flag,
  bigNumberStrings: flag,
  decimalNumbers: flag,
  dateStrings,
  debug: anything,
  trace: flag,
  flags: OptionTable.that("an array of texts", (value) => Array.isArray(value)),
  keepAliveInitialDelay: count,
  compress: flag,
  connectAttributes: anObject,
  maxPreparedStatements: count,
  namedPlaceholders: flag,
  nestTables: textOrFlag,
  jsonStrings: flag,
  enableCleartextPlugin: flag,
  disableEval: flag
} satisfies Partial<OptionTable.Table<Mysql2Options>>

/** The option `mysql2`. */
export const mysql2Table: OptionTable.Table<Mysql2Options> = {
  ...plain,
  password1: text,
  password2: text,
  password3: text,
  passwordSha1: anything,
  infileStreamFactory: aFunction,
  typeCast: OptionTable.that(
    "true, false or a function",
    (value) => typeof value === "boolean" || typeof value === "function"
  ),
  queryFormat: aFunction,
  authSwitchHandler: aFunction,
  stream: anything,
  Promise: anything,
  authPlugins: anObject
}

const named = (name: string) => `use ${name}, which is beside mysql2`

/** Options of `mysql2` that belong to the pool or have a field of their own in `MysqlSqlConfig`. */
export const mysql2Elsewhere: OptionTable.Elsewhere = {
  ...PoolOptions.elsewhere("pool."),
  uri: named("url"),
  host: named("host"),
  port: named("port"),
  user: named("username"),
  password: named("password"),
  database: named("database"),
  socketPath: named("path"),
  ssl: named("ssl"),
  connectTimeout: "use pool.connectTimeout",
  connectionLimit: "use pool.maxSize",
  maxIdle: "use pool.minIdle",
  idleTimeout: "use pool.idleTimeout",
  queueLimit: "use pool.maxWaiters",
  waitForConnections: "use pool.acquireTimeout",
  enableKeepAlive: "leave it out, the sockets are always kept alive",
  gracefulEnd: "leave it out, connections always say goodbye",
  resetOnRelease: named("resetOnRelease"),
  rowsAsArray: "use the values of a statement",
  multipleStatements: named("multipleStatements"),
  isServer: "leave it out",
  pool: named("pool")
}

const modeWords = ["ssl-mode", "sslmode", "sslMode", "ssl_mode"]

const files: Readonly<Record<string, string>> = { "ssl-ca": "ca", "ssl-cert": "cert", "ssl-key": "key" }

/** A value of a url as `mysql2` reads it: JSON where it is some, else a text. */
const valueOf = (value: string): unknown =>
  Option.getOrElse(Option.liftThrowable((): unknown => JSON.parse(value))(), () => value)

/** 1 and 0 are flags in a url. */
const flagOf = (value: unknown): unknown => (value === 1 ? true : value === 0 ? false : value)

const decoded =
  (check: OptionTable.Check): OptionTable.Check =>
  (value, path) =>
    check(valueOf(String(value)), path)

/** What a url may say behind its question mark. */
export const table: OptionTable.Table = {
  ...Object.fromEntries(modeWords.map((word) => [word, mode])),
  ...Object.fromEntries(Object.keys(files).map((word) => [word, text])),
  ssl: decoded((value, path) => sslCheck(flagOf(value), path)),
  socketPath: text,
  socket: text,
  ...Object.fromEntries(Object.entries(plain).map(([name, check]) => [name, decoded(check)])),
  charset,
  localAddress: text,
  timezone
}

const modeRemedy = "use ssl-mode=VERIFY_IDENTITY, or ssl-mode=REQUIRED to check no certificate"

/** What to say instead of the words of Connector/J, of Go, of Prisma, and of `mysql2`'s pool. */
export const elsewhere: OptionTable.Elsewhere = {
  ...PoolOptions.elsewhere("pool."),
  ...Object.fromEntries(Object.keys(PoolOptions.configTable).map((name) => [name, `use pool.${name}`])),
  useSSL: modeRemedy,
  requireSSL: modeRemedy,
  tls: modeRemedy,
  verifyServerCertificate: modeRemedy,
  trustServerCertificate: modeRemedy,
  sslaccept: `${modeRemedy}: sslaccept=strict is the first, accept_invalid_certs the second`,
  sslidentity: "use ssl-cert and ssl-key, which are files in PEM",
  sslpassword: "use ssl-cert and ssl-key, or the option ssl with its passphrase",
  sslrootcert: "use ssl-ca",
  sslca: "use ssl-ca",
  sslcert: "use ssl-cert",
  sslkey: "use ssl-key",
  tlsVersion: "use the option ssl, with minVersion and maxVersion",
  enabledTLSProtocols: "use the option ssl, with minVersion and maxVersion",
  host: "write it before the question mark",
  port: "write it before the question mark",
  user: "write it before the question mark",
  password: "write it before the question mark",
  database: "write it before the question mark",
  target_session_attrs: "use the option targetSessionAttrs",
  targetServerType: "use the option targetSessionAttrs",
  loadBalanceHosts: "leave it out, reads are spread over the replicas by Sql.read",
  connectTimeout: "use pool.connectTimeout",
  connect_timeout: "use pool.connectTimeout",
  socketTimeout: "use the option statementTimeout",
  socket_timeout: "use the option statementTimeout",
  readTimeout: "use the option statementTimeout",
  writeTimeout: "use the option statementTimeout",
  statement_cache_size: "use the option prepare: false behind a proxy that loses prepared statements",
  useServerPrepStmts: "use the option prepare",
  pgbouncer: "use the option prepare: false behind a proxy that loses prepared statements",
  allowMultiQueries: "use the option multipleStatements",
  multipleStatements: "use the option multipleStatements",
  characterEncoding: "use charset",
  useUnicode: "use charset",
  collation: "use charset, with the name of the collation",
  serverTimezone: "use timezone",
  connectionTimeZone: "use timezone",
  loc: "use timezone",
  parseTime: "use dateStrings: false, which is the default",
  schema: "write the database before the question mark",
  applicationName: "use the option applicationName",
  program_name: "use the option applicationName",
  rowsAsArray: "use the values of a statement",
  enableKeepAlive: "leave it out, the sockets are always kept alive",
  typeCast: "use the option mysql2",
  authPlugins: "use the option mysql2"
}

/** The words of `mysql2` in a url, with their values. */
export const mysql2Of = (words: Words): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(words)
      .filter(([word]) => Object.hasOwn(plain, word))
      .map(([word, value]) => [word, ["charset", "localAddress", "timezone"].includes(word) ? value : valueOf(value)])
  )

/** The ways to connect that the words of a url and the option `ssl` ask for. */
export const ways = (words: Words, option: unknown, host: string): Either.Either<Tls.Ways, string> => {
  const spoken = modeWords.filter((word) => words[word] !== undefined)
  if (spoken.length > 1) return Either.left(`${spoken.join(" and ")} are the same word: say one of them`)
  const [word] = spoken
  const more: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(files)) {
    const path = words[name]
    if (path === undefined) continue
    const read = Tls.file(name, path)
    if (Either.isLeft(read)) return Either.left(read.left)
    more[option] = read.right
  }
  const inUrl = words["ssl"]
  if (inUrl !== undefined && option !== undefined) {
    return Either.left("ssl is said by the url and by the options: say one of them")
  }
  const own = inUrl === undefined ? option : flagOf(valueOf(inUrl))
  const ssl = typeof own === "string" ? profileOf(own) : (own as boolean | Tls.Options | undefined)
  const mode = word === undefined ? undefined : modeOf(words[word]!)
  const asked: Tls.Asked = {
    mode,
    said:
      word === undefined
        ? (Object.keys(files).find((name) => words[name] !== undefined) ?? "ssl")
        : `${word}=${words[word]}`,
    more,
    root: "ssl-ca",
    ssl,
    usual: usualOf(ssl)
  }
  return Either.filterOrLeft(
    Tls.ways(asked),
    (ways) => !(ways.some((way) => way?.check === "identity") && isIP(host) !== 0),
    () =>
      `a certificate can be checked against a name only, and ${host} is an address: connect by the name of the host, or check the authority alone (ssl-mode=VERIFY_CA)`
  )
}

const usualOf = (ssl: boolean | Tls.Options | undefined): Tls.Check =>
  typeof ssl !== "object" || ssl.rejectUnauthorized === false
    ? "nothing"
    : ssl["verifyIdentity"] === true
      ? "identity"
      : "authority"

const profileOf = (name: string): Tls.Options => ({ ...Mysql.sslProfile(name) })

/** What `mysql2` reads of the options of `ssl`. */
const sslTable: OptionTable.Table<Omit<SslOptions, "pfx" | "crl">> = {
  ca: anything,
  cert: anything,
  key: anything,
  passphrase: text,
  ciphers: text,
  minVersion: text,
  maxVersion: text,
  rejectUnauthorized: flag,
  verifyIdentity: flag
}

/** The option `ssl`. */
export const sslCheck: OptionTable.Check = (value, path) =>
  typeof value === "boolean"
    ? []
    : typeof value === "string"
      ? Mysql.sslProfile(value) === undefined
        ? [
            `${path} must be true, false, an object, or the name of a profile of mysql2, and is ${OptionTable.shown(value)}`
          ]
        : []
      : OptionTable.nested(sslTable, {
          pfx: "use cert and key: mysql2 does not read it",
          crl: "leave it out: mysql2 does not read it",
          checkServerIdentity: "use verifyIdentity: true",
          servername: "use the name of the host",
          require: "leave it out, an object already asks for TLS",
          mode: "use ssl-mode in the url",
          sslmode: "use ssl-mode in the url"
        })(value, path)
