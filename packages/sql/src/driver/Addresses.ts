/**
 * Reads where one server of a configuration is, or several ones that a url names: of its fields, the surrounding ones, the url
 * and the environment.
 *
 * 1. A problem never quotes a url, because a url has the password in it.
 * 2. Hosts and ports are paired as in libpq: one port for all hosts, or one for each.
 *
 * @since 0.2.0
 */
import * as OptionTable from "@sluice/pool/OptionTable"
import { Effect, Either, Redacted } from "effect"
import * as Options from "./Options.js"
import * as Url from "./Url.js"

/**
 * What only the driver knows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Means {
  /** Whether a text looks like a url of this database. */
  readonly isUrl: RegExp
  /** How such a url begins, with an example. */
  readonly urlForm: string
  /** Brings the other forms that a url of this database may have into the form that `Url.read` reads. Default: there are none. */
  readonly urlOf?: ((text: string) => string) | undefined
  /**
   * What the url may say behind its question mark. A value is a text. `host` and `port`, if there are these words, may be lists,
   * and win over the address of the url.
   */
  readonly words: OptionTable.Table
  /** What to say instead of other words there. */
  readonly wordsElsewhere: OptionTable.Elsewhere
  /** Where a server listens if nothing else is said. */
  readonly port: number
  /** What the environment says, in words of the url. Default: nothing. */
  readonly environment?: (() => Readonly<Record<string, string | undefined>>) | undefined
}

/**
 * The fields of one server with what its url says in them, and the other words of the url.
 *
 * @since 0.2.0
 * @category models
 */
export interface Stated<out At> {
  readonly at: At
  readonly words: Readonly<Record<string, string>>
}

/**
 * One server, or several that one url names.
 *
 * @since 0.2.0
 * @category models
 */
export interface Found<out At> {
  /** At least one. */
  readonly servers: ReadonlyArray<Stated<At>>
  /** Who has named the hosts, for messages. */
  readonly by: "the url" | "the environment"
}

/** The fields of one server. A server that has a host of its own does not take the socket of the surrounding configuration. */
const merged = <At extends Options.Fields>(config: At, at: At): At => ({
  ...config,
  ...Object.fromEntries(Object.entries(at).filter(([, value]) => !Options.isAbsent(value))),
  path: at.path ?? (at.host === undefined ? config.path : undefined)
})

/** The fields that a url may say, each with what it says. A url that names a host says its port too, and that there is no path. */
const saidBy = ({ database, hosts, password, ports, username }: Url.Url): { readonly [name: string]: unknown } => ({
  host: hosts[0],
  port: ports[0] ?? hosts[0],
  path: hosts[0],
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

type Places = Pick<Url.Url, "hosts" | "ports">

/** What a url says that is not there. */
const silent: Places = { hosts: [], ports: [] }

const listOf = (text: string | undefined): ReadonlyArray<string> => (text ? text.split(",") : [])

const portsOf = (text: string | undefined): ReadonlyArray<number | undefined> =>
  listOf(text).map((port) => (port === "" ? undefined : Number(port)))

const several = <At extends Options.Fields>(
  { at, words }: Stated<At>,
  hosts: ReadonlyArray<string>,
  ports: ReadonlyArray<number | undefined>,
  otherwise: number
): Either.Either<ReadonlyArray<Stated<At>>, string> => {
  if (ports.length > 1 && ports.length !== hosts.length) {
    return Either.left(
      `${hosts.length} ${hosts.length === 1 ? "host" : "hosts"} and ${ports.length} ports are named: name one port for all hosts, or one for each`
    )
  }
  if (hosts.includes(""))
    return Either.left("a host without a name is among the hosts: write localhost if that is meant")
  if (!ports.every((port) => port === undefined || Options.isPort(port))) {
    return Either.left("one of the ports is no integer from 1 to 65535")
  }
  const { host: _, port: __, ...more } = words
  return Either.right(
    hosts.map((host, i) => ({
      at: { ...at, host, path: undefined, port: (ports.length === 1 ? ports[0] : ports[i]) ?? otherwise },
      words: more
    }))
  )
}

/**
 * The server whose fields are `own`, or the servers if its url or the environment names several, or everything that is wrong
 * with what is said of them. What `own` leaves out comes from `config`, which may be `own` itself.
 *
 * @since 0.2.0
 * @category constructors
 */
export const read = <At extends Options.Fields>(
  config: At,
  own: At,
  means: Means
): Either.Either<Found<At>, ReadonlyArray<string>> => {
  const all = merged(config, own)
  if (Options.isAbsent(all.url)) return placed({ at: all, words: {} }, silent, all.port, means)
  const { isUrl, urlForm, urlOf, words, wordsElsewhere } = means
  const text = Redacted.value(all.url)
  if (typeof text !== "string" || !isUrl.test(text)) return Either.left([`url must begin with ${urlForm}`])
  const found = Url.read(urlOf === undefined ? text : urlOf(text))
  if (Either.isLeft(found)) return Either.left([found.left])
  const url = found.right
  const isInherited = Options.isAbsent(own.url)
  const problems = [
    ...(isInherited && own !== config ? hiddenBy(url, own) : []),
    ...OptionTable.problems(url.words, words, { path: "url: ?", elsewhere: wordsElsewhere }).map((problem) =>
      problem.replaceAll("url: ?.", "?")
    )
  ]
  if (problems.length > 0) return Either.left(problems)
  const [host] = url.hosts
  // The port belongs to its host. One that is inherited from around is the port of another host.
  const port = host === undefined ? all.port : (isInherited ? config : own).port
  const at: At = {
    ...all,
    url: undefined,
    port: url.ports[0] ?? port ?? undefined,
    ...(host === undefined ? {} : { host, path: undefined }),
    database: url.database ?? all.database,
    username: url.username ?? all.username,
    password: Effect.isEffect(all.password)
      ? all.password
      : url.password === undefined
        ? all.password
        : Redacted.make(url.password)
  }
  return placed({ at, words: url.words }, url, port, means)
}

/** One server for each host that is named. `port` is that of the fields. */
const placed = <At extends Options.Fields>(
  stated: Stated<At>,
  url: Places,
  port: number | null | undefined,
  { environment, port: usual }: Means
): Either.Either<Found<At>, ReadonlyArray<string>> => {
  const { at, words } = stated
  const around = environment?.() ?? {}
  const inUrl = words["host"] ? listOf(words["host"]) : url.hosts
  const isUnsaid = inUrl.length === 0 && Options.isAbsent(at.host) && Options.isAbsent(at.path)
  const hosts = isUnsaid ? listOf(around["host"]) : inUrl
  const said = words["port"] ? portsOf(words["port"]) : url.ports
  const ports = said.length === 0 && Options.isAbsent(port) ? portsOf(around["port"]) : said
  const by = isUnsaid ? "the environment" : "the url"
  if (hosts.length <= 1 && ports.length <= 1) return Either.right({ servers: [stated], by })
  return Either.mapBoth(several(stated, hosts.length === 0 ? [at.host ?? ""] : hosts, ports, port ?? usual), {
    onLeft: (problem) => [problem],
    onRight: (servers) => ({ servers, by })
  })
}
