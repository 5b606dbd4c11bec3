import {
  inLiveSession,
  isTls,
  type Kind,
  lost,
  ofClient,
  reason,
  refused,
  retired,
  unopened
} from "@sluice/sql/driver/Classify"
import type { Phase } from "@sluice/sql/driver/Driver"
import * as ErrorText from "@sluice/sql/driver/ErrorText"
import * as Literals from "@sluice/sql/driver/Literals"
import type * as SqlReason from "@sluice/sql/SqlReason"

/*
 * What each error means. An error is looked up by its code (a SQLSTATE, or a code of the operating system), then by the class of
 * a SQLSTATE (the first two characters), then by its text.
 */

/** By SQLSTATE. */
export const byState: Readonly<Record<string, Kind>> = {
  "53300": unopened("TooManyConnections"),
  "57P03": unopened(),
  "08001": unopened(),
  "08004": unopened(),
  "28P01": unopened("AuthenticationFailed", "never"),
  "28000": unopened("AuthenticationFailed", "never"),
  "3D000": unopened("AuthenticationFailed", "never"),
  "57P01": lost("ServerShutdown"),
  "57P02": lost("ServerShutdown"),
  "25P03": lost("ServerShutdown"),
  "57P05": lost("ServerShutdown"),
  "08000": lost(),
  "08003": lost(),
  "08006": lost(),
  "25P04": retired("StatementTimeout"),
  "25006": refused("NotWritable"),
  "40001": refused("SerializationFailure", "transaction"),
  "40P01": refused("Deadlock", "transaction"),
  "40002": refused("Unclassified"),
  "40003": retired("Unclassified", "idempotent"),
  "55P03": refused("LockTimeout", "transaction"),
  "57014": refused("Cancelled"),
  "26000": refused("StalePlan", "transaction"),
  "42P05": refused("StalePlan", "transaction"),
  "23505": refused("UniqueViolation"),
  "23503": refused("ForeignKeyViolation"),
  "23514": refused("CheckViolation"),
  "23502": refused("NotNullViolation"),
  "42501": refused("PermissionDenied"),
  "25P02": refused("TransactionAborted"),
  "53100": refused("ResourceExhausted", "idempotent"),
  "53200": refused("ResourceExhausted", "idempotent"),
  "53400": refused("ResourceExhausted", "idempotent"),
  "58030": refused("ResourceExhausted", "idempotent")
}

/** By the first two characters of the SQLSTATE. */
export const byClass: Readonly<Record<string, Kind>> = {
  "08": lost(),
  "22": refused("InvalidData"),
  "23": refused("Unclassified"),
  "28": unopened("AuthenticationFailed", "never"),
  "42": refused("SyntaxError"),
  "53": refused("ResourceExhausted", "idempotent")
}

/** What `pg` says when a server has no TLS, or does not answer the question. `pg` gives these errors no code. */
const NO_TLS = /does not support SSL connections|error establishing an SSL connection/i

/** By text, for errors without a code: those of `pg`, which has one language. A server gives every error a code. */
export const byText: ReadonlyArray<readonly [RegExp, Kind]> = [
  [NO_TLS, unopened("ConnectFailed", "never")],
  // Ours, and those of `pg`, which gives them no code.
  [
    /^(?:channel_binding|SASL|SCRAM)|client password must be|password must be a string/i,
    unopened("AuthenticationFailed", "never")
  ],
  [/received invalid response|unexpected message|Unknown authentication/i, unopened("ConnectFailed", "never")],
  [/terminated|closed|not queryable|connection error/i, lost()]
]

const isState = (code: string) => /^[0-9A-Z]{5}$/.test(code) && code !== "EPIPE"

interface Raised {
  readonly code: string | undefined
  readonly message: string
  readonly routine: string | undefined
  readonly severity: string | undefined
  /** The error itself. */
  readonly error: Readonly<Record<string, unknown>>
}

export const read = (cause: unknown): Raised => {
  const { code, error, message } = ErrorText.read(cause)
  const text = (value: unknown) => (typeof value === "string" ? value : undefined)
  return { code: text(code), message, routine: text(error["routine"]), severity: text(error["severity"]), error }
}

