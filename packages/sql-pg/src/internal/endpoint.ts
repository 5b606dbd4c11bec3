import type { SqlError } from "@effect/sql/SqlError"
import * as Endpoints from "@sluice/sql/driver/Endpoints"
import { type Effect, Redacted } from "effect"
import type { EndpointConfig, PgSqlConfig } from "../Config.js"
import { Server } from "./session/server.js"
import * as Pg from "./wire/pg.js"

/** What PostgreSQL adds to an endpoint. */
interface Own {
  /** PostgreSQL's default is the name of the user, so there always is one. */
  readonly database: string
  readonly resetOnRelease: "auto" | "always" | "never"
  /** Whether statements may be prepared by name. A proxy that changes servers would lose the names. */
  readonly named: boolean
  /** A cancel uses the same TLS and the same kind of socket as the connection. */
  readonly ssl: unknown
  readonly stream: PgSqlConfig["stream"]
  /** What its connections have found out about the server. */
  readonly server: Server
}

/** Where to connect to, with every default applied. */
export interface Endpoint extends Omit<Endpoints.Endpoint<Pg.WireClient>, "database">, Own {}

const clientConfig = (config: PgSqlConfig, at: EndpointConfig, statementTimeout: number) => ({
  connectionString: at.url === undefined ? undefined : Redacted.value(at.url),
  host: at.path ?? at.host,
  port: at.port,
  database: at.database,
  user: at.username,
  password: Redacted.isRedacted(at.password) ? Redacted.value(at.password) : undefined,
  ssl: at.ssl,
  types: config.types,
  application_name: config.applicationName ?? "@sluice/sql-pg",
  ...(statementTimeout > 0 && config.proxy === undefined ? { statement_timeout: statementTimeout } : {}),
  // Without it `pg` sends a statement only after the statement before has ended. The mode cannot change while a statement is
  // under way, so it is always on, and the pipeline of the connection decides when a statement is sent.
  pipeline: true,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
  ...(config.stream === undefined ? {} : { stream: config.stream })
})

/** Every endpoint, or everything that is wrong with them. */
export const resolve = (config: PgSqlConfig): Effect.Effect<Endpoints.Resolved<Endpoint>, SqlError> => {
  const isProxied = config.proxy !== undefined
  return Endpoints.resolve<EndpointConfig, Pg.WireClient, Own>(config, {
    module: "PgSql",
    database: "PostgreSQL",
    scheme: "postgresql",
    isUrl: /^(?:postgres(?:ql)?:\/\/|socket:|\/)/i,
    urlForm: "postgres:// (postgres://user:password@host:5432/database)",
    read: (at, statementTimeout) => {
      const server = new Server(isProxied)
      const options = {
        ...clientConfig(config, at, statementTimeout),
        startup: (options: string | undefined) => server.startup.parameters(options)
      }
      const client = (password?: string) => new Pg.Client(password === undefined ? options : { ...options, password })
      const { connectionParameters, database, host, password, port, ssl, user } = client()
      return {
        host,
        port,
        path: undefined,
        user: user ?? "",
        database: database ?? user ?? "",
        password,
        client,
        problem:
          isProxied && connectionParameters.options
            ? "PgBouncer refuses the start-up parameter options; set these on the role or the database"
            : undefined,
        more: {
          database: database ?? user ?? "",
          // A reset behind a proxy would reach the server connection of another client.
          resetOnRelease: isProxied ? "never" : (config.resetOnRelease ?? "auto"),
          named: !isProxied,
          ssl,
          stream: config.stream,
          server
        }
      }
    }
  })
}
