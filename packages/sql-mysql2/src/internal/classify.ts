import {
  inLiveSession,
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
 * What each error means. An error is looked up by errno, then by the class of its SQLSTATE (the first two characters), then by
 * its text. The errno comes first because different errors share a SQLSTATE (too many connections is 08004 or 42000, a lock
 * timeout is HY000).
 */

/** By errno. */
export const byErrno: Readonly<Record<number, Kind>> = {
  1040: unopened("TooManyConnections"),
  1203: unopened("TooManyConnections"),
  1135: unopened(),
  1129: unopened("ConnectFailed", "never"),
  1053: lost("ServerShutdown"),
  1077: lost("ServerShutdown"),
  1079: lost("ServerShutdown"),
  1927: lost("ServerShutdown"),
  4031: lost("ServerShutdown"),
  2006: lost(),
  2013: lost(),
  1152: lost(),
  1153: retired("ResourceExhausted"),
  1154: lost(),
  1155: lost(),
  1156: lost(),
  1157: lost(),
  1158: lost(),
  1159: lost(),
  1160: lost(),
  1161: lost(),
  1184: lost(),
  1792: refused("NotWritable"),
  1836: retired("NotWritable", "always"),
  1020: refused("SerializationFailure", "transaction"),
  1213: refused("Deadlock", "transaction"),
  3101: refused("SerializationFailure", "transaction"),
  1205: refused("LockTimeout", "transaction"),
  3572: refused("LockTimeout", "transaction"),
  1317: refused("Cancelled"),
  1969: refused("StatementTimeout"),
  3024: refused("StatementTimeout"),
  1243: refused("StalePlan", "transaction"),
  1615: refused("StalePlan", "transaction"),
  1062: refused("UniqueViolation"),
  1169: refused("UniqueViolation"),
  1586: refused("UniqueViolation"),
  1216: refused("ForeignKeyViolation"),
  1217: refused("ForeignKeyViolation"),
  1451: refused("ForeignKeyViolation"),
  1452: refused("ForeignKeyViolation"),
  3819: refused("CheckViolation"),
  1048: refused("NotNullViolation"),
  1364: refused("NotNullViolation"),
  1142: refused("PermissionDenied"),
  1143: refused("PermissionDenied"),
  1227: refused("PermissionDenied"),
  1370: refused("PermissionDenied"),
  // Some servers give these the general state HY000, or 01000, instead of one of the class 22.
  1264: refused("InvalidData"),
  1265: refused("InvalidData"),
  1292: refused("InvalidData"),
  1300: refused("InvalidData"),
  1365: refused("InvalidData"),
  1366: refused("InvalidData"),
  1367: refused("InvalidData"),
  1406: refused("InvalidData"),
  1411: refused("InvalidData"),
  1416: refused("InvalidData"),
  1525: refused("InvalidData"),
  1690: refused("InvalidData"),
  1977: refused("InvalidData"),
  3140: refused("InvalidData"),
  3141: refused("InvalidData"),
  3144: refused("InvalidData"),
  3156: refused("InvalidData"),
  3854: refused("InvalidData"),
  3903: refused("InvalidData"),
  1021: refused("ResourceExhausted", "idempotent"),
  1037: refused("ResourceExhausted", "idempotent"),
  1041: refused("ResourceExhausted", "idempotent"),
  1114: refused("ResourceExhausted", "idempotent")
}

/** By errno, for errors that mean `AuthenticationFailed` during a connect and this when a statement gets them. */
export const ofLogin: Readonly<Record<number, Kind>> = {
  1044: refused("PermissionDenied"),
  1045: refused("PermissionDenied"),
  1049: refused("SyntaxError"),
  1130: refused("PermissionDenied"),
  1698: refused("PermissionDenied"),
  1820: refused("PermissionDenied"),
  1862: refused("PermissionDenied"),
  3118: refused("PermissionDenied"),
  4151: refused("PermissionDenied")
}

/** By the first two characters of the SQLSTATE. */
export const byClass: Readonly<Record<string, Kind>> = {
  "08": lost(),
  "22": refused("InvalidData"),
  "23": refused("Unclassified"),
  "28": unopened("AuthenticationFailed", "never"),
  "42": refused("SyntaxError")
}

/** By the codes that `mysql2` gives its own errors. */
export const byLibrary: Readonly<Record<string, Kind>> = {
  PROTOCOL_CONNECTION_LOST: lost(),
  PROTOCOL_ERROR: lost(),
  PROTOCOL_UNEXPECTED_PACKET: lost(),
  PROTOCOL_PACKETS_OUT_OF_ORDER: lost(),
  HANDSHAKE_NO_SSL_SUPPORT: unopened("ConnectFailed", "never"),
  HANDSHAKE_SSL_ERROR: unopened("ConnectFailed", "never"),
  HANDSHAKE_UNKNOWN_ERROR: unopened("ConnectFailed", "never"),
  AUTH_SWITCH_PLUGIN_ERROR: unopened("AuthenticationFailed", "never")
}

/** By text, for errors without a code: those of `mysql2`, which has one language. A server gives every error a number. */
export const byText: ReadonlyArray<readonly [RegExp, Kind]> = [
  [/cleartext|auth(?:entication)? plugin|password/i, unopened("AuthenticationFailed", "never")],
  [/closed state|closed|terminated|destroyed|connection lost/i, lost()]
]

interface Raised {
  readonly errno: number | undefined
  readonly state: string | undefined
  /** The errno, else the code of the operating system or of `mysql2`. */
  readonly code: string | undefined
  readonly message: string
}

export const read = (cause: unknown): Raised => {
  const { code, error, message } = ErrorText.read(cause)
  // An error that the server sends unasked has its number in `code`. An error of the system has a negative errno.
  const errno = typeof code === "number" ? code : error["errno"]
  const known = typeof errno === "number" && errno > 0 ? errno : undefined
  return {
    errno: known,
    state: typeof error["sqlState"] === "string" && error["sqlState"] !== "" ? error["sqlState"] : undefined,
    code: known !== undefined ? String(known) : typeof code === "string" ? code : undefined,
    message
  }
}

const kindOf = ({ code, errno, message, state }: Raised, phase: Phase): Kind => {
  if (errno !== undefined) {
    switch (errno) {
      case 1226:
        // The user has reached one of its limits: connections, or statements in an hour.
        return phase === "connect" ? unopened("TooManyConnections") : refused("ResourceExhausted", "idempotent")
      case 1290:
        // The error of several options. Its text names the option (`--read-only`), in every language.
        return /--(?:super[-_])?read[-_]only/i.test(message)
          ? retired("NotWritable", "always")
          : refused("Unclassified")
      case 1047:
        // A Galera node that is not ready answers every statement with this error, whose text has no translation.
        return /wsrep/i.test(message) ? retired("ConnectionLost", "always") : refused("Unclassified")
      case 4025:
        // In MariaDB a CHECK constraint has failed; MySQL uses the number for another error.
        return state === undefined || state === "23000" ? refused("CheckViolation") : refused("Unclassified")
    }
    const login = ofLogin[errno]
    if (login !== undefined) return phase === "connect" ? unopened("AuthenticationFailed", "never") : login
    const known = byErrno[errno]
    if (known !== undefined) return known
    const family = state === undefined ? undefined : byClass[state.slice(0, 2)]
    return family ?? (phase === "connect" ? unopened() : refused("Unclassified"))
  }
  return ofClient({ code, message }, phase, byText, byLibrary)
}

/** Whether a connect was refused because it was encrypted: the server has no TLS, or none that Node speaks. */
export const isTlsRefusal = (cause: unknown): boolean =>
  ["HANDSHAKE_NO_SSL_SUPPORT", "HANDSHAKE_SSL_ERROR"].includes(read(cause).code ?? "")

/**
 * Whether the server may close the connection after this error. The code does not say, because a procedure may signal any of them;
 * whether the server answers once more does.
 */
export const mayEndSession = (cause: unknown): boolean => {
  const raised = read(cause)
  if (raised.errno === undefined) return false
  const { kind } = kindOf(raised, "statement")
  return kind === "lost" || kind === "retired"
}

/** `isAlive`: the server has answered after it had sent the error, so its session goes on. */
export const classify = (cause: unknown, phase: Phase, isAlive = false): SqlReason.SqlReason => {
  const raised = read(cause)
  const kind = kindOf(raised, phase)
  const found = reason(isAlive && raised.errno !== undefined ? inLiveSession(kind) : kind, phase, raised.code, cause)
  // The server is read-only, so the write has to go to another server. A transaction has to begin again there.
  return found.retry === "always" && found.connection === "destroy" && (phase === "transaction" || phase === "commit")
    ? { ...found, retry: "transaction" }
    : found
}

const FULL = "The server takes no more connections: lower maxSize, or raise its limit"

const REFUSED =
  "The server refuses user or password: check username and password, and from which hosts the user may come"

const notMysql = ({ port }: ErrorText.Address) =>
  `What answers there does not speak MySQL's protocol, or gave up: check that ${port} is the port of a MySQL or MariaDB server`

const hints: ErrorText.Hints = {
  byCode: {
    1045: REFUSED,
    1698: REFUSED,
    1130: "The server refuses this host: create the user for it",
    1044: "The user may not use this database: grant it",
    1049: "There is no such database: create it, or correct its name",
    1040: FULL,
    1203: FULL,
    1226: FULL,
    1129: "The server has blocked this host after many failed connects: run FLUSH HOSTS there",
    1053: "The server is stopping: try again",
    HANDSHAKE_NO_SSL_SUPPORT: "The server does not speak TLS: leave ssl out (ssl-mode=DISABLED), or enable it there",
    HANDSHAKE_UNKNOWN_ERROR: notMysql,
    PROTOCOL_CONNECTION_LOST: notMysql,
    PROTOCOL_ERROR: notMysql
  },
  byText: []
}

export const connectMessage = (cause: unknown, address: ErrorText.Address): string =>
  ErrorText.connect(read(cause), "MySQL", address, hints)

/** Errors that quote nothing but names, once the value that some of them quote as well is removed. */
const ofNames = new Set([
  1044, 1045, 1048, 1049, 1062, 1142, 1143, 1227, 1264, 1265, 1292, 1364, 1366, 1370, 1406, 1586, 1698
])

/** Names of the parts of a statement, which the server quotes as well. */
const PARTS = "field list, where clause, on clause, order clause, group statement, having clause"

/** What the server says, without the values that it quotes. */
const withoutValues = ({ errno, message }: Raised, about: Literals.About): string => {
  let rest = message
  const names = [...about.names, PARTS]
  switch (errno) {
    case 1062:
    case 1586:
      rest = message.replace(/entry '[\s\S]*' for key/, "entry for key")
      break
    case 1292:
    case 1366:
    case 1411:
    case 1525:
      rest = message.replace(/: '[\s\S]*'(?= for (?:column|function)|$)/, "")
      break
    case 1064:
      // A part of the text, from the word on at which the server could not go on.
      rest = message.replace(/ near '([\s\S]*)' at line/, (_, part: string) => {
        const shown = Literals.without("mysql", part)
        return /^\w/.test(shown) ? ` near '${shown}' at line` : " at line"
      })
  }
  if (errno !== undefined && ofNames.has(errno)) names.push(rest)
  return Literals.withoutValues(rest, { ...about, names })
}

/**
 * The message of a statement that has failed. It shows nothing of values, and the error of the server itself is made safe to be
 * printed: see `Literals.conceal`.
 */
export const statementMessage = (cause: unknown, label: string, about: Literals.About): string => {
  const raised = read(cause)
  if (raised.errno === undefined) return `MySQL at ${label}: ${ErrorText.named(raised.message, raised.code)}`
  const text = withoutValues(raised, about)
  Literals.conceal(cause, text)
  return `MySQL at ${label}: ${ErrorText.named(text, raised.code)}`
}
