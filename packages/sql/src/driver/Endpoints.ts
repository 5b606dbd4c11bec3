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
import type { Roles, TargetWord } from "../internal/routing/words.js"
import * as SqlReason from "../SqlReason.js"
import * as Addresses from "./Addresses.js"
import { invalidOptions } from "./Classify.js"
import type { EndpointInfo } from "./Driver.js"
import * as Options from "./Options.js"
import { Counts, RoundTrip } from "./Profile.js"
import type * as Tls from "./Tls.js"

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
  /** Instead of `primary` and `replicas`: the roles are found by asking. */
  readonly hosts?: ReadonlyArray<At> | undefined
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
  /** Makes what opens a connection, and may open its socket. The password is the one that is read for each connection. */
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
  readonly counts: Counts
  /** Whether connections are encrypted: see `Tls.first`. */
  readonly ways: Tls.Ways
  /** Gives what makes a client with the password that is valid now: see `Connect.Means`. */
  readonly client: (way: Tls.Way | undefined) => Effect.Effect<() => Client, SqlError>
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
export interface Means<At, Client, More> extends Options.Means, Addresses.Means {
  /** The module that was given the configuration, such as `PgSql`. */
  readonly module: string
  /** The product, such as `PostgreSQL`. */
  readonly database: string
  /** First part of the key of an endpoint. */
  readonly scheme: string
  /**
   * Lets the library read the fields of one server. There is no `url` among them: what it says is in the other fields and in
   * `words`. `statementTimeout` is in milliseconds; 0 is off. Throws when the library does.
   */
  readonly read: (at: At, words: Readonly<Record<string, string>>, statementTimeout: number) => Reading<Client, More>
  /** What an error that `read` has thrown says of the other options; `undefined` if it may quote the url. Default `undefined`. */
  readonly explain?: ((error: Error) => string | undefined) | undefined
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
    counts: new Counts(),
    ways,
    client: (way) =>
      Effect.isEffect(secret)
        ? Effect.mapBoth(secret as Effect.Effect<Redacted.Redacted, unknown>, {
            onFailure: (cause) => unreadablePassword(means.database, label, cause),
            onSuccess: (password) => () => client(way, Redacted.value(password))
          })
        : Effect.succeed(() => client(way)),
    ...more
  }
}

