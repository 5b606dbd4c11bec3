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
import * as OptionTable from "@sluice/pool/OptionTable"
import { Duration, Effect, Either, Redacted } from "effect"
import type { Roles, TargetWord } from "../internal/routing/words.js"
import * as SqlReason from "../SqlReason.js"
import { invalidOptions } from "./Classify.js"
import type { EndpointInfo } from "./Driver.js"
import * as Options from "./Options.js"
import { RoundTrip } from "./Profile.js"
import type * as Tls from "./Tls.js"
import * as Url from "./Url.js"

export type { Fields } from "./Options.js"

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
  readonly targetSessionAttrs?: TargetWord | undefined
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
  /** The ways to connect that were asked for, or what is wrong with what was asked. */
  readonly ways: Either.Either<Tls.Ways, string>
  /** Makes what opens a connection, and opens none yet. The password is the one that is read for each connection. */
  readonly client: (way: Tls.Way | undefined, password?: string) => Client
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
  /** Whether connections are encrypted: see `Tls.first`. */
  readonly ways: Tls.Ways
  /** Makes what opens a connection, with the password that is valid now. */
  readonly client: (way: Tls.Way | undefined) => Effect.Effect<Client, SqlError>
}

/**
 * The endpoints of a configuration.
 *
 * @since 0.2.0
 * @category models
 */
export interface Resolved<out E> {
  /** Of servers whose roles are to be found: the first one. */
  readonly primary: E
  readonly replicas: ReadonlyArray<E>
  /** `found`: the configuration names servers and no roles, so that `primary` and `replicas` are a first guess. */
  readonly roles: Roles
  /** Where statements go that are not marked with `Sql.read`. */
  readonly target: TargetWord
}

/**
 * What only the driver knows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Means<At, Client, More> extends Options.Means {
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
  /** Brings the other forms that a url of this database may have into the form that `Url.read` reads. Default: there are none. */
  readonly urlOf?: ((text: string) => string) | undefined
  /** What the url may say behind its question mark. A value is a text. */
  readonly words: OptionTable.Table
  /** What to say instead of other words there. */
  readonly wordsElsewhere: OptionTable.Elsewhere
  /**
   * Lets the library read the fields of one server. There is no `url` among them: what it says is in the other fields and in
   * `words`. `statementTimeout` is in milliseconds; 0 is off. Throws when the library does.
   */
  readonly read: (at: At, words: Readonly<Record<string, string>>, statementTimeout: number) => Reading<Client, More>
  /** What an error that `read` has thrown says of the other options; `undefined` if it may quote the url. Default `undefined`. */
  readonly explain?: ((error: Error) => string | undefined) | undefined
}

/** The fields of one server. A server that has a host of its own does not take the socket of the surrounding configuration. */
const merged = <At extends Options.Fields>(config: At, at: At): At => ({
  ...config,
  ...Object.fromEntries(Object.entries(at).filter(([, value]) => !Options.isAbsent(value))),
  path: at.path ?? (at.host === undefined ? config.path : undefined)
})

/** The fields that a url may say, each with what it says. A url that names a host says its port too, and that there is no path. */
const saidBy = ({ database, host, password, port, username }: Url.Url): { readonly [name: string]: unknown } => ({
  host,
  port: port ?? host,
  path: host,
  database,
  username,
  password
})

/** A server would silently be another one than the program says, if its fields lost against a url that is not its own. */
const hiddenBy = (url: Url.Url, own: Options.Fields): ReadonlyArray<string> =>
  Object.entries(saidBy(url))
    .filter(([name, said]) => said !== undefined && !Options.isAbsent(own[name as keyof Options.Fields]))
    // A password that is an effect is run for each connection, so it wins.
    .filter(([name]) => !(name === "password" && Effect.isEffect(own.password)))
    .map(([name]) => `${name} has no effect, because the url of the surrounding configuration wins: give a url instead`)

/** The fields of one server with what its url says in them, and the words of the url. */
interface Stated<At> {
  readonly at: At
  readonly words: Readonly<Record<string, string>>
}

