/** The words of libpq: what each of them leads to, compared with `pg` where `pg` reads it as libpq does. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Url } from "@sluice/sql/driver"
import { Effect, Either, FastCheck, Redacted } from "effect"
import Pg from "pg"
import * as tls from "../../sql/test/support/tls.js"
import { refusedByName } from "../../sql/test/support/words.js"
import * as endpoint from "../src/internal/endpoint.js"
import * as Words from "../src/internal/words.js"
import type { PgSqlConfig } from "../src/PgSql.js"
import { environment } from "./support/environment.js"

const require = createRequire(createRequire(import.meta.url).resolve("pg"))
/** What `pg` reads its urls with. */
const parse: (text: string) => Record<string, any> = require("pg-connection-string").parse

/** All that is not a letter, a digit or one of four other characters, as `encodeURIComponent` leaves out five more. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

const at = (url: string, more: PgSqlConfig = {}) => endpoint.resolve({ url: Redacted.make(url), ...more })

const problemsOf = (config: PgSqlConfig) =>
  Effect.map(Effect.flip(endpoint.resolve(config)), (error) => {
    assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
    assert.notInclude(error.message, "s3cret")
    return (error.cause as unknown as { problems: ReadonlyArray<string> }).problems
  })

const problems = (query: string, more: PgSqlConfig = {}) =>
  problemsOf({ url: Redacted.make(`postgres://u:s3cret@h/d?${query}`), ...more })

/** A certificate as a file. */
const file = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "sluice-words-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  ),
  (folder) => {
    const path = join(folder, "root.crt")
    writeFileSync(path, tls.certificate)
    return path
  }
)

/** What is checked in each way, in the order of the attempts. */
const checks = (url: string, more: PgSqlConfig = {}) =>
  Effect.map(at(url, more), ({ primary }) => primary.ways.map((way): string => way?.check ?? "plain text"))