const kindOf = ({ code, message, routine }: Raised, phase: Phase): Kind => {
  if (code !== undefined && isState(code)) {
    if (code === "08P01") {
      // PgBouncer reports its own failures with this code, and has one language.
      if (/query_wait_timeout|cannot connect|server_login_retry/i.test(message)) {
        return phase === "connect" ? unopened() : lost()
      }
      return phase === "connect" ? unopened("ConnectFailed", "never") : retired("Unclassified")
    }
    if (code === "0A000" && routine === "RevalidateCachedQuery") return refused("StalePlan", "transaction")
    // DROP DATABASE, for example.
    if (code === "3D000" && phase !== "connect") return refused("SyntaxError")
    // During a connect this is the missing permission to connect to the database.
    if (code === "42501" && phase === "connect") return unopened("AuthenticationFailed", "never")
    return byState[code] ?? byClass[code.slice(0, 2)] ?? refused("Unclassified")
  }
  return ofClient({ code, message }, phase, byText)
}

/**
 * Whether a standby says this of itself: it cannot begin a transaction that writes, or one that is serializable. The code and the
 * function that has raised it have other meanings on other servers, and the text is in the language of the server.
 */
export const isOfStandby = (cause: unknown): boolean => {
  const { code, routine } = read(cause)
  return code === "0A000" && /^call_(?:bool|enum)_check_hook$/.test(routine ?? "")
}

/**
 * Whether a connect was refused because it was, or was not, encrypted: the server has no TLS, or its pg_hba.conf has no line for
 * such connections (28000).
 */
export const isTlsRefusal = (cause: unknown, isEncrypted: boolean): boolean => {
  const { code, message } = read(cause)
  return code === "28000" || (isEncrypted && (code === undefined ? NO_TLS.test(message) : isTls(code)))
}

/** `isAlive`: the server was ready again after it had sent the error, so its session goes on. */
export const classify = (cause: unknown, phase: Phase, isAlive = false): SqlReason.SqlReason => {
  const raised = read(cause)
  const kind = kindOf(raised, phase)
  const isOfServer = raised.code !== undefined && isState(raised.code)
  return reason(isAlive && isOfServer ? inLiveSession(kind) : kind, phase, raised.code, cause)
}

const hints: ErrorText.Hints = {
  byCode: {
    "28P01": "The server refuses the password: check username and password",
    "28000": "The server refuses this user: check username, password and the server's pg_hba.conf",
    "3D000": "There is no such database: create it, or correct its name",
    "53300": "The server takes no more connections: lower maxSize, or raise max_connections",
    "57P03": "The server is starting or stopping: try again"
  },
  byText: [
    [/does not support SSL/i, "The server does not speak TLS: set ssl to false (sslmode=disable), or enable it there"],
    [/password must be/i, "The server asks for a password and none is set: set password"],
    [
      /received invalid response|terminated unexpectedly|SSL connection/i,
      ({ port }) =>
        `What answers there does not speak PostgreSQL's protocol: check that ${port} is the port of a PostgreSQL server`
    ]
  ]
}

export const connectMessage = (cause: unknown, address: ErrorText.Address): string =>
  ErrorText.connect(read(cause), "PostgreSQL", address, hints)

/** What the server says, without the values that it quotes. */
const withoutValues = ({ code, error, message }: Raised, about: Literals.About): string => {
  // The part of the text that cannot be read, and the value that cannot. There may be quotes in them.
  const rest =
    code === "42601"
      ? message.replace(/ at or near "([\s\S]*)"/, (near, what) => (/^\W?$|^[a-z_]\w*$/i.test(what) ? near : ""))
      : code?.startsWith("22")
        ? message.replace(/:? "[\s\S]*"|: 0x[\s\S]*/g, "")
        : message
  const names = ["schema", "table", "column", "constraint", "dataType"].map((field) => error[field])
  return Literals.withoutValues(rest, { ...about, names: [...about.names, ...names] })
}

/**
 * The message of a statement that has failed. It shows nothing of values, and the error of the server itself is made safe to be
 * printed: see `Literals.conceal`.
 */
export const statementMessage = (cause: unknown, label: string, about: Literals.About): string => {
  const raised = read(cause)
  const { code, message } = raised
  if (code === undefined || !isState(code)) return `PostgreSQL at ${label}: ${ErrorText.named(message, code)}`
  const text = withoutValues(raised, about)
  Literals.conceal(cause, text)
  return `PostgreSQL at ${label}: ${text} (${code})`
}
