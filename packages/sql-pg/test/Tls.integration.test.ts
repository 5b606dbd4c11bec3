import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Logger, Redacted } from "effect"
import * as tls from "../../sql/test/support/tls.js"
import { atOnce, backends, eventually, failureOf, onPool, pid } from "./support/fixture.js"

/**
 * Users of whom the server asks for something: TLS, no TLS, a certificate of their own, nothing at all. The certificate of the
 * server signs itself, so it is also the authority of the users' certificates.
 */
const rules = `
hostssl   all secure    all scram-sha-256
hostnossl all secure    all reject
hostnossl all plain     all scram-sha-256
hostssl   all plain     all reject
hostssl   all certified all scram-sha-256 clientcert=verify-ca
host      all trusted   all trust
`

/** Gives the server a certificate: its files must belong to the user that the server runs as. */
const enableTls = Effect.gen(function* () {
  const { primary } = yield* PgCluster.PgCluster
  const { gid, uid } = Fs.statSync(primary.dataDir)
  for (const [name, text] of [
    ["server.crt", tls.certificate],
    ["server.key", tls.key]
  ] as const) {
    const path = Path.join(primary.dataDir, name)
    Fs.writeFileSync(path, text, { mode: 0o600 })
    Fs.chownSync(path, uid, gid)
  }
  const hba = Path.join(primary.dataDir, "pg_hba.conf")
  Fs.writeFileSync(hba, rules + Fs.readFileSync(hba, "utf8"))
  for (const user of ["secure", "plain", "certified", "trusted"]) {
    yield* primary.query(`create role ${user} login password 'sluice'`)
  }
  yield* primary.query("alter system set ssl = on")
  yield* primary.query("alter system set ssl_ca_file = 'server.crt'")
  yield* primary.restart()
})

/** How the clients of a relay begin: what the first bytes on each of their connections ask for. */
type Beginning = "TLS request" | "direct TLS" | "plain start-up" | "plain cancel"

const beginningOf = (first: Buffer): Beginning => {
  if (first[0] === 0x16) return "direct TLS"
  const code = first.readInt32BE(4)
  return code === 80_877_103 ? "TLS request" : code === 80_877_102 ? "plain cancel" : "plain start-up"
}

/** A way to the server that notes how each connection begins. */
const relay = (port: number) =>
  Effect.acquireRelease(
    Effect.async<{ readonly server: Net.Server; readonly began: Array<Beginning> }>((resume) => {
      const began: Array<Beginning> = []
      const server = Net.createServer((client) => {
        const upstream = Net.connect(port, "127.0.0.1")
        for (const socket of [client, upstream]) socket.on("error", () => {}).on("close", () => client.destroy())
        client.on("close", () => upstream.destroy())
        client.once("data", (first) => began.push(beginningOf(first)))
        client.pipe(upstream).pipe(client)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, began })))
    }),
    ({ server }) => Effect.sync(() => server.close())
  ).pipe(Effect.map(({ began, server }) => ({ began, port: (server.address() as Net.AddressInfo).port })))

const isEncrypted = Effect.map(
  Sql.query<{ ssl: boolean }>("select ssl from pg_stat_ssl where pid = pg_backend_pid()"),
  (rows) => rows[0]!.ssl
)

/** Collects the warnings of an effect. */
const warnings = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const said: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel.label === "WARN") said.push(String(message))
  })
  return Effect.map(Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)), (a) => [a, said] as const)
}