describe("TLS", () => {
  for (const [query, ssl, expected] of [
    ["", undefined, ["plain text"]],
    ["sslmode=disable", undefined, ["plain text"]],
    ["sslmode=allow", undefined, ["plain text", "nothing"]],
    ["sslmode=prefer", undefined, ["nothing", "plain text"]],
    ["sslmode=require", undefined, ["nothing"]],
    ["sslmode=no-verify", undefined, ["nothing"]],
    ["sslmode=verify-full", undefined, ["identity"]],
    ["sslmode=verify-full&sslrootcert=system", undefined, ["identity"]],
    ["sslrootcert=system", undefined, ["identity"]],
    ["ssl=true", undefined, ["identity"]],
    ["ssl=1", undefined, ["identity"]],
    ["ssl=0", undefined, ["plain text"]],
    ["ssl=no-verify", undefined, ["nothing"]],
    ["", true, ["identity"]],
    ["", false, ["plain text"]],
    ["", { ca: "ca" }, ["identity"]],
    ["", { rejectUnauthorized: false }, ["nothing"]],
    ["sslmode=require", true, ["identity"]],
    ["sslmode=require", { ca: "ca" }, ["authority"]],
    ["sslmode=require", { rejectUnauthorized: true }, ["identity"]],
    ["sslmode=require", { rejectUnauthorized: false }, ["nothing"]],
    ["sslmode=prefer", { minVersion: "TLSv1.3" }, ["nothing", "plain text"]],
    ["sslmode=verify-ca", { ca: "ca" }, ["authority"]],
    ["sslmode=verify-full", { ca: "ca" }, ["identity"]],
    ["sslmode=disable", false, ["plain text"]]
  ] as const) {
    it.effect(`${query || "nothing"} in the url and ssl: ${JSON.stringify(ssl)} mean ${expected.join(", then ")}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* checks(`postgres://u@h/d?${query}`, { ssl }), [...expected])
      })
    )
  }

  for (const [query, ssl, says] of [
    ["sslmode=reqire", undefined, /\?sslmode must be one of .*did you mean "require"\?/],
    ["sslmode=disable", true, /sslmode=disable and ssl contradict/],
    ["sslmode=disable", {}, /sslmode=disable and ssl contradict/],
    ["sslmode=require", false, /sslmode=require and ssl: false contradict/],
    ["sslmode=prefer", false, /contradict/],
    ["sslmode=prefer", true, /sslmode=prefer and ssl: true contradict/],
    ["sslmode=verify-full", { rejectUnauthorized: false }, /rejectUnauthorized: false contradict/],
    ["sslmode=verify-ca", undefined, /needs the certificate of the authority: give sslrootcert or ssl\.ca/],
    ["sslmode=require&sslrootcert=system", undefined, /sslrootcert=system needs sslmode=verify-full/],
    ["sslmode=verify-ca&sslrootcert=/nowhere.crt", undefined, /^sslrootcert: the file cannot be read \(ENOENT\)$/],
    ["sslmode=require&sslkey=/nowhere.key", undefined, /^sslkey: the file cannot be read \(ENOENT\)$/],
    ["sslnegotiation=direct", undefined, /sslnegotiation=direct needs TLS/],
    ["sslnegotiation=direct&sslmode=prefer", undefined, /sslnegotiation=direct needs TLS/],
    ["channel_binding=require&sslmode=prefer", undefined, /channel_binding=require needs TLS/],
    ["channel_binding=required", undefined, /did you mean "require"\?/],
    ["ssl_min_protocol_version=TLSv1", undefined, /must be one of "TLSv1\.2", "TLSv1\.3"/],
    ["gssencmode=require", undefined, /gssencmode=require is not supported: use TLS/],
    ["target_session_attrs=read-wrte", undefined, /one of "any", "read-write", .*did you mean "read-write"\?/],
    ["target_session_attrs=read_write", undefined, /did you mean "read-write"\?/],
    ["load_balance_hosts=random", undefined, /load_balance_hosts=random is not supported: .*Sql\.read/],
    ["require_auth=scram-sha-256", undefined, /require_auth is no option here: use channel_binding/],
    ["requiressl=1", undefined, /use sslmode=require/],
    ["sslaccept=strict", undefined, /use sslmode=verify-full for strict/],
    ["tls=true", undefined, /use sslmode/]
  ] as const) {
    it.effect(`${query} with ssl: ${JSON.stringify(ssl)} is refused, with the remedy`, () =>
      Effect.gen(function* () {
        const found = yield* problems(query, { ssl })
        assert.lengthOf(found, 1)
        assert.match(found[0]!, says)
      })
    )
  }

  it.effect("the option ssl is checked too: its kind, and each of its names", () =>
    Effect.gen(function* () {
      for (const [ssl, says] of [
        ["require", /ssl must be true, false or an object.*the modes of libpq belong into the url/],
        [1, /ssl must be true, false or an object/],
        [
          { rejectUnauthorised: false },
          /ssl\.rejectUnauthorised is no option here: did you mean ssl\.rejectUnauthorized\?/
        ],
        [{ require: true, rejectUnauthorized: false }, /ssl\.require is no option here: leave it out/],
        [{ rejectUnauthorized: "false" }, /ssl\.rejectUnauthorized must be true or false/],
        [{ verifyIdentity: true }, /ssl\.verifyIdentity is no option here/]
      ] as const) {
        const [problem] = yield* problemsOf({ host: "h", ssl: ssl as never })
        assert.match(problem!, says)
      }
      yield* endpoint.resolve({ host: "h", ssl: { ca: tls.certificate, servername: "db", minVersion: "TLSv1.3" } })
    })
  )

  it.effect("the key of a client's certificate is there also when another library has hidden it in the object", () =>
    Effect.gen(function* () {
      const ssl = Object.defineProperty({ cert: "c", key: "k" }, "key", { enumerable: false })
      const { primary } = yield* endpoint.resolve({ host: "h", ssl })
      const client = (yield* primary.client(primary.ways[0]))()
      assert.strictEqual((client.ssl as { readonly key?: unknown }).key, "k")
    })
  )

  it.scoped("files that words name are read, and a certificate alone does not silently do nothing", () =>
    Effect.gen(function* () {
      const path = yield* file
      const { primary } = yield* at(`postgres://u@h/d?sslmode=verify-ca&sslrootcert=${encodeURIComponent(path)}`)
      assert.strictEqual(primary.ways[0]!.options.ca, tls.certificate)
      assert.deepStrictEqual(yield* checks(`postgres://u@h/d?sslmode=require&sslrootcert=${path}`), ["authority"])
      const [problem] = yield* problems(`sslrootcert=${path}`)
      assert.strictEqual(problem, "sslrootcert has no effect without a mode")
    })
  )

  it.effect("a Unix socket is not encrypted, whatever the mode is, as in libpq; the option ssl is refused there", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* checks("postgres:///d?host=/run&sslmode=require"), ["plain text"])
      assert.match((yield* problemsOf({ path: "/run", ssl: true })).join(), /ssl does not work on a Unix socket/)
    })
  )
})

