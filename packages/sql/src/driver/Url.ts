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
  /** Without the brackets of an IPv6 address. */
  readonly host: string | undefined
  readonly port: number | undefined
  readonly database: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  /** What stands behind the question mark. */
  readonly words: Readonly<Record<string, string>>
}

/** The problem of a url in which a special character stands for itself. */
const ENCODE = "is every special character in it percent-encoded?"

const unreadable: Either.Either<never, string> = Either.left(`the url cannot be read; ${ENCODE}`)

/**
 * The problem of an address that is several ones.
 *
 * @since 0.2.0
 * @category constants
 */
export const SEVERAL_HOSTS =
  "names several hosts, and here each server has an address of its own: give the one that takes writes as `primary` and the others as `replicas`"

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

const address = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d*))?$/

/**
 * Reads `scheme://user:password@host:port/database?name=value&…`. A problem is a sentence that begins with "the url".
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
  const place = authority.slice(at + 1)
  if (place.includes(",")) return Either.left(`the url ${SEVERAL_HOSTS}`)
  const found = address.exec(place)
  if (found === null) return unreadable
  const [, ip, name, digits = ""] = found
  const port = digits === "" ? undefined : Number(digits)
  if (port !== undefined && !(port > 0 && port < 65_536)) return Either.left("the url names no valid port")
  return Either.flatMap(
    Either.try({
      try: () => ({
        host: decoded(ip ?? name),
        port,
        database: decoded(path),
        username: decoded(user),
        password: decoded(password)
      }),
      catch: () => `the url cannot be read; ${ENCODE}`
    }),
    (url) =>
      Either.map(
        Either.flatMap(
          Either.try({ try: () => wordsOf(query), catch: () => `the url cannot be read; ${ENCODE}` }),
          (words) => words
        ),
        (words): Url => ({ ...url, words })
      )
  )
}

const split = (userinfo: string): readonly [string, string | undefined] => {
  const at = userinfo.indexOf(":")
  return at < 0 ? [userinfo, undefined] : [userinfo.slice(0, at), userinfo.slice(at + 1)]
}
