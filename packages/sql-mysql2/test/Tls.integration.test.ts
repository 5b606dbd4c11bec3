import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Fiber, Logger, Redacted } from "effect"
import * as tls from "../../sql/test/support/tls.js"
import { atOnce, failureOf, onPool, running, thread, user } from "./support/fixture.js"

/** The certificate and its key as files that the server's user can read. */
const files = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-tls-"))
    Fs.chmodSync(folder, 0o755)
    const write = (name: string, text: string) => {
      const path = Path.join(folder, name)
      Fs.writeFileSync(path, text, { mode: 0o644 })
      return path
    }
    return { folder, ssl_cert: write("server.crt", tls.certificate), ssl_key: write("server.key", tls.key) }
  }),
  ({ folder }) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
)

/** How the clients of a relay begin: their first packet asks for TLS, or is the login in plain text. */
const relay = (port: number) =>
  Effect.acquireRelease(
    Effect.async<{ readonly server: Net.Server; readonly began: Array<"TLS" | "plain text"> }>((resume) => {
      const began: Array<"TLS" | "plain text"> = []
      const server = Net.createServer((client) => {
        const upstream = Net.connect(port, "127.0.0.1")
        for (const socket of [client, upstream]) socket.on("error", () => {}).on("close", () => client.destroy())
        client.on("close", () => upstream.destroy())
        // The capability flags come behind the header of four bytes; 0x0800 is TLS.
        client.once("data", (first) => began.push((first.readUInt16LE(4) & 0x0800) === 0 ? "plain text" : "TLS"))
        client.pipe(upstream).pipe(client)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, began })))
    }),
    ({ server }) => Effect.sync(() => server.close())
  ).pipe(Effect.map(({ began, server }) => ({ began, port: (server.address() as Net.AddressInfo).port })))

const isEncrypted = Effect.map(
  Sql.query<{ Value: string }>("show session status like 'Ssl_cipher'"),
  (rows) => rows[0]!.Value !== ""
)

/** Cancels a statement: the session goes on, so the server has got the KILL. */
const used = (name: string) =>
  Effect.gen(function* () {
    const before = yield* thread
    const isTls = yield* isEncrypted
    const fiber = yield* Effect.fork(Sql.query("select sleep(30)"))
    yield* running(name, "sleep(30)")
    yield* atOnce(Fiber.interrupt(fiber))
    assert.strictEqual(yield* thread, before)
    return isTls
  })

/** Collects the warnings of an effect. */
const warnings = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const said: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel.label === "WARN") said.push(String(message))
  })
  return Effect.map(Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)), (a) => [a, said] as const)
}

const pool = { maxSize: 1, connectTimeout: "30 seconds", acquireTimeout: "30 seconds" } as const

const urlOf = (query: string, { host = "localhost", port = 0, user = "plain" } = {}) =>
  Effect.map(MariaDbCluster.MariaDbCluster, ({ primary }) =>
    Redacted.make(`mysql://${user}:sluice@${host}:${port || primary.port}/sluice?${query}`)
  )

const refused = (
  query: string,
  more: MysqlSql.MysqlSqlConfig = {},
  at: { readonly host?: string; readonly user?: string } = {}
) => Effect.flatMap(urlOf(query, at), (url) => failureOf(MysqlSql.layer({ url, pool, duplicates: "allow", ...more })))

it.scopedLive("a server without TLS: PREFERRED goes on in plain text and says so once, the stricter modes fail", () =>
  Effect.gen(function* () {
    yield* user("plain")
    for (const [mode, expected] of [
      ["PREFERRED", 1],
      ["DISABLED", 0]
    ] as const) {
      const url = yield* urlOf(`ssl-mode=${mode}`)
      const [isTls, said] = yield* warnings(
        onPool({ url, pool: { maxSize: 2 } }, () =>
          Effect.zipRight(
            Effect.all([Sql.query("select sleep(0.05)"), Sql.query("select sleep(0.05)")], { concurrency: 2 }),
            isEncrypted
          )
        )
      )
      assert.isFalse(isTls, mode)
      assert.lengthOf(said, expected, mode)
      if (expected > 0) assert.match(said[0]!, /connections are not encrypted. The server refuses TLS/)
    }
    for (const query of ["ssl-mode=REQUIRED", "ssl-mode=VERIFY_IDENTITY", "sslmode=require", "ssl=true", "ssl={}"]) {
      const { message, reason } = yield* refused(query)
      assert.deepStrictEqual([reason._tag, reason.retry], ["ConnectFailed", "never"], query)
      assert.match(message, /does not speak TLS/, query)
    }
  }).pipe(Effect.provide(MariaDbCluster.layer({ settings: { ssl: false } })))
)

it.scopedLive("every mode is what it is in MySQL, on the server, and a KILL is encrypted like its connection", () =>
  Effect.gen(function* () {
    const { folder, ssl_cert, ssl_key } = yield* files
    yield* Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      yield* user("plain")
      yield* user("secure", "require ssl")
      const ca = Path.join(folder, "server.crt")
      for (const [query, host, expected] of [
        ["ssl-mode=DISABLED", "127.0.0.1", "plain text"],
        ["ssl-mode=PREFERRED", "127.0.0.1", "TLS"],
        ["ssl-mode=REQUIRED", "127.0.0.1", "TLS"],
        ["sslmode=require", "127.0.0.1", "TLS"],
        [`ssl-mode=REQUIRED&ssl-ca=${ca}`, "127.0.0.1", "TLS"],
        [`ssl-mode=VERIFY_CA&ssl-ca=${ca}`, "127.0.0.1", "TLS"],
        [`ssl-mode=VERIFY_IDENTITY&ssl-ca=${ca}`, "localhost", "TLS"],
        ['ssl={"rejectUnauthorized":false}', "127.0.0.1", "TLS"]
      ] as const) {
        const { began, port } = yield* relay(primary.port)
        const url = yield* urlOf(query, { host, port })
        // The server knows the sessions of this url by its user.
        const isTls = yield* onPool({ url, pool }, () => used("plain"))
        assert.strictEqual(isTls, expected === "TLS", query)
        assert.deepStrictEqual(began, [expected, expected], query)
      }
      const ssl = { ca: tls.certificate, verifyIdentity: true }
      const url = yield* urlOf("", { user: "secure" })
      assert.isTrue(yield* onPool({ url, ssl, pool }, () => used("secure")))
      for (const [query, more, says] of [
        ["ssl-mode=VERIFY_IDENTITY", {}, /certificate is not trusted/],
        ["ssl=true", {}, /certificate is not trusted/],
        ["", { ssl: {} }, /certificate is not trusted/],
        ["", { ssl: true }, /certificate is not trusted/]
      ] as const) {
        const { message, reason } = yield* refused(query, more)
        assert.deepStrictEqual([reason._tag, reason.retry], ["ConnectFailed", "never"], query)
        assert.match(message, says, query)
      }
      assert.strictEqual((yield* refused("", {}, { user: "secure" })).reason._tag, "AuthenticationFailed")
    }).pipe(Effect.provide(MariaDbCluster.layer({ settings: { ssl_cert, ssl_key } })))
  })
)