describe("the environment", () => {
  const applicationName = (config: PgSqlConfig) =>
    Effect.flatMap(endpoint.resolve(config), ({ primary }) =>
      Effect.map(primary.client(undefined), (make) => (make().connectionParameters as any).application_name)
    )

  it.scoped("PGAPPNAME names the sessions, unless the program or the url does", () =>
    Effect.gen(function* () {
      const url = Redacted.make("postgres://h/d?application_name=url")
      assert.strictEqual(yield* applicationName({ host: "h" }), "@sluice/sql-pg")
      yield* environment({ PGAPPNAME: "environment" })
      assert.strictEqual(yield* applicationName({ host: "h" }), "environment")
      assert.strictEqual(yield* applicationName({ host: "h", applicationName: "program" }), "program")
      assert.strictEqual(yield* applicationName({ url, applicationName: "program" }), "url")
    })
  )

  it.scoped("PGSSLMODE and its certificates mean what they mean in libpq; what the program says wins", () =>
    Effect.gen(function* () {
      const PGSSLROOTCERT = yield* file
      yield* environment({ PGSSLROOTCERT, PGSSLMODE: "require" })
      assert.deepStrictEqual(yield* checks("postgres://u@h/d"), ["authority"])
      assert.deepStrictEqual(yield* checks("postgres://u@h/d?sslmode=disable"), ["plain text"])
      assert.deepStrictEqual(yield* checks("postgres://u@h/d?sslmode=verify-full"), ["identity"])
      assert.deepStrictEqual(yield* checks("postgres://u@h/d", { ssl: false }), ["plain text"])
      yield* environment({ PGSSLMODE: "prefer" })
      assert.deepStrictEqual(yield* checks("postgres://u@h/d"), ["nothing", "plain text"])
      yield* environment({ PGSSLMODE: "" })
      assert.deepStrictEqual(yield* checks("postgres://u@h/d"), ["plain text"])
      yield* environment({ PGSSLMODE: "verify-all" })
      assert.match((yield* problemsOf({ host: "h" })).join(), /^PGSSLMODE in the environment must be one of/)
    })
  )

  it.scoped("PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD fill what the program leaves out", () =>
    Effect.gen(function* () {
      yield* environment({ PGHOST: "db-9", PGPORT: "6000", PGUSER: "app", PGDATABASE: "pay", PGPASSWORD: "s3cret" })
      const { primary } = yield* endpoint.resolve({})
      assert.deepInclude(primary, { label: "db-9:6000/pay", user: "app" })
      assert.strictEqual(Redacted.value(primary.password!), "s3cret")
      assert.strictEqual((yield* at("postgres://u@h:1/d")).primary.label, "h:1/d")
    })
  )
})

