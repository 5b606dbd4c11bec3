/**
 * Makes endpoints of the configuration of a driver: defaults are filled in, and all problems of all endpoints are reported at
 * once. A driver adds only how its library reads an endpoint and opens a connection.
 *
 * 1. A problem never quotes a url, because a url has the password in it.
 * 2. An endpoint shows no password when it is printed.
 *
 * @since 0.2.0
 */
import type { SqlError } from "@effect/sql/SqlError"
import { Duration, Effect, Either, Redacted } from "effect"
import * as SqlReason from "../SqlReason.js"
import { invalidOptions } from "./Classify.js"
import type { EndpointInfo } from "./Driver.js"
import { RoundTrip } from "./Profile.js"

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
}

/**
 * The servers of a configuration. The fields of one server in it are the defaults of all of them.
 *
 * @since 0.2.0
 * @category models
 */
export interface Servers<out At> {
  readonly primary?: At | undefined
  readonly replicas?: ReadonlyArray<At> | undefined
  readonly statementTimeout?: Duration.DurationInput | undefined
}

/**
 * What a library has made of the fields of one server.
 *
 * @since 0.2.0
 * @category models
 */
export interface Reading<out Client, out More> {
  readonly host: string
  readonly port: number
  /** The server's Unix socket, if that is not the host. */
  readonly path: string | undefined
  readonly database: string | undefined
  readonly user: string
  readonly password: string | null | undefined
  /** Makes what opens a connection, and opens none yet. The password is the one that is read for each connection. */
  readonly client: (password?: string) => Client
  /** What the driver itself adds to the endpoint. */
  readonly more: More
  /** Why the fields cannot work, if the driver sees that only after the library has read them. */
  readonly problem?: string | undefined
}

/**
 * One server, with every default applied.
 *
 * @since 0.2.0
 * @category models
 */
export interface Endpoint<out Client> extends EndpointInfo {
  readonly host: string
  readonly port: number
  /** The server's Unix socket, if that is not the host. */
  readonly path: string | undefined
  readonly database: string | undefined
  readonly user: string
  /** For tools that connect by themselves, such as `pg_dump`. */
  readonly password: Redacted.Redacted | undefined
  /** Milliseconds; 0 is off. */
  readonly statementTimeout: number
  /** Of a packet to the server and back. */
  readonly roundTrip: RoundTrip
  /** Makes what opens a connection, with the password that is valid now. */
  readonly client: Effect.Effect<Client, SqlError>
}

/**
 * The endpoints of a configuration.
 *
 * @since 0.2.0
 * @category models
 */
export interface Resolved<out E> {
  readonly primary: E
  readonly replicas: ReadonlyArray<E>
}

/**
 * What only the driver knows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Means<At, Client, More> {
  /** The module that was given the configuration, such as `PgSql`. */
  readonly module: string
  /** The product, such as `PostgreSQL`. */
  readonly database: string
  /** First part of the key of an endpoint. */
  readonly scheme: string
  /** Whether a text looks like a url of this database. */
  readonly isUrl: RegExp
  /** How such a url begins, with an example. */
  readonly urlForm: string
  /** What is wrong with the options that belong to no endpoint. */
  readonly problems?: ReadonlyArray<string> | undefined
  /**
   * Lets the library read the fields of one server. `statementTimeout` is in milliseconds; 0 is off. Throws when the library
   * does.
   */
  readonly read: (at: At, statementTimeout: number) => Reading<Client, More>
  /** What an error that `read` has thrown says of the other options; `undefined` if it may quote the url. Default `undefined`. */
  readonly explain?: ((error: Error) => string | undefined) | undefined
}

const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65_536

/** The fields of one server. A server that has a host of its own does not take the socket of the surrounding configuration. */
const merged = <At extends Fields>(config: At, at: At): At => ({
  ...config,
  ...Object.fromEntries(Object.entries(at).filter(([, value]) => value !== undefined && value !== null)),
  path: at.path ?? (at.host === undefined ? config.path : undefined)
})

const problemsOf = ({ port, url }: Fields, { isUrl, urlForm }: Means<never, unknown, unknown>): Array<string> => {
  const problems: Array<string> = []
  if (url !== undefined && !isUrl.test(Redacted.value(url))) problems.push(`url must begin with ${urlForm}`)
  if (port !== undefined && !isPort(port)) problems.push(`port must be an integer from 1 to 65535, and is ${port}`)
  return problems
}

