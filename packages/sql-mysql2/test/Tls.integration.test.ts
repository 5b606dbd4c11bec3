import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Fiber, Redacted } from "effect"
import * as tls from "../../sql-pg/test/support/tls.js"
import { as, atOnce, onPool, reasonOf, running, thread, user } from "./support/fixture.js"

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

it.scopedLive(
  "statements and kills go over TLS; the certificate is checked, and against the name where that is asked for",
  () =>
    Effect.gen(function* () {
      const { ssl_cert, ssl_key } = yield* files
      yield* Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        yield* user("secure", "require ssl")
        const named = Redacted.make(Redacted.value(as(primary, "secure")).replace("127.0.0.1", "localhost"))
        const ssl = { ca: tls.certificate, verifyIdentity: true }
        yield* onPool({ url: named, ssl, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            const rows = yield* Sql.query<{ Value: string }>("show session status like 'Ssl_cipher'")
            assert.isNotEmpty(rows[0]!.Value)
            const before = yield* thread
            const fiber = yield* Effect.fork(Sql.query("select sleep(30)"))
            yield* running("secure", "sleep(30)")
            yield* atOnce(Fiber.interrupt(fiber))
            assert.strictEqual(yield* thread, before)
          })
        )
        // The same certificate without its authority, and no TLS where the server insists.
        const untrusted = yield* reasonOf(onPool({ url: named, ssl: {} }, () => thread))
        assert.deepStrictEqual([untrusted._tag, untrusted.retry], ["ConnectFailed", "never"])
        assert.strictEqual((yield* reasonOf(onPool({ url: named }, () => thread)))._tag, "AuthenticationFailed")
      }).pipe(Effect.provide(MariaDbCluster.layer({ settings: { ssl_cert, ssl_key } })))
    })
)
