/**
 * The options of a driver: which there are in which place, and what to say instead of those that other libraries have.
 *
 * A driver adds its own. What is unknown is refused by name: see `OptionTable`.
 *
 * @since 0.2.0
 */
import * as OptionTable from "@sluice/pool/OptionTable"
import * as PoolHooks from "@sluice/pool/PoolHooks"
import * as PoolOptions from "@sluice/pool/PoolOptions"
import { Duration, Effect, Redacted } from "effect"
import { targetWords } from "../internal/routing/words.js"
import type { RuntimeConfig } from "./Runtime.js"

/**
 * What every driver can be told about one server.
 *
 * @since 0.2.0
 * @category models
 */
export interface Fields {
  readonly url?: Redacted.Redacted | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly path?: string | undefined
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown> | undefined
  readonly ssl?: unknown
}

/**
 * What only the driver knows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Means {
  /** The option `ssl`. */
  readonly ssl: OptionTable.Check
  /** The options of the driver itself. */
  readonly options: OptionTable.Table
  /** What to say instead of options that other libraries have for this database. */
  readonly elsewhere: OptionTable.Elsewhere
}

/**
 * Whether this is the number of a port.
 *
 * @since 0.2.0
 * @category guards
 */
export const isPort = (port: unknown): boolean =>
  Number.isInteger(port) && (port as number) > 0 && (port as number) < 65_536

/**
 * One of the words of libpq's `target_session_attrs`.
 *
 * @since 0.2.0
 * @category checks
 */
export const targetSessionAttrs: OptionTable.Check = OptionTable.oneOf(...targetWords)

/** A secret is not shown, whatever it is instead of what it should be. */
const secret =
  (must: string, is: (value: unknown) => boolean): OptionTable.Check =>
  (value, path) =>
    isAbsent(value) || is(value) ? [] : [`${path} must be ${must}`]

/** A field of a server may be null, as it is in configurations that come from JSON. */
const field =
  (check: OptionTable.Check): OptionTable.Check =>
  (value, path) =>
    isAbsent(value) ? [] : check(value, path)

/**
 * Nothing was said: a field that is null is one that is left out.
 *
 * @since 0.2.0
 * @category guards
 */
export const isAbsent = (value: unknown): value is null | undefined => value === undefined || value === null

const fieldsTable = (ssl: OptionTable.Check): OptionTable.Table<Fields> => ({
  url: secret("a Redacted, so that nothing shows it: write Redacted.make(url)", Redacted.isRedacted),
  host: field(OptionTable.text),
  port: field((value, path) =>
    isPort(value) ? [] : [`${path} must be an integer from 1 to 65535, and is ${OptionTable.shown(value)}`]
  ),
  path: field(OptionTable.text),
  database: field(OptionTable.text),
  username: field(OptionTable.text),
  password: secret(
    "a Redacted or an effect that gives one, so that nothing shows it: write Redacted.make(password)",
    (value) => Redacted.isRedacted(value) || Effect.isEffect(value)
  ),
  ssl: field(ssl)
})

const runtimeTable: OptionTable.Table<RuntimeConfig> = {
  pool: OptionTable.nested(PoolOptions.configTable, {
    ...PoolOptions.elsewhere("pool."),
    connect: "leave it out, the driver connects",
    validate: "leave it out, the driver validates",
    reset: "use resetOnRelease beside pool",
    hooks: "write it beside pool",
    afterCreate: "use hooks.onConnect beside pool"
  }),
  startup: OptionTable.oneOf("eager", "lazy"),
  duplicates: OptionTable.oneOf("warn", "error", "allow"),
  hooks: PoolHooks.check,
  failoverHold: (value, path) => {
    const millis = value === "off" ? 0 : OptionTable.millisOf(value)
    return millis !== undefined && (millis === 0 || (millis >= 1 && millis <= LONGEST_HOLD))
      ? []
      : [
          `${path} must be "off" or a duration from 1 millisecond to 5 minutes, and is ${
            Duration.isDuration(value) ? Duration.format(value) : OptionTable.shown(value)
          }`
        ]
  },
  maxCatchUp: (value, path) => {
    const millis = OptionTable.millisOf(value)
    return millis !== undefined && millis <= 60_000
      ? []
      : [
          `${path} must be a duration from 0 to 1 minute, and is ${
            Duration.isDuration(value) ? Duration.format(value) : OptionTable.shown(value)
          }`
        ]
  }
}