/** A server would silently be another one than the program says, if its address lost against a url that is not its own. */
const hiddenBy = (config: Fields, own: Fields): ReadonlyArray<string> =>
  config.url === undefined || own.url !== undefined
    ? []
    : (["host", "port", "path"] as const)
        .filter((field) => own[field] !== undefined && own[field] !== null)
        .map(
          (field) => `${field} has no effect, because the url of the surrounding configuration wins: give a url instead`
        )

/** The error of a url that cannot be parsed quotes the url, so only its code is shown. */
const explained = (error: unknown, explain: (error: Error) => string | undefined): string => {
  const { code } = error as { readonly code?: unknown }
  const isOfUrl = typeof code === "string" || error instanceof URIError
  const known = isOfUrl || !(error instanceof Error) ? undefined : explain(error)
  const named = typeof code === "string" ? ` (${code})` : ""
  return known ?? `the url cannot be read${named}; is every special character in it percent-encoded?`
}

const unreadablePassword = (database: string, label: string, cause: unknown): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectFailed", { connection: "none", retry: "always", cause }),
    `${database} at ${label}: the password could not be read. The effect given as password has failed; its failure is the cause`
  )

const endpointOf = <At extends Fields, Client, More>(
  { password: secret }: At,
  { client, database, host, more, password, path, port, user }: Reading<Client, More>,
  statementTimeout: number,
  means: Means<At, Client, More>
): Endpoint<Client> & More => {
  const where = path ?? `${host}:${port}`
  const label = database ? `${where}/${database}` : where
  return {
    host,
    port,
    path,
    database,
    user,
    password: password ? Redacted.make(password) : undefined,
    key: `${means.scheme}://${user}@${where}/${database ?? ""}`,
    label,
    statementTimeout,
    roundTrip: new RoundTrip(),
    client: Effect.isEffect(secret)
      ? Effect.mapBoth(secret as Effect.Effect<Redacted.Redacted, unknown>, {
          onFailure: (cause) => unreadablePassword(means.database, label, cause),
          onSuccess: (password) => client(Redacted.value(password))
        })
      : Effect.sync(() => client()),
    ...more
  }
}

/** The endpoint of one server, or what is wrong with it. */
const one = <At extends Fields, Client, More>(
  config: At,
  own: At,
  statementTimeout: number,
  means: Means<At, Client, More>
): Either.Either<Endpoint<Client> & More, ReadonlyArray<string>> => {
  const at = merged(config, own)
  const problems = [...hiddenBy(config, own), ...problemsOf(at, means)]
  if (problems.length > 0) return Either.left(problems)
  return Either.flatMap(
    Either.try({
      try: () => means.read(at, statementTimeout),
      catch: (error) => [explained(error, means.explain ?? (() => undefined))]
    }),
    (reading) => {
      const problem = isPort(reading.port) ? reading.problem : "the url names no valid port"
      return problem === undefined
        ? Either.right(endpointOf(at, reading, statementTimeout, means))
        : Either.left([problem])
    }
  )
}

/**
 * Every endpoint of the configuration. Fails with `InvalidOptions` if any option cannot work; `cause.problems` lists them all.
 *
 * @since 0.2.0
 * @category constructors
 */
export const resolve = <At extends Fields, Client, More>(
  config: At & Servers<At>,
  means: Means<At, Client, More>
): Effect.Effect<Resolved<Endpoint<Client> & More>, SqlError> =>
  Effect.suspend(() => {
    const duration = config.statementTimeout === undefined ? 0 : Duration.toMillis(config.statementTimeout)
    const statementTimeout = duration > 0 ? Math.max(1, Math.round(duration)) : 0
    const problems: Array<string> = []
    if (!Number.isFinite(duration)) {
      problems.push("statementTimeout must be a finite duration of at least 1 millisecond, or 0 for none")
    }
    problems.push(...(means.problems ?? []))
    const endpoints: Array<Endpoint<Client> & More> = []
    const servers = [config.primary ?? ({} as At), ...(config.replicas ?? [])]
    for (const [i, own] of servers.entries()) {
      const name = i === 0 ? "primary" : `replica ${i}`
      const found = one<At, Client, More>(config, own, statementTimeout, means)
      if (Either.isRight(found)) endpoints.push(found.right)
      else problems.push(...found.left.map((problem) => `${name}: ${problem}`))
    }
    const [primary, ...replicas] = endpoints
    return problems.length > 0 || primary === undefined
      ? Effect.fail(invalidOptions(means.module, problems))
      : Effect.succeed({ primary, replicas })
  })
