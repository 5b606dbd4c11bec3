/**
 * The words of libpq, in a url and in the environment: which of them are obeyed, and what to say instead of the others. Every
 * word does what libpq does with it, or is refused.
 */
import type { ConnectionOptions } from "node:tls"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as PoolOptions from "@sluice/pool/PoolOptions"
import * as Options from "@sluice/sql/driver/Options"
import * as Tls from "@sluice/sql/driver/Tls"
import { Either } from "effect"

type Words = Readonly<Record<string, string>>

/** The modes, and two words of `pg`. */
const modes: Readonly<Record<string, Tls.Mode>> = {
  disable: "disable",
  allow: "allow",
  prefer: "prefer",
  require: "require",
  "no-verify": "require",
  "verify-ca": "verify-ca",
  "verify-full": "verify-full"
}

const versions = { "TLSv1.2": "TLSv1.2", "TLSv1.3": "TLSv1.3" }

const only =
  (remedy: string, ...values: ReadonlyArray<string>): OptionTable.Check =>
  (value, path) =>
    values.includes(String(value).toLowerCase()) ? [] : [`${path}=${value} is not supported: ${remedy}`]

/** What a url may say behind its question mark. `Url.read` has read the rest. */
export const table: OptionTable.Table = {
  host: OptionTable.text,
  port: (value, path) =>
    /^(?:\d{1,5}|\d{0,5}(?:,\d{0,5})+)$/.test(String(value)) ? [] : [`${path} must be the number of a port`],
  user: OptionTable.text,
  password: OptionTable.text,
  dbname: OptionTable.text,
  application_name: OptionTable.text,
  fallback_application_name: OptionTable.text,
  options: OptionTable.text,
  target_session_attrs: Options.targetSessionAttrs,
  sslmode: OptionTable.oneOf(...Object.keys(modes)),
  ssl: OptionTable.oneOf("true", "1", "false", "0", "no-verify"),
  sslrootcert: OptionTable.text,
  sslcert: OptionTable.text,
  sslkey: OptionTable.text,
  sslpassword: OptionTable.text,
  sslcrl: OptionTable.text,
  ssl_min_protocol_version: OptionTable.oneOf(...Object.keys(versions)),
  ssl_max_protocol_version: OptionTable.oneOf(...Object.keys(versions)),
  sslnegotiation: OptionTable.oneOf("postgres", "direct"),
  channel_binding: OptionTable.oneOf("disable", "prefer", "require"),
  // What follows is accepted where it says what is done anyway.
  sslsni: only("the name of the host is always sent", "1"),
  sslcompression: only("there is no compression in TLS any more", "0"),
  gssencmode: only("use TLS: sslmode=verify-full", "disable", "prefer"),
  client_encoding: only("texts are always sent as UTF-8", "utf8", "utf-8", "auto"),
  load_balance_hosts: only(
    "hosts are tried in their order, and reads are spread over the replicas by Sql.read",
    "disable"
  ),
  keepalives: only("keepalive is always on", "1"),
  replication: only("a pool has no use for a replication connection", "false", "off", "no", "0"),
  uselibpqcompat: only("sslmode always means what it means in libpq", "true", "1")
}

const role = "set it on the role (alter role … set …), or with the word options: ?options=-c%20"