const stated = <At extends Options.Fields>(
  config: At,
  own: At,
  { isUrl, urlForm, urlOf, words, wordsElsewhere }: Means<At, unknown, unknown>
): Either.Either<Stated<At>, ReadonlyArray<string>> => {
  const all = merged(config, own)
  if (Options.isAbsent(all.url)) return Either.right({ at: all, words: {} })
  const text = Redacted.value(all.url)
  if (typeof text !== "string" || !isUrl.test(text)) return Either.left([`url must begin with ${urlForm}`])
  const found = Url.read(urlOf === undefined ? text : urlOf(text))
  if (Either.isLeft(found)) return Either.left([found.left])
  const url = found.right
  const isInherited = Options.isAbsent(own.url)
  const beside: Options.Fields = isInherited ? config : own
  const problems = [
    ...(isInherited && own !== config ? hiddenBy(url, own) : []),
    ...OptionTable.problems(url.words, words, { path: "url: ?", elsewhere: wordsElsewhere }).map((problem) =>
      problem.replaceAll("url: ?.", "?")
    )
  ]
  if (problems.length > 0) return Either.left(problems)
  const at: At = {
    ...all,
    url: undefined,
    // The port belongs to its host. One that is inherited from around is the port of another host.
    ...(url.host === undefined
      ? { port: url.port ?? all.port }
      : { host: url.host, path: undefined, port: url.port ?? beside.port ?? undefined }),
    database: url.database ?? all.database,
    username: url.username ?? all.username,
    password: Effect.isEffect(all.password)
      ? all.password
      : url.password === undefined
        ? all.password
        : Redacted.make(url.password)
  }
  return Either.right({ at, words: url.words })
}

/** The error of a library may quote a password, so only its code is shown. */
const explained = (error: unknown, explain: (error: Error) => string | undefined): string => {
  const { code } = error as { readonly code?: unknown }
  const named = typeof code === "string" ? ` (${code})` : ""
  const known = named !== "" || !(error instanceof Error) ? undefined : explain(error)
  return known ?? `the address cannot be read${named}`
}

const unreadablePassword = (database: string, label: string, cause: unknown): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectFailed", { connection: "none", retry: "always", cause }),
    `${database} at ${label}: the password could not be read. The effect given as password has failed; its failure is the cause`
  )

const endpointOf = <At extends Options.Fields, Client, More>(
  { password: secret }: At,
  { client, database, host, more, password, path, port, user }: Reading<Client, More>,
  ways: Tls.Ways,
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
    ways,
    client: (way) =>
      Effect.isEffect(secret)
        ? Effect.mapBoth(secret as Effect.Effect<Redacted.Redacted, unknown>, {
            onFailure: (cause) => unreadablePassword(means.database, label, cause),
            onSuccess: (password) => client(way, Redacted.value(password))
          })
        : Effect.sync(() => client(way)),
    ...more
  }
}

/** The endpoint of one server, or what is wrong with it. */
const one = <At extends Options.Fields, Client, More>(
  config: At,
  own: At,
  statementTimeout: number,
  means: Means<At, Client, More>
): Either.Either<Endpoint<Client> & More, ReadonlyArray<string>> =>
  Either.flatMap(stated(config, own, means), ({ at, words }) =>
    Either.flatMap(
      Either.try({
        try: () => means.read(at, words, statementTimeout),
        catch: (error) => [explained(error, means.explain ?? (() => undefined))]
      }),
      (reading) => {
        const problem = reading.host.includes(",")
          ? `host ${Url.SEVERAL_HOSTS}`
          : Options.isPort(reading.port)
            ? reading.problem
            : "the port is no integer from 1 to 65535"
        if (problem !== undefined) return Either.left([problem])
        return Either.mapBoth(reading.ways, {
          onLeft: (problem) => [problem],
          onRight: (ways) => endpointOf(at, reading, ways, statementTimeout, means)
        })
      }
    )
  )

/**
 * Every endpoint of the configuration. Fails with `InvalidOptions` if any option cannot work, or if nobody would read it;
 * `cause.problems` lists them all.
 *
 * @since 0.2.0
 * @category constructors
 */
export const resolve = <At extends Options.Fields, Client, More>(
  config: At & Servers<At>,
  means: Means<At, Client, More>
): Effect.Effect<Resolved<Endpoint<Client> & More>, SqlError> =>
  Effect.suspend(() => {
    const wrong = Options.problems(config, means)
    if (wrong.length > 0) return Effect.fail(invalidOptions(means.module, wrong))
    const duration = config.statementTimeout === undefined ? 0 : Duration.toMillis(config.statementTimeout)
    const statementTimeout = duration > 0 ? Math.max(1, Math.round(duration)) : 0
    const problems: Array<string> = []
    const endpoints: Array<Endpoint<Client> & More> = []
    const servers = [config.primary ?? config, ...(config.replicas ?? [])]
    for (const [i, own] of servers.entries()) {
      const name = i === 0 ? (config.primary === undefined ? "" : "primary: ") : `replicas[${i - 1}]: `
      const found = one<At, Client, More>(config, own, statementTimeout, means)
      if (Either.isRight(found)) endpoints.push(found.right)
      else problems.push(...found.left.map((problem) => `${name}${problem}`))
    }
    const [primary, ...replicas] = endpoints
    return problems.length > 0 || primary === undefined
      ? Effect.fail(invalidOptions(means.module, problems))
      : Effect.succeed({
          primary,
          replicas,
          roles: "given",
          target: config.targetSessionAttrs ?? "read-write"
        })
  })