/** Milliseconds: as long as the longest acquire timeout of a pool. */
const LONGEST_HOLD = 300_000

const statementTimeoutCheck: OptionTable.Check = (value, path) => {
  const millis = OptionTable.millisOf(value)
  return millis !== undefined && Number.isFinite(millis)
    ? []
    : [
        `${path} must be a finite duration of at least 1 millisecond, or 0 for none, and is ${
          Duration.isDuration(value) ? Duration.format(value) : OptionTable.shown(value)
        }`
      ]
}

/** What other libraries call the fields of a server. */
const otherFields: OptionTable.Elsewhere = {
  uri: "use url",
  connectionString: "use url, a Redacted",
  connectionUri: "use url, a Redacted",
  user: "use username",
  userName: "use username",
  hostname: "use host",
  server: "use host",
  socketPath: "use path",
  socket: "use path",
  tls: "use ssl",
  dbname: "use database",
  db: "use database",
  passwd: "use password"
}

/** What other libraries call the rest, by the name that it has here. */
const otherOptions: OptionTable.Elsewhere = {
  ...PoolOptions.elsewhere("pool."),
  ...Object.fromEntries(Object.keys(PoolOptions.configTable).map((name) => [name, `use pool.${name}`])),
  name: "use pool.name, or applicationName for the name that the server shows",
  queryTimeout: "use statementTimeout",
  statement_timeout: "use statementTimeout",
  query_timeout: "use statementTimeout",
  maxQueryTime: "use statementTimeout",
  socketTimeout: "use statementTimeout",
  commandTimeout: "use statementTimeout",
  replication: "use primary and replicas",
  write: "use primary",
  read: "use replicas",
  master: "use primary",
  slaves: "use replicas",
  servers: "use hosts, or primary and replicas",
  nodes: "use hosts, or primary and replicas",
  endpoints: "use hosts, or primary and replicas",
  target: "use targetSessionAttrs",
  targetSession: "use targetSessionAttrs",
  targetServerType: "use targetSessionAttrs",
  retry: "use Sql.retry, or withTransaction({ retry })",
  logging: "leave it out, statements are in spans",
  onConnect: "use hooks.onConnect",
  afterConnect: "use hooks.onConnect",
  connectionInitSql: "use hooks.onConnect",
  initSql: "use hooks.onConnect",
  lazy: 'use startup: "lazy"',
  lazyConnect: 'use startup: "lazy"',
  application_name: "use applicationName",
  appName: "use applicationName"
}

/**
 * Everything that is wrong with the names and the kinds of these options, in every part of a configuration.
 *
 * @since 0.2.0
 * @category checks
 */
export const problems = (config: unknown, means: Means): ReadonlyArray<string> => {
  let found = known.get(means.options)
  if (found === undefined || found.ssl !== means.ssl) {
    found = { ...tableOf(means), ssl: means.ssl }
    known.set(means.options, found)
  }
  return OptionTable.problems(config, found.table, { elsewhere: found.elsewhere })
}

interface Known {
  readonly table: OptionTable.Table
  readonly elsewhere: OptionTable.Elsewhere
}

/** Made once for each driver, because the tables have hundreds of names and a Layer may be made for one statement. */
const known = new WeakMap<OptionTable.Table, Known & Pick<Means, "ssl">>()

const tableOf = (means: Means): Known => {
  const fields = fieldsTable(means.ssl)
  const beside = [
    ...Object.keys(means.options),
    ...Object.keys(runtimeTable),
    "statementTimeout",
    "targetSessionAttrs",
    "primary",
    "replicas"
  ]
  const server = (remedy: string, hosts: string) =>
    OptionTable.nested(fields, {
      ...Object.fromEntries([...Object.keys(otherOptions), ...beside].map((name) => [name, remedy])),
      hosts,
      ...otherFields
    })
  const given = server("write it beside primary and replicas", "write it instead of primary and replicas")
  const table: OptionTable.Table = {
    ...fields,
    ...runtimeTable,
    ...means.options,
    statementTimeout: statementTimeoutCheck,
    targetSessionAttrs,
    primary: given,
    replicas: OptionTable.listOf(given),
    hosts: OptionTable.listOf(server("write it beside hosts", "write each server into the outer hosts"))
  }
  return { table, elsewhere: { ...otherOptions, ...otherFields, ...means.elsewhere } }
}
