import type { SqlError } from "@effect/sql/SqlError"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as Endpoints from "@sluice/sql/driver/Endpoints"
import type { RuntimeConfig } from "@sluice/sql/driver/Runtime"
import type { Way } from "@sluice/sql/driver/Tls"
import { type Effect, Either, Redacted } from "effect"
import type { EndpointConfig, PgSqlConfig } from "../Config.js"
import { Server } from "./session/server.js"
import * as Pg from "./wire/pg.js"
import * as Words from "./words.js"

/** What PostgreSQL adds to an endpoint. */
interface Own {
  /** PostgreSQL's default is the name of the user, so there always is one. */
  readonly database: string
  readonly resetOnRelease: "auto" | "always" | "never"
  /** Whether statements may be prepared by name. A proxy that changes servers would lose the names. */
  readonly named: boolean
  /** A cancel uses the same kind of socket as the connection. */
  readonly stream: PgSqlConfig["stream"]
  /** What its connections have found out about the server. */
  readonly server: Server
}

/** Where to connect to, with every default applied. */
export interface Endpoint extends Omit<Endpoints.Endpoint<Pg.WireClient>, "database">, Own {}

/** The options of this driver alone. */
const options: OptionTable.Table<
  Omit<PgSqlConfig, keyof Endpoints.Fields | keyof Endpoints.Servers<unknown> | keyof RuntimeConfig>
> = {
  resetOnRelease: OptionTable.oneOf("auto", "always", "never"),
  pipeline: OptionTable.flag,
  proxy: OptionTable.oneOf("pgbouncer-transaction"),
  applicationName: OptionTable.text,
  types: OptionTable.that(
    "an object with getTypeParser",
    (value) => typeof (value as any)?.getTypeParser === "function"
  ),
  transformResultNames: OptionTable.aFunction,
  transformQueryNames: OptionTable.aFunction,
  transformJson: OptionTable.flag,
  spanAttributes: OptionTable.anObject,
  stream: OptionTable.aFunction
}

const elsewhere: OptionTable.Elsewhere = {
  pgbouncer: 'use proxy: "pgbouncer-transaction"',
  prepare:
    'use proxy: "pgbouncer-transaction" behind a pooler; Sql.query(text, params, { prepare: false }) for one statement',
  mysql2: "leave it out, it belongs to MysqlSql",
  lock_timeout: "set it on the role, or in the url: ?options=-c%20lock_timeout=…",
  idle_in_transaction_session_timeout:
    "set it on the role, or in the url: ?options=-c%20idle_in_transaction_session_timeout=…",
  schema: "set search_path on the role, or in the url: ?options=-c%20search_path=…",
  searchPath: "set search_path on the role, or in the url: ?options=-c%20search_path=…",
  options: "write it into the url: ?options=…",
  sslmode: "write it into the url: ?sslmode=…, or use ssl",
  sslrootcert: "write it into the url, or use ssl.ca",
  sslnegotiation: "write it into the url: ?sslnegotiation=direct",
  enableChannelBinding: "write it into the url: ?channel_binding=prefer",
  channel_binding: "write it into the url: ?channel_binding=require",
  client_encoding: "leave it out, texts are always sent as UTF-8",
  keepAlive: "leave it out, or use pool.keepAlive: the sockets are always kept alive",
  keepAliveInitialDelayMillis: "leave it out, keepalive begins after 10 seconds",
  binary: "leave it out, the driver chooses the format of each value",
  debug: "use Effect's spans",
  transform: "use transformResultNames and transformQueryNames",
  onnotice: "leave it out, notices are not read",
  fetch_types: "leave it out, the driver knows the types"
}

/** `socket:/folder?db=database&encoding=utf8` and `/folder database`, as `pg` reads them. */
const urlOf = (text: string): string => {
  if (text.startsWith("/")) {
    const [folder = "", database = ""] = text.split(" ")
    return `postgres:///${database}?host=${encodeURIComponent(folder)}`
  }
  const socket = /^socket:\/?\/?(\/[^?]*)\??(.*)$/i.exec(text)
  return socket === null
    ? text
    : `postgres:///?host=${encodeURIComponent(decodeURI(socket[1]!))}&${socket[2]!.replace(/(^|&)db=/, "$1dbname=").replace(/(^|&)encoding=/, "$1client_encoding=")}`
}

