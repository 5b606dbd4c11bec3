/**
 * Whether connections to a server are encrypted, and what is checked.
 *
 * 1. TLS is as the program has asked for it, or the options are refused, or the connect fails. A connection in plain text that
 *    the program did not ask for does not exist.
 * 2. Only the modes `prefer` and `allow` have two ways to connect. The second one is tried when the server has refused the
 *    first, for each connection anew. Going without TLS is said once, at WARN.
 *
 * @since 0.2.0
 */
import { readFileSync } from "node:fs"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect, Either } from "effect"

/**
 * The modes of libpq. MySQL's are the same ones under other names: PREFERRED, REQUIRED, VERIFY_CA and VERIFY_IDENTITY.
 *
 * - `disable`: plain text.
 * - `allow`: plain text, or TLS if the server refuses that.
 * - `prefer`: TLS, or plain text if the server has no TLS.
 * - `require`: TLS. The certificate is checked only if there is a certificate of an authority to check it against.
 * - `verify-ca`: TLS, and the certificate must be of the authority.
 * - `verify-full`: the same, and it must be for this host.
 *
 * @since 0.2.0
 * @category models
 */
export type Mode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full"

/**
 * What is checked: nothing, that an authority has signed the certificate, or also that it is for this host.
 *
 * @since 0.2.0
 * @category models
 */
export type Check = "nothing" | "authority" | "identity"

/**
 * TLS options of Node.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  readonly rejectUnauthorized?: boolean | undefined
  readonly ca?: unknown
  readonly [option: string]: unknown
}

/**
 * What a program has said about TLS.
 *
 * @since 0.2.0
 * @category models
 */
export interface Asked {
  readonly mode: Mode | undefined
  /** The mode as the program has written it, such as `sslmode=require`. */
  readonly said: string
  /** What the words beside the mode say: `ca`, `cert`, `key`, … */
  readonly more: Options
  /** How the word is called that names the certificate of the authority. */
  readonly root: string
  /** The option `ssl`. */
  readonly ssl: boolean | Options | undefined
  /** What the options of `ssl` check when they do not say it. */
  readonly usual: Check
}

/**
 * One way to connect.
 *
 * @since 0.2.0
 * @category models
 */
export interface Way {
  readonly check: Check
  readonly options: Options
}

/**
 * The ways to connect, in the order in which they are tried. `undefined` is plain text.
 *
 * @since 0.2.0
 * @category models
 */
export type Ways = readonly [Way | undefined, ...ReadonlyArray<Way | undefined>]

const contradiction = ({ said }: Asked, ssl: string): Either.Either<never, string> =>
  Either.left(`${said} and ${ssl} contradict each other: say one of them`)

/**
 * The ways that the program has asked for, or a problem.
 *
 * @since 0.2.0
 * @category constructors
 */
export const ways = (asked: Asked): Either.Either<Ways, string> => {
  const { mode, more, root, said, usual } = asked
  // Libraries hide the key of a certificate in the object that they were given, and a copy would lose it.
  const ssl =
    typeof asked.ssl === "object" && asked.ssl["key"] !== undefined
      ? { ...asked.ssl, key: asked.ssl["key"] }
      : asked.ssl
  if (mode === undefined) {
    const [word] = Object.keys(more)
    if (ssl === undefined || ssl === false) {
      return word === undefined ? Either.right([undefined]) : Either.left(`${said} has no effect without a mode`)
    }
    const options = ssl === true ? more : { ...ssl, ...more }
    return Either.right([{ check: ssl === true ? "identity" : usual, options }])
  }
  if (mode === "disable") return ssl ? contradiction(asked, "ssl") : Either.right([undefined])
  if (ssl === false) return contradiction(asked, "ssl: false")
  const isStrict = mode === "verify-ca" || mode === "verify-full"
  if (mode === "allow" || mode === "prefer") {
    if (ssl === true) return contradiction(asked, "ssl: true")
    const way: Way = { check: "nothing", options: { ...ssl, ...more, rejectUnauthorized: false } }
    return Either.right(mode === "allow" ? [undefined, way] : [way, undefined])
  }
  const options: Options = ssl === true ? more : { ...ssl, ...more }
  if (isStrict && options.rejectUnauthorized === false) return contradiction(asked, "ssl.rejectUnauthorized: false")
  if (mode === "verify-ca" && options.ca === undefined) {
    return Either.left(
      `${said} needs the certificate of the authority: give ${root} or ssl.ca. Without it, a certificate that anybody has bought would pass: check the name of the host too`
    )
  }
  if (mode === "verify-full" || ssl === true) return Either.right([{ check: "identity", options }])
  if (mode === "verify-ca") return Either.right([{ check: "authority", options }])
  if (options.rejectUnauthorized === true) return Either.right([{ check: usual, options }])
  const check = options.ca === undefined || options.rejectUnauthorized === false ? "nothing" : "authority"
  return Either.right([{ check, options }])
}

/**
 * The text of a file that a word names, such as `sslrootcert`.
 *
 * @since 0.2.0
 * @category utils
 */
export const file = (word: string, path: string): Either.Either<string, string> =>
  Either.try({
    try: () => readFileSync(path, "utf8"),
    catch: (error) => `${word}: the file cannot be read (${(error as { readonly code?: string }).code ?? "unknown"})`
  })

/**
 * Opens a connection in the first way that the server takes. `isRefusal` says whether a failure means that the server does not
 * take this way, and may take the other one.
 *
 * @since 0.2.0
 * @category utils
 */
export const first = <A, R>(
  { label, ways }: { readonly label: string; readonly ways: Ways },
  open: (way: Way | undefined) => Effect.Effect<A, SqlError, R>,
  isRefusal: (error: SqlError, way: Way | undefined) => boolean
): Effect.Effect<A, SqlError, R> => {
  const [way, other] = ways
  if (ways.length === 1) return open(way)
  return Effect.catchIf(
    open(way),
    (error) => isRefusal(error, way),
    (error) => (other === undefined ? Effect.zipLeft(open(other), unencrypted(ways, label, error)) : open(other))
  )
}

/** The endpoints whose connections are known to be in plain text. The ways of an endpoint are its own object. */
const reported = new WeakSet<Ways>()

const unencrypted = (ways: Ways, label: string, { message }: SqlError): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (reported.has(ways)) return Effect.void
    reported.add(ways)
    return Effect.logWarning(
      `${label}: connections are not encrypted. The server refuses TLS, and the mode that was asked for lets that pass (${message})`
    )
  })
