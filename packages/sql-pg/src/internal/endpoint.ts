import type { SqlError } from "@effect/sql/SqlError"
import { invalidOptions, isPort, portProblem, unreadablePassword } from "@sluice/sql/driver/Classify"
import { RoundTrip } from "@sluice/sql/driver/Profile"
import { Duration, Effect, Redacted } from "effect"
import type { EndpointConfig, PgSqlConfig } from "../PgSql.js"
import { Server } from "./session/server.js"
import * as Pg from "./wire/pg.js"

/** Where to connect to, with every default applied. */
export interface Endpoint {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  /** For tools that connect by themselves, such as `pg_dump`. */
  readonly password: Redacted.Redacted | undefined
  /** For messages and names: `host:port/database`. */
  readonly label: string
  readonly resetOnRelease: "auto" | "always" | "never"
  /** Whether the server keeps prepared statements for a connection: not so behind a proxy that changes servers. */
  readonly named: boolean
  /** Milliseconds; 0 is off. */
  readonly statementTimeout: number
  readonly roundTrip: RoundTrip
  /** What its connections have found out about the server. */
  readonly server: Server
  /** With the password that is valid now. */
  readonly newClient: Effect.Effect<Pg.WireClient, SqlError>
  /** What a cancel needs to speak to the same server in the same way. */
  readonly ssl: unknown
  readonly stream: PgSqlConfig["stream"]
}

const isUrl = /^(?:postgres(?:ql)?:\/\/|socket:|\/)/i

const clientConfig = (config: PgSqlConfig, at: EndpointConfig, statementTimeout: number) => {
  const url = at.url ?? config.url
  const password = at.password ?? config.password
  return {
    connectionString: url === undefined ? undefined : Redacted.value(url),
    host: at.path ?? at.host ?? config.path ?? config.host,
    port: at.port ?? config.port,
    database: at.database ?? config.database,
    user: at.username ?? config.username,
    password: Redacted.isRedacted(password) ? Redacted.value(password) : undefined,
    ssl: at.ssl ?? config.ssl,
    types: config.types,
    application_name: config.applicationName ?? "@sluice/sql-pg",
    ...(statementTimeout > 0 && config.proxy === undefined ? { statement_timeout: statementTimeout } : {}),
    // Without it `pg` sends a statement only when the one before has ended. It cannot be changed while one is under way,
    // so it is set from the start; our own rules say who may send when.
    pipeline: true,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    ...(config.stream === undefined ? {} : { stream: config.stream })
  }
}

const problemsOf = (config: PgSqlConfig, at: EndpointConfig, name: string): Array<string> => {
  const problems: Array<string> = []
  const url = at.url ?? config.url
  if (url !== undefined && !isUrl.test(Redacted.value(url))) {
    // Never the text itself: it has the password in it.
    problems.push(`${name}: url must begin with postgres:// (postgres://user:password@host:5432/database)`)
  }
  const port = portProblem(name, at.port ?? config.port)
  if (port !== undefined) problems.push(port)
  return problems
}

/** Every endpoint, or everything that is wrong with them. */
export const resolve = (
  config: PgSqlConfig
): Effect.Effect<{ readonly primary: Endpoint; readonly replicas: ReadonlyArray<Endpoint> }, SqlError> =>
  Effect.suspend(() => {
    const problems: Array<string> = []
    const timeout = config.statementTimeout === undefined ? 0 : Duration.toMillis(config.statementTimeout)
    if (!(Number.isFinite(timeout) && timeout >= 0)) {
      problems.push("statementTimeout must be a finite duration of at least 1 millisecond, or 0 for none")
    }
    const one = (at: EndpointConfig, name: string): Endpoint | undefined => {
      const found = problemsOf(config, at, name)
      problems.push(...found)
      if (found.length > 0) return undefined
      const server = new Server(config.proxy !== undefined)
      const options = {
        ...clientConfig(config, at, Math.max(timeout > 0 ? 1 : 0, Math.round(timeout))),
        startup: (options: string | undefined) => server.startup.parameters(options)
      }
      const secret = at.password ?? config.password
      try {
        const { host, port, user, database, ssl, connectionParameters, password } = new Pg.Client(options)
        const label = `${host}:${port}/${database ?? user ?? ""}`
        if (!isPort(port)) {
          problems.push(`${name}: the url names no valid port`)
          return undefined
        }
        if (config.proxy !== undefined && connectionParameters.options) {
          problems.push(
            `${name}: PgBouncer refuses the start-up parameter options; set these on the role or the database`
          )
          return undefined
        }
        return {
          host,
          port,
          user: user ?? "",
          password: password ? Redacted.make(password) : undefined,
          database: database ?? user ?? "",
          label,
          // What was set was set on a server that others have by now.
          resetOnRelease: config.proxy === undefined ? (config.resetOnRelease ?? "auto") : "never",
          named: config.proxy === undefined,
          statementTimeout: timeout,
          roundTrip: new RoundTrip(),
          server,
          newClient: Effect.isEffect(secret)
            ? Effect.mapBoth(secret, {
                onFailure: (cause) => unreadablePassword("PostgreSQL", label, cause),
                onSuccess: (password) => new Pg.Client({ ...options, password: Redacted.value(password) })
              })
            : Effect.sync(() => new Pg.Client(options)),
          ssl,
          stream: config.stream
        }
      } catch (cause) {
        // The error of a url that cannot be parsed quotes the url, so only its code may pass.
        const code = (cause as { readonly code?: unknown }).code
        problems.push(
          `${name}: the url cannot be read${typeof code === "string" ? ` (${code})` : ""}; is every special character in it percent-encoded?`
        )
        return undefined
      }
    }
    const primary = one(config.primary ?? {}, "primary")
    const replicas = (config.replicas ?? []).map((at, i) => one(at, `replica ${i + 1}`))
    if (problems.length > 0 || primary === undefined) {
      return Effect.fail(invalidOptions("PgSql", problems))
    }
    return Effect.succeed({ primary, replicas: replicas.filter((replica) => replica !== undefined) })
  })
