/**
 * What the errors of a database library say, and the messages of a driver that are made of them.
 *
 * A message has no password in it, because drivers give the label of an endpoint and never its url.
 *
 * @since 0.2.0
 */
import { isTls } from "./Classify.js"

/**
 * An error as a library raises it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Raised {
  /** A name such as `ECONNREFUSED` or `57P01`, or the number of an error. */
  readonly code: string | number | undefined
  readonly message: string
  /** The error itself, for fields that one library alone has. Empty if no object was raised. */
  readonly error: Readonly<Record<string, unknown>>
}

/** The fields of what may be an error. */
const fieldsOf = (cause: unknown): Readonly<Record<string, unknown>> =>
  typeof cause === "object" && cause !== null ? (cause as Record<string, unknown>) : {}

/**
 * Reads an error. An `AggregateError` stands for its first error where it has no code or message of its own: Node tries every
 * address of a host name, and the failures have the same code as a rule.
 *
 * @since 0.2.0
 * @category constructors
 */
export const read = (cause: unknown): Raised => {
  const error = fieldsOf(cause)
  const { errors } = error
  const first = Array.isArray(errors) ? fieldsOf(errors[0]) : {}
  const code = isCode(error["code"]) ? error["code"] : first["code"]
  const message = [error["message"], first["message"]].find((text) => typeof text === "string" && text !== "")
  return {
    code: isCode(code) ? code : undefined,
    message: message === undefined ? String(cause) : (message as string),
    error
  }
}

const isCode = (code: unknown): code is string | number => typeof code === "string" || typeof code === "number"

/**
 * The message of an error, and its code in brackets if the message does not contain the code.
 *
 * @since 0.2.0
 * @category conversions
 */
export const named = (message: string, code: string | undefined): string =>
  code === undefined || message.includes(code) ? message : `${message} (${code})`

/**
 * The address that a driver has tried to connect to.
 *
 * @since 0.2.0
 * @category models
 */
export interface Address {
  readonly host: string
  readonly port: number
  /** For messages; never has a password in it. */
  readonly label: string
}

/**
 * What a program can do about an error of a connect: one sentence, without its full stop.
 *
 * @since 0.2.0
 * @category models
 */
export type Hint = string | ((address: Address) => string)

/**
 * The hints of one database. A code is looked up before the text of the message. The codes of the operating system and of TLS
 * have hints of their own, which a driver need not list.
 *
 * @since 0.2.0
 * @category models
 */
export interface Hints {
  readonly byCode: Readonly<Record<string, Hint>>
  readonly byText: ReadonlyArray<readonly [RegExp, Hint]>
}

const UNTRUSTED =
  "The server's certificate is not trusted: give its authority in ssl.ca, or in the url (sslrootcert, ssl-ca)"

const unresolved = ({ host }: Address) => `The name ${host} cannot be resolved: check the host`

const bySystem: Readonly<Record<string, Hint>> = {
  ECONNREFUSED: "Nothing listens there: check host and port, or start the server",
  ENOTFOUND: unresolved,
  EAI_AGAIN: unresolved,
  ENOENT: "There is no such socket: check the path, or start the server",
  ERR_TLS_CERT_ALTNAME_INVALID: "The server's certificate is for another name: connect by a name that it is for"
}

const hintFor = (message: string, code: string | undefined, { byCode, byText }: Hints): Hint | undefined => {
  if (code !== undefined) {
    const known = byCode[code] ?? bySystem[code]
    if (known !== undefined) return known
    if (isTls(code)) return UNTRUSTED
  }
  const found = byText.find(([pattern]) => pattern.test(message))
  if (found !== undefined) return found[1]
  return /certificate/i.test(message) ? UNTRUSTED : undefined
}

/**
 * The message of a connect that has failed: what failed, where, why, and what to do about it. `database` is the product.
 *
 * @since 0.2.0
 * @category conversions
 */
export const connect = (
  raised: { readonly message: string; readonly code: string | undefined },
  database: string,
  address: Address,
  hints: Hints
): string => {
  const { code, message } = raised
  const hint = hintFor(message, code, hints)
  const what = `cannot connect to ${database} at ${address.label}: ${named(message, code)}`
  return hint === undefined ? what : `${what}. ${typeof hint === "string" ? hint : hint(address)}`
}