/** The endpoint of one server, or what is wrong with it. */
const endpoint = <At extends Options.Fields, Client, More>(
  { at, words }: Addresses.Stated<At>,
  statementTimeout: number,
  means: Means<At, Client, More>
): Either.Either<Endpoint<Client> & More, ReadonlyArray<string>> =>
  Either.flatMap(
    Either.try({
      try: () => means.read(at, words, statementTimeout),
      catch: (error) => [explained(error, means.explain ?? (() => undefined))]
    }),
    (reading) => {
      const problem = reading.host.includes(",")
        ? "host names several hosts: write each of them into hosts"
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

/** The servers that a configuration names one by one, each with the beginning of what is said about it. */
const named = <At>(config: At & Servers<At>): ReadonlyArray<readonly [name: string, own: At]> =>
  config.hosts === undefined
    ? [
        config.primary === undefined ? ["", config] : ["primary: ", config.primary],
        ...(config.replicas ?? []).map((own, i) => [`replicas[${i}]: `, own] as const)
      ]
    : config.hosts.map((own, i) => [`hosts[${i}]: `, own] as const)

/** What `primary`, `replicas` and `hosts` say together and cannot. */
const contradictions = ({ hosts, primary, replicas = [] }: Servers<unknown>): ReadonlyArray<string> => {
  if (hosts === undefined) return []
  if (hosts.length === 0) return ["hosts is empty: name at least one server in it"]
  const beside = [...(primary === undefined ? [] : ["primary"]), ...(replicas.length === 0 ? [] : ["replicas"])]
  return beside.length === 0
    ? []
    : [
        `hosts cannot stand beside ${beside.join(" and ")}: write every server into hosts to have the roles found by asking, or leave hosts out`
      ]
}

const SEVERAL_HOSTS =
  "names several hosts, whose roles are found by asking: write each of them into hosts, and leave primary and replicas out"

const ONE_SOCKET = "names several hosts, and one Unix socket for all of them: leave the socket or the hosts out"

/** The word of libpq in a url. */
const TARGET = "target_session_attrs"

/** Whether the url of this server is also that of the whole configuration. */
const isOfAll = <At extends Options.Fields>(config: At & Servers<At>, own: At): boolean =>
  config.hosts === undefined
    ? own === (config.primary ?? config) || (Options.isAbsent(own.url) && Options.isAbsent(config.primary?.url))
    : Options.isAbsent(own.url)

/** The endpoints of a configuration, each with the beginning of what is said about it. */
interface All<out E> {
  readonly endpoints: ReadonlyArray<readonly [name: string, endpoint: E]>
  readonly problems: ReadonlySet<string>
  readonly roles: Roles
  readonly target: TargetWord
}

const all = <At extends Options.Fields, Client, More>(
  config: At & Servers<At>,
  statementTimeout: number,
  means: Means<At, Client, More>
): All<Endpoint<Client> & More> => {
  // The servers of one url have most of their problems together.
  const problems = new Set<string>()
  const add = (name: string, found: ReadonlyArray<string>) => {
    for (const problem of found) problems.add(`${name}${problem}`)
  }
  const endpoints: Array<readonly [name: string, endpoint: Endpoint<Client> & More]> = []
  const servers = named<At>(config)
  const isGiven = config.hosts === undefined
  let roles: Roles = isGiven ? "given" : "found"
  let inUrl: string | undefined
  for (const [name, own] of servers) {
    const read = Addresses.read<At>(config, own, means)
    if (Either.isLeft(read)) {
      add(name, read.left)
      continue
    }
    const { by, servers: stated } = read.right
    if (stated.length > 1 && !(own === config && servers.length === 1)) {
      add(name, [`${by} ${SEVERAL_HOSTS}`])
      continue
    }
    if (stated.length > 1) roles = "found"
    const said = stated[0]!.words[TARGET]
    if (isOfAll(config, own)) inUrl ??= said
    // A replica that may be anything is one that is given as a replica.
    else if (said !== undefined && !(isGiven && said === "any")) {
      add(name, [`?${TARGET} is about all servers: use the option targetSessionAttrs`])
    }
    for (const one of stated) {
      const found = endpoint<At, Client, More>(one, statementTimeout, means)
      if (Either.isLeft(found)) add(name, found.left)
      else if (stated.length > 1 && found.right.path !== undefined) add(name, [`${by} ${ONE_SOCKET}`])
      else endpoints.push([name, found.right])
    }
  }
  // Where the roles are given, `any` asks for nothing that the configuration does not say.
  const asked = (word: string | undefined) => (roles === "given" && word === "any" ? undefined : word)
  const { targetSessionAttrs: option } = config
  const said = asked(inUrl)
  if (said !== undefined && option !== undefined && said !== option) {
    add("", [`?${TARGET}=${said} and targetSessionAttrs: "${option}" contradict each other: say one of them`])
  }
  return {
    endpoints,
    problems,
    roles,
    target: (said ?? option ?? asked(means.environment?.()[TARGET]) ?? "read-write") as TargetWord
  }
}

/** What cannot be said of servers that stand in for each other. */
const mismatches = (
  endpoints: ReadonlyArray<readonly [name: string, endpoint: Endpoint<unknown>]>
): ReadonlyArray<string> => {
  const users = new Map<string, string>()
  return endpoints.flatMap(([name, { database, label, user }]) => {
    if (database !== endpoints[0]![1].database) {
      return [`${name}the database is another one than that of hosts[0], and a write could go to either`]
    }
    const known = users.get(label) ?? user
    users.set(label, known)
    return known === user ? [] : [`${name}the same server is among hosts already, with another user`]
  })
}

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
    const fail = (problems: Iterable<string>) => Effect.fail(invalidOptions(means.module, Array.from(problems)))
    const wrong = Options.problems(config, means)
    if (wrong.length > 0) return fail(wrong)
    const contradictory = contradictions(config)
    if (contradictory.length > 0) return fail(contradictory)
    const duration = config.statementTimeout === undefined ? 0 : Duration.toMillis(config.statementTimeout)
    const statementTimeout = duration > 0 ? Math.max(1, Math.round(duration)) : 0
    const { endpoints, problems, roles, target } = all<At, Client, More>(config, statementTimeout, means)
    if (problems.size > 0) return fail(problems)
    const contrary = roles === "given" ? [] : mismatches(endpoints)
    if (contrary.length > 0) return fail(contrary)
    const found = endpoints.map(([, endpoint]) => endpoint)
    // One server may be named twice, as `primary` and `replicas` may be one.
    const [primary, ...replicas] =
      roles === "given" ? found : found.filter(({ key }, i) => found.findIndex((other) => other.key === key) === i)
    return Effect.succeed({ primary: primary!, replicas, roles, target })
  })