/** Opens two connections, and cancels a statement: the session goes on, so the server has got the cancel. */
const used = (name: string) =>
  Effect.gen(function* () {
    const before = yield* pid
    const ssl = yield* isEncrypted
    const fiber = yield* Effect.fork(Sql.query("select pg_sleep(30)"))
    yield* eventually(
      "it runs",
      Effect.map(backends(name), (all) => all.some((one) => one.state === "active"))
    )
    yield* atOnce(Fiber.interrupt(fiber))
    assert.strictEqual(yield* pid, before)
    return ssl
  })

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("TLS", (it) => {
  const urlOf = (query: string, { host = "localhost", port = 0, user = "sluice" } = {}) =>
    Effect.map(PgCluster.PgCluster, ({ primary }) =>
      Redacted.make(`postgres://${user}:sluice@${host}:${port || primary.port}/sluice?${query}`)
    )

  const pool = { maxSize: 1, connectTimeout: "30 seconds", acquireTimeout: "30 seconds" } as const

  const refused = (query: string, more: PgSql.PgSqlConfig = {}, at: { host?: string; user?: string } = {}) =>
    Effect.flatMap(urlOf(query, at), (url) => failureOf(PgSql.layer({ url, pool, duplicates: "allow", ...more })))

  it.effect("a server without TLS: prefer and allow go on in plain text, and prefer says so once; the rest fail", () =>
    Effect.gen(function* () {
      for (const [mode, expected] of [
        ["prefer", 1],
        ["allow", 0],
        ["disable", 0]
      ] as const) {
        const url = yield* urlOf(`sslmode=${mode}`)
        const [ssl, said] = yield* warnings(
          onPool({ url, pool: { maxSize: 2 } }, () =>
            Effect.zipRight(
              Effect.all([Sql.query("select pg_sleep(0.05)"), Sql.query("select pg_sleep(0.05)")], { concurrency: 2 }),
              isEncrypted
            )
          )
        )
        assert.isFalse(ssl, mode)
        assert.lengthOf(said, expected, mode)
        if (expected > 0) assert.match(said[0]!, /connections are not encrypted. The server refuses TLS/)
      }
      for (const query of [
        "sslmode=require",
        "sslmode=verify-full",
        "ssl=true",
        "sslmode=require&sslnegotiation=direct"
      ]) {
        const { message, reason } = yield* refused(query)
        assert.strictEqual(reason._tag, "ConnectFailed", query)
        if (!query.includes("direct")) {
          assert.strictEqual(reason.retry, "never", query)
          assert.match(message, /does not speak TLS/, query)
        }
      }
    })
  )

  it.scoped(
    "with TLS every mode is what it is in libpq, on the server, and a cancel is encrypted like its connection",
    () =>
      Effect.gen(function* () {
        yield* enableTls
        const { primary } = yield* PgCluster.PgCluster
        const ca = Path.join(primary.dataDir, "server.crt")
        for (const [query, host, expected] of [
          ["sslmode=disable", "localhost", ["plain start-up", "plain cancel"]],
          ["sslmode=allow", "localhost", ["plain start-up", "plain cancel"]],
          ["sslmode=prefer", "127.0.0.1", ["TLS request", "TLS request"]],
          ["sslmode=require", "127.0.0.1", ["TLS request", "TLS request"]],
          [`sslmode=require&sslrootcert=${ca}`, "127.0.0.1", ["TLS request", "TLS request"]],
          [`sslmode=verify-ca&sslrootcert=${ca}`, "127.0.0.1", ["TLS request", "TLS request"]],
          [`sslmode=verify-full&sslrootcert=${ca}`, "localhost", ["TLS request", "TLS request"]],
          ["sslmode=require&sslnegotiation=direct", "localhost", ["direct TLS", "direct TLS"]],
          ["sslmode=require&channel_binding=require", "localhost", ["TLS request", "TLS request"]]
        ] as const) {
          const { began, port } = yield* relay(primary.port)
          const url = yield* urlOf(query, { host, port })
          const ssl = yield* onPool({ url, pool }, used)
          assert.strictEqual(ssl, expected[0] !== "plain start-up", query)
          assert.deepStrictEqual(began, [...expected], query)
        }
      })
  )

  it.effect(
    "a certificate that does not pass is ConnectFailed and not tried again; nothing goes on in plain text",
    () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const ca = Path.join(primary.dataDir, "server.crt")
        for (const [query, host, more, says] of [
          [`sslmode=verify-full&sslrootcert=${ca}`, "127.0.0.1", {}, /another name/],
          ["sslmode=verify-full", "localhost", {}, /certificate is not trusted/],
          ["ssl=true", "localhost", {}, /certificate is not trusted/],
          ["", "localhost", { ssl: true }, /certificate is not trusted/],
          ["", "127.0.0.1", { ssl: { ca: tls.certificate } }, /another name/]
        ] as const) {
          const { message, reason } = yield* refused(query, more, { host })
          assert.deepStrictEqual([reason._tag, reason.retry], ["ConnectFailed", "never"], query)
          assert.match(message, says, query)
        }
        const url = yield* urlOf("")
        assert.isTrue(yield* onPool({ url, ssl: { ca: tls.certificate }, pool }, used))
      })
  )

  it.effect("allow turns to TLS, and prefer to plain text, where pg_hba.conf asks for it; require does not", () =>
    Effect.gen(function* () {
      const secure = yield* urlOf("sslmode=allow", { user: "secure" })
      assert.isTrue(yield* onPool({ url: secure, pool }, used))
      const plain = yield* urlOf("sslmode=prefer", { user: "plain" })
      const [ssl, said] = yield* warnings(onPool({ url: plain, pool }, used))
      assert.isFalse(ssl)
      assert.lengthOf(said, 1)
      assert.match(said[0]!, /not encrypted/)
      for (const [query, user] of [
        ["sslmode=disable", "secure"],
        ["sslmode=require", "plain"]
      ] as const) {
        assert.strictEqual((yield* refused(query, {}, { user })).reason._tag, "AuthenticationFailed", query)
      }
    })
  )

  it.effect("a client has a certificate of its own, and its cancels have it too", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const file = (name: string) => Path.join(primary.dataDir, name)
      const user = "certified"
      const url = yield* urlOf(`sslmode=require&sslcert=${file("server.crt")}&sslkey=${file("server.key")}`, { user })
      assert.isTrue(yield* onPool({ url, pool }, used))
      const ssl = { cert: tls.certificate, key: tls.key, ca: tls.certificate }
      assert.isTrue(yield* onPool({ url: yield* urlOf("", { user }), ssl, pool }, used))
      assert.strictEqual((yield* refused("sslmode=require", {}, { user })).reason._tag, "AuthenticationFailed")
    })
  )

  it.effect("channel_binding=require fails where the server does not bind the login, before a password is sent", () =>
    Effect.gen(function* () {
      const { message, reason } = yield* refused("sslmode=require&channel_binding=require", {}, { user: "trusted" })
      assert.deepStrictEqual([reason._tag, reason.retry], ["AuthenticationFailed", "never"])
      assert.match(message, /the server does not bind the login to the TLS connection/)
      const prefer = yield* urlOf("sslmode=require&channel_binding=prefer", { user: "trusted" })
      assert.isTrue(yield* onPool({ url: prefer, pool }, used))
    })
  )
})