/** What to say instead of the words of Prisma, of JDBC, of `pg`, and of those of libpq that are not supported. */
export const elsewhere: OptionTable.Elsewhere = {
  ...PoolOptions.elsewhere("pool."),
  ...Object.fromEntries(Object.keys(PoolOptions.configTable).map((name) => [name, `use pool.${name}`])),
  connect_timeout: "use pool.connectTimeout",
  schema: `${role}search_path=…`,
  currentSchema: `${role}search_path=…`,
  search_path: `${role}search_path=…`,
  pgbouncer: 'use the option proxy: "pgbouncer-transaction"',
  pool_mode: 'use the option proxy: "pgbouncer-transaction" if it is transaction',
  prepareThreshold: 'use the option proxy: "pgbouncer-transaction" behind a pooler',
  statement_cache_size: 'use the option proxy: "pgbouncer-transaction" behind a pooler',
  prepared_statements: 'use the option proxy: "pgbouncer-transaction" behind a pooler',
  statement_timeout: "use the option statementTimeout",
  query_timeout: "use the option statementTimeout",
  socket_timeout: "use the option statementTimeout",
  socketTimeout: "use the option statementTimeout",
  lock_timeout: `${role}lock_timeout=…`,
  idle_in_transaction_session_timeout: `${role}idle_in_transaction_session_timeout=…`,
  timezone: `${role}timezone=…`,
  encoding: "leave it out, texts are always sent as UTF-8",
  sslaccept: "use sslmode=verify-full for strict, sslmode=require for accept_invalid_certs",
  sslidentity: "use sslcert and sslkey, which are files in PEM",
  sslfactory: "use sslmode",
  sslcrldir: "use sslcrl",
  sslcertmode: "use sslcert and sslkey, or leave them out",
  requiressl: "use sslmode=require",
  tls: "use sslmode",
  hostaddr: "use host, or a resolver",
  targetServerType: "use target_session_attrs",
  hostRecheckSeconds: "leave it out, a server that is down is tried again by itself",
  service: "write its fields into the url",
  servicefile: "write its fields into the url",
  passfile: "use the option password, which may be an effect",
  require_auth: "use channel_binding=require with sslmode=verify-full",
  requirepeer: "use sslmode=verify-full over TCP",
  krbsrvname: "use a password, there is no Kerberos",
  gsslib: "use a password, there is no Kerberos",
  gssdelegation: "use a password, there is no Kerberos",
  tcp_user_timeout: "leave it out, late answers are asked for",
  keepalives_idle: "leave it out, keepalive begins after 10 seconds",
  keepalives_interval: "leave it out, keepalive begins after 10 seconds",
  keepalives_count: "leave it out, keepalive begins after 10 seconds"
}

/** The variables that `pg` does not read as libpq does, and the word that each of them stands for. */
const variables: Readonly<Record<string, string>> = {
  PGAPPNAME: "application_name",
  PGSSLMODE: "sslmode",
  PGSSLROOTCERT: "sslrootcert",
  PGSSLCERT: "sslcert",
  PGSSLKEY: "sslkey",
  PGSSLCRL: "sslcrl",
  PGSSLMINPROTOCOLVERSION: "ssl_min_protocol_version",
  PGSSLMAXPROTOCOLVERSION: "ssl_max_protocol_version",
  PGSSLNEGOTIATION: "sslnegotiation",
  PGCHANNELBINDING: "channel_binding",
  PGGSSENCMODE: "gssencmode",
  PGTARGETSESSIONATTRS: "target_session_attrs"
}

/** What the environment says, as words, or what is wrong with it. */
export const environment = (env: NodeJS.ProcessEnv): Either.Either<Words, string> => {
  const words: Record<string, string> = {}
  for (const [variable, word] of Object.entries(variables)) {
    const value = env[variable]
    if (value === undefined || value === "") continue
    const [problem] = table[word]!(value, `${variable} in the environment`)
    if (problem !== undefined) return Either.left(problem)
    words[word] = value
  }
  return Either.right(words)
}

/** What the environment says of servers. A list of hosts is read as libpq does, and not by `pg`. */
export const around = (env: NodeJS.ProcessEnv): Readonly<Record<string, string | undefined>> => ({
  host: env["PGHOST"],
  port: env["PGPORT"],
  target_session_attrs: env["PGTARGETSESSIONATTRS"] || undefined
})

/** What is to be known for a connection, beside the address. */
export interface Settings {
  readonly ways: Either.Either<Tls.Ways, string>
  readonly negotiation: "postgres" | "direct"
  readonly binding: "disable" | "prefer" | "require"
}

const files: Readonly<Record<string, string>> = { sslrootcert: "ca", sslcert: "cert", sslkey: "key", sslcrl: "crl" }

/** The TLS options that the words say. */
const optionsOf = (words: Words): Either.Either<Tls.Options, string> => {
  const options: Record<string, unknown> = {}
  for (const [word, option] of Object.entries(files)) {
    const path = words[word]
    // The authorities that Node trusts are those that it takes when none is given.
    if (path === undefined || (word === "sslrootcert" && path === "system")) continue
    const read = Tls.file(word, path)
    if (Either.isLeft(read)) return Either.left(read.left)
    options[option] = read.right
  }
  for (const [word, option] of [
    ["sslpassword", "passphrase"],
    ["ssl_min_protocol_version", "minVersion"],
    ["ssl_max_protocol_version", "maxVersion"]
  ] as const) {
    if (words[word] !== undefined) options[option] = words[word]
  }
  return Either.right(options)
}

/** The mode that the words say, and the word that says it. */
const modeOf = (words: Words): { readonly mode: Tls.Mode | undefined; readonly said: string } => {
  const { ssl, sslmode, sslrootcert } = words
  if (sslmode !== undefined) return { mode: modes[sslmode], said: `sslmode=${sslmode}` }
  if (ssl !== undefined) {
    const mode = ssl === "no-verify" ? "require" : ssl === "true" || ssl === "1" ? "verify-full" : "disable"
    return { mode, said: `ssl=${ssl}` }
  }
  if (sslrootcert === "system") return { mode: "verify-full", said: "sslrootcert=system" }
  return { mode: undefined, said: sslrootcert === undefined ? "a certificate" : "sslrootcert" }
}

