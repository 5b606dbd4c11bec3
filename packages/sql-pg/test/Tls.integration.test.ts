import * as Fs from "node:fs"
import * as Path from "node:path"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Redacted } from "effect"
import { atOnce, backends, eventually, onPool, pid, reasonOf } from "./support/fixture.js"
import * as tls from "./support/tls.js"

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
  yield* primary.query("alter system set ssl = on")
  yield* primary.restart()
})

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("TLS", (it) => {
  it.effect("statements and cancels go over TLS; the certificate is checked against the name, for both", () =>
    Effect.gen(function* () {
      yield* enableTls
      const { primary } = yield* PgCluster.PgCluster
      const url = Redacted.make(Redacted.value(primary.url).replace("127.0.0.1", "localhost"))
      yield* onPool({ url, ssl: { ca: tls.certificate }, pool: { maxSize: 1 } }, (name) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* Sql.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()"), [
            { ssl: true }
          ])
          const before = yield* pid
          const fiber = yield* Effect.fork(Sql.query("select pg_sleep(30)"))
          yield* eventually(
            "it runs",
            Effect.map(backends(name), (all) => all.some((one) => one.state === "active"))
          )
          yield* atOnce(Fiber.interrupt(fiber))
          assert.strictEqual(yield* pid, before)
        })
      )
      // The same certificate, by a name that it is not for, and without its authority.
      const wrongName = yield* reasonOf(onPool({ url: primary.url, ssl: { ca: tls.certificate } }, () => pid))
      assert.strictEqual(wrongName._tag, "ConnectFailed")
      assert.strictEqual(wrongName.retry, "never")
      assert.strictEqual((yield* reasonOf(onPool({ url, ssl: true }, () => pid)))._tag, "ConnectFailed")
    })
  )
})