describe("words of a url that are no words of a connection", () => {
  refusedByName(problems, [
    ["schema=app", /set it on the role .*\?options=-c%20search_path=/],
    ["pgbouncer=true", /use the option proxy: "pgbouncer-transaction"/],
    ["connection_limit=3", /use pool\.maxSize/],
    ["pool_timeout=10", /use pool\.acquireTimeout/],
    ["connect_timeout=10", /use pool\.connectTimeout/],
    ["max=5", /use pool\.maxSize/],
    ["statement_timeout=1000", /use the option statementTimeout/],
    ["lock_timeout=1000", /set it on the role/],
    ["hostaddr=127.0.0.1", /use host/],
    ["service=pay", /write its fields into the url/],
    ["sslmod=require", /did you mean \?sslmode\?/],
    ["applicationname=x", /did you mean \?application_name\?/],
    ["types=x", /there are host, port/],
    ["pipeline=", /there are host, port/]
  ])

  it("none of them is a word that is obeyed", () => {
    for (const word of Object.keys(Words.elsewhere)) assert.isFalse(Object.hasOwn(Words.table, word), word)
  })

  it.effect("what says what is done anyway is accepted", () =>
    at(
      "postgres://h/d?sslsni=1&sslcompression=0&gssencmode=prefer&client_encoding=UTF8&target_session_attrs=any&load_balance_hosts=disable&keepalives=1&replication=false&uselibpqcompat=true"
    )
  )
})

describe("the address in a url, as pg-connection-string and libpq read it", () => {
  const urls = [
    "postgres://u:p@h:5433/d",
    "postgresql://u@h/d",
    "postgres://h",
    "postgres://h/",
    "postgres://u:p%40ss%2Fw%3Aord@h/d",
    "postgres://u%20v:p@h/d%20e",
    "postgres://u:p@ss@h/d",
    "postgres://%2Frun%2Fpostgresql/d",
    "postgres:///d?host=/run/postgresql",
    "postgres://u:p@/d?host=/run/postgresql&port=5433",
    "postgres://h/d?user=v&password=q",
    "postgres://a/d?host=b&port=7",
    "postgres://u:p@h/d?application_name=a%20b&options=-c%20geqo%3Doff",
    "socket:/run/postgresql?db=d",
    "/run/postgresql d",
    "/run/postgresql"
  ]
  for (const url of urls) {
    it.effect(url, () =>
      Effect.gen(function* () {
        const theirs = new Pg.Client(parse(url)) as any
        const { primary } = yield* at(url)
        const ours = (yield* primary.client(undefined))() as any
        for (const name of ["host", "port", "user", "database", "password"]) {
          assert.strictEqual(ours[name], theirs[name], name)
        }
        const { application_name = "@sluice/sql-pg", options } = theirs.connectionParameters
        assert.deepInclude(ours.connectionParameters, { application_name, options })
      })
    )
  }

  it("any url whose parts are percent-encoded", () => {
    const part = FastCheck.string({ minLength: 1, maxLength: 12, unit: "grapheme" }).filter(
      (text) => !text.includes("\0")
    )
    const name = FastCheck.stringMatching(/^[a-z][a-z0-9-]{0,10}$/)
    FastCheck.assert(
      FastCheck.property(
        FastCheck.record({
          user: FastCheck.option(part),
          password: FastCheck.option(part),
          host: name,
          port: FastCheck.option(FastCheck.integer({ min: 1, max: 65_535 })),
          // `pg` reads %2F in the name of a database as it stands, and libpq as a slash. To `pg` a dot alone is the folder itself.
          database: FastCheck.option(part.filter((text) => !/[#$&+,/:;=?@%]|^\.+$/.test(text))),
          application: FastCheck.option(part.filter((text) => !text.includes("+")))
        }),
        ({ application, database, host, password, port, user }) => {
          const userinfo = user === null ? "" : `${encode(user)}${password === null ? "" : `:${encode(password)}`}@`
          const url = `postgres://${userinfo}${host}${port === null ? "" : `:${port}`}${
            database === null ? "" : `/${encode(database)}`
          }${application === null ? "" : `?application_name=${encode(application)}`}`
          const theirs = parse(url)
          const ours = Either.getOrThrow(Url.read(url))
          assert.deepStrictEqual(
            [ours.username, ours.password, ours.hosts[0], ours.ports[0], ours.database, ours.words["application_name"]],
            [
              theirs["user"] || undefined,
              theirs["password"] || undefined,
              theirs["host"],
              theirs["port"] === "" ? undefined : Number(theirs["port"]),
              theirs["database"] ?? undefined,
              theirs["application_name"]
            ]
          )
        }
      )
    )
  })
})