const sslOf = (way: Way | undefined): false | object =>
  way === undefined
    ? false
    : {
        ...way.options,
        rejectUnauthorized: way.check !== "nothing",
        ...(way.check === "authority" ? { checkServerIdentity: () => undefined } : {})
      }

/** Every endpoint, or everything that is wrong with them. */
export const resolve = (config: PgSqlConfig): Effect.Effect<Endpoints.Resolved<Endpoint>, SqlError> =>
  Endpoints.resolve<EndpointConfig, Pg.WireClient, Own>(config, {
    module: "PgSql",
    database: "PostgreSQL",
    scheme: "postgresql",
    isUrl: /^(?:postgres(?:ql)?:\/\/|socket:|\/)/i,
    urlForm: "postgres:// (postgres://user:password@host:5432/database)",
    urlOf,
    words: Words.table,
    wordsElsewhere: Words.elsewhere,
    port: 5432,
    environment: () => Words.around(process.env),
    ssl: Words.sslCheck,
    options,
    elsewhere,
    read: (at, words, statementTimeout) => {
      const isProxied = config.proxy !== undefined
      const server = new Server(isProxied)
      const around = Words.environment(process.env)
      const environment = Either.getOrElse(around, () => ({}) as Readonly<Record<string, string>>)
      const host = words["host"] ?? at.path ?? at.host
      const { binding, negotiation, ways } = Words.settings(words, environment, at.ssl, host?.startsWith("/") === true)
      const shared = {
        host,
        port: words["port"] === undefined ? at.port : Number(words["port"]),
        database: words["dbname"] ?? at.database,
        user: words["user"] ?? at.username,
        password: words["password"] ?? (Redacted.isRedacted(at.password) ? Redacted.value(at.password) : undefined),
        options: words["options"],
        types: config.types,
        application_name:
          words["application_name"] ??
          config.applicationName ??
          environment["application_name"] ??
          words["fallback_application_name"] ??
          "@sluice/sql-pg",
        ...(statementTimeout > 0 && !isProxied ? { statement_timeout: statementTimeout } : {}),
        client_encoding: "utf8",
        // Without it `pg` sends a statement only after the statement before has ended. The mode cannot change while a statement
        // is under way, so it is always on, and the pipeline of the connection decides when a statement is sent.
        pipeline: true,
        keepAlive: true,
        keepAliveInitialDelayMillis: 10_000,
        ...(config.stream === undefined ? {} : { stream: config.stream }),
        startup: (options: string | undefined) => server.startup.parameters(options)
      }
      const client = (way: Way | undefined, password = shared.password) =>
        new Pg.Client({
          ...shared,
          password,
          ssl: sslOf(way),
          sslnegotiation: way === undefined ? "postgres" : negotiation,
          enableChannelBinding: way !== undefined && binding !== "disable",
          mustBind: binding === "require"
        })
      // A client would also make a socket, and so call the `stream` of the program.
      const {
        database,
        host: named,
        options,
        password,
        port,
        user
      } = new Pg.ConnectionParameters({ ...shared, ssl: false })
      return {
        host: named,
        port,
        path: undefined,
        user: user ?? "",
        database: database ?? user ?? "",
        password,
        ways,
        client,
        problem: Either.isLeft(around)
          ? around.left
          : isProxied && options
            ? "PgBouncer refuses the start-up parameter options; set these on the role or the database"
            : isProxied && config.hooks?.onConnect !== undefined
              ? "what hooks.onConnect sets would reach other clients of PgBouncer in transaction mode; set it on the role or the database (alter role … set …)"
              : undefined,
        more: {
          database: database ?? user ?? "",
          // A reset behind a proxy would reach the server connection of another client.
          resetOnRelease: isProxied ? "never" : (config.resetOnRelease ?? "auto"),
          named: !isProxied,
          stream: config.stream,
          server
        }
      }
    }
  })
