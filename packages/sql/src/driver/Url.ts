/**
 * Reads the url of a database, as RFC 3986 and the libraries of the databases do where they agree.
 *
 * 1. No problem quotes a part of the url, because any part may be a part of a password that was not percent-encoded.
 * 2. What the url does not say is `undefined`, also where it has the place for it (`user:@host`).
 * 3. A `+` is a plus, as in libpq. Only forms of the web read it as a space.
 *
 * @since 0.2.0
 */
import { Either } from "effect"

/**
 * What a url says.
 *
 * @since 0.2.0
 * @category models
 */
export interface Url {
  /** Without the brackets of an IPv6 address. Empty if the url names none. */
  readonly hosts: ReadonlyArray<string>
  /** Those of the hosts, in the same order. Empty if the url names none; `undefined` where one of several hosts has none. */
  readonly ports: ReadonlyArray<number | undefined>
  readonly database: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  /** What stands behind the question mark. */
  readonly words: Readonly<Record<string, string>>
}

/** The problem of a url in which a special character stands for itself. */
const ENCODE = "is every special character in it percent-encoded?"

const unreadable: Either.Either<never, string> = Either.left(`the url cannot be read; ${ENCODE}`)

/** A NUL would end the text in the protocols of databases, and what comes after it would be read as something else. */
const decoded = (text: string | undefined): string | undefined => {
  const found = text === undefined || text === "" ? undefined : decodeURIComponent(text)
  if (found?.includes("\0") === true) throw new URIError("a NUL")
  return found
}

const wordsOf = (query: string): Either.Either<Record<string, string>, string> => {
  const words: Record<string, string> = {}
  for (const pair of query.split("&")) {
    if (pair === "") continue
    const at = pair.indexOf("=")
    const name = decoded(at < 0 ? pair : pair.slice(0, at)) ?? ""
    if (!/^[\w.-]+$/.test(name)) return unreadable
    if (Object.hasOwn(words, name)) return Either.left(`the url says ${name} twice`)
    words[name] = at < 0 ? "" : (decoded(pair.slice(at + 1)) ?? "")
  }
  return Either.right(words)
}

const address = /^(?:\[([^\]]*)\]|([^:()[\]]*))(?::(\d*))?$/

/** `a:1,b:2`. A comma that is percent-encoded stands between two hosts too, as in libpq. */
const placesOf = (text: string): Either.Either<Pick<Url, "hosts" | "ports">, string> => {
  const hosts: Array<string> = []
  const ports: Array<number | undefined> = []
  for (const place of text.split(",")) {
    const found = address.exec(place)
    if (found === null) return unreadable
    const [, ip, name, digits = ""] = found
    const port = digits === "" ? undefined : Number(digits)
    if (port !== undefined && !(port > 0 && port < 65_536)) return Either.left("the url names no valid port")
    hosts.push(...(decoded(ip ?? name) ?? "").split(","))
    ports.push(port)
  }
  return Either.right({
    hosts: hosts.length === 1 && hosts[0] === "" ? [] : hosts,
    ports: ports.length === 1 && ports[0] === undefined ? [] : ports
  })
}

/**
 * Reads `scheme://user:password@host:port/database?name=value&…`. There may be several hosts, each with a port of its own:
 * `host:port,host:port`. A problem is a sentence that begins with "the url".
 *
 * @since 0.2.0
 * @category constructors
 */
export const read = (text: string): Either.Either<Url, string> => {
  const parts = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i.exec(text.trim())
  if (parts === null) return unreadable
  const [, authority = "", path, query = ""] = parts
  const at = authority.lastIndexOf("@")
  const [user, password] = at < 0 ? [] : split(authority.slice(0, at))
  return Either.flatMap(
    Either.try({
      try: () =>
        Either.all({
          places: placesOf(authority.slice(at + 1)),
          database: Either.right(decoded(path)),
          username: Either.right(decoded(user)),
          password: Either.right(decoded(password)),
          words: wordsOf(query)
        }),
      catch: () => `the url cannot be read; ${ENCODE}`
    }),
    Either.map(({ places, ...more }): Url => ({ ...places, ...more }))
  )
}

const split = (userinfo: string): readonly [string, string | undefined] => {
  const at = userinfo.indexOf(":")
  return at < 0 ? [userinfo, undefined] : [userinfo.slice(0, at), userinfo.slice(at + 1)]
}