const usualOf = (ssl: unknown): Tls.Check =>
  typeof ssl === "object" && (ssl as Tls.Options).rejectUnauthorized === false ? "nothing" : "identity"

/** `own` are the words of the url, `around` those of the environment; `ssl` is the option. */
export const settings = (
  own: Words,
  around: Words,
  ssl: boolean | ConnectionOptions | undefined,
  isSocket: boolean
): Settings => {
  // What the program says about TLS is not mixed with what the environment says about the same.
  const words: Words = ssl === undefined ? { ...around, ...own } : own
  const { mode, said } = modeOf(words)
  // Certificates in the environment are for those connections that ask for TLS.
  const isSilent =
    mode === undefined && modeOf(own).mode === undefined && Object.keys(own).every((word) => !(word in files))
  const ways = isSocket
    ? ssl
      ? Either.left("ssl does not work on a Unix socket: leave it out")
      : Either.right<Tls.Ways>([undefined])
    : words["sslrootcert"] === "system" && mode !== "verify-full"
      ? Either.left(
          `sslrootcert=system needs sslmode=verify-full: ${said} would trust every certificate that anybody has bought`
        )
      : Either.flatMap(isSilent && !ssl ? Either.right({}) : optionsOf(words), (more) =>
          Tls.ways({
            mode,
            said,
            more,
            root: "sslrootcert",
            ssl: ssl as boolean | Tls.Options | undefined,
            usual: usualOf(ssl)
          })
        )
  const negotiation = (words["sslnegotiation"] ?? "postgres") as Settings["negotiation"]
  const binding = (words["channel_binding"] ?? "disable") as Settings["binding"]
  const needsTls =
    negotiation === "direct" ? "sslnegotiation=direct" : binding === "require" ? "channel_binding=require" : undefined
  return {
    negotiation,
    binding,
    ways: Either.filterOrLeft(
      ways,
      (ways) => needsTls === undefined || !ways.includes(undefined),
      () => `${needsTls} needs TLS: use sslmode=verify-full, or sslmode=require`
    )
  }
}

/** The options of `ssl`: those of `node:tls`. */
const tlsOptions: OptionTable.Table<ConnectionOptions> = Object.fromEntries(
  Object.entries({
    host: true,
    port: true,
    path: true,
    socket: true,
    checkServerIdentity: true,
    servername: true,
    session: true,
    minDHSize: true,
    lookup: true,
    timeout: true,
    pskCallback: true,
    secureContext: true,
    enableTrace: true,
    requestCert: true,
    ALPNProtocols: true,
    SNICallback: true,
    rejectUnauthorized: true,
    sessionTimeout: true,
    ticketKeys: true,
    ALPNCallback: true,
    allowPartialTrustChain: true,
    ca: true,
    cert: true,
    sigalgs: true,
    ciphers: true,
    clientCertEngine: true,
    crl: true,
    dhparam: true,
    ecdhCurve: true,
    honorCipherOrder: true,
    key: true,
    privateKeyEngine: true,
    privateKeyIdentifier: true,
    maxVersion: true,
    minVersion: true,
    passphrase: true,
    pfx: true,
    secureOptions: true,
    secureProtocol: true,
    sessionIdContext: true
  } satisfies Record<keyof ConnectionOptions, true>).map(([name]) => [name, OptionTable.anything])
) as OptionTable.Table<ConnectionOptions>

/** The option `ssl`. */
export const sslCheck: OptionTable.Check = (value, path) =>
  typeof value === "boolean"
    ? []
    : typeof value === "object"
      ? OptionTable.nested(
          { ...tlsOptions, rejectUnauthorized: OptionTable.flag, checkServerIdentity: OptionTable.aFunction },
          {
            require: "leave it out, an object already asks for TLS and nothing else is tried",
            sslmode: "use it in the url, or rejectUnauthorized and ca",
            mode: "use sslmode in the url, or rejectUnauthorized and ca",
            verifyIdentity: "leave it out, the name is checked unless rejectUnauthorized is false",
            cafile: "use ca, which is a text or a Buffer"
          }
        )(value, path)
      : [
          `${path} must be true, false or an object with options of node:tls, and is ${OptionTable.shown(value)}: the modes of libpq belong into the url, as sslmode`
        ]
